"""Objects come out in metres, in the target frame, at their image's stamp; what is missing is said."""

import json
import threading

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PointStamped, PoseArray, Quaternion, Transform, TransformStamped, Vector3
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.parameter import Parameter
from rclpy.time import Time as RosTime
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import SAMPLE_DIRECTORY
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan
from sam_perception.grasping.planners import PLANNERS
from sam_perception.msg import GraspCandidateArray, ObjectMask, ObjectMaskArray
from sam_perception.nodes import measured_objects, sam_grasp_node
from sam_perception.nodes.client import answer_of, wait_until
from sam_perception.nodes.images import image_message
from sam_perception.nodes.running import THREADS
from sam_perception.nodes.sam_grasp_node import SamGraspNode
from sam_perception.nodes.sample_camera_node import SampleCameraNode
from sam_perception.srv import GraspAt, PlanGrasps, Segment, SegmentPoints

OPTICAL = "camera_color_optical_frame"
START_S = 1_714_652_389
OUTPUTS = {
    "cloud": PointCloud2,
    "boxes": Detection3DArray,
    "centroids": PoseArray,
    "markers": MarkerArray,
    "grasps": GraspCandidateArray,
}
SOON = 30.0
NEAR_M = 0.006  # depth noise at 0.8 m, over a whole surface


