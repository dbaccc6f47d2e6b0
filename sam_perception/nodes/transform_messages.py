"""Rigid transforms and rotations between matrices and geometry_msgs."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from numpy.typing import ArrayLike, NDArray
from std_msgs.msg import Header

from sam_perception.errors import InvalidInputError
from sam_perception.rotations import quaternion_from_rotation, rotation_from_quaternion


def matrix_from_transform(transform: Any) -> NDArray[np.float64]:
    """(4, 4) target_T_source of a geometry_msgs/Transform.

    Raises:
        InvalidInputError: numbers that are not finite, or a quaternion of length 0.
    """
    q, t = transform.rotation, transform.translation
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_quaternion([q.x, q.y, q.z, q.w])
    matrix[:3, 3] = t.x, t.y, t.z
    if not np.isfinite(matrix).all():
        raise InvalidInputError.for_field("transform.translation", "finite metres", [t.x, t.y, t.z])
    return matrix


def transform_message(header: Any, child_frame_id: str, parent_T_child: ArrayLike) -> Any:
    """A geometry_msgs/TransformStamped whose parent is the header's frame."""
    matrix = np.asarray(parent_T_child, dtype=np.float64)
    x, y, z = (float(value) for value in matrix[:3, 3])
    transform = Transform(translation=Vector3(x=x, y=y, z=z), rotation=quaternion_message(matrix[:3, :3]))
    return TransformStamped(header=header, child_frame_id=child_frame_id, transform=transform)


def pose_message(position: ArrayLike, rotation: ArrayLike | None = None) -> Any:
    """A geometry_msgs/Pose; without a rotation that of the frame itself."""
    orientation = Quaternion(w=1.0) if rotation is None else quaternion_message(rotation)
    return Pose(position=point_message(position), orientation=orientation)


def point_message(position: ArrayLike) -> Any:
    """A geometry_msgs/Point of (3,) metres."""
    x, y, z = (float(value) for value in np.asarray(position))
    return Point(x=x, y=y, z=z)


def vector_message(values: ArrayLike) -> Any:
    """A geometry_msgs/Vector3 of (3,) values."""
    x, y, z = (float(value) for value in np.asarray(values))
    return Vector3(x=x, y=y, z=z)


def matrix_pose_message(matrix: NDArray[np.float64]) -> Any:
    """A geometry_msgs/Pose of a (4, 4) rigid transform."""
    return pose_message(matrix[:3, 3], matrix[:3, :3])


def quaternion_message(rotation: ArrayLike) -> Any:
    """A geometry_msgs/Quaternion of a (3, 3) rotation."""
    x, y, z, w = (float(value) for value in quaternion_from_rotation(rotation))
    return Quaternion(x=x, y=y, z=z, w=w)


def header_message(stamp: Any, frame_id: str) -> Any:
    """A std_msgs/Header."""
    return Header(stamp=stamp, frame_id=frame_id)
