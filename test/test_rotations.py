"""Quaternions against OpenCV's rotation vectors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.rotations import quaternion_from_rotation, rotation_from_quaternion

AXES = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0, -0.8), (2 / 3, -2 / 3, 1 / 3)]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("degrees", [0, 1e-4, 30, 90, 120, 179.999, 180])
def test_matrix_and_quaternion_are_the_same_turn(axis: tuple[float, float, float], degrees: float) -> None:
    angle = np.radians(degrees)
    expected, _ = cv2.Rodrigues(angle * np.array(axis))
    quaternion = np.array([*(np.sin(angle / 2) * np.array(axis)), np.cos(angle / 2)])
    np.testing.assert_allclose(rotation_from_quaternion(3 * quaternion), expected, atol=1e-12)
    found = quaternion_from_rotation(expected)
    assert found[3] >= 0
    np.testing.assert_allclose(found * np.sign(found @ quaternion), quaternion, atol=1e-8)


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (0, np.nan, 0, 1)])
def test_a_quaternion_that_is_no_turn_is_refused(quaternion: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInputError, match="quaternion of length 1"):
        rotation_from_quaternion(quaternion)