def header(at_ms, frame_id=OPTICAL):
    return Header(stamp=Time(sec=START_S + at_ms // 1000, nanosec=at_ms % 1000 * 1_000_000), frame_id=frame_id)


def object_mask(array, object_id, at_ms=0, score=0.9):
    """An ObjectMask of an (H, W) bool array, made by hand."""
    x, y, width, height = cv2.boundingRect(array.astype(np.uint8))
    crop = array[y : y + height, x : x + width].astype(np.uint8) * 255
    return ObjectMask(
        header=header(at_ms),
        object_id=object_id,
        score=score,
        roi=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        mask=image_message(crop, "mono8", header(at_ms)),
    )


class Rig:
    """A sam_grasp node, a camera and a robot that publish for it, and listeners on all that it says."""

    def __init__(self, run_node, client, sample, outputs=OUTPUTS, **parameters):
        self.client, self.scene = client, sample
        self.node = run_node(SamGraspNode, **parameters)
        self.node.warn.__self__._period_s = 3600.0  # a slow machine sees the same warnings
        wait_until(lambda: self.node.state == "active", "the active state")
        self.inbox = {name: client.listen(OUTPUTS[name], f"/sam_grasp/{name}") for name in outputs}
        for name in outputs:
            topic = f"/sam_grasp/{name}"
            wait_until(lambda topic=topic: self.node.count_subscribers(topic), topic)
        self.publish = {
            name: client.publisher(kind, name)
            for name, kind in {
                "image": Image,
                "depth": Image,
                "camera_info": CameraInfo,
                "objects": ObjectMaskArray,
                "/clicked_point": PointStamped,
            }.items()
        }
        self.static_tf = StaticTransformBroadcaster(client.node)
        self.tf = TransformBroadcaster(client.node)

    def image(self, at_ms, color=None, encoding="rgb8"):
        color = self.scene.frame.color if color is None else color
        self.publish["image"].publish(image_message(color, encoding, header(at_ms)))

    def depth(self, at_ms, depth=None, encoding="16UC1", frame_id=OPTICAL):
        depth = self.scene.frame.depth if depth is None else depth
        self.publish["depth"].publish(image_message(depth, encoding, header(at_ms, frame_id)))

    def info(self, at_ms=0, size=(640, 480), **fields):
        camera = self.scene.frame.intrinsics
        k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
        fields = {"distortion_model": "plumb_bob", "d": [0.0] * 5, **fields}
        info = CameraInfo(header=header(at_ms), width=size[0], height=size[1], k=k, **fields)
        self.publish["camera_info"].publish(info)

    def frame(self, at_ms):
        self.info(at_ms)
        self.image(at_ms)
        self.depth(at_ms)

    def wait_for_frame(self, at_ms):
        """Until the node has all of a frame."""
        frames, stamp = self.node._frames, header(at_ms).stamp
        wait_until(lambda: frames._intrinsics and frames._intrinsics.size == (480, 640), "the camera_info")
        wait_until(lambda: frames._find(stamp.sec * 1_000_000_000 + stamp.nanosec), "the frame")

    def objects(self, at_ms, *names, masks=None, size=(480, 640)):
        if masks is None:
            masks = self.true_masks(at_ms, *names)
        self.publish["objects"].publish(
            ObjectMaskArray(header=header(at_ms), image_height=size[0], image_width=size[1], objects=masks)
        )

    def true_masks(self, at_ms, *names):
        described = [self.scene.named(name) for name in names]
        return [object_mask(self.scene.truth(each), each["id"], at_ms) for each in described]

    def transform(self, parent, child, parent_T_child, at_ms=0):
        rotation, _ = cv2.Rodrigues(parent_T_child[:3, :3])
        angle = float(np.linalg.norm(rotation))
        x, y, z = rotation[:, 0] / angle * np.sin(angle / 2) if angle else (0.0, 0.0, 0.0)
        return TransformStamped(
            header=header(at_ms, parent),
            child_frame_id=child,
            transform=Transform(
                translation=Vector3(**dict(zip("xyz", map(float, parent_T_child[:3, 3]), strict=True))),
                rotation=Quaternion(x=float(x), y=float(y), z=float(z), w=float(np.cos(angle / 2))),
            ),
        )

    def table(self):
        """Say where the camera stands, as calibration would: the camera in the table's frame."""
        self.static_tf.sendTransform(self.transform("table", OPTICAL, table_T_camera(self.scene)))

    def centroid(self, at_ms):
        """(3,) of the one object that came out with this stamp."""
        message = self.wait("centroids", at_ms)
        (pose,) = message.poses
        return np.array([pose.position.x, pose.position.y, pose.position.z])

    def wait(self, name, at_ms):
        stamp = header(at_ms).stamp
        return self.inbox[name].wait(
            lambda message: (message.markers[0] if name == "markers" else message).header.stamp == stamp
        )


def camera_T_table(scene):
    return np.array(json.loads((SAMPLE_DIRECTORY / "camera.json").read_text())["camera_T_table"])


def table_T_camera(scene):
    return np.linalg.inv(camera_T_table(scene))


def in_table(scene, point):
    return (table_T_camera(scene) @ [*point, 1])[:3]


@pytest.fixture
def rig(run_node, client, sample):
    return lambda **options: Rig(run_node, client, sample, **options)


class TestMetres:
    def test_objects_lie_on_the_table_where_the_renderer_put_them(self, rig, sample):
        rig = rig(target_frame="table")
        rig.table()
        rig.frame(0)
        names = ["cracker box", "soup can", "mug"]
        names = [each["name"] for each in sample.objects if each["name"] in names] or names[:2]
        rig.objects(0, *names)
        boxes, centroids = rig.wait("boxes", 0), rig.wait("centroids", 0)
        assert boxes.header.frame_id == centroids.header.frame_id == "table"
        assert len(boxes.detections) == len(centroids.poses) == len(names)
        for name, detection, pose in zip(names, boxes.detections, centroids.poses, strict=True):
            described = sample.named(name)
            found = np.array([pose.position.x, pose.position.y, pose.position.z])
            assert np.linalg.norm(found - in_table(sample, described["visible_centroid_m"])) < NEAR_M
            assert detection.id == str(described["id"]) and detection.header.frame_id == "table"
            # Upright on the table: no tilt, the bottom at height 0, the middle within reach of the true one.
            q = detection.bbox.center.orientation
            assert abs(1 - 2 * (q.x**2 + q.y**2)) > 0.999
            assert abs(detection.bbox.center.position.z - detection.bbox.size.z / 2) < 0.005
            middle = detection.bbox.center.position
            assert np.linalg.norm([middle.x, middle.y, middle.z] - in_table(sample, described["position_m"])) < 0.04

    def test_the_cloud_is_the_objects_surface_with_its_colours_and_ids(self, rig, sample):
        rig = rig(target_frame="table")
        rig.table()
        rig.frame(0)
        rig.objects(0, "cracker box", "soup can")
        cloud = rig.wait("cloud", 0)
        assert cloud.header.frame_id == "table"
        points = np.frombuffer(bytes(cloud.data), [("xyz", "<f4", 3), ("bgr", "u1", 3), ("_", "u1"), ("id", "<u4")])
        for name in ("cracker box", "soup can"):
            described = sample.named(name)
            of_it = points[points["id"] == described["id"]]
            assert 0.7 * described["area"] < len(of_it) <= described["area"]
            assert np.linalg.norm(of_it["xyz"].mean(0) - in_table(sample, described["visible_centroid_m"])) < NEAR_M
            expected = sample.frame.color[sample.truth(described)].mean(0)
            np.testing.assert_allclose(of_it["bgr"][:, ::-1].mean(0), expected, atol=8)

    def test_bgr_images_float_depth_and_a_lens_without_a_model_give_the_same(self, rig, sample):
        rig = rig()
        rig.info(0)
        rig.image(0)
        rig.depth(0)
        rig.objects(0, "soup can")
        first = rig.wait("cloud", 0)
        metres = np.where(sample.frame.depth > 0, sample.frame.depth_m, np.float32(np.nan))
        rig.info(33, distortion_model="", d=[])
        rig.image(33, sample.frame.color[..., ::-1], "bgr8")
        rig.depth(33, metres, "32FC1")
        rig.objects(33, "soup can")
        second = rig.wait("cloud", 33)
        assert first.width == second.width
        one, two = (np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, 5) for cloud in (first, second))
        np.testing.assert_allclose(one[:, :3], two[:, :3], atol=1e-6)
        np.testing.assert_array_equal(one[:, 3:].view(np.uint32), two[:, 3:].view(np.uint32))

    def test_without_a_target_frame_results_are_in_the_optical_frame(self, rig, sample):
        rig = rig()
        rig.frame(0)
        rig.objects(0, "soup can")
        assert rig.wait("markers", 0).markers[1].header.frame_id == OPTICAL
        assert np.linalg.norm(rig.centroid(0) - sample.named("soup can")["visible_centroid_m"]) < NEAR_M

    def test_the_transform_is_that_of_the_images_stamp_and_not_the_latest(self, rig, sample):
        rig = rig(target_frame="base")
        poses = {}
        for at_ms in (0, 100, 200):  # a robot that drives 1 m/s along its x
            poses[at_ms] = np.eye(4)
            poses[at_ms][0, 3] = at_ms / 1000
            rig.tf.sendTransform(rig.transform("base", OPTICAL, poses[at_ms], at_ms))
        expected = np.array(sample.named("soup can")["visible_centroid_m"])
        rig.frame(50)
        rig.objects(50, "soup can")
        assert np.linalg.norm(rig.centroid(50) - expected - [0.05, 0, 0]) < NEAR_M
        rig.frame(150)
        rig.objects(150, "soup can")
        assert np.linalg.norm(rig.centroid(150) - expected - [0.15, 0, 0]) < NEAR_M

    def test_of_several_candidates_of_one_prompt_the_best_counts(self, rig, sample):
        rig = rig()
        rig.frame(0)
        whole, part = sample.truth(sample.named("cracker box")), sample.truth(sample.named("soup can"))
        rig.objects(0, masks=[object_mask(whole, 7, score=0.9), object_mask(part, 7, score=0.5)])
        assert np.linalg.norm(rig.centroid(0) - sample.named("cracker box")["visible_centroid_m"]) < NEAR_M

    def test_frames_of_tf_are_published_when_asked_for(self, rig, client, sample):
        frames = client.listen(TFMessage, "/tf")
        rig = rig(outputs=(), publish_tf=True)
        rig.frame(0)
        rig.objects(0, "soup can")
        found = frames.wait(
            lambda message: message.transforms[0].child_frame_id == f"object_{sample.named('soup can')['id']}"
        )
        assert found.transforms[0].header == header(0)
        translation = found.transforms[0].transform.translation
        position = sample.named("soup can")["position_m"]
        assert np.linalg.norm(np.array([translation.x, translation.y, translation.z]) - position) < 0.04


class TestLateInput:
    """Each of these comes only after the objects."""

    def test_depth(self, rig):
        rig = rig(input_timeout_s=10.0)
        rig.info(0)
        rig.image(0)
        rig.objects(0, "soup can")
        threading.Timer(0.1, rig.depth, [0]).start()
        rig.centroid(0)

    def test_camera_info(self, rig):
        rig = rig(input_timeout_s=10.0)
        rig.image(0)
        rig.depth(0)
        rig.objects(0, "soup can")
        threading.Timer(0.1, rig.info, [0]).start()
        rig.centroid(0)

    def test_tf(self, rig):
        rig = rig(target_frame="table", tf_timeout_s=10.0)
        rig.frame(0)
        rig.objects(0, "soup can")
        threading.Timer(0.1, rig.table).start()
        assert rig.wait("centroids", 0).header.frame_id == "table"

    def test_tf_that_is_only_of_earlier_stamps_is_waited_for(self, rig, sample):
        rig = rig(target_frame="base", tf_timeout_s=10.0)
        rig.tf.sendTransform(rig.transform("base", OPTICAL, np.eye(4), 0))
        rig.frame(100)
        rig.objects(100, "soup can")
        moved = np.eye(4)
        moved[2, 3] = 1.0
        threading.Timer(0.1, lambda: rig.tf.sendTransform(rig.transform("base", OPTICAL, moved, 200))).start()
        expected = np.add(sample.named("soup can")["visible_centroid_m"], [0, 0, 0.5])
        assert np.linalg.norm(rig.centroid(100) - expected) < NEAR_M


class TestWhatIsWrongIsNamed:
    """Every fault gives a warning that names it; then a whole frame is answered as ever."""

    @pytest.fixture
    def rig(self, rig):
        made = rig(input_timeout_s=0.1, tf_timeout_s=0.1)
        yield made
        made.frame(900)
        made.wait_for_frame(900)
        made.objects(900, "soup can")
        made.centroid(900)

    def test_camera_info_of_another_size(self, rig, wait_for_text):
        rig.frame(0)
        rig.wait_for_frame(0)
        rig.info(0, size=(1280, 720))
        wait_until(lambda: rig.node._frames._intrinsics.width == 1280, "the camera_info")
        rig.objects(0, "soup can")
        wait_for_text("camera_info is of 1280x720, the image of 640x480")

    def test_depth_of_another_frame(self, rig, wait_for_text):
        rig.info(0)
        rig.image(0)
        wait_until(lambda: rig.node._frames._intrinsics and rig.node._frames._matcher._newest_color, "the image")
        rig.depth(0, frame_id="camera_depth_optical_frame")
        wait_for_text("depth in frame 'camera_depth_optical_frame' is left out")
        rig.objects(0, "soup can")
        wait_for_text("can become metres: no depth that fits the image has arrived")

    def test_depth_of_another_size(self, rig, wait_for_text):
        rig.image(0)
        wait_until(lambda: rig.node._frames._matcher._newest_color is not None, "the image")
        rig.depth(0, np.zeros((240, 320), np.uint16))
        wait_for_text("depth of 320x240 is left out: the image has 640x480")

    def test_no_input_at_all(self, rig, wait_for_text):
        rig.objects(0, "soup can")
        wait_for_text("no camera_info has arrived and no depth that fits the image has arrived")

    def test_depth_that_is_lost(self, rig, wait_for_text):
        rig.frame(0)
        rig.wait_for_frame(0)
        rig.image(33)
        rig.objects(33, "soup can")
        wait_for_text("the newest is of 1714652389.000000000, 0.033 s earlier")

    def test_an_image_that_is_lost_costs_only_the_colours(self, rig, wait_for_text):
        rig.info(0)
        rig.depth(0)
        wait_until(lambda: rig.node._frames._intrinsics and rig.node._frames._matcher._depths, "the depth")
        rig.objects(0, "soup can")
        rig.centroid(0)
        wait_for_text("the points are grey")

    def test_an_unknown_distortion_model(self, rig, wait_for_text):
        rig.info(0, distortion_model="equidistant", d=[0.1] * 4)
        wait_for_text("camera_info.distortion_model: expected one of")

    def test_a_mask_that_leaves_the_image_costs_only_itself(self, rig, sample, wait_for_text):
        rig.frame(0)
        rig.wait_for_frame(0)
        good = object_mask(sample.truth(sample.named("soup can")), 2)
        bad = object_mask(sample.truth(sample.named("cracker box")), 3)
        bad.roi.x_offset = 600
        rig.objects(0, masks=[bad, good])
        rig.centroid(0)
        wait_for_text("object 3 is left out: Mask.crop: expected a crop inside the 640x480 image")

    def test_a_mask_whose_data_is_missing(self, rig, sample, wait_for_text):
        rig.frame(0)
        rig.wait_for_frame(0)
        bad = object_mask(sample.truth(sample.named("soup can")), 3)
        bad.mask.data = bad.mask.data[:10]
        rig.objects(0, masks=[bad])
        wait_for_text("object 3 is left out: mask.data")
        assert [marker.action for marker in rig.wait("markers", 0).markers] == [Marker.DELETEALL]

    def test_objects_of_an_image_of_another_size(self, rig, wait_for_text):
        rig.frame(0)
        rig.wait_for_frame(0)
        rig.objects(0, "soup can", size=(720, 1280))
        wait_for_text("Mask.image_size")

    @pytest.mark.parametrize(("encoding", "nothing"), [("16UC1", np.uint16(0)), ("32FC1", np.float32(np.nan))])
    def test_no_depth_on_the_object(self, rig, wait_for_text, encoding, nothing):
        rig.info(0)
        rig.image(0)
        rig.depth(0, np.full((480, 640), nothing), encoding)
        rig.wait_for_frame(0)
        rig.objects(0, "soup can")
        wait_for_text("has no place in space: 0 points are left")
        assert rig.wait("boxes", 0).detections == [] and rig.wait("cloud", 0).width == 0

    def test_an_image_of_an_encoding_that_nobody_knows(self, rig, wait_for_text):
        rig.publish["image"].publish(Image(header=header(0), height=2, width=2, encoding="yuyv", step=4))
        wait_for_text("an image is left out: image.encoding")

    def test_depth_of_an_encoding_that_is_none(self, rig, wait_for_text):
        rig.publish["depth"].publish(Image(header=header(0), height=2, width=2, encoding="rgb8", step=6))
        wait_for_text("a depth image is left out: depth.encoding")

    def test_a_stamp_before_zero(self, rig, wait_for_text):
        message = image_message(np.zeros((2, 2, 3), np.uint8), "rgb8", Header(stamp=Time(sec=-5), frame_id=OPTICAL))
        rig.publish["image"].publish(message)
        wait_for_text("an image is left out: stamp")


def test_a_missing_transform_is_named_and_nothing_is_published_in_a_wrong_frame(rig, wait_for_text):
    rig = rig(target_frame="table", tf_timeout_s=0.1)
    rig.frame(0)
    rig.objects(0, "soup can")
    wait_for_text(f"no transform from '{OPTICAL}' to 'table' at 1714652389.000000000 within 0.1 s")
    rig.table()
    wait_until(lambda: rig.node._tf.can_transform("table", OPTICAL, RosTime()), "the transform")
    rig.frame(33)
    rig.objects(33, "soup can")
    rig.centroid(33)
    assert [message.header.frame_id for message in rig.inbox["centroids"].messages] == ["table"]


def test_what_goes_wrong_at_every_frame_is_said_once(rig, wait_for_text):
    rig = rig(input_timeout_s=0.0)
    for at_ms in range(0, 500, 50):
        rig.objects(at_ms, "soup can")
    wait_for_text("can become metres")
    rig.frame(600)
    rig.wait_for_frame(600)
    rig.objects(600, "soup can")
    rig.centroid(600)
    rig.node.get_logger().info("the end")
    assert wait_for_text("the end").count("can become metres") == 1


def test_an_empty_answer_takes_everything_away(rig, sample):
    rig = rig(target_frame="table")
    rig.objects(0)  # needs neither images nor TF
    assert [marker.action for marker in rig.wait("markers", 0).markers] == [Marker.DELETEALL]
    assert rig.wait("boxes", 0).detections == [] and rig.wait("centroids", 0).poses == []
    cloud = rig.wait("cloud", 0)
    assert (cloud.width, cloud.header.frame_id) == (0, "table")


def test_nothing_is_computed_for_nobody(rig, client, monkeypatch):
    measured = []

    def measure(frame, *others, **options):
        measured.append(frame.stamp_ns % 1_000_000_000)
        return original(frame, *others, **options)

    original = measured_objects.measure_object
    monkeypatch.setattr(measured_objects, "measure_object", measure)
    rig = rig(outputs=())
    rig.frame(0)
    rig.wait_for_frame(0)
    masks = rig.true_masks(0, "soup can")
    rig.node._answer(ObjectMaskArray(header=header(0), image_height=480, image_width=640, objects=masks))
    centroids = client.listen(PoseArray, "/sam_grasp/centroids")
    wait_until(rig.node._outputs._centroids.get_subscription_count, "the listener")
    rig.frame(33)
    rig.objects(33, "soup can")
    centroids.wait()
    assert measured == [33_000_000]


def test_newer_objects_do_not_end_the_wait_for_late_depth(rig, monkeypatch):
    """Else a camera whose depth lags behind the objects of every frame would never get an answer."""
    arrived, begun = [], []

    class Jobs(sam_grasp_node.BackgroundJobs):
        def submit_latest(self, job):
            super().submit_latest(lambda: begun.append(job) or job())
            arrived.append(job)

    monkeypatch.setattr(sam_grasp_node, "BackgroundJobs", Jobs)
    rig = rig(input_timeout_s=10.0)
    rig.info(0)
    rig.image(0)
    rig.objects(0, "soup can")
    wait_until(lambda: begun, "the first objects")
    rig.objects(33, "soup can")
    rig.objects(66, "soup can")
    wait_until(lambda: len(arrived) == 3, "newer objects")
    rig.depth(0)
    rig.centroid(0)
    rig.image(66)
    rig.depth(66)
    rig.centroid(66)
    assert len(begun) == 2  # those in between are skipped


def test_parameters_change_while_it_runs(rig):
    rig = rig()
    rig.table()
    rig.frame(0)
    rig.objects(0, "soup can")
    assert rig.wait("centroids", 0).header.frame_id == OPTICAL
    assert rig.node.set_parameters([Parameter("target_frame", value="table")])[0].successful
    rig.frame(33)
    rig.objects(33, "soup can")
    assert rig.wait("centroids", 33).header.frame_id == "table"
    assert not rig.node.set_parameters([Parameter("history_seconds", value=1.0)])[0].successful


def test_deactivating_lets_go_and_activating_begins_anew(rig, client):
    rig = rig()
    rig.frame(0)
    rig.objects(0, "soup can")
    rig.centroid(0)
    rig.node.trigger_deactivate()
    wait_until(lambda: not client.node.count_subscribers("/objects"), "the end of the subscription")
    assert rig.node._frames.newest is None
    rig.node.trigger_cleanup()
    rig.node.trigger_configure()
    rig.node.trigger_activate()
    for name in ("image", "depth", "camera_info", "objects"):
        wait_until(rig.publish[name].get_subscription_count, name)
    wait_until(rig.node._outputs._centroids.get_subscription_count, "the listener")
    rig.frame(33)
    rig.objects(33, "soup can")
    rig.centroid(33)


class PlannerFromAbove:
    """Two grasps straight down on the middle of an object's box; of tall objects none."""

    name = "from above"

    def __init__(self):
        self.scenes = []

    def plan(self, scene, gripper, max_candidates):
        self.scenes.append(scene)
        if scene.box.size[2] > 0.15:
            return GraspPlan((), ("no safe grasp: it is too tall",))
        x_axis = scene.box.rotation[:, 0]
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x_axis, np.cross(-scene.lift, x_axis), -scene.lift], axis=1)
        pose[:3, 3] = scene.box.center
        found = [GraspCandidate(pose, gripper.max_opening_m, quality, 0.1, self.name) for quality in (0.8, 0.4)]
        return GraspPlan(tuple(found[:max_candidates]))


