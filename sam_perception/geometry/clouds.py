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
        seen = np.zeros(self.seen.shape, dtype=np.bool_)
        seen.reshape(-1)[self.crop_indices] = keep
        return dataclasses.replace(self, points=self.points.take(np.flatnonzero(keep), axis=0), seen=seen)

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
    rays = cached_rays(intrinsics)
    window = mask.rows, mask.columns
    crop = _whole_or_float32(depth[window])
    seen = _measured(crop, mask.crop, None if rays.complete else rays.xy[window])
    chosen = seen.reshape(-1)  # 1-D arrays are several times faster to index by a bool array than 2-D ones
    z = _metres(crop.reshape(-1)[chosen], frame.depth_scale_m)
    xy = rays.packed[window].reshape(-1)[chosen]
    points = np.empty((len(z), 3), dtype=np.float32)
    np.multiply(xy.real, z, out=points[:, 0])
    np.multiply(xy.imag, z, out=points[:, 1])
    points[:, 2] = z
    return ObjectCloud(points, seen, mask, frame)


def _require_depth(frame: RgbdFrame) -> NDArray[Any]:
    if frame.depth is None:
        raise InvalidInputError(
            "RgbdFrame.depth: points need a depth image, got None; give frame.depth, aligned to the colour image"
        )
    return frame.depth


def _whole_or_float32(depth: NDArray[Any]) -> NDArray[Any]:
    if depth.dtype.kind != "f":
        return depth
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf: no data
        return depth.astype(np.float32)


def _measured(depth: NDArray[Any], mask: NDArray[np.bool_], rays: NDArray[np.float32] | None) -> NDArray[np.bool_]:
    valid = mask & (depth > 0)
    if depth.dtype.kind == "f":
        valid &= depth < np.inf
    if rays is not None:
        valid &= np.isfinite(rays[..., 0])
    return valid


def _metres(depth: NDArray[Any], scale_m: float) -> NDArray[np.float32]:
    if depth.dtype.kind == "f":
        return depth
    return np.multiply(depth, np.float32(scale_m), dtype=np.float32)
