"""Camera, sam and sam_grasp in processes of their own: what comes back over the wire, beside the renderer's truth."""

import array
import json
import time

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Point, PointStamped, PoseArray
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo, Point2D
from visualization_msgs.msg import MarkerArray

from harness import CAMERA, full_mask, image_message, overlap, stamp_of
from sam_perception.frame_files import SAMPLE_DIRECTORY
from sam_perception.msg import ObjectMaskArray, Prompt
from sam_perception.nodes.client import LATCHED, answer_of, wait_until
from sam_perception.srv import (
    GraspAt,
    PlanGrasps,
    Segment,
    SegmentBox,
    SegmentEverything,
    SegmentPoints,
    SegmentText,
    StopTracking,
    Track,
)

CAMERA_T_TABLE = np.array(json.loads((SAMPLE_DIRECTORY / "camera.json").read_text())["camera_T_table"])
TABLE_T_CAMERA = np.linalg.inv(CAMERA_T_TABLE)


@pytest.fixture(scope="module", autouse=True)
def system(start_for_module):
    processes = {
        "camera": start_for_module("sample_camera", rate_hz=10.0),
        "sam": start_for_module("sam"),
        "sam_grasp": start_for_module("sam_grasp", target_frame="table"),
    }
    yield processes
    for name, process in processes.items():
        assert process.is_alive(), f"{name} died:\n{process.log}"
        assert "Traceback" not in process.log, process.log


@pytest.fixture(scope="module")
def images(client, system):
    return client.listen(Image, f"{CAMERA}/color/image_raw")


def click_on(described):
    x, y = described["click"]
    return [Point2D(x=float(x), y=float(y))]


def answer_by_click(client, images, described):
    images.wait()
    answer = client.call(SegmentPoints, "/sam/segment_points", points=click_on(described))
    assert answer.success, answer.message
    return answer


def test_a_box_gives_mask_detection_label_image_cloud_box_and_centroid_of_one_object(client, images, sample):
    inboxes = {
        "objects": client.listen(ObjectMaskArray, "/sam/objects"),
        "mask": client.listen(Image, "/sam/mask"),
        "labels": client.listen(Image, "/sam/label_image"),
        "detections": client.listen(Detection2DArray, "/sam/detections"),
        "overlay": client.listen(Image, "/sam/mask_overlay"),
        "cloud": client.listen(PointCloud2, "/sam_grasp/cloud"),
        "centroids": client.listen(PoseArray, "/sam_grasp/centroids"),
        "boxes": client.listen(Detection3DArray, "/sam_grasp/boxes"),
    }
    markers = client.listen(MarkerArray, "/sam_grasp/markers")
    described = sample.objects[0]

    def ask():
        """The answer and everything that went out on the topics with it, once all listeners are known."""
        answer = client.call(SegmentBox, "/sam/segment_box", box=[float(v) for v in described["box"]])
        time.sleep(1.0)
        got = {
            name: message
            for name, inbox in inboxes.items()
            for message in inbox.messages
            if stamp_of(message) == stamp_of(answer)
        }
        return (answer, got) if answer.success and len(got) == len(inboxes) else None

    answer, got = wait_until(ask, "an answer on all topics")
    truth = sample.truth(described)
    mask = full_mask(got["objects"])
    assert overlap(mask, truth) > 0.85
    assert answer.objects[0].area_px == mask.sum()
    assert got["objects"].header.frame_id == sample.frame.frame_id
    whole = np.frombuffer(got["mask"].data, np.uint8).reshape(mask.shape)
    np.testing.assert_array_equal(whole > 0, mask)
    assert set(np.unique(whole)) == {0, 255}
    labels = np.frombuffer(got["labels"].data, np.uint8).reshape(mask.shape)
    np.testing.assert_array_equal(labels, mask * answer.objects[0].object_id)
    ys, xs = np.nonzero(mask)
    found = got["detections"].detections[0].bbox
    assert abs(found.center.position.x - (xs.min() + xs.max()) / 2) <= 1
    assert abs(found.size_y - (ys.max() - ys.min())) <= 1
    assert got["overlay"].encoding == "rgb8"

    assert {got[name].header.frame_id for name in ("cloud", "boxes", "centroids")} == {"table"}
    centroid = got["centroids"].poses[0].position
    expected = TABLE_T_CAMERA @ [*described["visible_centroid_m"], 1]
    assert np.linalg.norm([centroid.x, centroid.y, centroid.z] - expected[:3]) < 0.005
    box = got["boxes"].detections[0].bbox
    near = TABLE_T_CAMERA @ [*described["position_m"], 1]
    assert np.linalg.norm([box.center.position.x - near[0], box.center.position.y - near[1]]) < 0.04
    cloud = got["cloud"]
    assert [field.name for field in cloud.fields][:3] == ["x", "y", "z"]
    assert 0.5 * truth.sum() < cloud.width * cloud.height <= mask.sum()
    assert any(marker.ns or marker.id for marker in markers.wait().markers)