@pytest.fixture
def planner(monkeypatch):
    made = PlannerFromAbove()
    monkeypatch.setitem(PLANNERS, "centroid", lambda: made)
    return made


def check_from_above(candidate, sample, name, frame_id="table"):
    """Straight down on the table, in the middle of the object."""
    assert candidate.header.frame_id == frame_id
    assert candidate.object_id == sample.named(name)["id"]
    at, approach = candidate.pose.position, candidate.approach
    middle = in_table(sample, sample.named(name)["position_m"])
    assert np.linalg.norm([at.x - middle[0], at.y - middle[1]]) < 0.03
    np.testing.assert_allclose([approach.x, approach.y, approach.z], [0, 0, -1], atol=0.03)
    assert 0 < candidate.quality <= 1 and candidate.width > 0 and candidate.pregrasp_distance > 0


class TestGrasps:
    @pytest.fixture
    def rig(self, rig, planner):
        made = rig(outputs=("grasps", "markers"), target_frame="table", planner="centroid", tf_timeout_s=10.0)
        made.table()
        return made

    def test_are_planned_for_those_who_listen_best_first_in_the_target_frame(self, rig, sample):
        rig.frame(0)
        rig.objects(0, "soup can", "teal bowl")
        message = rig.wait("grasps", 0)
        assert message.header == header(0, "table")
        assert [each.quality for each in message.candidates] == pytest.approx([0.8, 0.8, 0.4, 0.4])
        names = {sample.named(name)["id"]: name for name in ("soup can", "teal bowl")}
        assert {each.object_id for each in message.candidates} == set(names)
        for candidate in message.candidates:
            check_from_above(candidate, sample, names[candidate.object_id])

    def test_are_shown_as_grippers(self, rig):
        rig.frame(0)
        rig.objects(0, "soup can")
        shown = [marker.ns for marker in rig.wait("markers", 0).markers]
        assert shown == ["", "boxes", "centroids", "grippers", "pregrasp", "retreat", "grippers"]

    def test_an_object_without_one_is_named_with_the_reason(self, rig, wait_for_text):
        rig.frame(0)
        rig.objects(0, "cracker box")
        assert rig.wait("grasps", 0).candidates == []
        wait_for_text("no safe grasp: it is too tall")
        assert [marker.ns for marker in rig.wait("markers", 0).markers] == ["", "boxes", "centroids"]

    def test_an_answer_without_objects_empties_them(self, rig):
        rig.objects(0)
        assert rig.wait("grasps", 0).candidates == []

    @pytest.mark.parametrize("kind", [InvalidInputError, ZeroDivisionError])
    def test_a_planner_that_fails_costs_only_the_grasps(self, rig, planner, wait_for_text, monkeypatch, kind):
        def plan(*arguments):
            raise kind("the weights are not there")

        monkeypatch.setattr(planner, "plan", plan)
        rig.frame(0)
        rig.objects(0, "soup can")
        assert len(rig.wait("markers", 0).markers) == 3
        assert "the weights are not there" in wait_for_text("no grasps are planned: ")


