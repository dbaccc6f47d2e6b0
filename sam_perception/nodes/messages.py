"""Prompts, masks and answers to and from the messages of sam_perception and vision_msgs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)

from sam_perception.engine import SegmentationResult
from sam_perception.errors import InvalidInputError
from sam_perception.frames import NANOSECONDS, RgbdFrame
from sam_perception.masks import Mask, label_image
from sam_perception.msg import ObjectMask, ObjectMaskArray, ObjectSummary
from sam_perception.nodes.images import color_from_message, image_message, mask_pixels_from_message
from sam_perception.prompts import Prompt

LARGEST_LABEL = 65535
"""What a pixel of the label image, and a class_id of LabelInfo, can hold."""


def stamp_ns(stamp: Any, field: str = "stamp") -> int:
    """Nanoseconds of a builtin_interfaces/Time.

    Raises:
        InvalidInputError: a time before 0, or a nanosec of a second or more.
    """
    if stamp.sec < 0 or stamp.nanosec >= NANOSECONDS:
        expected = "sec of 0 or more and nanosec below 1000000000"
        raise InvalidInputError.for_field(field, expected, f"sec {stamp.sec}, nanosec {stamp.nanosec}")
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def stamp_message(nanoseconds: int) -> Time:
    """A builtin_interfaces/Time of nanoseconds."""
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def frame_header(frame: RgbdFrame) -> Header:
    """Stamp and frame of an image, for every result that comes of it."""
    return Header(stamp=stamp_message(frame.stamp_ns), frame_id=frame.frame_id)


def frame_from_image(message: Any) -> RgbdFrame:
    """The frame of an image that came in a request: colour only.

    Raises:
        InvalidInputError: an encoding, a size or a stamp that is none; the message names the field of `image`.
    """
    return RgbdFrame(
        color_from_message(message),
        stamp_ns=stamp_ns(message.header.stamp, "image.header.stamp"),
        frame_id=message.header.frame_id,
    )


def prompts_from_messages(messages: Sequence[Any]) -> list[Prompt]:
    """The prompts of a sam_perception/Prompt[].

    Raises:
        InvalidInputError: one that is none; the message names its number and field.
    """
    if not len(messages):
        raise InvalidInputError.for_field("prompts", "at least one", "none")
    return [_prompt(f"prompts[{i}]", message) for i, message in enumerate(messages)]


def points_prompt(points: Sequence[Any], labels: Any) -> Prompt:
    """The prompt of a vision_msgs/Point2D[] and its uint8[] labels.

    Raises:
        InvalidInputError: no points, or labels that do not fit.
    """
    if not len(points):
        raise InvalidInputError.for_field("points", "at least one", "none")
    return Prompt(points=_coordinates(points), labels=np.asarray(labels, np.uint8))


def box_prompt(box: Any) -> Prompt:
    """The prompt of x_min, y_min, x_max, y_max.

    Raises:
        InvalidInputError: no box.
    """
    if not len(box):
        raise InvalidInputError.for_field("box", "x_min y_min x_max y_max", "none")
    return Prompt(box=np.asarray(box, np.float64))


def in_fields_of_the_request(sentence: str) -> str:
    """An error about a Prompt, told in the names of the fields that the caller filled."""
    sentence = sentence.replace("Prompt.labels", "Prompt.point_labels")
    sentence = re.sub(r"prompts\[(\d+)\]: Prompt\.", r"prompts[\1].", sentence)
    return sentence.replace("Prompt.", "")


def objects_message(frame: RgbdFrame, masks: Sequence[Mask]) -> ObjectMaskArray:
    """The masks of one frame."""
    objects = [object_message(frame, mask) for mask in masks]
    return ObjectMaskArray(
        header=frame_header(frame), image_height=frame.height, image_width=frame.width, objects=objects
    )


def object_message(frame: RgbdFrame, mask: Mask) -> ObjectMask:
    """One mask, cropped."""
    header = frame_header(frame)
    return ObjectMask(
        header=header,
        object_id=mask.object_id,
        label=mask.label,
        score=float(mask.score),
        roi=_roi(mask),
        mask=image_message(mask.crop.view(np.uint8) * np.uint8(255), "mono8", header),
    )


def mask_from_message(message: Any, image_size: tuple[int, int]) -> Mask:
    """The mask of a sam_perception/ObjectMask.

    Args:
        message: sam_perception/ObjectMask.
        image_size: (height, width) of the image that it is a part of.

    Raises:
        InvalidInputError: a crop that is not as large as its roi, or lies outside the image.
    """
    roi = message.roi
    crop = mask_pixels_from_message(message.mask)
    if crop is None:
        crop = np.zeros((0, 0), np.bool_)
    if crop.shape != (roi.height, roi.width):
        raise InvalidInputError.for_field("mask", f"roi's size {roi.width}x{roi.height}", crop.shape[::-1])
    return Mask(
        crop,
        int(roi.x_offset),
        int(roi.y_offset),
        image_size,
        score=float(message.score),
        object_id=int(message.object_id),
        label=message.label,
    )


def summary_message(mask: Mask) -> ObjectSummary:
    """What fits on a terminal."""
    return ObjectSummary(
        object_id=mask.object_id, label=mask.label, score=float(mask.score), roi=_roi(mask), area_px=mask.area
    )


def whole_mask_message(frame: RgbdFrame, mask: Mask | None) -> Image:
    """A mono8 image of the frame's size, 255 on the object; 0 everywhere without one."""
    pixels = np.zeros(frame.size, np.uint8) if mask is None else mask.to_array().view(np.uint8) * np.uint8(255)
    return image_message(pixels, "mono8", frame_header(frame))


