"""The segmentation node over the wire: answers on every topic and service, and what it says to wrong input."""

import array
import gc
import threading
import weakref

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Point, PointStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray, LabelInfo, Point2D

from sam_perception.errors import CheckpointError
from sam_perception.masks import Mask, draw_overlay
from sam_perception.models.base import Embedding, SegmentationModel
from sam_perception.msg import ObjectMaskArray
from sam_perception.msg import Prompt as PromptMessage
from sam_perception.nodes import sam_node
from sam_perception.nodes.client import LATCHED, wait_until
from sam_perception.nodes.images import color_from_message, image_message
from sam_perception.nodes.messages import mask_from_message, stamp_message, stamp_ns
from sam_perception.nodes.sam_node import SamNode
from sam_perception.srv import (
    Segment,
    SegmentBox,
    SegmentEverything,
    SegmentPoints,
    SegmentText,
    StopTracking,
    Track,
)

SECOND = 1_000_000_000
HEIGHT, WIDTH = 48, 64


class GreyEmbedding(Embedding):
    def __init__(self, frame):
        self.frame = frame

    @property
    def nbytes(self):
        return 1


class BlockModel(SegmentationModel):
    """Answers the block of equal colour under the first point, the box, or the rough mask; counts what it does."""

    name, device, prompt_kinds = "blocks", "cpu", frozenset({"points", "box", "mask"})

    def __init__(self):
        self.encoded, self.closed = [], False
        self.may_encode, self.encoding, self.failing = threading.Event(), threading.Event(), None
        self.may_encode.set()

    def encode(self, frame):
        self.encoding.set()
        assert self.may_encode.wait(30)
        self.encoded.append(frame.stamp_ns)
        if self.failing:
            raise self.failing
        return GreyEmbedding(frame)

    def decode(self, embedding, prompts, multimask):
        return [self._candidates(embedding.frame, prompt, multimask) for prompt in prompts]

    def _candidates(self, frame, prompt, multimask):
        array = np.zeros(frame.size, np.bool_)
        if prompt.mask is not None:
            array |= prompt.mask
        elif prompt.box_array is not None:
            x0, y0, x1, y1 = prompt.box_array.astype(int)
            array[y0:y1, x0:x1] = True
        else:
            x, y = prompt.point_array[0].astype(int)
            array = (frame.color == frame.color[y, x]).all(axis=2)
        scores = (0.9, 0.6, 0.3)[: 3 if multimask else 1]
        return [Mask.from_array(array, score=score, object_id=prompt.object_id) for score in scores]

    def close(self):
        self.closed = True


@pytest.fixture
def models(monkeypatch):
    """The models that the node has loaded, in order; `models.error` makes the next load fail."""

    class Loaded(list):
        error = None

    loaded = Loaded()

    def load(spec, options):
        if loaded.error:
            raise loaded.error
        loaded.append(BlockModel())
        return loaded[-1]

    monkeypatch.setattr(sam_node, "load_model", load)
    return loaded


@pytest.fixture
def sam(run_node, models, client):
    node = run_node(SamNode, stamp_wait_s=0.0, overlay_rate_hz=20.0)
    wait_until(lambda: node.state == "active", "the active state")
    return node


def scene(shift=0):
    """A green block on grey, moved to the right by so many pixels."""
    color = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    color[10:20, 5 + shift : 25 + shift] = (20, 200, 30)
    return color


def block(shift=0):
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[10:20, 5 + shift : 25 + shift] = True
    return mask


def header(stamp, frame_id="optical"):
    return Header(stamp=stamp_message(stamp), frame_id=frame_id)


class Camera:
    def __init__(self, client, node):
        self._node = node
        self._color = client.publisher(Image, "/image")
        self._depth = client.publisher(Image, "/depth")

    def send(self, stamp, color=None, depth=None, frame_id="optical", depth_frame_id="optical"):
        if depth is not None:
            self._depth.publish(image_message(depth, "16UC1", header(stamp, depth_frame_id)))
        self._color.publish(image_message(scene() if color is None else color, "rgb8", header(stamp, frame_id)))

    def send_message(self, message):
        self._color.publish(message)

    def send_depth_message(self, message):
        self._depth.publish(message)

    def show(self, stamp, **options):
        """Send, and wait until the node holds it."""
        self.send(stamp, **options)
        wait_until(lambda: stamp in self.held(), f"the frame of {stamp}")

    def held(self):
        history = self._node._engine._history._held
        return [held.frame.stamp_ns for held in list(history)]