def test_nothing_is_planned_for_nobody(rig, planner):
    rig = rig(outputs=("markers", "boxes"), planner="centroid", shown_grasps=0)
    rig.frame(0)
    rig.objects(0, "soup can")
    rig.wait("markers", 0)
    assert planner.scenes == []
    assert rig.node.set_parameters([Parameter("shown_grasps", value=1)])[0].successful
    rig.frame(33)
    rig.objects(33, "soup can")
    assert "grippers" in [marker.ns for marker in rig.wait("markers", 33).markers]
    assert len(planner.scenes) == 1


class TestPlanGrasps:
    """On what was segmented before, with nobody listening to anything."""

    @pytest.fixture
    def rig(self, rig, planner):
        made = rig(outputs=(), target_frame="table", planner="centroid", tf_timeout_s=10.0, history_seconds=0.5)
        made.table()
        return made

    def segmented(self, rig, *names):
        rig.frame(0)
        rig.wait_for_frame(0)
        rig.objects(0, *names)
        wait_until(lambda: rig.node._latest.held_frame(rig.node._latest.newest) is not None, "the objects")

    def ask(self, client, *ids, **fields):
        return client.call(PlanGrasps, "/sam_grasp/plan_grasps", object_ids=ids, **fields)

    def test_all_objects_or_those_that_are_named(self, rig, client, sample):
        self.segmented(rig, "soup can", "teal bowl")
        can, bowl = (sample.named(name)["id"] for name in ("soup can", "teal bowl"))
        answer = self.ask(client)
        assert answer.success and answer.grasps.header == header(0, "table")
        assert [each.object_id for each in answer.grasps.candidates] in ([can, bowl] * 2, [can, bowl, can, bowl])
        answer = self.ask(client, bowl)
        assert [each.object_id for each in answer.grasps.candidates] == [bowl, bowl]
        check_from_above(answer.grasps.candidates[0], sample, "teal bowl")
        assert len(self.ask(client, max_candidates=1).grasps.candidates) == 1

    def test_the_frame_is_kept_longer_than_the_history(self, rig, client):
        self.segmented(rig, "soup can")
        rig.frame(5000)
        rig.wait_for_frame(5000)
        answer = self.ask(client)
        assert answer.success and answer.grasps.header.stamp == header(0).stamp

    def test_an_object_is_planned_once_however_often_it_is_asked_for(self, rig, client, planner):
        self.segmented(rig, "soup can")
        assert self.ask(client) == self.ask(client)
        assert len(planner.scenes) == 1
        assert rig.node.set_parameters([Parameter("gripper", value="generic")])[0].successful
        assert self.ask(client).grasps.candidates[0].width == pytest.approx(0.1)
        assert len(planner.scenes) == 2

    def test_before_anything_is_segmented_it_says_what_to_do(self, rig, client):
        answer = self.ask(client)
        assert not answer.success and "no objects are known: segment some first" in answer.message
        assert "/sam/segment_points" in answer.message

    def test_an_id_that_nobody_knows_is_named(self, rig, client, sample):
        self.segmented(rig, "soup can")
        answer = self.ask(client, 99)
        assert not answer.success and not answer.grasps.candidates
        assert (
            answer.message
            == f"object_ids: expected ids of the newest answer ({sample.named('soup can')['id']}), got [99]"
        )

    def test_no_grasp_has_a_reason_for_each_object(self, rig, client, sample):
        self.segmented(rig, "cracker box", "soup can")
        box = sample.named("cracker box")["id"]
        answer = self.ask(client, box)
        assert not answer.success and "no safe grasp: it is too tall" in answer.message
        answer = self.ask(client)
        assert answer.success and f"object {box}: no safe grasp" in answer.message

    def test_poor_grasps_are_not_handed_out(self, rig, client):
        self.segmented(rig, "soup can")
        assert rig.node.set_parameters([Parameter("least_quality", value=0.5)])[0].successful
        assert [each.quality for each in self.ask(client).grasps.candidates] == pytest.approx([0.8])
        assert rig.node.set_parameters([Parameter("least_quality", value=0.9)])[0].successful
        answer = self.ask(client)
        assert not answer.success and not answer.grasps.candidates
        assert "no safe grasp: the best has quality 0.80, less than 0.9" in answer.message

    def test_without_tf_it_says_so(self, rig, client):
        self.segmented(rig, "soup can")
        assert rig.node.set_parameters([Parameter("target_frame", value="moon"), Parameter("tf_timeout_s", value=0.0)])
        answer = self.ask(client)
        assert not answer.success and f"no transform from '{OPTICAL}' to 'moon'" in answer.message

    def test_a_node_that_is_not_active_says_how_to_make_it_so(self, rig, client):
        rig.node.trigger_deactivate()
        answer = self.ask(client)
        assert not answer.success and "`ros2 lifecycle set /sam_grasp activate`" in answer.message


