"""Transforms and quaternions agree with closed forms and with OpenCV's rotation vectors."""

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, Vector3
from std_msgs.msg import Header

from sam_perception.errors import InvalidInputError
from sam_perception.nodes.transform_messages import (
    matrix_from_transform,
    pose_message,
    quaternion_from_rotation,
    rotation_from_quaternion,
    transform_message,
)


def from_axis_angle(axis, angle):
    """Quaternion x y z w by its definition."""
    return np.array([*(np.sin(angle / 2) * np.asarray(axis)), np.cos(angle / 2)])


@pytest.mark.parametrize("angle", [0, 1e-9, 1e-4, 0.7, np.pi / 2, 3.0, np.pi - 1e-9, np.pi])
def test_quaternions_are_those_of_axis_and_angle_at_every_angle(angle):
    rng = np.random.default_rng(3)
    for axis in [*np.eye(3), *(-np.eye(3)), *rng.normal(size=(20, 3))]:
        axis = axis / np.linalg.norm(axis)
        quaternion = from_axis_angle(axis, angle)
        rotation = cv2.Rodrigues(axis * angle)[0]
        np.testing.assert_allclose(rotation_from_quaternion(quaternion), rotation, atol=1e-9)
        np.testing.assert_allclose(rotation_from_quaternion(3 * quaternion), rotation, atol=1e-9)
        found = quaternion_from_rotation(rotation)
        assert abs(found @ quaternion) == pytest.approx(1, abs=1e-12)  # q and -q are one rotation
        assert found[3] >= 0 and np.linalg.norm(found) == pytest.approx(1, abs=1e-12)


def test_a_transform_survives_the_way_through_its_message():
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = cv2.Rodrigues(np.array([0.3, -1.2, 0.5]))[0], (1, -2, 3)
    message = transform_message(Header(frame_id="parent"), "child", matrix)
    assert (message.header.frame_id, message.child_frame_id) == ("parent", "child")
    np.testing.assert_allclose(matrix_from_transform(message.transform), matrix, atol=1e-12)


def test_a_pose_without_rotation_is_that_of_the_frame():
    pose = pose_message(np.array([1, 2, 3], np.float32))
    assert (pose.position.x, pose.position.y, pose.position.z) == (1, 2, 3)
    assert (pose.orientation.x, pose.orientation.w) == (0, 1)


@pytest.mark.parametrize(
    ("transform", "named"),
    [
        (Transform(rotation=Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)), "rotation"),
        (Transform(rotation=Quaternion(w=float("nan"))), "rotation"),
        (Transform(translation=Vector3(x=float("inf"))), "translation"),
    ],
)
def test_a_transform_that_is_none_is_an_error(transform, named):
    with pytest.raises(InvalidInputError, match=named):
        matrix_from_transform(transform)