def label_image_message(frame: RgbdFrame, masks: Sequence[Mask]) -> Image:
    """A mono8 (mono16 past id 255) image of the frame's size whose pixel is an object's id."""
    labels = label_image(masks, frame.size)
    return image_message(labels, "mono8" if labels.dtype == np.uint8 else "mono16", frame_header(frame))


def label_info_message(frame: RgbdFrame, masks: Sequence[Mask]) -> LabelInfo:
    """What the pixels of the label image are called."""
    classes = [VisionClass(class_id=mask.object_id, class_name=_name(mask)) for mask in masks]
    return LabelInfo(header=frame_header(frame), class_map=classes)


def detections_message(frame: RgbdFrame, masks: Sequence[Mask]) -> Detection2DArray:
    """The masks' boxes."""
    header = frame_header(frame)
    detections = []
    for mask in masks:
        if mask.is_empty:
            continue
        x_min, y_min, x_max, y_max = mask.box
        center = Pose2D(position=Point2D(x=(x_min + x_max - 1) / 2, y=(y_min + y_max - 1) / 2))
        hypothesis = ObjectHypothesis(class_id=_name(mask), score=float(mask.score))
        detections.append(
            Detection2D(
                header=header,
                id=str(mask.object_id),
                results=[ObjectHypothesisWithPose(hypothesis=hypothesis)],
                bbox=BoundingBox2D(center=center, size_x=float(x_max - x_min), size_y=float(y_max - y_min)),
            )
        )
    return Detection2DArray(header=header, detections=detections)


def fill_timings(response: Any, result: SegmentationResult) -> None:
    """What every answer says of the work behind it."""
    response.embedding_cached = bool(result.embedding_cached)
    response.encode_ms = float(result.encode_ms)
    response.decode_ms = float(result.decode_ms)


def _prompt(field: str, message: Any) -> Prompt:
    if not (len(message.points) or len(message.box) or len(message.mask.data) or message.text.strip()):
        raise InvalidInputError.for_field(field, "points, a box, a mask or text", "an empty Prompt")
    mask = mask_pixels_from_message(message.mask, f"{field}.mask")
    try:
        return Prompt(
            points=_coordinates(message.points),
            labels=np.asarray(message.point_labels, np.uint8),
            box=np.asarray(message.box, np.float64),
            mask=mask,
            text=message.text,
            object_id=int(message.object_id),
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{field}: {error}") from None


def _coordinates(points: Sequence[Any]) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in points]


def _roi(mask: Mask) -> RegionOfInterest:
    return RegionOfInterest(x_offset=mask.x, y_offset=mask.y, height=mask.crop.shape[0], width=mask.crop.shape[1])


def _name(mask: Mask) -> str:
    return mask.label or f"object_{mask.object_id}"
