"""Rotations as matrices and as quaternions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.errors import InvalidInputError


def rotation_from_quaternion(quaternion: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) rotation of a quaternion x y z w of any length but 0.

    Raises:
        InvalidInputError: a length of 0, or a number that is not finite.
    """
    values = np.asarray(quaternion, dtype=np.float64)
    length = float(np.linalg.norm(values))
    if not 1e-9 < length < np.inf:
        raise InvalidInputError.for_field("rotation", "a quaternion of length 1", values.tolist())
    x, y, z, w = values / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: ArrayLike) -> NDArray[np.float64]:
    """(4,) unit quaternion x y z w of a (3, 3) rotation, w at least 0.

    The eigenvector of the largest eigenvalue of Bar-Itzhack's matrix: "New Method for Extracting the Quaternion from
    a Rotation Matrix", Journal of Guidance, Control, and Dynamics 23(6), 2000. It has no case where digits are lost.
    """
    r = np.asarray(rotation, dtype=np.float64)
    lower = np.zeros((4, 4))
    lower[0, 0] = r[0, 0] - r[1, 1] - r[2, 2]
    lower[1, :2] = r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2]
    lower[2, :3] = r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]
    lower[3] = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], np.trace(r)
    _, vectors = np.linalg.eigh(lower / 3)  # reads the lower half
    quaternion = vectors[:, -1]
    return quaternion if quaternion[3] >= 0 else -quaternion