def test_every_object_of_the_scene_is_segmented_by_its_box_in_one_request(client, images, sample):
    images.wait()
    prompts = [Prompt(object_id=item["id"], box=[float(v) for v in item["box"]]) for item in sample.objects]
    answer = client.call(Segment, "/sam/segment", prompts=prompts)
    assert answer.success, answer.message
    assert [one.object_id for one in answer.result.objects] == [item["id"] for item in sample.objects]
    overlaps = [overlap(full_mask(answer.result, i), sample.truth(item)) for i, item in enumerate(sample.objects)]
    assert np.mean(overlaps) > 0.9


def test_the_second_prompt_on_a_frame_is_answered_from_its_embedding(client, images, sample):
    first = answer_by_click(client, images, sample.objects[0])
    second = client.call(
        SegmentPoints, "/sam/segment_points", stamp=first.header.stamp, points=click_on(sample.objects[1])
    )
    assert second.success, second.message
    assert second.embedding_cached
    assert stamp_of(second) == stamp_of(first)


def test_colour_order_padding_and_alpha_make_no_difference(client, sample):
    rgb = sample.frame.color
    box = [float(v) for v in sample.objects[0]["box"]]
    masks = {}
    for name, message in {
        "rgb8": image_message(rgb, "rgb8"),
        "bgr8": image_message(rgb[..., ::-1], "bgr8"),
        "padded": image_message(rgb, "rgb8", pad=32),
        "rgba8": image_message(np.dstack([rgb, np.full(rgb.shape[:2], 9, np.uint8)]), "rgba8"),
    }.items():
        answer = client.call(Segment, "/sam/segment", image=message, prompts=[Prompt(box=box)])
        assert answer.success, f"{name}: {answer.message}"
        assert (answer.result.header.frame_id, answer.result.header.stamp.sec) == ("some_camera", 12)
        masks[name] = full_mask(answer.result)
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, masks["rgb8"], err_msg=name)
    assert overlap(masks["rgb8"], sample.truth(sample.objects[0])) > 0.7


def test_a_grey_image_is_understood(client, sample):
    grey = cv2.cvtColor(sample.frame.color, cv2.COLOR_RGB2GRAY)
    box = [float(v) for v in sample.objects[0]["box"]]
    for message in (image_message(grey, "mono8"), image_message(grey.astype(np.uint16) * 257, "mono16")):
        answer = client.call(Segment, "/sam/segment", image=message, prompts=[Prompt(box=box)])
        assert answer.success, answer.message


def test_an_image_of_8_megapixels_in_the_request_is_answered(client, sample):
    large = cv2.resize(sample.frame.color, (3264, 2448))
    scale = 3264 / sample.frame.width
    item = sample.objects[0]
    answer = client.call(
        Segment,
        "/sam/segment",
        image=image_message(large, "rgb8"),
        prompts=[Prompt(box=[float(v * scale) for v in item["box"]])],
    )
    assert answer.success, answer.message
    small = full_mask(answer.result)[:: int(scale), :: int(scale)][:480, :640]
    assert small.any()


WRONG_REQUESTS = {
    "no prompt": ({"prompts": []}, "prompts"),
    "an empty prompt": ({"prompts": [Prompt()]}, "Prompt"),
    "a box of NaN": ({"prompts": [Prompt(box=[float("nan")] * 4)]}, "box"),
    "three numbers for a box": ({"prompts": [Prompt(box=[1.0, 2.0, 3.0])]}, "box"),
    "a box without area": ({"prompts": [Prompt(box=[9.0, 9.0, 9.0, 20.0])]}, "box"),
    "a point outside": ({"prompts": [Prompt(points=[Point2D(x=-5.0, y=2.0)])]}, "points"),
    "a point of NaN": ({"prompts": [Prompt(points=[Point2D(x=float("nan"), y=2.0)])]}, "points"),
    "two labels for one point": (
        {"prompts": [Prompt(points=[Point2D(x=5.0, y=2.0)], point_labels=[1, 0])]},
        "labels",
    ),
    "a label of 7": ({"prompts": [Prompt(points=[Point2D(x=5.0, y=2.0)], point_labels=[7])]}, "labels"),
    "one id twice": (
        {
            "prompts": [
                Prompt(object_id=3, box=[1.0, 1.0, 50.0, 50.0]),
                Prompt(object_id=3, box=[60.0, 60.0, 99.0, 99.0]),
            ]
        },
        "object_id",
    ),
    "text without a detector": ({"prompts": [Prompt(text="the mug")]}, "text"),
    "an encoding nobody knows": (
        {"image": image_message(np.zeros((8, 8), np.uint8), "sepia5"), "prompts": [Prompt(box=[1.0, 1.0, 5.0, 5.0])]},
        "encoding",
    ),
    "less data than rows": (
        {
            "image": Image(height=480, width=640, encoding="rgb8", step=1920, data=array.array("B", bytes(100))),
            "prompts": [Prompt(box=[1.0, 1.0, 5.0, 5.0])],
        },
        "data",
    ),
    "a step shorter than a row": (
        {
            "image": Image(height=4, width=64, encoding="rgb8", step=10, data=array.array("B", bytes(1000))),
            "prompts": [Prompt(box=[1.0, 1.0, 5.0, 5.0])],
        },
        "step",
    ),
    "a rough mask of another size": (
        {"prompts": [Prompt(mask=image_message(np.full((8, 8), 255, np.uint8), "mono8"))]},
        "mask",
    ),
}


