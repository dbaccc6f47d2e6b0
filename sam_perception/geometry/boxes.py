"""Oriented boxes around clouds."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.geometry.planes import Plane

_HULL_DIRECTIONS = 16
_HULL_POINTS = 4000
_ROTATION_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True, eq=False)
class OrientedBox:
    """A box in a camera's or another frame.

    Attributes:
        center: (3,) float64 metres.
        size: (3,) float64 metres along the box's own axes.
        rotation: (3, 3) float64, its columns are the box's axes in the frame; right-handed.

    Raises:
        InvalidInputError: wrong shapes, values that are not finite, a negative size, or no rotation.
    """

    center: NDArray[np.float64]
    size: NDArray[np.float64]
    rotation: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, shape in (("center", (3,)), ("size", (3,)), ("rotation", (3, 3))):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise InvalidInputError.for_field(f"OrientedBox.{name}", f"finite numbers of shape {shape}", value)
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if (self.size < 0).any():
            raise InvalidInputError.for_field("OrientedBox.size", "lengths of 0 or more", self.size)
        _require_rotation("OrientedBox.rotation", self.rotation)

    @property
    def volume_m3(self) -> float:
        """Volume."""
        return float(np.prod(self.size))

    def corners(self, margin_m: float = 0.0) -> NDArray[np.float64]:
        """(8, 3) corners in the frame, of the box grown by ``margin_m`` on every side.

        Bits 0, 1, 2 of a corner's number say on which side along x, y, z it lies.
        """
        signs = np.array([[(i >> axis & 1) - 0.5 for axis in range(3)] for i in range(8)])
        return self.center + (signs * (self.size + 2 * margin_m)) @ self.rotation.T

    def contains(self, points: NDArray[np.floating], margin_m: float = 0.0) -> NDArray[np.bool_]:
        """(N,) bool: which of (N, 3) points lie in the box, grown by ``margin_m`` on every side."""
        local = (points - self.center) @ self.rotation
        return np.all(np.abs(local) <= self.size / 2 + margin_m, axis=1)


def oriented_box(
    points: NDArray[np.floating],
    plane: Plane | None = None,
    *,
    trim_percent: float = 0.5,
    top_percent: float = 99.0,
    min_height_m: float = 0.004,
) -> OrientedBox:
    """A box around a cloud, standing on ``plane`` where there is one.

    With a plane: z is the plane's normal. The footprint is the rectangle of least area around the points more than
    ``min_height_m`` above the plane (which leaves out the table at the mask's edge; around all points if these are
    fewer than a tenth). x is its longer side, turned to the camera's right. The bottom is the plane itself: what the
    camera cannot see below the visible surface counts as object. The top is the ``top_percent`` percentile of the
    heights. Where the camera sees no side and no top that reaches the far edge, the footprint is that of
    what it sees.

    Without a plane: principal axes of the points; x the longest, z the shortest, z turned to the camera.

    Args:
        points: (N, 3) metres in the camera's optical frame, N at least 3, all finite.
        plane: what the object stands on, or None.
        trim_percent: share of the points that may lie beyond each side of the box, against the tails of real depth at
            edges; it costs a box 1 % of its sides and a disc 4 % of its diameter.
        top_percent: percentile of the heights that is the top.
        min_height_m: see above.

    Raises:
        InvalidInputError: fewer than 3 points, or another shape.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3:
        raise InvalidInputError.for_field("points", "shape (N, 3) with N at least 3", points.shape)
    cloud = points.astype(np.float64)
    if plane is None:
        return _principal_box(cloud, trim_percent)
    heights = plane.heights_m(cloud)
    top = max(0.0, float(np.percentile(heights, top_percent)))
    standing = heights > min_height_m
    if np.count_nonzero(standing) >= max(3, 0.1 * len(cloud)):
        cloud = cloud[standing]
    z_axis = plane.normal
    basis = _plane_basis(z_axis)
    flat = cloud @ basis
    x_axis = basis @ _longer_side(_trimmed(flat, trim_percent))
    rotation = _right_handed(_towards_right(x_axis), z_axis)
    low, high = _extent(cloud @ rotation[:, :2], trim_percent)
    middle = rotation[:, :2] @ ((low + high) / 2)
    center = middle + z_axis * (top / 2 - plane.offset)
    return OrientedBox(center, np.array([*(high - low), top]), rotation)