class TestGraspAt:
    @pytest.fixture
    def sam(self, client, sample):
        """The service of sam: answers on the frame that is asked for, or of 0 ms, once it may; keeps the requests."""

        class Sam:
            requests, may_answer, name = [], threading.Event(), "soup can"

        def answer(request, response):
            Sam.requests.append(request)
            Sam.may_answer.wait(SOON)
            (point,) = request.prompts[0].points
            response.success = 0 <= point.x < 640
            response.message = "" if response.success else "prompts[0].points[0]: expected x within the image"
            described = sample.named(Sam.name)
            masks = [object_mask(sample.truth(described), described["id"])]
            response.result = ObjectMaskArray(header=header(0), image_height=480, image_width=640, objects=masks)
            return response

        Sam.requests, Sam.may_answer, Sam.name = [], threading.Event(), "soup can"
        Sam.may_answer.set()
        group = ReentrantCallbackGroup()
        service = client.node.create_service(Segment, "/sam/segment", answer, callback_group=group)
        yield Sam
        Sam.may_answer.set()
        client.node.destroy_service(service)

    @pytest.fixture
    def rig(self, rig, planner, sam):
        made = rig(outputs=(), target_frame="table", planner="centroid", tf_timeout_s=10.0)
        made.table()
        made.frame(0)
        made.wait_for_frame(0)
        wait_until(made.node._segment.service_is_ready, "the service of sam")
        return made

    def ask(self, client, x=320.0, y=200.0, **fields):
        return client.call(GraspAt, "/sam_grasp/grasp_at", x=x, y=y, **fields)

    def test_one_pixel_becomes_grasps_in_one_call(self, rig, client, sample, sam):
        answer = self.ask(client, x=321.5, y=200.25, stamp=header(0).stamp)
        assert answer.success and answer.message == ""
        check_from_above(answer.grasps.candidates[0], sample, "soup can")
        assert answer.grasps.header == header(0, "table") and len(answer.grasps.candidates) == 2
        (request,) = sam.requests
        (prompt,) = request.prompts
        assert request.stamp == header(0).stamp
        assert ([(point.x, point.y) for point in prompt.points], list(prompt.point_labels)) == ([(321.5, 200.25)], [1])
        assert len(self.ask(client, max_candidates=1).grasps.candidates) == 1
        assert client.call(PlanGrasps, "/sam_grasp/plan_grasps").success  # the object is known from then on

    def test_no_safe_grasp_comes_with_the_reason(self, rig, client, sam):
        sam.name = "cracker box"
        answer = self.ask(client)
        assert not answer.success and answer.message.startswith("no safe grasp: it is too tall")

    def test_what_sam_refuses_is_told_in_the_callers_words(self, rig, client):
        answer = self.ask(client, x=5000.0)
        assert (answer.success, answer.message) == (False, "x, y: expected x within the image")

    def test_a_pixel_that_is_no_number_is_refused_before_anybody_is_asked(self, rig, client, sam):
        answer = self.ask(client, x=float("nan"))
        assert not answer.success and "x, y: expected finite pixels" in answer.message
        assert sam.requests == []

    def test_a_frame_that_is_not_held_is_named_before_anybody_is_asked(self, rig, client, sam):
        answer = self.ask(client, stamp=header(-1000).stamp)
        assert not answer.success and "can become metres" in answer.message
        rig.node._frames.close()
        answer = self.ask(client)
        assert not answer.success and "no image with depth and camera_info has arrived" in answer.message
        assert sam.requests == []

    def test_the_frame_is_the_newest_of_the_request_however_long_sam_takes(self, rig, client, sam):
        """A large model's first image takes longer on a CPU than frames are held."""
        sam.may_answer.clear()
        future = client.call_async(GraspAt, "/sam_grasp/grasp_at", GraspAt.Request(x=320.0, y=200.0))
        wait_until(lambda: sam.requests, "the request")
        rig.frame(60_000)
        rig.wait_for_frame(60_000)
        sam.may_answer.set()
        answer = answer_of(future, "grasp_at")
        assert answer.success, answer.message
        assert sam.requests[0].stamp == answer.grasps.header.stamp == header(0).stamp

    def test_a_sam_that_is_silent_is_not_waited_for_for_ever(self, rig, client, sam):
        assert rig.node.set_parameters([Parameter("segment_timeout_s", value=0.1)])[0].successful
        sam.may_answer.clear()
        answer = self.ask(client)
        assert not answer.success and "/sam/segment did not answer within 0.1 s" in answer.message
        sam.may_answer.set()
        assert rig.node.set_parameters([Parameter("segment_timeout_s", value=30.0)])[0].successful
        assert self.ask(client).success

    def test_many_at_once_are_all_answered_while_objects_come_in(self, rig, client, sam):
        """More than the executor has threads: one that waited in each would keep the answers out."""
        sam.may_answer.clear()
        request = GraspAt.Request(x=320.0, y=200.0)
        futures = [client.call_async(GraspAt, "/sam_grasp/grasp_at", request) for _ in range(THREADS + 4)]
        wait_until(lambda: sam.requests, "the first request")
        rig.objects(0, "teal bowl")
        wait_until(lambda: rig.node._latest.newest is not None, "objects while requests wait")
        sam.may_answer.set()
        assert all(answer_of(future, "grasp_at").success for future in futures)

    def test_deactivating_ends_the_wait(self, rig, client, sam):
        sam.may_answer.clear()
        future = client.call_async(GraspAt, "/sam_grasp/grasp_at", GraspAt.Request(x=320.0, y=200.0))
        wait_until(lambda: sam.requests, "the request")
        rig.node.trigger_deactivate()
        answer = answer_of(future, "grasp_at")
        assert not answer.success and "being deactivated" in answer.message