@pytest.fixture
def camera(client, sam):
    return Camera(client, sam)


def points(*pairs):
    return [Point2D(x=float(x), y=float(y)) for x, y in pairs]


def whole(message, i=0):
    return mask_from_message(message.objects[i], (message.image_height, message.image_width)).to_array()


# ---- answers ----


def test_a_prompt_is_answered_on_the_frame_of_its_stamp(client, camera):
    for i in range(3):
        camera.show((10 + i) * SECOND, color=scene(shift=4 * i))
    request = {"prompts": [PromptMessage(points=points((8, 12)))], "stamp": stamp_message(10 * SECOND)}
    answer = client.call(Segment, "/sam/segment", **request)
    assert answer.success, answer.message
    assert stamp_ns(answer.result.header.stamp) == 10 * SECOND
    assert answer.result.header.frame_id == "optical"
    np.testing.assert_array_equal(whole(answer.result), block())
    newest = client.call(Segment, "/sam/segment", prompts=[PromptMessage(points=points((20, 12)))])
    np.testing.assert_array_equal(whole(newest.result), block(shift=8))


def test_the_second_prompt_on_a_frame_needs_no_encode(client, camera, models):
    camera.show(10 * SECOND)
    first = client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12)))
    second = client.call(SegmentBox, "/sam/segment_box", box=[1.0, 2.0, 9.0, 8.0])
    assert (first.embedding_cached, second.embedding_cached, second.encode_ms) == (False, True, 0.0)
    assert models[0].encoded == [10 * SECOND]


def test_the_services_for_people_answer_with_summaries(client, camera):
    camera.show(10 * SECOND)
    answer = client.call(SegmentBox, "/sam/segment_box", box=[1.0, 2.0, 9.0, 8.0], multimask=True)
    assert answer.success, answer.message
    assert (stamp_ns(answer.header.stamp), answer.header.frame_id) == (10 * SECOND, "optical")
    assert [round(one.score, 1) for one in answer.objects] == [0.9, 0.6, 0.3]
    roi = answer.objects[0].roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height, answer.objects[0].area_px) == (1, 2, 8, 6, 48)


def test_an_answer_goes_out_on_every_topic_that_somebody_listens_to(client, camera):
    kinds = {"objects": ObjectMaskArray, "detections": Detection2DArray}
    kinds |= dict.fromkeys(("mask", "label_image", "mask_overlay"), Image)
    inboxes = {name: client.listen(kind, f"/sam/{name}") for name, kind in kinds.items()}
    camera.show(10 * SECOND)
    rough = np.zeros((HEIGHT, WIDTH), np.uint8)
    rough[30:40, 30:40] = 255
    prompts = [
        PromptMessage(object_id=300, points=points((8, 12))),
        PromptMessage(mask=image_message(rough, "mono8", Header())),
    ]
    wait_until(lambda: all(_listened(client, name) for name in inboxes), "the listeners")
    answer = client.call(Segment, "/sam/segment", prompts=prompts, multimask=True)
    assert answer.success, answer.message
    got = {name: inbox.wait() for name, inbox in inboxes.items() if name != "mask_overlay"}
    assert {stamp_ns(message.header.stamp) for message in got.values()} == {10 * SECOND}
    assert [one.object_id for one in got["objects"].objects] == [300] * 3 + [1] * 3
    assert [found.id for found in got["detections"].detections] == ["300", "1"]
    pixels = np.frombuffer(got["mask"].data, np.uint8).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(pixels, block() * 255)
    labels = np.frombuffer(got["label_image"].data, "<u2").reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(labels, block() * 300 + (rough > 0))
    info = client.listen(LabelInfo, "/sam/label_info", LATCHED).wait()  # late, and yet
    assert [entry.class_id for entry in info.class_map] == [300, 1]
    masks = [Mask.from_array(block(), object_id=300), Mask.from_array(rough > 0, object_id=1)]
    drawn = draw_overlay(scene(), masks)
    inboxes["mask_overlay"].wait(lambda message: np.array_equal(color_from_message(message), drawn))


