"""DepthAligner: a depth image as another camera of the same rig sees it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import cached_rays, project

_NEAREST_M = 0.1  # the mapping is fitted for this depth and beyond
_TOLERANCE_PX = 0.02  # of the fit
_LARGEST_DEGREE = 6
_CHECKED_STEP_PX = 16
_NOTHING = np.iinfo(np.uint16).max  # further than everything
_NOWHERE_PX = -1e6
# A pixel that grows by less than this does not need another one beside it: rounding of the focal lengths.
_GROWTH_SLACK = 1e-3

Table = list[NDArray[np.float32]]


class DepthAligner:
    """Takes depth images of one camera to another, honouring both lenses and where the cameras are.

    As seen from the colour camera a pixel of the depth camera moves along a curve while its depth changes. Along 1 /
    depth that curve is almost a straight line, so that it is fitted once for each pixel with a polynomial, to
    0.02 pixels from 0.1 m on. An image then costs a few multiplications for each pixel, whatever the lens. Where
    several points meet, the nearest stays; a point covers as many pixels as its own pixel is large there.

    librealsense's rs2::align differs in two ways: it leaves out the colour camera's distortion when the model is
    inverse Brown-Conrady or Brown-Conrady, and it copies the depth along the depth camera's axis, where a colour image
    needs it along its own.

    Args:
        depth: intrinsics of the depth camera.
        color: intrinsics of the camera to align to.
        color_T_depth: (4, 4), takes points of the depth camera's optical frame to the colour camera's.
    """

    def __init__(self, depth: CameraIntrinsics, color: CameraIntrinsics, color_T_depth: ArrayLike) -> None:
        transform = np.asarray(color_T_depth, dtype=np.float64)
        if transform.shape != (4, 4):
            raise InvalidInputError.for_field("color_T_depth", "shape (4, 4)", transform.shape)
        self.depth = depth
        self.color = color
        rays = cached_rays(depth).points.astype(np.float64) @ transform[:3, :3].T
        shift = transform[:3, 3]
        u, v = _fit(rays, shift, color)
        self._cover = _cover(u[0], v[0])
        self._seen = _seen(u, v, color)  # the others are not worth their multiplications
        self._u, self._v = [table[self._seen] for table in u], [table[self._seen] for table in v]
        self._z_of_depth = rays[..., 2][self._seen].astype(np.float32)
        self._z_shift_m = float(shift[2])

    def align(self, depth: NDArray[np.uint16], unit_m: float = 0.001) -> NDArray[np.uint16]:
        """(H, W) uint16 depth along the colour camera's axis, in the same unit; 0 where there is none.

        Args:
            depth: (H, W) uint16 of the depth camera; 0 is no data.
            unit_m: metres of one unit.

        Raises:
            InvalidInputError: an image of another size or type.
        """
        if depth.shape != self.depth.size or depth.dtype != np.uint16:
            raise InvalidInputError.for_field(
                "depth", f"uint16 of shape {self.depth.size}", f"{depth.dtype} of shape {depth.shape}"
            )
        height, width = self.color.size
        depth = depth[self._seen]
        cover, margin = self._cover, self._cover + 1
        rows = height + 2 * margin
        columns = width + 2 * margin
        metres = np.maximum(depth, 1).astype(np.float32)
        metres *= np.float32(unit_m)
        inverse = np.reciprocal(metres)
        x = _corner(_evaluate(self._u, inverse), cover, width, margin)
        y = _corner(_evaluate(self._v, inverse), cover, height, margin)
        z = depth * self._z_of_depth
        z += np.float32(self._z_shift_m / unit_m + 0.5)  # a cast rounds down
        z[(depth == 0) | ~(z >= 1) | (z >= _NOTHING)] = _NOTHING
        nearest = _scatter_nearest((y * columns + x).ravel(), z.astype(np.uint16).ravel(), rows * columns)
        image: NDArray = nearest.reshape(rows, columns)
        if cover > 1:
            block = np.ones((cover, cover), np.uint8)
            image = cv2.erode(image, block, anchor=(cover - 1, cover - 1), borderValue=float(_NOTHING))
        image = image[margin : margin + height, margin : margin + width]
        return np.where(image == _NOTHING, np.uint16(0), image)


def _fit(rays: NDArray[np.float64], shift: NDArray[np.float64], color: CameraIntrinsics) -> tuple[Table, Table]:
    """Coefficients, from the constant up, of u and v as polynomials of 1 / depth, for every pixel."""
    some = rays[::_CHECKED_STEP_PX, ::_CHECKED_STEP_PX]
    checked = np.linspace(0, 1 / _NEAREST_M, 25)
    truth = _project_at(some, shift, color, checked)
    for degree in range(1, _LARGEST_DEGREE + 1):
        coefficients = _interpolate(some, shift, color, degree)
        powers = checked[:, None] ** np.arange(degree + 1)
        error = np.abs(np.tensordot(powers, coefficients, 1) - truth)
        if np.nanmax(error, initial=0) < _TOLERANCE_PX:
            break
    coefficients = _interpolate(rays, shift, color, degree)
    coefficients[:, ~np.isfinite(coefficients).all(axis=(0, -1))] = 0.0
    lost = ~np.isfinite(rays).all(axis=-1) | ~coefficients.any(axis=(0, -1))
    coefficients[0, lost] = _NOWHERE_PX
    tables = coefficients.astype(np.float32)
    return [np.ascontiguousarray(table[..., 0]) for table in tables], [
        np.ascontiguousarray(table[..., 1]) for table in tables
    ]


def _interpolate(
    rays: NDArray[np.float64], shift: NDArray[np.float64], color: CameraIntrinsics, degree: int
) -> NDArray[np.float64]:
    """(degree + 1, ..., 2) coefficients through the Chebyshev nodes of [0, 1 / nearest]."""
    angles = (2 * np.arange(degree + 1) + 1) * np.pi / (2 * (degree + 1))
    nodes = (1 - np.cos(angles)) / (2 * _NEAREST_M)
    powers = nodes[:, None] ** np.arange(degree + 1)
    return np.tensordot(np.linalg.inv(powers), _project_at(rays, shift, color, nodes), 1)


def _project_at(
    rays: NDArray[np.float64], shift: NDArray[np.float64], color: CameraIntrinsics, inverse_depths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(len(inverse_depths), ..., 2) pixels; a point and its ray from the origin share theirs."""
    return np.stack([project(rays + shift * inverse, color) for inverse in inverse_depths])