def test_without_sam_grasp_at_says_what_to_start(rig, client):
    rig = rig(outputs=())
    rig.frame(0)
    rig.wait_for_frame(0)
    answer = client.call(GraspAt, "/sam_grasp/grasp_at", x=1.0, y=1.0)
    assert not answer.success and "the service /sam/segment is not there: start sam" in answer.message


class TestGripperParameters:
    @pytest.mark.parametrize(
        ("name", "value", "named"),
        [
            ("gripper", "no_such_hand", "gripper: expected one of franka_hand"),
            ("planner", "luck", "planner takes one of 'antipodal'"),
            ("moveit_tcp", "0 0 0.1", "six numbers"),
        ],
    )
    def test_what_cannot_be_used_is_refused_and_the_old_value_stays(self, rig, name, value, named):
        node = rig(outputs=()).node
        before = getattr(node.parameters, name)
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert not result.successful and named in result.reason
        assert getattr(node.parameters, name) == before == node.get_parameter(name).value

    def test_ones_own_gripper_comes_from_a_file(self, rig, planner, client, tmp_path):
        own = tmp_path / "claw.yaml"
        own.write_text(
            "finger_length_m: 0.05\nfinger_width_m: 0.02\nfinger_thickness_m: 0.01\nmin_opening_m: 0.0\n"
            "max_opening_m: 0.123\npalm_size_m: [0.05, 0.1, 0.1]\ntip_m: 0.01\nfriction: 0.5\n"
        )
        rig = rig(outputs=("grasps",), planner="centroid", gripper=str(own))
        rig.frame(0)
        rig.objects(0, "soup can")
        assert rig.wait("grasps", 0).candidates[0].width == pytest.approx(0.123)

    def test_a_gripper_that_is_not_there_keeps_the_node_unconfigured(self, run_node, wait_for_text):
        node = run_node(SamGraspNode, gripper="no_such_hand")
        wait_for_text("configuring failed: gripper: expected one of franka_hand")
        assert node.state == "unconfigured"