def _listened(client, name):
    return client.node.count_subscribers(f"/sam/{name}") > 0


def test_between_answers_the_overlay_shows_the_camera(client, camera, sam):
    overlay = client.listen(Image, "/sam/mask_overlay")
    camera.show(10 * SECOND)
    shown = overlay.wait()
    np.testing.assert_array_equal(color_from_message(shown), scene())
    assert (stamp_ns(shown.header.stamp), shown.encoding) == (10 * SECOND, "rgb8")
    sam.set_parameters([Parameter("overlay_hold_s", value=3600.0)])
    client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12)))
    camera.show(11 * SECOND, color=scene(shift=3))
    sam.set_parameters([Parameter("overlay_hold_s", value=0.0), Parameter("overlay_rate_hz", value=50.0)])
    live = overlay.wait(lambda message: stamp_ns(message.header.stamp) == 11 * SECOND)
    np.testing.assert_array_equal(color_from_message(live), scene(shift=3))


def test_an_image_in_the_request_is_answered_and_stays_off_the_topics(client, camera, models):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    camera.show(10 * SECOND)
    pixels = scene(shift=7)
    masks = []
    for encoding, sent in (("rgb8", pixels), ("bgr8", pixels[..., ::-1])):
        image = image_message(sent, encoding, header(77 * SECOND, "phone"))
        answer = client.call(Segment, "/sam/segment", image=image, prompts=[PromptMessage(points=points((15, 12)))])
        assert answer.success, answer.message
        assert (stamp_ns(answer.result.header.stamp), answer.result.header.frame_id) == (77 * SECOND, "phone")
        masks.append(whole(answer.result))
    np.testing.assert_array_equal(masks[0], block(shift=7))
    np.testing.assert_array_equal(masks[1], masks[0])
    assert models[0].encoded == [77 * SECOND]  # the same pixels: one encode
    client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12)))
    objects.wait()
    assert [stamp_ns(message.header.stamp) for message in objects.messages] == [10 * SECOND]


def test_an_image_of_8_megapixels_is_answered(client, camera):
    large = np.full((2448, 3264, 3), 90, np.uint8)
    large[1000:1500, 2000:2600] = (1, 2, 3)
    request = {"image": image_message(large, "rgb8", Header()), "prompts": [PromptMessage(points=points((2100, 1100)))]}
    answer = client.call(Segment, "/sam/segment", **request)
    assert answer.success, answer.message
    roi = answer.result.objects[0].roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (2000, 1000, 600, 500)


def test_ten_thousand_points_are_answered_and_more_than_allowed_refused(client, camera, sam):
    camera.show(10 * SECOND)
    many = points(*[(8, 12)] * 10_000)
    assert client.call(SegmentPoints, "/sam/segment_points", points=many).success
    sam.set_parameters([Parameter("max_points", value=9_999)])
    for answer in (
        client.call(SegmentPoints, "/sam/segment_points", points=many),
        client.call(Segment, "/sam/segment", prompts=[PromptMessage(points=many)]),
    ):
        assert not answer.success
        assert "points: expected at most 9999" in answer.message


def test_depth_reaches_the_model_whatever_its_encoding(client, camera, models):
    depth = np.full((HEIGHT, WIDTH), 750, np.uint16)
    camera.show(9 * SECOND, depth=depth)
    seen = []
    models[0].encode = lambda frame: seen.append(frame.depth_m) or GreyEmbedding(frame)
    big = image_message(depth, "16UC1", header(10 * SECOND))
    rows = [row.astype(">u2").tobytes() + b"pad" for row in depth]
    big.is_bigendian, big.step, big.data = 1, len(rows[0]), array.array("B", b"".join(rows))
    for stamp, message in (
        (10, big),
        (11, image_message(depth / np.float32(1000), "32FC1", header(11 * SECOND))),
        (12, image_message(depth, "mono16", header(12 * SECOND))),
    ):
        camera.send_depth_message(message)
        camera.show(stamp * SECOND)
        request = {"points": points((8, 12)), "stamp": stamp_message(stamp * SECOND)}
        assert client.call(SegmentPoints, "/sam/segment_points", **request).success
        np.testing.assert_allclose(seen[-1], 0.75, rtol=1e-6)


# ---- clicks and modes ----


