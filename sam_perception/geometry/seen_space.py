"""What a depth image shows of the space around an object: where its surface is, and where nothing is."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.clouds import ObjectCloud
from sam_perception.geometry.noise import depth_noise_m
from sam_perception.geometry.rays import project

_TOLERANCE_M = 0.003  # 2 standard deviations of the depth noise come on top
_OUTLINE_PX = 2  # masks and the edges of depth are that far off
_MARGIN_PX = 16

AnyFloat = TypeVar("AnyFloat", np.float32, np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class SeenSpace:
    """The window of an image in which an object's unseen side may be.

    Attributes:
        intrinsics: of the image.
        x: column of the window's left edge.
        y: row of the window's top edge.
        free_to: (h, w) metres: nearer than this no surface of the object can be, since the camera saw through there.
        surface_from: (h, w) metres: the nearest depth of the object about each pixel, inf where it was not measured.
        surface_to: (h, w) metres: the farthest one, -inf where it was not measured.
    """

    intrinsics: CameraIntrinsics
    x: int
    y: int
    free_to: NDArray[np.float32]
    surface_from: NDArray[np.float32]
    surface_to: NDArray[np.float32]

    @classmethod
    def around(cls, cloud: ObjectCloud) -> SeenSpace:
        """Around an object, as far to every side as its mask is long.

        Outside the mask the object was not seen: it can only be behind what was. Where that has no depth it is
        taken not to be. In the mask and along its outline, where no depth of it was measured, it may be anywhere.
        """
        assert cloud.frame.intrinsics is not None  # deproject_mask has seen to it
        x0, y0, x1, y1 = cloud.mask.box
        rows, columns = _window(cloud, _MARGIN_PX + max(x1 - x0, y1 - y0))
        seen = cloud.frame.depth_m[rows, columns]
        free_to = np.where(seen > 0, seen + _tolerance_m(seen), np.float32(np.inf))
        surface_from = np.full(seen.shape, np.inf, np.float32)
        surface_to = np.full(seen.shape, -np.inf, np.float32)

        close_rows, close_columns = _window(cloud, _OUTLINE_PX)  # farther off nothing is the object's
        close = (
            slice(close_rows.start - rows.start, close_rows.stop - rows.start),
            slice(close_columns.start - columns.start, close_columns.stop - columns.start),
        )
        own, masked = _own_depth_and_mask(cloud, close_rows, close_columns)
        outline = np.ones((2 * _OUTLINE_PX + 1, 2 * _OUTLINE_PX + 1), np.uint8)
        nearest = _nearest(own, outline)
        known = nearest < np.inf
        own_free_to = np.zeros(own.shape, np.float32)
        own_free_to[known] = nearest[known] - _tolerance_m(nearest[known])
        free_to[close] = np.where(cv2.dilate(masked, outline) > 0, own_free_to, free_to[close])
        around = np.ones((3, 3), np.uint8)
        surface_from[close] = _nearest(own, around)
        farthest = cv2.dilate(own, around)
        surface_to[close][farthest > 0] = farthest[farthest > 0]
        return cls(cloud.frame.intrinsics, columns.start, rows.start, free_to, surface_from, surface_to)

    def rate(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How well points meet the measured surface, and whether they are in seen free space.

        Args:
            points: (..., 3) in the camera's optical frame.

        Returns:
            (...,) 1 for points on the surface, falling to 0 a few millimetres off it; and (...,) bool. What is out of
            the window is neither.
        """
        depth = points[..., 2]
        pixels = np.rint(project(points, self.intrinsics))
        columns, rows = pixels[..., 0] - self.x, pixels[..., 1] - self.y
        height, width = self.free_to.shape
        inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        at = np.where(inside, rows * width + columns, 0).astype(np.intp)  # NaN is not inside
        near, far = self.surface_from.reshape(-1).take(at), self.surface_to.reshape(-1).take(at)
        off = np.maximum(np.maximum(near - depth, depth - far), 0.0)
        meets = inside * np.maximum(0.0, 1 - off / _tolerance_m(depth))
        return meets, inside & (depth < self.free_to.reshape(-1).take(at)) & (meets == 0)

    def may_hold(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(...,) bool: where what the camera saw does not rule out a surface of the object."""
        return ~self.rate(points)[1]


def _window(cloud: ObjectCloud, margin_px: int) -> tuple[slice, slice]:
    """Rows and columns of the image around the mask's crop."""
    mask, (height, width) = cloud.mask, cloud.frame.size
    return (
        slice(max(0, mask.rows.start - margin_px), min(height, mask.rows.stop + margin_px)),
        slice(max(0, mask.columns.start - margin_px), min(width, mask.columns.stop + margin_px)),
    )


def _own_depth_and_mask(
    cloud: ObjectCloud, rows: slice, columns: slice
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The object's measured depth, 0 where there is none, and its mask, over a window that holds the mask's crop."""
    own = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    masked = np.zeros(own.shape, np.uint8)
    height, width = cloud.mask.crop.shape
    top, left = cloud.mask.y - rows.start, cloud.mask.x - columns.start
    own[top : top + height, left : left + width][cloud.seen] = cloud.points[:, 2]
    masked[top : top + height, left : left + width] = cloud.mask.crop
    return own, masked


def _nearest(depth_m: NDArray[np.float32], kernel: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The nearest depth under the kernel, inf where there is none (0)."""
    depth = np.where(depth_m > 0, depth_m, np.inf).astype(np.float32)
    # Of itself OpenCV pads with the largest float, which is not inf.
    return np.asarray(cv2.erode(depth, kernel, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def _tolerance_m(depth_m: NDArray[AnyFloat]) -> NDArray[AnyFloat]:
    return depth_m.dtype.type(_TOLERANCE_M) + 2 * depth_noise_m(depth_m)
