"""The simulated camera on realsense-ros's topics, with its truth: what belongs together has one stamp and fits."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from sam_perception.errors import ModelUnavailableError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.rays import project
from sam_perception.nodes.camera_messages import intrinsics_from_message
from sam_perception.nodes.client import LATCHED, wait_until
from sam_perception.nodes.sim_camera_node import SimCameraNode
from sam_perception.nodes.sim_camera_parameters import LARGEST_SEED
from sam_perception.nodes.transform_messages import matrix_from_transform
from sam_perception.sim.camera_poses import orbit_pose
from sam_perception.sim.live_scene import LiveMoment, LiveView, PlacedTruth

COLOR, DEPTH = "/camera/camera/color", "/camera/camera/aligned_depth_to_color"
TRUTH = "/camera/camera/ground_truth"
NEW_SCENE = "/camera/camera/new_scene"
CAMERA = CameraIntrinsics(64, 48, 60.0, 61.0, 31.0, 24.5)


class FlatScene:
    """A scene of one card that needs no MuJoCo: its seed is written into every picture."""

    def __init__(self, settings, seed):
        self.show(seed)

    @property
    def names(self):
        return (f"card {self.seed}",)

    def show(self, seed):
        if seed == 13:
            raise ModelUnavailableError("no scene 13")
        self.seed, self.turned = seed, 0.0

    def advance(self, seconds, motion):
        self.turned += seconds * (motion == "camera")

    def pose(self):
        return orbit_pose([0.1, 0.05, 0.0], 0.7, 30 + self.turned, 50)

    def moment(self, stamp_ns):
        table_T_card = np.eye(4)
        table_T_card[:3, 3] = 0.1, 0.05, 0.0
        card = PlacedTruth(1, self.names[0], np.array([0.2, 0.1, 0.001]), table_T_card)
        return LiveMoment(stamp_ns, CAMERA, self.pose(), (card,))

    def view(self, stamp_ns, noise):
        labels = np.zeros(CAMERA.size, np.uint8)
        labels[20:30, 25:38] = 1
        color = np.full((*CAMERA.size, 3), (self.seed % 256, 100, 7), np.uint8)
        depth = np.where(labels, 700, 0).astype(np.uint16)
        return LiveView(RgbdFrame(color, depth, CAMERA, stamp_ns, depth_scale_m=0.001), labels)

    def close(self):
        pass


def flat_camera(**options):
    return SimCameraNode(open_scene=FlatScene, **options)


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def pixels(message, dtype, channels=1):
    rows = np.frombuffer(bytes(message.data), dtype).reshape(message.height, message.width, channels)
    return rows if channels > 1 else rows[..., 0]


def frames_of(message):
    return {each.child_frame_id: (each.header.frame_id, matrix_from_transform(each.transform)) for each in message}


def test_images_truth_and_tf_of_one_frame_share_its_stamp(run_node, client):
    boxes = {
        topic: client.listen(kind, topic)
        for kind, topic in (
            (Image, f"{COLOR}/image_raw"),
            (CameraInfo, f"{COLOR}/camera_info"),
            (Image, f"{DEPTH}/image_raw"),
            (CameraInfo, f"{DEPTH}/camera_info"),
            (Image, f"{TRUTH}/labels"),
            (Detection3DArray, f"{TRUTH}/objects"),
        )
    }
    moving, static = client.listen(TFMessage, "/tf"), client.listen(TFMessage, "/tf_static", LATCHED)
    run_node(flat_camera, seed=5, camera_name="left")

    def everywhere(message):
        return all(any(stamp(each) == stamp(message) for each in box.messages) for box in boxes.values())

    color = boxes[f"{COLOR}/image_raw"].wait(everywhere)
    depth, info, aligned_info, labels, objects = (
        boxes[topic].wait(lambda message: stamp(message) == stamp(color))
        for topic in (
            f"{DEPTH}/image_raw",
            f"{COLOR}/camera_info",
            f"{DEPTH}/camera_info",
            f"{TRUTH}/labels",
            f"{TRUTH}/objects",
        )
    )
    for message in (color, depth, info, aligned_info, labels):
        assert message.header.frame_id == "left_color_optical_frame"
    assert (color.encoding, depth.encoding, labels.encoding) == ("rgb8", "16UC1", "mono8")
    assert (pixels(color, np.uint8, 3) == (5, 100, 7)).all()
    np.testing.assert_array_equal(pixels(depth, np.uint16) == 700, pixels(labels, np.uint8) == 1)
    assert (
        intrinsics_from_message(info).matrix().tolist()
        == CAMERA.matrix().tolist()
        == aligned_info.k.reshape(3, 3).tolist()
    )

    (detection,) = objects.detections
    assert (objects.header.frame_id, detection.id) == ("table", "1")
    assert detection.results[0].hypothesis.class_id == "card 5"
    size, middle = detection.bbox.size, detection.bbox.center.position
    assert (size.x, size.y, size.z) == (0.2, 0.1, 0.001)
    tf = moving.wait(lambda message: stamp(message.transforms[0]) == stamp(color)).transforms
    chain = frames_of([*tf, *static.wait(lambda message: len(message.transforms) == 4).transforms])
    table_T_optical, frame = np.eye(4), "left_color_optical_frame"
    while frame != "table":
        frame, parent_T_child = chain[frame]
        table_T_optical = parent_T_child @ table_T_optical
    np.testing.assert_allclose(table_T_optical, FlatScene(None, 5).pose(), atol=1e-9)
    # The camera looks at the middle of the card, which is where its box is.
    in_camera = np.linalg.inv(table_T_optical) @ [middle.x, middle.y, middle.z, 1]
    np.testing.assert_allclose(project(in_camera[:3], CAMERA), [CAMERA.cx, CAMERA.cy], atol=1e-6)
    # realsense-ros: the colour camera of a D435 is 15 mm to the left of camera_link.
    np.testing.assert_allclose(chain["left_color_frame"][1][:3, 3], [0, 0.015, 0], atol=1e-9)


def test_a_new_scene_is_told_counted_and_shown(run_node, client):
    colors = client.listen(Image, f"{COLOR}/image_raw")
    node = run_node(flat_camera, seed=11)
    client.wait_until_active("/camera/camera")
    answer = client.call(Trigger, NEW_SCENE)
    assert (answer.success, answer.message) == (True, "scene 12 shows card 12")
    assert node.get_parameter("seed").value == 12
    colors.wait(lambda message: message.data[0] == 12)
    answer = client.call(Trigger, NEW_SCENE)
    assert (answer.success, answer.message) == (False, "no scene 13")
    colors.clear()
    assert colors.wait().data[0] == 12
    assert node.set_parameters([Parameter("seed", value=14)])[0].successful
    colors.wait(lambda message: message.data[0] == 14)
    assert node.set_parameters([Parameter("seed", value=LARGEST_SEED)])[0].successful
    answer = client.call(Trigger, NEW_SCENE)
    assert not answer.success
    assert "seed" in answer.message
    assert str(LARGEST_SEED) in answer.message


def test_a_camera_that_moves_takes_its_frame_along(run_node, client):
    moving = client.listen(TFMessage, "/tf")
    node = run_node(flat_camera, fps=60.0)

    def place(message):
        return matrix_from_transform(message.transforms[0].transform)[:3, 3]

    first = place(moving.wait())
    moving.clear()
    assert np.array_equal(place(moving.wait()), first)
    assert node.set_parameters([Parameter("motion", value="camera")])[0].successful
    moving.wait(lambda message: np.linalg.norm(place(message) - first) > 0.001)


def test_without_mujoco_configuring_says_what_to_install_and_a_later_try_may_succeed(run_node, client, wait_for_text):
    def open_scene(settings, seed):
        if missing:
            raise ModelUnavailableError("MuJoCo is not installed: pip install 'sam-perception[sim]'")
        opened.append(settings)
        return FlatScene(settings, seed)

    missing, opened = True, []
    node = run_node(lambda **options: SimCameraNode(open_scene=open_scene, **options), width=320, split="train")
    wait_for_text("pip install 'sam-perception[sim]'")
    assert node.state == "unconfigured"
    answer = client.call(Trigger, NEW_SCENE)
    assert not answer.success
    assert "configure it" in answer.message
    missing = False
    colors = client.listen(Image, f"{COLOR}/image_raw")
    node.trigger_configure()
    node.trigger_activate()
    assert colors.wait().width == 64
    assert [(settings.width, settings.split.value) for settings in opened] == [(320, "train")]


def test_a_real_scene_comes_again_after_the_node_was_cleaned_up(run_node, client):
    """MuJoCo draws in the camera's thread; each one has to take its GL context along."""
    pytest.importorskip("mujoco")
    colors, labels = client.listen(Image, f"{COLOR}/image_raw"), client.listen(Image, f"{TRUTH}/labels")
    node = run_node(SimCameraNode, width=96, height=64, autostart=False)
    for _ in range(2):
        node.trigger_configure()
        node.trigger_activate()
        assert node.last_failure == ""
        seen = labels.wait(lambda message: any(stamp(message) == stamp(color) for color in colors.messages))
        color = colors.wait(lambda message, seen=seen: stamp(message) == stamp(seen))
        assert (color.width, color.height) == (96, 64)
        assert pixels(seen, np.uint8).max() > 0
        assert pixels(color, np.uint8, 3).std() > 5
        node.trigger_deactivate()
        node.trigger_cleanup()
        wait_until(lambda: node.state == "unconfigured", "the node to be unconfigured")
        colors.clear()
        labels.clear()