def test_a_stamped_click_is_answered_on_its_frame(client, camera):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    clicks = client.publisher(PointStamped, "/sam/click")
    for i in range(3):
        camera.show((10 + i) * SECOND, color=scene(shift=4 * i))
    clicks.publish(PointStamped(header=header(11 * SECOND), point=Point(x=10.0, y=12.0)))
    np.testing.assert_array_equal(whole(objects.wait()), block(shift=4))
    clicks.publish(PointStamped(point=Point(x=20.0, y=12.0)))  # no stamp: the newest
    newest = objects.wait(lambda message: stamp_ns(message.header.stamp) == 12 * SECOND)
    np.testing.assert_array_equal(whole(newest), block(shift=8))


def test_a_click_in_the_picture_means_the_frame_that_the_picture_showed(client, camera, sam):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    overlay = client.listen(Image, "/sam/mask_overlay")
    clicks = client.publisher(Point, "/sam/mask_overlay_mouse_left")
    camera.show(10 * SECOND)
    overlay.wait()
    sam.set_parameters([Parameter("overlay_hold_s", value=3600.0)])
    request = {"points": points((8, 12)), "stamp": stamp_message(10 * SECOND)}
    assert client.call(SegmentPoints, "/sam/segment_points", **request).success
    camera.show(11 * SECOND, color=scene(shift=30))
    objects.wait()
    objects.clear()
    clicks.publish(Point(x=8.0, y=12.0))
    answer = objects.wait()
    assert stamp_ns(answer.header.stamp) == 10 * SECOND
    np.testing.assert_array_equal(whole(answer), block())
    camera.show(30 * SECOND)  # by now the picture's frame is older than the history
    objects.clear()
    clicks.publish(Point(x=8.0, y=12.0))
    assert stamp_ns(objects.wait().header.stamp) == 30 * SECOND


def test_clicks_that_are_no_pixels_are_warned_of(client, camera, wait_for_text):
    clicks = client.publisher(PointStamped, "/sam/click")
    camera.show(10 * SECOND)
    clicks.publish(PointStamped(point=Point(x=float("nan"), y=12.0)))
    wait_for_text("the click at (nan, 12) has no answer")
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success


