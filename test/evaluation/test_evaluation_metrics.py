"""IoU and boundary F1 agree with pycocotools, with closed forms and with comparing all pixels."""

from __future__ import annotations

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.metrics import boundary_f1, iou, summarize

SIZE = (60, 80)


def square(x: int, y: int, side: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[max(y, 0) : y + side, max(x, 0) : x + side] = True
    return mask


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros(SIZE, dtype=bool)
    for _ in range(4):
        mask |= square(*rng.integers(-5, 60, 2), int(rng.integers(3, 25)))
    return mask


def outline_by_hand(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    pixels = []
    for y, x in np.argwhere(mask):
        around = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        if any(0 <= v < height and 0 <= u < width and not mask[v, u] for v, u in around):
            pixels.append((y, x))
    return np.array(pixels).reshape(-1, 2)


def f1_by_hand(truth: np.ndarray, predicted: np.ndarray, tolerance: float) -> float:
    a, b = outline_by_hand(truth), outline_by_hand(predicted)
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    recall, precision = ((distances.min(axis=axis) <= tolerance).mean() for axis in (1, 0))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_iou_is_that_of_pycocotools(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    truth, predicted = random_mask(seed), random_mask(seed + 50)
    codes = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in (truth, predicted)]
    assert iou(truth, predicted) == pytest.approx(coco.iou(codes[1:], codes[:1], [0])[0, 0])


def test_iou_of_nothing() -> None:
    nothing = np.zeros(SIZE, dtype=bool)
    assert iou(nothing, nothing) == 1
    assert iou(square(5, 5, 5), nothing) == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tolerance", [0, 1, 3.5])
def test_boundary_f1_agrees_with_comparing_all_pixels(seed: int, tolerance: float) -> None:
    truth, predicted = random_mask(seed), random_mask(seed + 50)
    assert boundary_f1(truth, predicted, tolerance) == pytest.approx(f1_by_hand(truth, predicted, tolerance))
    assert boundary_f1(predicted, truth, tolerance) == pytest.approx(boundary_f1(truth, predicted, tolerance))


def test_an_outline_moved_by_less_than_the_tolerance_is_as_good() -> None:
    assert boundary_f1(square(20, 20, 20), square(23, 20, 20), 3) == 1
    assert boundary_f1(square(20, 20, 20), square(24, 20, 20), 3) < 1


def test_the_default_tolerance_is_6_px_at_640x480() -> None:
    truth, six, seven = (np.zeros((480, 640), dtype=bool) for _ in range(3))
    for mask, grown in ((truth, 0), (six, 6), (seven, 7)):
        mask[200 - grown : 280 + grown, 200:280] = True
    assert boundary_f1(truth, six) == 1
    assert boundary_f1(truth, seven) < 1


def test_the_edge_of_the_image_is_no_outline() -> None:
    """Of an object that reaches out of view, only what is in view counts: this one has a single straight edge."""
    truth, predicted = np.zeros(SIZE, dtype=bool), np.zeros(SIZE, dtype=bool)
    truth[:, :30] = True
    predicted[:, :40] = True
    assert boundary_f1(truth, predicted, 9) == 0
    assert boundary_f1(truth, predicted, 10) == 1


def test_boundary_f1_without_an_outline() -> None:
    nothing, everything = np.zeros(SIZE, dtype=bool), np.ones(SIZE, dtype=bool)
    assert boundary_f1(nothing, nothing) == 1
    assert boundary_f1(square(5, 5, 5), nothing) == 0
    assert boundary_f1(square(5, 5, 5), everything) == 0


def test_summary_of_known_values() -> None:
    summary = summarize([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert (summary.count, summary.mean, summary.median) == (11, pytest.approx(0.5), 0.5)
    assert summary.worst_tenth == pytest.approx(0.1)
    with pytest.raises(InvalidInputError, match="at least one"):
        summarize([])


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"predicted: expected .*\(60, 80\)"):
        iou(square(0, 0, 5), np.zeros((5, 5), dtype=bool))