def _cover(u: NDArray[np.float32], v: NDArray[np.float32]) -> int:
    """How many pixels of the one camera a pixel of the other covers, along an axis."""
    steps = np.concatenate([np.abs(np.diff(u, axis=1)).ravel(), np.abs(np.diff(v, axis=0)).ravel()])
    steps = steps[steps < -_NOWHERE_PX / 2]
    growth = float(np.quantile(steps, 0.99)) if steps.size else 1.0
    return max(1, int(np.ceil(growth - _GROWTH_SLACK)))


def _seen(u: Table, v: Table, color: CameraIntrinsics) -> tuple[slice, slice]:
    """Rows and columns of the depth image that hold every pixel which lands in the other one at some depth."""
    lands = np.zeros(u[0].shape, np.bool_)
    for inverse in np.linspace(0, 1 / _NEAREST_M, 5, dtype=np.float32):
        at_u, at_v = (_evaluate(table, np.full(u[0].shape, inverse)) for table in (u, v))
        lands |= (at_u > -1) & (at_u < color.width) & (at_v > -1) & (at_v < color.height)
    rows, columns = (np.flatnonzero(lands.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _evaluate(table: Table, inverse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Horner's scheme."""
    *lower, value = table
    for coefficient in reversed(lower):
        value = value * inverse
        value += coefficient
    return value


def _corner(centre: NDArray[np.float32], cover: int, size: int, margin: int) -> NDArray[np.int32]:
    """First pixel of the block around a point, shifted by the margin; those outside land in the margin."""
    centre -= np.float32((cover - 1) / 2 - 0.5 - margin)
    np.clip(centre, 0, size + margin, out=centre)
    return centre.astype(np.int32)


def _scatter_nearest(places: NDArray[np.int32], z: NDArray[np.uint16], size: int) -> NDArray[np.uint16]:
    """An array of ``size`` that has at each place the smallest z that goes there."""
    result = np.full(size, _NOTHING, np.uint16)
    while places.size:
        result[places] = z
        nearer = z < result[places]
        places, z = places[nearer], z[nearer]
    return result
