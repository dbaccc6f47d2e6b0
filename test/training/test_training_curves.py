"""The picture of a run shows its curves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from sam_perception.training.curves import draw_curves

HEADER = "step,hours,rate,loss,side,prompts,iou_click,iou_box,iou_last\n"


def drawn(tmp_path, rows: list[str]) -> np.ndarray:
    (tmp_path / "log.csv").write_text(HEADER + "".join(rows))
    draw_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None and picture.shape[0] > 300 and picture.shape[1] > 800
    return picture


def colourful(picture: np.ndarray) -> int:
    """Pixels that are neither white nor grey nor black: curves and their legend."""
    return int((picture.max(axis=2).astype(int) - picture.min(axis=2) > 60).sum())


def test_curves_of_a_log_are_drawn(tmp_path):
    """Columns that a phase leaves empty are no obstacle; more curves are more ink."""
    only_side = [f"{25 * i},0.1,0.001,{9 / i},{3 / i},,,,\n" for i in range(1, 9)]
    with_prompts = [f"{25 * i},0.1,0.001,{9 / i},{3 / i},{4 / i},{i / 20},{i / 15},\n" for i in range(9, 30)]
    few, many = drawn(tmp_path, only_side), drawn(tmp_path, only_side + with_prompts)
    left, right = (slice(None), slice(0, few.shape[1] // 2)), (slice(None), slice(few.shape[1] // 2, None))
    assert colourful(few[left]) > 300
    assert colourful(few[right]) < 50
    assert colourful(many[right]) > 300
    assert not np.array_equal(few[left], many[left])


def test_a_log_that_is_missing_leaves_the_old_picture(tmp_path):
    drawn(tmp_path, ["25,0.1,0.001,2,1,1,0.1,0.2,\n"])
    before = (tmp_path / "curves.png").read_bytes()
    with pytest.raises(OSError, match="nothing"):
        draw_curves(tmp_path / "nothing.csv", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == before