def test_continuous_asks_again_on_every_frame_and_can_be_switched_while_running(client, camera, sam):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    camera.show(10 * SECOND)
    client.call(SegmentPoints, "/sam/segment_points", points=points((20, 12)))
    assert sam.set_parameters([Parameter("mode", value="continuous")])[0].successful
    for i in (1, 2):
        stamp = (10 + i) * SECOND
        camera.show(stamp, color=scene(shift=4 * i))
        message = objects.wait(lambda message, stamp=stamp: stamp_ns(message.header.stamp) == stamp)
        np.testing.assert_array_equal(whole(message), block(shift=4 * i))
    sam.set_parameters([Parameter("mode", value="on_demand")])
    camera.show(13 * SECOND)
    client.call(SegmentPoints, "/sam/segment_points", points=points((20, 12)), stamp=stamp_message(12 * SECOND))
    wait_until(lambda: len(objects.messages) == 4, "the fourth answer")
    assert [stamp_ns(m.header.stamp) // SECOND for m in objects.messages] == [10, 11, 12, 12]


def test_clear_forgets_the_prompts_and_empties_what_is_shown(client, camera, sam):
    objects = client.listen(ObjectMaskArray, "/sam/objects")
    masks = client.listen(Image, "/sam/mask")
    empty = client.call(Trigger, "/sam/clear")
    assert empty.success
    assert len(objects.wait().objects) == 0
    camera.show(10 * SECOND)
    client.call(SegmentPoints, "/sam/segment_points", points=points((20, 12)))
    wait_until(lambda: len(objects.messages) == 2, "the answer")
    sam.set_parameters([Parameter("mode", value="continuous")])
    assert "1 prompt" in client.call(Trigger, "/sam/clear").message
    wait_until(lambda: len(objects.messages) == 3, "the empty answer")
    assert (len(objects.messages[-1].objects), objects.messages[-1].image_width) == (0, WIDTH)
    assert not any(masks.wait(lambda message: not any(message.data)).data)
    info = client.listen(LabelInfo, "/sam/label_info", LATCHED).wait()
    assert len(info.class_map) == 0


# ---- wrong input ----

GOOD = PromptMessage(box=[1.0, 1.0, 5.0, 5.0])
SMALL = np.full((4, 4), 255, np.uint8)
WRONG = {
    "no prompts": ({}, "prompts: "),
    "an empty prompt": ({"prompts": [GOOD, PromptMessage()]}, "prompts[1]: "),
    "a point outside": (
        {"prompts": [GOOD, PromptMessage(points=points((1, 1), (-5, 2)))]},
        "prompts[1].points[1]: expected a pixel of the 64x48 image",
    ),
    "a box outside": ({"prompts": [PromptMessage(box=[100.0, 1.0, 120.0, 5.0])]}, "prompts[0].box: "),
    "a box of NaN": ({"prompts": [PromptMessage(box=[float("nan")] * 4)]}, "prompts[0].box: "),
    "labels that do not fit": (
        {"prompts": [PromptMessage(points=points((1, 1)), point_labels=[1, 0])]},
        "prompts[0].point_labels: ",
    ),
    "a mask of another size": (
        {"prompts": [GOOD, PromptMessage(mask=image_message(SMALL, "mono8", Header()))]},
        "prompts[1].mask: expected the image's shape (48, 64)",
    ),
    "a mask of another encoding": (
        {"prompts": [PromptMessage(mask=image_message(SMALL.astype(np.uint16), "mono16", Header()))]},
        "prompts[0].mask.encoding: ",
    ),
    "one id twice": (
        {"prompts": [PromptMessage(object_id=3, box=[1.0, 1.0, 5.0, 5.0])] * 2},
        "prompts: expected an object_id of its own",
    ),
    "text": ({"prompts": [PromptMessage(text="a mug")]}, "not text"),
    "an image nobody understands": (
        {"prompts": [GOOD], "image": image_message(SMALL, "sepia5", Header())},
        "image.encoding: ",
    ),
    "an image cut short": (
        {"prompts": [GOOD], "image": Image(height=9, width=9, step=9, encoding="mono8", data=array.array("B", [1]))},
        "image.data: ",
    ),
    "a stamp before time began": ({"prompts": [GOOD], "stamp": Time(sec=-1)}, "stamp: "),
    "a stamp from the future": (
        {"prompts": [GOOD], "stamp": stamp_message(13 * SECOND)},
        "it would be 3.000 s newer than the newest, 10.000000000; held are 1 frames",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_refused_by_the_name_of_the_field_and_the_next_one_answered(client, camera, case):
    fields, sentence = WRONG[case]
    camera.show(10 * SECOND)
    answer = client.call(Segment, "/sam/segment", **fields)
    assert not answer.success
    assert sentence in answer.message
    assert len(answer.result.objects) == 0
    assert client.call(Segment, "/sam/segment", prompts=[GOOD]).success


def test_the_services_for_people_name_their_own_fields(client, camera):
    camera.show(10 * SECOND)
    for service, kind, fields, sentence in (
        ("segment_points", SegmentPoints, {}, "points: expected at least one"),
        ("segment_points", SegmentPoints, {"points": points((99, 1))}, "points[0]: expected a pixel"),
        ("segment_points", SegmentPoints, {"points": points((1, 1)), "point_labels": [7]}, "point_labels: expected 0"),
        ("segment_box", SegmentBox, {}, "box: expected x_min"),
        ("segment_box", SegmentBox, {"box": [1.0, 2.0, 3.0]}, "box: expected shape (4,)"),
        ("segment_box", SegmentBox, {"box": [90.0, 2.0, 99.0, 5.0]}, "box: expected a box that overlaps"),
    ):
        answer = client.call(kind, f"/sam/{service}", **fields)
        assert not answer.success
        assert answer.message.startswith(sentence)


def test_while_the_model_is_being_loaded_a_request_waits_for_it(client, run_node, models, monkeypatch):
    loading, may_load = threading.Event(), threading.Event()
    load = sam_node.load_model

    def load_slowly(spec, options):
        loading.set()
        assert may_load.wait(30)
        return load(spec, options)

    monkeypatch.setattr(sam_node, "load_model", load_slowly)
    node = run_node(SamNode, stamp_wait_s=0.0)
    assert loading.wait(30)
    future = client.call_async(SegmentPoints, "/sam/segment_points", SegmentPoints.Request(points=points((8, 12))))
    assert not client.call(SegmentText, "/sam/segment_text", text="mug").success
    assert not future.done()
    may_load.set()
    wait_until(future.done, "the answer")
    assert node.state == "active"
    assert "no image has arrived" in future.result().message


def test_before_the_first_image_the_reason_is_that_there_is_none(client, sam):
    answer = client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12)))
    assert not answer.success
    assert "no image has arrived" in answer.message


