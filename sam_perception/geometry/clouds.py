"""A mask and its depth as points: deprojection, and the cloud that remembers its pixels."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import RgbdFrame
from sam_perception.geometry.rays import cached_rays
from sam_perception.masks import Mask


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectCloud:
    """The points that one mask shows, each with the pixel it came from.

    Attributes:
        points: (N, 3) float32 metres in the camera's optical frame (x right, y down, z forward).
        seen: (h, w) bool over ``mask.crop``: the pixels that have a point, row by row in the points' order, so that
            the cloud stays organised. Pixels of the mask without depth are not among them.
        mask: the mask.
        frame: the frame; colours are read from it when asked for.
    """

    points: NDArray[np.float32]
    seen: NDArray[np.bool_]
    mask: Mask
    frame: RgbdFrame

    def __len__(self) -> int:
        return len(self.points)

    @property
    def is_empty(self) -> bool:
        """Whether no pixel of the mask had depth."""
        return len(self) == 0

    @functools.cached_property
    def crop_indices(self) -> NDArray[np.intp]:
        """(N,) flat indices into ``mask.crop``, ascending."""
        return np.flatnonzero(self.seen)

    @functools.cached_property
    def pixels(self) -> NDArray[np.int32]:
        """(N, 2) int32 x, y in the image."""
        rows, columns = np.divmod(self.crop_indices.astype(np.int32), np.int32(max(1, self.mask.crop.shape[1])))
        return np.stack([columns + np.int32(self.mask.x), rows + np.int32(self.mask.y)], axis=1)

    @functools.cached_property
    def colors(self) -> NDArray[np.uint8]:
        """(N, 3) uint8 RGB."""
        if self.is_empty:
            return np.empty((0, 3), np.uint8)
        crop = self.frame.color[self.mask.rows, self.mask.columns]
        packed = cv2.cvtColor(crop, cv2.COLOR_RGB2RGBA).view(np.uint32)  # one item for each pixel is fast to pick
        return packed.reshape(-1)[self.seen.reshape(-1)].view(np.uint8).reshape(-1, 4)[:, :3]

    def select(self, keep: NDArray[np.bool_]) -> ObjectCloud:
        """The cloud of the points where ``keep``, (N,) bool, is set."""
        if keep.all():
            return self
        kept, seen = np.flatnonzero(keep), np.zeros(self.seen.shape, dtype=np.bool_)
        seen.reshape(-1)[self.crop_indices.take(kept)] = True
        return dataclasses.replace(self, points=self.points.take(kept, axis=0), seen=seen)

    def depth_crop(self) -> NDArray[np.float32]:
        """(h, w) float32 depth of the cloud over ``mask.crop`` in metres, NaN where there is no point."""
        depth = np.full(self.mask.crop.shape, np.nan, dtype=np.float32)
        depth[self.seen] = self.points[:, 2]
        return depth


def deproject_mask(frame: RgbdFrame, mask: Mask) -> ObjectCloud:
    """The points of a mask, straight from the raw depth under its crop.

    A pixel whose depth is 0, negative, NaN or inf gives no point, nor does one that the lens maps no ray to. When
    none is left, the cloud ``is_empty``.

    Raises:
        InvalidInputError: a frame without depth or without intrinsics, or a mask of another image size.
    """
    depth, intrinsics = _require_depth(frame), frame.intrinsics
    if intrinsics is None:
        raise InvalidInputError(
            "RgbdFrame.intrinsics: points need the camera's intrinsics, got None; give frame.intrinsics "
            "(from camera_info or a camera file)"
        )
    if mask.image_size != frame.size:
        raise InvalidInputError.for_field("Mask.image_size", f"the frame's size {frame.size}", mask.image_size)
    rays, window = cached_rays(intrinsics), (mask.rows, mask.columns)
    z, measured = _metres(depth[window], frame.depth_scale_m)
    measured &= mask.crop
    if not rays.complete:
        measured &= np.isfinite(rays.points[window][..., 0])
    return ObjectCloud(_picked(rays.points[window], z, measured), measured, mask, frame)


def _require_depth(frame: RgbdFrame) -> NDArray[Any]:
    if frame.depth is None:
        raise InvalidInputError(
            "RgbdFrame.depth: points need a depth image, got None; give frame.depth, aligned to the colour image"
        )
    return frame.depth


def _metres(depth: NDArray[Any], scale_m: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(h, w) metres, and (h, w) bool: where they are a measurement."""
    if depth.dtype.kind != "f":
        return np.multiply(depth, np.float32(scale_m), dtype=np.float32), depth > 0
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf: no data
        metres = depth.astype(np.float32)
    return metres, (metres > 0) & (metres < np.inf)


def _picked(rays: NDArray[np.float32], z: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, 3) points where ``where`` is set.

    All of the crop is multiplied before the points are picked, each as one item of 12 bytes: contiguous
    arithmetic is cheaper than gathering x, y and z for the multiplication.
    """
    if not where.any():
        return np.empty((0, 3), dtype=np.float32)
    points = np.asarray(cv2.cvtColor(z, cv2.COLOR_GRAY2RGB), dtype=np.float32)  # z three times
    with np.errstate(invalid="ignore"):  # inf x 0 where there is no data
        np.multiply(points, rays, out=points)
    items = points.reshape(-1, 3).view("V12").reshape(-1)[where.reshape(-1)]
    return items.view(np.float32).reshape(-1, 3)
