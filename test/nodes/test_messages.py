"""Prompts and stamps from messages, and answers as messages that keep the image's header and every pixel."""

import array

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from vision_msgs.msg import Point2D

from sam_perception.engine import SegmentationResult
from sam_perception.errors import InvalidInputError
from sam_perception.frames import RgbdFrame
from sam_perception.masks import Mask
from sam_perception.msg import Prompt as PromptMessage
from sam_perception.nodes import messages
from sam_perception.srv import Segment

FRAME = RgbdFrame(np.zeros((20, 30, 3), np.uint8), stamp_ns=12_000_000_034, frame_id="optical")


def mask_at(x, y, width, height, **fields):
    array = np.zeros(FRAME.size, np.bool_)
    array[y : y + height, x : x + width] = True
    array[y, x + width - 1] = False  # not a rectangle
    return Mask.from_array(array, **fields)


def points(*pairs):
    return [Point2D(x=float(x), y=float(y)) for x, y in pairs]


def mono8(pixels):
    height, width = pixels.shape
    data = array.array("B", pixels.tobytes())
    return Image(height=height, width=width, step=width, encoding="mono8", data=data)


# ---- stamps ----


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789])
def test_a_stamp_survives_both_ways_to_the_nanosecond(nanoseconds):
    stamp = messages.stamp_message(nanoseconds)
    assert stamp.sec + stamp.nanosec / 1e9 == pytest.approx(nanoseconds / 1e9)
    assert messages.stamp_ns(stamp) == nanoseconds


@pytest.mark.parametrize("stamp", [Time(sec=-1), Time(nanosec=1_000_000_000)])
def test_a_stamp_that_is_none_is_refused(stamp):
    with pytest.raises(InvalidInputError, match=r"^stamp: .*got sec"):
        messages.stamp_ns(stamp)


# ---- prompts ----


def test_a_prompt_message_carries_everything_over():
    rough = np.zeros((20, 30), np.uint8)
    rough[3, 4], rough[5, 6] = 1, 255
    sent = PromptMessage(
        object_id=7,
        points=points((1.5, 2), (3, 4)),
        point_labels=[PromptMessage.FOREGROUND, PromptMessage.BACKGROUND],
        box=[1.0, 2.0, 9.0, 8.0],
        mask=mono8(rough),
        text=" mug ",
    )
    (prompt,) = messages.prompts_from_messages([sent])
    np.testing.assert_array_equal(prompt.point_array, [[1.5, 2], [3, 4]])
    np.testing.assert_array_equal(prompt.label_array, [1, 0])
    np.testing.assert_array_equal(prompt.box_array, [1, 2, 9, 8])
    np.testing.assert_array_equal(prompt.mask, rough > 0)
    assert (prompt.text, prompt.object_id) == ("mug", 7)


def test_labels_left_out_are_all_foreground():
    assert messages.points_prompt(points((1, 2), (3, 4)), array.array("B")).label_array.tolist() == [1, 1]


NAN = float("nan")
WRONG_PROMPTS = {
    "empty": (PromptMessage(), r"prompts[1]: expected points, a box, a mask or text, got an empty Prompt"),
    "blank text": (PromptMessage(text="  "), "prompts[1]: expected points"),
    "labels only": (PromptMessage(point_labels=[1]), "prompts[1]: expected points"),
    "one label for two points": (
        PromptMessage(points=points((1, 2), (3, 4)), point_labels=[1]),
        "prompts[1].point_labels: expected one for each of the 2 points",
    ),
    "a label of 2": (PromptMessage(points=points((1, 2)), point_labels=[2]), "prompts[1].point_labels: expected 0"),
    "a point of NaN": (PromptMessage(points=points((NAN, 2))), "prompts[1].points: expected finite numbers"),
    "a box of NaN": (PromptMessage(box=[NAN] * 4), "prompts[1].box: expected finite numbers"),
    "a box of inf": (PromptMessage(box=[0.0, 0.0, float("inf"), 1.0]), "prompts[1].box: expected finite numbers"),
    "three numbers": (PromptMessage(box=[1.0, 2.0, 3.0]), "prompts[1].box: expected shape (4,)"),
    "a box inside out": (PromptMessage(box=[5.0, 5.0, 1.0, 9.0]), "prompts[1].box: expected x_min < x_max"),
    "an empty mask": (PromptMessage(mask=mono8(np.zeros((4, 4), np.uint8))), "prompts[1].mask: expected at least one"),
    "a mask in colour": (
        PromptMessage(mask=Image(height=1, width=1, step=3, encoding="rgb8", data=array.array("B", bytes(3)))),
        "prompts[1].mask.encoding: expected one of mono8",
    ),
    "a mask cut short": (
        PromptMessage(mask=Image(height=9, width=9, step=9, encoding="mono8", data=array.array("B", bytes(80)))),
        "prompts[1].mask.data: expected 81 bytes",
    ),
}


@pytest.mark.parametrize("case", WRONG_PROMPTS)
def test_a_wrong_prompt_is_refused_by_its_number_and_field(case):
    sent, sentence = WRONG_PROMPTS[case]
    good = PromptMessage(points=points((1, 2)))
    with pytest.raises(InvalidInputError) as refused:
        messages.prompts_from_messages([good, sent])
    assert sentence in messages.in_fields_of_the_request(str(refused.value))


