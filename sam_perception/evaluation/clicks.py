"""Clicks and boxes that a person might give for a known mask, as "Segment Anything" simulates them.

Clicks are pixels of the image. ``truth``, ``predicted`` and ``region`` are (H, W) bool arrays of it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.prompts import BACKGROUND, FOREGROUND

BOX_NOISE = 0.1  # standard deviation, of the box's side. Source: "Segment Anything", appendix A
MAX_BOX_NOISE_PX = 20.0


class Click(NamedTuple):
    """One click: a pixel, and whether it is on the object (FOREGROUND) or beside it (BACKGROUND)."""

    x: int
    y: int
    label: int


def first_click(truth: NDArray[np.bool_]) -> Click:
    """The pixel of the object farthest from its outline; of several the topmost, then the leftmost.

    Raises:
        InvalidInputError: an empty mask.
    """
    x, y, _ = _deepest("truth", truth)
    return Click(x, y, FOREGROUND)


def next_click(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Click:
    """The click of somebody who corrects the worst error: the pixel deepest inside what is missing or too much.

    The region with the deeper middle counts as the larger one, as in SAM's evaluation: a rim along the whole outline
    has many pixels, but nobody clicks on it. Without any error it is the first click once more.

    Raises:
        InvalidInputError: an empty ``truth``, or arrays of two shapes.
    """
    _check_pair(truth, predicted)
    missing, too_much = truth & ~predicted, predicted & ~truth
    candidates = [
        (_deepest(name, region), label)
        for name, region, label in (("missing", missing, FOREGROUND), ("too much", too_much, BACKGROUND))
        if region.any()
    ]
    if not candidates:
        return first_click(truth)
    (x, y, _), label = max(candidates, key=lambda candidate: candidate[0][2])  # the first of two that are as deep
    return Click(x, y, label)


def jitter(click: Click, radius_px: float, image_size: tuple[int, int], rng: np.random.Generator) -> Click:
    """The click moved to any pixel within ``radius_px`` of it, uniformly, and kept inside the (height, width) image."""
    reach = int(radius_px)
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    offsets = offsets[np.hypot(*offsets.T) <= radius_px]
    dy, dx = offsets[rng.integers(len(offsets))]
    height, width = image_size
    return Click(int(np.clip(click.x + dx, 0, width - 1)), int(np.clip(click.y + dy, 0, height - 1)), click.label)


def random_click(rng: np.random.Generator, region: NDArray[np.bool_]) -> tuple[int, int]:
    """x, y of any pixel of a region, uniformly.

    Raises:
        InvalidInputError: an empty region.
    """
    _check_mask("region", region)
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(region).view(np.uint8))
    if width == 0:
        raise InvalidInputError.for_field("region", "at least one pixel that is set", "an empty mask")
    rows, columns = np.nonzero(region[top : top + height, left : left + width])
    pick = rng.integers(len(rows))
    return int(left + columns[pick]), int(top + rows[pick])


def random_next_click(rng: np.random.Generator, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Click:
    """A correction drawn uniformly from all wrong pixels, for training; without any error a pixel of the object.

    Source: "Segment Anything", appendix A (training algorithm): foreground where the object is missing, background
    where there is too much.
    """
    _check_pair(truth, predicted)
    wrong = truth ^ predicted
    x, y = random_click(rng, wrong if wrong.any() else truth)
    return Click(x, y, FOREGROUND if truth[y, x] else BACKGROUND)


def tight_box(truth: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """(x_min, y_min, x_max, y_max) of the pixels that are set, x_max and y_max exclusive.

    Raises:
        InvalidInputError: an empty mask.
    """
    _check_mask("truth", truth)
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(truth).view(np.uint8))
    if width == 0:
        raise InvalidInputError.for_field("truth", "at least one pixel that is set", "an empty mask")
    return x, y, x + width, y + height


def noisy_box(
    rng: np.random.Generator, truth: NDArray[np.bool_], max_px: float = MAX_BOX_NOISE_PX
) -> tuple[float, float, float, float]:
    """The tight box with normal noise on each side: standard deviation 10 % of the box's side, ``max_px`` at most.

    The box stays inside the image and at least one pixel wide and high. Source: "Segment Anything", appendix A; its
    20 px are those of an image of 1024 px.

    Raises:
        InvalidInputError: an empty mask.
    """
    tight = np.array(tight_box(truth), dtype=np.float64)
    sides = np.tile(tight[2:] - tight[:2], 2)
    box = tight + np.clip(rng.normal(0.0, BOX_NOISE * sides), -max_px, max_px)
    limits = np.array(truth.shape[::-1], dtype=np.float64)
    low = np.clip(box[:2], 0, limits - 1)
    high = np.clip(box[2:], low + 1, limits)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _deepest(name: str, region: NDArray[np.bool_]) -> tuple[int, int, float]:
    """x, y of the pixel farthest from the outside of a region, and how far that is; the image's edge is outside."""
    _check_mask(name, region)
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(region).view(np.uint8))
    if width == 0:
        raise InvalidInputError.for_field(name, "at least one pixel that is set", "an empty mask")
    padded = np.pad(region[top : top + height, left : left + width], 1).view(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(left + column - 1), int(top + row - 1), float(depth[row, column])


def _check_pair(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
    _check_mask("truth", truth)
    _check_mask("predicted", predicted)
    if truth.shape != predicted.shape:
        raise InvalidInputError.for_field("predicted", f"the shape of truth {truth.shape}", predicted.shape)


def _check_mask(name: str, mask: NDArray[np.bool_]) -> None:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
        actual = f"{getattr(mask, 'dtype', type(mask).__name__)} {getattr(mask, 'shape', '')}"
        raise InvalidInputError.for_field(name, "a bool array of shape (H, W)", actual)
