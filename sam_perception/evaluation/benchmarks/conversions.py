"""What it costs to change between the forms of images and masks."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from sam_perception.evaluation.benchmarks.timing import Row, median_ms
from sam_perception.frames import RgbdFrame, depth_to_metres
from sam_perception.masks import Mask, decode_rle, draw_overlay


def measure(frame: RgbdFrame, mask: Mask, repeats: int) -> list[Row]:
    """Rows for one frame and one mask on it; ratios mean nothing here."""
    quick = max(10 * repeats, 50)
    array, rle, depth = mask.to_array(), mask.to_rle(), frame.depth
    assert depth is not None
    actions: dict[str, Callable[[], object]] = {
        "BGR to RGB": lambda: cv2.cvtColor(frame.color, cv2.COLOR_BGR2RGB),
        "depth 16UC1 to metres": lambda: depth_to_metres(depth, frame.depth_scale_m),
        "mask from image": lambda: Mask.from_array(array),
        "mask to image": mask.to_array,
        "mask to mono8": lambda: mask.to_array().view(np.uint8) * np.uint8(255),
        "mask to COCO RLE": mask.to_rle,
        "mask from COCO RLE": lambda: decode_rle(rle),
        "overlay": lambda: draw_overlay(frame.color, [mask]),
    }
    subject = f"convert, {frame.width}x{frame.height}, mask of {mask.area} px"
    return [Row(subject, name, median_ms(action, quick), quick) for name, action in actions.items()]