def test_requests_without_anything_are_refused():
    with pytest.raises(InvalidInputError, match=r"^prompts: "):
        messages.prompts_from_messages([])
    with pytest.raises(InvalidInputError, match=r"^points: "):
        messages.points_prompt([], [])
    with pytest.raises(InvalidInputError, match=r"^box: "):
        messages.box_prompt([])


def test_the_image_of_a_request_becomes_a_frame_with_its_header():
    sent = Image(height=1, width=2, step=6, encoding="bgr8", data=array.array("B", [1, 2, 3, 4, 5, 6]))
    sent.header.stamp.sec, sent.header.frame_id = 3, "phone"
    frame = messages.frame_from_image(sent)
    np.testing.assert_array_equal(frame.color, [[[3, 2, 1], [6, 5, 4]]])
    assert (frame.stamp_ns, frame.frame_id, frame.depth) == (3_000_000_000, "phone", None)
    sent.header.stamp.sec = -3
    with pytest.raises(InvalidInputError, match=r"image\.header\.stamp"):
        messages.frame_from_image(sent)


# ---- answers ----


def test_every_result_keeps_the_header_of_the_image():
    masks = [mask_at(2, 3, 4, 5, object_id=1)]
    for message in (
        messages.objects_message(FRAME, masks),
        messages.objects_message(FRAME, masks).objects[0],
        messages.objects_message(FRAME, masks).objects[0].mask,
        messages.whole_mask_message(FRAME, masks[0]),
        messages.label_image_message(FRAME, masks),
        messages.label_info_message(FRAME, masks),
        messages.detections_message(FRAME, masks),
        messages.detections_message(FRAME, masks).detections[0],
    ):
        header = message.header
        assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (12, 34, "optical")


def test_an_object_comes_back_from_its_message_pixel_by_pixel():
    sent = mask_at(2, 3, 4, 5, object_id=9, score=0.75, label="mug")
    (message,) = messages.objects_message(FRAME, [sent]).objects
    roi = message.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (2, 3, 4, 5)
    assert set(message.mask.data) == {0, 255}
    back = messages.mask_from_message(message, FRAME.size)
    np.testing.assert_array_equal(back.to_array(), sent.to_array())
    assert (back.object_id, back.score, back.label) == (9, 0.75, "mug")


def test_an_empty_mask_is_an_object_without_pixels():
    empty = Mask.from_array(np.zeros(FRAME.size, np.bool_), object_id=1)
    message = messages.objects_message(FRAME, [empty])
    assert (message.image_height, message.image_width) == (20, 30)
    assert (message.objects[0].roi.width, len(message.objects[0].mask.data)) == (0, 0)
    assert messages.mask_from_message(message.objects[0], FRAME.size).is_empty
    assert messages.summary_message(empty).area_px == 0
    assert len(messages.detections_message(FRAME, [empty]).detections) == 0


def test_a_crop_that_does_not_fit_its_roi_is_refused():
    (message,) = messages.objects_message(FRAME, [mask_at(2, 3, 4, 5)]).objects
    message.roi.width = 5
    with pytest.raises(InvalidInputError, match="mask"):
        messages.mask_from_message(message, FRAME.size)


def test_label_images_hold_8_bits_until_an_id_needs_16():
    low, high = mask_at(0, 0, 3, 3, object_id=255), mask_at(10, 10, 3, 3, object_id=256)
    narrow, wide = messages.label_image_message(FRAME, [low]), messages.label_image_message(FRAME, [low, high])
    assert (narrow.encoding, narrow.step, wide.encoding, wide.step) == ("mono8", 30, "mono16", 60)
    pixels = np.frombuffer(wide.data, "<u2").reshape(20, 30)
    np.testing.assert_array_equal(pixels, low.to_array() * 255 + high.to_array() * 256)


def test_label_info_and_detections_name_what_has_no_label_by_its_id():
    masks = [mask_at(0, 0, 3, 3, object_id=4), mask_at(10, 10, 3, 5, object_id=5, label="mug", score=0.5)]
    info = messages.label_info_message(FRAME, masks)
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == [(4, "object_4"), (5, "mug")]
    found = messages.detections_message(FRAME, masks).detections[1]
    assert (found.id, found.results[0].hypothesis.class_id, found.results[0].hypothesis.score) == ("5", "mug", 0.5)
    # The middle of pixels 10, 11, 12 is 11; of rows 10 to 14 it is 12.
    assert (found.bbox.center.position.x, found.bbox.center.position.y) == (11.0, 12.0)
    assert (found.bbox.size_x, found.bbox.size_y) == (3.0, 5.0)


def test_the_whole_mask_is_white_on_black():
    mask = mask_at(2, 3, 4, 5)
    pixels = np.frombuffer(messages.whole_mask_message(FRAME, mask).data, np.uint8).reshape(20, 30)
    np.testing.assert_array_equal(pixels, mask.to_array() * 255)
    assert not any(messages.whole_mask_message(FRAME, None).data)


def test_timings_of_numpy_become_what_messages_take():
    response = Segment.Response()
    result = SegmentationResult(FRAME, [], np.bool_(True), np.float32(1.5), np.float64(2.5))
    messages.fill_timings(response, result)
    assert (response.embedding_cached, response.encode_ms, response.decode_ms) == (True, 1.5, 2.5)
