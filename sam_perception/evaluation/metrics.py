"""How well a predicted mask agrees with the true one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError

TOLERANCE_OF_DIAGONAL = 0.0075
"""Source: Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013. DAVIS has 0.008."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """One measure over many objects.

    Attributes:
        count: how many objects.
        mean: over objects.
        median: over objects.
        worst_tenth: the value that one object in ten stays below.
    """

    count: int
    mean: float
    median: float
    worst_tenth: float


def summarize(values: Sequence[float]) -> Summary:
    """Mean, median and tenth percentile.

    Raises:
        InvalidInputError: no values.
    """
    if len(values) == 0:
        raise InvalidInputError.for_field("values", "at least one", "none")
    array = np.asarray(values, dtype=np.float64)
    return Summary(len(array), float(array.mean()), float(np.median(array)), float(np.quantile(array, 0.1)))


def iou(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Intersection over union of two (H, W) bool masks; 1 when both are empty."""
    _check_shapes(truth, predicted)
    union = int(np.count_nonzero(truth | predicted))
    return int(np.count_nonzero(truth & predicted)) / union if union else 1.0


def boundary_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], tolerance_px: float | None = None) -> float:
    """F1 of the outlines of two (H, W) bool masks: the harmonic mean of precision and recall of their pixels.

    An outline is the mask's pixels with a 4-neighbour outside of it; where the image cuts an object off there is none.
    Precision is the share of the predicted outline within ``tolerance_px`` (Euclidean) of the true one, recall the
    share of the true outline as near to the predicted one.

    Args:
        truth: the true mask.
        predicted: the mask to judge.
        tolerance_px: None: 0.75 % of the image's diagonal, which is 6 px at 640x480.

    Returns:
        0..1; 1 when neither has an outline, 0 when one has none.
    """
    _check_shapes(truth, predicted)
    if tolerance_px is None:
        tolerance_px = TOLERANCE_OF_DIAGONAL * math.hypot(*truth.shape)
    view = _view_of_both(truth, predicted)
    true_outline, predicted_outline = _outline(truth[view]), _outline(predicted[view])
    if not true_outline.any() or not predicted_outline.any():
        return float(true_outline.any() == predicted_outline.any())
    precision = _share_near(predicted_outline, true_outline, tolerance_px)
    recall = _share_near(true_outline, predicted_outline, tolerance_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _view_of_both(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns around both masks with a pixel beside them, where the image has one."""
    x, y, width, height = cv2.boundingRect((truth | predicted).view(np.uint8))
    return slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(np.ascontiguousarray(mask).view(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return mask & (inner == 0)


def _share_near(outline: NDArray[np.bool_], other: NDArray[np.bool_], tolerance_px: float) -> float:
    """Share of an outline's pixels within a distance of another one."""
    distance_px = cv2.distanceTransform((~other).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.mean(distance_px[outline] <= tolerance_px))


def _check_shapes(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
    if truth.shape != predicted.shape or truth.ndim != 2:
        raise InvalidInputError.for_field(
            "predicted", f"an (H, W) mask of truth's shape {truth.shape}", predicted.shape
        )
