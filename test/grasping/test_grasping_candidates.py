"""Candidates: what they refuse, and what they are in another frame."""

from __future__ import annotations

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.grasping.candidates import GraspCandidate, no_grasp, transform_candidate


def _candidate() -> GraspCandidate:
    pose = np.eye(4)
    pose[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    pose[:3, 3] = 0.1, 0.2, 0.5
    return GraspCandidate(pose, 0.05, 0.7, 0.1, "antipodal")


def test_approach_and_pregrasp() -> None:
    candidate = _candidate()
    np.testing.assert_array_equal(candidate.approach, [1, 0, 0])
    np.testing.assert_allclose(candidate.camera_T_pregrasp[:3, 3], [0.0, 0.2, 0.5])


def test_transform_keeps_all_but_the_pose() -> None:
    base_T_camera = np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], float)
    moved = transform_candidate(_candidate(), base_T_camera)
    np.testing.assert_allclose(moved.camera_T_tcp[:3, 3], [1 - 0.2, 2 + 0.1, 3.5])
    np.testing.assert_allclose(moved.approach, [0, 1, 0])
    assert (moved.width_m, moved.quality, moved.planner) == (0.05, 0.7, "antipodal")


@pytest.mark.parametrize(
    ("pose", "width_m", "quality"),
    [(np.diag([1.0, 1.0, -1.0, 1.0]), 0.05, 0.5), (np.eye(3), 0.05, 0.5), (np.eye(4), -0.1, 0.5), (np.eye(4), 0.1, 2)],
)
def test_what_is_no_grasp_is_refused(pose: np.ndarray, width_m: float, quality: float) -> None:
    with pytest.raises(InvalidInputError, match="GraspCandidate"):
        GraspCandidate(pose, width_m, quality, 0.1, "antipodal")


def test_no_grasp_says_what_rejected_most_first() -> None:
    plan = no_grasp({"would touch the table": 3, "too wide for the gripper": 10, "would touch something near": 0})
    assert plan.candidates == ()
    assert plan.reasons == ("no safe grasp: 10 too wide for the gripper, 3 would touch the table",)