class TestMoveIt:
    """With MoveIt's messages, which are not on every machine."""

    @pytest.fixture
    def rig(self, rig, planner):
        pytest.importorskip("moveit_msgs")
        made = rig(outputs=(), target_frame="table", planner="centroid", tf_timeout_s=10.0, moveit_joints="a b")
        made.table()
        return made

    def test_objects_and_table_go_into_the_planning_scene_and_out_again(self, rig, client, sample):
        from moveit_msgs.msg import PlanningScene

        scenes = client.listen(PlanningScene, "/sam_grasp/planning_scene")
        wait_until(lambda: rig.node.count_subscribers("/sam_grasp/planning_scene"), "the listener")
        rig.frame(0)
        rig.objects(0, "soup can")
        objects = {each.id: each for each in scenes.wait().world.collision_objects}
        can = f"object_{sample.named('soup can')['id']}"
        assert set(objects) == {can, "table"} and objects[can].header == header(0, "table")
        middle = objects[can].pose.position
        assert (
            np.linalg.norm([middle.x, middle.y, middle.z] - in_table(sample, sample.named("soup can")["position_m"]))
            < 0.04
        )
        table = objects["table"]
        assert abs(table.pose.position.z + table.primitives[0].dimensions[2] / 2) < 0.005
        rig.objects(33)
        emptied = scenes.wait(lambda message: message.world.collision_objects[0].operation == b"\x01")
        assert {each.id for each in emptied.world.collision_objects} == {can, "table"}

    def test_moveits_own_service_answers_grasps_of_an_object_by_its_name(self, rig, client, sample):
        from moveit_msgs.msg import CollisionObject, MoveItErrorCodes
        from moveit_msgs.srv import GraspPlanning

        def ask(name):
            return client.call(GraspPlanning, "/sam_grasp/moveit_grasps", target=CollisionObject(id=name))

        assert ask("").error_code.val == MoveItErrorCodes.FAILURE
        rig.frame(0)
        rig.wait_for_frame(0)
        rig.objects(0, "soup can", "cracker box")
        wait_until(lambda: rig.node._latest.newest is not None, "the objects")
        can, box = (f"object_{sample.named(name)['id']}" for name in ("soup can", "cracker box"))
        answer = ask(can)
        assert answer.error_code.val == MoveItErrorCodes.SUCCESS and len(answer.grasps) == 2
        assert answer.grasps[0].grasp_pose.header == header(0, "table")
        assert list(answer.grasps[0].grasp_posture.joint_names) == ["a", "b"]
        answer = ask(box)
        assert answer.error_code.val == MoveItErrorCodes.PLANNING_FAILED and not answer.grasps
        assert "too tall" in answer.error_code.message
        answer = ask("spoon")
        assert answer.error_code.val == MoveItErrorCodes.INVALID_OBJECT_NAME and can in answer.error_code.message