def transform_box(box: OrientedBox, target_T_source: ArrayLike) -> OrientedBox:
    """The same box in another frame: its centre and axes move, its size along its own axes stays.

    Args:
        box: in the frame "source".
        target_T_source: (4, 4) rigid transform that takes points of "source" to "target".

    Raises:
        InvalidInputError: a matrix that is not a rigid transform.
    """
    transform = np.asarray(target_T_source, dtype=np.float64)
    if transform.shape != (4, 4) or not np.allclose(transform[-1:], [0, 0, 0, 1]):
        raise InvalidInputError.for_field("target_T_source", "a rigid (4, 4) transform", transform)
    rotation = transform[:3, :3]
    _require_rotation("target_T_source", rotation)
    return OrientedBox(rotation @ box.center + transform[:3, 3], box.size, rotation @ box.rotation)


def _principal_box(points: NDArray[np.float64], trim_percent: float) -> OrientedBox:
    mean = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - mean).T))  # ascending
    z_axis = axes[:, 0] if axes[:, 0] @ mean <= 0 else -axes[:, 0]
    rotation = _right_handed(_towards_right(axes[:, 2]), z_axis)
    extents = np.array(_extent(points @ rotation, trim_percent))
    size = extents[1] - extents[0]
    return OrientedBox(rotation @ extents.mean(axis=0), size, rotation)


def _plane_basis(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 2) two unit vectors across the normal and each other; the first as near to the camera's x axis as can be."""
    seed = np.eye(3)[0] if abs(normal[0]) < 0.9 else np.eye(3)[1]
    first = seed - (seed @ normal) * normal
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)], axis=1)


def _trimmed(flat: NDArray[np.float64], trim_percent: float) -> NDArray[np.float64]:
    """(M, 2) points that are not beyond the trimming percentile in any of 16 directions; few points decide a hull."""
    flat = flat[:: max(1, len(flat) // _HULL_POINTS)]
    angles = np.arange(_HULL_DIRECTIONS) * np.pi / _HULL_DIRECTIONS
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ flat.T
    low, high = np.percentile(along, [trim_percent, 100 - trim_percent], axis=1)[:, :, None]
    kept = flat[((along >= low) & (along <= high)).all(axis=0)]
    return kept if len(kept) >= 3 else flat


def _longer_side(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,) direction of the longer side of the rectangle of least area around (N, 2) points."""
    # Around their middle, since minAreaRect reckons in float32.
    corners = cv2.boxPoints(cv2.minAreaRect((flat - flat.mean(axis=0)).astype(np.float32))).astype(np.float64)
    sides = corners[1] - corners[0], corners[2] - corners[1]
    longer = max(sides, key=lambda side: float(side @ side))
    length = float(np.hypot(*longer))
    return longer / length if length > 0 else np.array([1.0, 0.0])


def _extent(along: NDArray[np.float64], trim_percent: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.percentile(along.T.copy(), [trim_percent, 100 - trim_percent], axis=1)
    return low, high


def _towards_right(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """The axis or its opposite: to the camera's right, or else down, or else forward."""
    leading = next((value for value in axis if abs(value) > 1e-6), 1.0)
    return axis if leading > 0 else -axis


def _right_handed(x_axis: NDArray[np.float64], z_axis: NDArray[np.float64]) -> NDArray[np.float64]:
    x_axis = x_axis - (x_axis @ z_axis) * z_axis
    x_axis /= np.linalg.norm(x_axis)
    return np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=1)


def _require_rotation(field: str, rotation: NDArray[np.float64]) -> None:
    orthogonal = np.allclose(rotation.T @ rotation, np.eye(3), atol=_ROTATION_TOLERANCE)
    if not orthogonal or np.linalg.det(rotation) < 0:
        raise InvalidInputError.for_field(field, "a right-handed rotation without scale", rotation.tolist())