def test_what_does_not_exist_yet_says_so_in_every_state(client, run_node, models):
    run_node(SamNode, autostart=False)
    for kind, service in (
        (SegmentText, "segment_text"),
        (SegmentEverything, "segment_everything"),
        (Track, "track"),
        (StopTracking, "stop_tracking"),
    ):
        answer = client.call(kind, f"/sam/{service}")
        assert not answer.success
        assert "this version of sam_perception" in answer.message


def test_a_model_that_fails_is_told_to_the_caller_and_asked_again_next_time(client, camera, models):
    camera.show(10 * SECOND)
    models[0].failing = RuntimeError("CUDA out of memory")
    answer = client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12)))
    assert not answer.success
    assert "RuntimeError: CUDA out of memory" in answer.message
    models[0].failing = None
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success


def test_images_and_depth_that_fit_nothing_are_warned_of_and_left_out(client, camera, wait_for_text):
    grey = image_message(scene(), "rgb8", header(1 * SECOND))
    grey.encoding = "sepia5"
    camera.send_message(grey)
    wait_for_text("an image is left out: image.encoding: expected one of rgb8")
    camera.show(10 * SECOND)
    camera.send_depth_message(image_message(scene(), "rgb8", header(10 * SECOND)))
    wait_for_text("a depth image is left out: depth.encoding")
    camera.send_depth_message(image_message(np.ones((5, 5), np.uint16), "16UC1", header(10 * SECOND)))
    wait_for_text("depth of 5x5 is left out: the image has 64x48")
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success


def test_depth_of_another_camera_is_warned_of_and_the_image_answered_without(client, camera, wait_for_text):
    depth = np.ones((HEIGHT, WIDTH), np.uint16)
    camera.show(10 * SECOND)
    camera.show(11 * SECOND, depth=depth, depth_frame_id="infra_optical")
    assert "'infra_optical'" in wait_for_text("the image is in frame 'optical'")
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success


def test_ids_beyond_16_bits_are_answered_and_the_label_image_left_out_with_a_warning(client, camera, wait_for_text):
    camera.show(10 * SECOND)
    prompts = [PromptMessage(object_id=70_000, points=points((8, 12)))]
    answer = client.call(Segment, "/sam/segment", prompts=prompts)
    assert answer.success, answer.message
    assert answer.result.objects[0].object_id == 70_000
    wait_for_text("no label image: object_id 70000 does not fit")


def test_a_request_that_waits_for_an_encode_does_not_hold_up_images(client, camera, models):
    camera.show(10 * SECOND)
    models[0].may_encode.clear()
    future = client.call_async(
        SegmentPoints,
        "/sam/segment_points",
        SegmentPoints.Request(points=points((8, 12)), stamp=stamp_message(10 * SECOND)),
    )
    camera.show(11 * SECOND)
    camera.show(12 * SECOND)
    assert not future.done()
    assert not client.call(SegmentText, "/sam/segment_text", text="mug").success  # nor other services
    models[0].may_encode.set()
    wait_until(future.done, "the answer")
    assert stamp_ns(future.result().header.stamp) == 10 * SECOND


def test_requests_that_come_together_share_one_encode_while_images_come_in(client, camera, models, sam):
    camera.show(10 * SECOND)
    models[0].may_encode.clear()
    request = SegmentPoints.Request(points=points((8, 12)))
    futures = [client.call_async(SegmentPoints, "/sam/segment_points", request) for _ in range(8)]
    wait_until(lambda: len(sam._engine._requests) == 7, "seven requests that wait for the eighth's encode")
    camera.show(11 * SECOND)
    models[0].may_encode.set()
    wait_until(lambda: all(future.done() for future in futures), "all answers")
    assert all(future.result().success for future in futures)
    assert models[0].encoded == [10 * SECOND]


# ---- lifecycle ----


@pytest.fixture
def change(client):
    def change(transition):
        return client.call(ChangeState, "/sam/change_state", transition=Transition(id=transition)).success

    return change