class TestClicksInRviz:
    @pytest.fixture
    def asked(self, client):
        """What the service of sam is asked; it refuses what lies left of pixel 100."""
        requests = []

        def answer(request, response):
            requests.append(request)
            response.success = request.points[0].x >= 100
            response.message = "nothing is there"
            return response

        service = client.node.create_service(SegmentPoints, "/sam/segment_points", answer)
        yield requests
        client.node.destroy_service(service)

    def click(self, rig, point, frame_id="table"):
        x, y, z = map(float, point)
        message = PointStamped(header=Header(stamp=Time(sec=1), frame_id=frame_id), point=Point(x=x, y=y, z=z))
        rig.publish["/clicked_point"].publish(message)

    def ready(self, rig):
        rig = rig(outputs=(), tf_timeout_s=10.0)
        wait_until(lambda: rig.node._segment_points.service_is_ready(), "the service")
        rig.table()
        rig.frame(0)
        wait_until(lambda: rig.node._frames.newest is not None, "a frame")
        return rig

    def test_a_point_of_the_robots_frame_becomes_a_click_on_the_newest_image(self, rig, sample, asked):
        rig = self.ready(rig)
        seen = np.array(sample.named("soup can")["visible_centroid_m"])
        self.click(rig, in_table(sample, seen))
        wait_until(lambda: asked, "the request")
        (request,) = asked
        camera = sample.frame.intrinsics
        (point,) = request.points
        assert point.x == pytest.approx(camera.fx * seen[0] / seen[2] + camera.cx, abs=1e-3)
        assert point.y == pytest.approx(camera.fy * seen[1] / seen[2] + camera.cy, abs=1e-3)
        assert request.stamp == header(0).stamp

    @pytest.mark.parametrize(
        ("point", "named"),
        [((0, 0, -1), "behind the camera"), ((5, 0, 1), "outside the image"), ((float("nan"), 0, 1), "finite metres")],
    )
    def test_what_the_image_does_not_show_is_refused(self, rig, sample, asked, wait_for_text, point, named):
        rig = self.ready(rig)
        self.click(rig, point, OPTICAL)
        wait_for_text(named)
        self.click(rig, sample.named("soup can")["visible_centroid_m"], OPTICAL)
        wait_until(lambda: asked, "the request")
        assert len(asked) == 1

    def test_an_answer_without_success_is_passed_on(self, rig, asked, wait_for_text):
        rig = self.ready(rig)
        self.click(rig, (-0.4, 0, 1), OPTICAL)
        wait_for_text("the clicked point was not segmented: nothing is there")

    def test_without_sam_without_images_and_without_tf_it_says_so(self, rig, sample, wait_for_text):
        rig = rig(outputs=(), tf_timeout_s=0.0)
        self.click(rig, (0, 0, 1), OPTICAL)
        wait_for_text("no image with depth and camera_info has arrived")
        rig.frame(0)
        wait_until(lambda: rig.node._frames.newest is not None, "a frame")
        self.click(rig, (0, 0, 1), "map")
        wait_for_text(f"no transform from 'map' to '{OPTICAL}'")
        self.click(rig, (0, 0, 1), OPTICAL)
        wait_for_text("the service /sam/segment_points is not there")


def test_what_the_sample_camera_plays_becomes_metres_on_its_table(run_node, client, sample):
    camera = "/camera/camera"
    node = run_node(
        SamGraspNode,
        remap={
            "image": f"{camera}/color/image_raw",
            "depth": f"{camera}/aligned_depth_to_color/image_raw",
            "camera_info": f"{camera}/color/camera_info",
            "objects": "/sam/objects",
        },
        target_frame="table",
    )
    images = client.listen(Image, f"{camera}/color/image_raw")
    centroids = client.listen(PoseArray, "/sam_grasp/centroids")
    objects = client.publisher(ObjectMaskArray, "/sam/objects")
    wait_until(lambda: node.state == "active" and node._outputs._centroids.get_subscription_count(), "the listener")
    run_node(SampleCameraNode, rate_hz=10.0)
    wait_until(lambda: node._frames.newest is not None, "a frame")
    images.clear()
    image = images.wait()
    described = sample.named("soup can")
    mask = object_mask(sample.truth(described), described["id"])
    objects.publish(ObjectMaskArray(header=image.header, image_height=480, image_width=640, objects=[mask]))
    (pose,) = centroids.wait().poses
    found = np.array([pose.position.x, pose.position.y, pose.position.z])
    assert np.linalg.norm(found - in_table(sample, described["visible_centroid_m"])) < NEAR_M
