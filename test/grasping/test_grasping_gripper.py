"""Grippers from YAML: those that ship, one's own, and what a wrong file is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.grasping.gripper import DEFAULT_GRIPPER, GRIPPERS, load_gripper

_OWN = """
finger_length_m: 0.05
finger_width_m: 0.02
finger_thickness_m: 0.01
min_opening_m: 0.0
max_opening_m: 0.06
palm_size_m: [0.08, 0.12, 0.1]
tip_m: 0.01
friction: 0.5
"""


@pytest.mark.parametrize(
    ("name", "opening_m"), [("franka_hand", 0.08), ("robotiq_2f85", 0.085), ("robotiq_2f140", 0.14)]
)
def test_shipped_grippers_open_as_far_as_their_makers_say(name: str, opening_m: float) -> None:
    gripper = load_gripper(name)
    assert gripper.name == name
    assert gripper.max_opening_m == opening_m


def test_all_shipped_grippers_load_and_the_default_is_one_of_them() -> None:
    assert [load_gripper(name).name for name in GRIPPERS] == list(GRIPPERS)
    assert DEFAULT_GRIPPER in GRIPPERS


def test_boxes_lie_where_pads_tips_and_palm_are() -> None:
    gripper = load_gripper("franka_hand")
    centers, halves = gripper.boxes(0.06)
    low, high = centers - halves, centers + halves
    assert low[1, 1] == pytest.approx(0.03)  # the pads face each other across the opening
    assert high[2, 1] == pytest.approx(-0.03)
    assert high[1:, 2] == pytest.approx(gripper.tip_m)
    assert low[1:, 2] == pytest.approx(high[0, 2])  # fingers begin where the palm ends
    assert high[0, 2] == pytest.approx(gripper.tip_m - gripper.finger_length_m)
    np.testing.assert_allclose(2 * halves[0], gripper.palm_size_m)


def test_own_gripper_from_a_file_is_named_after_it(tmp_path: Path) -> None:
    path = tmp_path / "my_hand.yaml"
    path.write_text(_OWN)
    gripper = load_gripper(str(path))
    assert (gripper.name, gripper.max_opening_m, gripper.palm_size_m) == ("my_hand", 0.06, (0.08, 0.12, 0.1))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("tip_m: 0.01", "", "tip_m"),
        ("tip_m: 0.01", "tip_m: 0.2", "tip_m"),
        ("friction: 0.5", "friction: high", "friction"),
        ("friction: 0.5", "friction: 0.5\ncolour: red", "colour"),
        ("min_opening_m: 0.0", "min_opening_m: 0.07", "min_opening_m"),
        ("[0.08, 0.12, 0.1]", "[0.08, 0.12]", "palm_size_m"),
    ],
)
def test_wrong_file_is_told_which_field(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = tmp_path / "hand.yaml"
    path.write_text(_OWN.replace(old, new))
    with pytest.raises(InvalidInputError, match=named):
        load_gripper(str(path))


@pytest.mark.parametrize("content", ["- a\n- b\n", "{", None])
def test_what_is_no_gripper_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "hand.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInputError):
        load_gripper(str(path))