def test_a_model_that_cannot_be_loaded_is_told_and_a_second_configure_succeeds(
    client, run_node, models, change, wait_for_text
):
    models.error = CheckpointError("the checkpoint is not there; run the download")
    sam = run_node(SamNode)
    wait_for_text("configuring failed: the checkpoint is not there; run the download")
    answer = client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12)))
    assert not answer.success
    assert "the node is unconfigured (configuring failed: the checkpoint is not there" in answer.message
    assert "ros2 lifecycle set /sam configure" in answer.message
    said = client.listen(DiagnosticArray, "/diagnostics").wait().status[0]
    assert said.level == DiagnosticStatus.ERROR
    models.error = None
    assert sam.set_parameters([Parameter("model", value="another")])[0].successful
    assert change(Transition.TRANSITION_CONFIGURE)
    assert change(Transition.TRANSITION_ACTIVATE)
    assert not sam.set_parameters([Parameter("model", value="a third")])[0].successful
    Camera(client, sam).show(10 * SECOND)
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success


def test_deactivated_it_listens_to_nothing_and_says_why_it_does_not_answer(client, camera, sam, change):
    camera.show(10 * SECOND)
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success
    assert change(Transition.TRANSITION_DEACTIVATE)
    wait_until(lambda: client.node.count_subscribers("/image") == 0, "the end of the subscription")
    for service, kind in (("segment_points", SegmentPoints), ("clear", Trigger)):
        answer = client.call(kind, f"/sam/{service}")
        assert not answer.success
        assert answer.message == "the node is inactive: `ros2 lifecycle set /sam activate`"
    assert change(Transition.TRANSITION_ACTIVATE)
    answer = client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12)))
    assert "no image has arrived" in answer.message  # what was seen before is not answered on
    Camera(client, sam).show(11 * SECOND)
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success


def test_cleaned_up_it_keeps_neither_model_nor_engine_nor_frames(client, camera, sam, models, change):
    camera.show(10 * SECOND)
    assert client.call(SegmentPoints, "/sam/segment_points", points=points((8, 12))).success
    answer = client.call(SegmentPoints, "/sam/segment_points", points=points((-8, 12)))  # nor does an error keep them
    assert not answer.success
    model, engine = weakref.ref(models[0]), weakref.ref(sam._engine)
    frame = weakref.ref(sam._engine.newest_frame)
    assert change(Transition.TRANSITION_DEACTIVATE)
    assert change(Transition.TRANSITION_CLEANUP)
    assert models[0].closed
    models.clear()

    def all_gone():
        gc.collect()
        return not (model() or engine() or frame())

    wait_until(all_gone, "the end of model, engine and frames")


def test_a_request_that_waits_while_the_node_is_let_go_of_gets_an_answer(client, camera, sam, models):
    camera.show(10 * SECOND)
    camera.show(11 * SECOND)
    models[0].may_encode.clear()
    request = SegmentPoints.Request(points=points((8, 12)), stamp=stamp_message(10 * SECOND))
    first = client.call_async(SegmentPoints, "/sam/segment_points", request)
    wait_until(models[0].encoding.is_set, "the request")
    second = client.call_async(
        SegmentBox, "/sam/segment_box", SegmentBox.Request(box=[1.0, 1.0, 5.0, 5.0], stamp=stamp_message(11 * SECOND))
    )
    wait_until(lambda: sam._engine._requests, "the second request in line")
    letting_go = threading.Thread(target=sam.release)
    letting_go.start()
    models[0].may_encode.set()
    letting_go.join()
    wait_until(lambda: first.done() and second.done(), "both answers")
    for answer in (first.result(), second.result()):
        assert answer.success or "closed" in answer.message


def test_diagnostics_come_once_a_second_with_the_state_of_things(client, camera):
    camera.show(10 * SECOND)
    inbox = client.listen(DiagnosticArray, "/diagnostics")

    def with_a_frame(message):
        values = {entry.key: entry.value for entry in message.status[0].values}
        return values["frames held"] == "1" and values["state"] == "active"

    said = inbox.wait(with_a_frame).status[0]
    assert said.name == "sam: segmentation"
    assert said.level in (DiagnosticStatus.OK, DiagnosticStatus.WARN)