@pytest.mark.parametrize("case", WRONG_REQUESTS)
def test_a_wrong_request_is_answered_with_the_field_at_fault(client, images, sample, case):
    fields, named = WRONG_REQUESTS[case]
    images.wait()
    answer = client.call(Segment, "/sam/segment", **fields)
    assert not answer.success
    assert named in answer.message, answer.message
    assert len(answer.result.objects) == 0
    assert answer_by_click(client, images, sample.objects[0]).success


def test_stamps_that_are_not_held_are_refused_with_those_that_are(client, images):
    stamp = images.wait().header.stamp
    for seconds in (stamp.sec + 3600, stamp.sec - 3600):
        request = SegmentPoints.Request(points=[Point2D(x=320.0, y=240.0)])
        request.stamp.sec = seconds
        answer = answer_of(client.call_async(SegmentPoints, "/sam/segment_points", request), "segment_points")
        assert not answer.success
        assert "held" in answer.message, answer.message


def test_ten_thousand_points_are_answered(client, images, sample):
    images.wait()
    ys, xs = np.nonzero(sample.truth(sample.objects[0]))
    chosen = np.random.default_rng(0).choice(len(xs), 10_000)
    points = [Point2D(x=float(xs[i]), y=float(ys[i])) for i in chosen]
    answer = client.call(SegmentPoints, "/sam/segment_points", points=points)
    assert answer.success, answer.message


@pytest.mark.parametrize(
    ("kind", "service", "fields"),
    [
        (SegmentText, "/sam/segment_text", {"text": "a mug"}),
        (SegmentEverything, "/sam/segment_everything", {}),
        (Track, "/sam/track", {}),
        (StopTracking, "/sam/stop_tracking", {}),
        (GraspAt, "/sam_grasp/grasp_at", {"x": 3.0, "y": 4.0}),
        (PlanGrasps, "/sam_grasp/plan_grasps", {}),
    ],
)
def test_what_does_not_exist_yet_says_so(client, kind, service, fields):
    answer = client.call(kind, service, **fields)
    assert not answer.success
    assert len(answer.message) > 20


def test_a_click_in_the_picture_is_a_prompt_on_the_frame_that_was_shown(client, images, sample):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    overlays = client.listen(Image, "/sam/mask_overlay")
    clicks = client.publisher(Point, "/sam/mask_overlay_mouse_left")
    item = sample.objects[0]
    shown = {stamp_of(overlays.wait())}
    x, y = item["click"]
    clicks.publish(Point(x=float(x), y=float(y)))
    answer = objects.wait()
    shown |= {stamp_of(message) for message in overlays.messages}
    assert stamp_of(answer) in shown
    assert overlap(full_mask(answer), sample.truth(item)) > 0.5


def test_a_stamped_click_is_answered_on_its_frame(client, images, sample):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    clicks = client.publisher(PointStamped, "/sam/click")
    x, y = sample.objects[0]["click"]
    clicked = []

    def answered():
        images.clear()
        clicked.append(images.wait())
        clicks.publish(PointStamped(header=clicked[-1].header, point=Point(x=float(x), y=float(y))))
        time.sleep(0.5)
        return {stamp_of(message) for message in objects.messages}

    stamps = wait_until(answered, "objects after a stamped click")
    assert stamps <= {stamp_of(frame) for frame in clicked}


def test_publish_point_of_rviz_is_a_prompt(client, images, sample):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    clicks = client.publisher(PointStamped, "/clicked_point")
    item = sample.objects[0]
    in_table = TABLE_T_CAMERA @ [*item["visible_centroid_m"], 1]
    click = PointStamped(point=Point(x=float(in_table[0]), y=float(in_table[1]), z=float(in_table[2])))
    click.header.frame_id = "table"
    clicks.publish(click)
    assert overlap(full_mask(objects.wait()), sample.truth(item)) > 0.5


def test_label_info_is_there_for_whoever_comes_late(client, images, sample):
    answer_by_click(client, images, sample.objects[0])
    info = client.listen(LabelInfo, "/sam/label_info", LATCHED).wait()
    assert [entry.class_id for entry in info.class_map]


def test_clear_empties_what_is_shown(client, images, sample):
    answer_by_click(client, images, sample.objects[0])
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    centroids = client.listen(PoseArray, "/sam_grasp/centroids")
    answer = client.call(Trigger, "/sam/clear")
    assert answer.success, answer.message
    assert len(objects.wait(lambda message: len(message.objects) == 0).objects) == 0
    centroids.wait(lambda message: len(message.poses) == 0)
