"""What a grasp planner is given: an object's cloud, what is around it, and what of space the camera saw."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.boxes import OrientedBox
from sam_perception.geometry.cleaning import CloudCleaning, flying_pixels
from sam_perception.geometry.clouds import ObjectCloud, deproject_mask
from sam_perception.geometry.completion import CompletedCloud
from sam_perception.geometry.noise import depth_noise_m
from sam_perception.geometry.objects import ObjectGeometry
from sam_perception.geometry.planes import Plane
from sam_perception.geometry.rays import project
from sam_perception.geometry.voxels import voxel_downsample
from sam_perception.masks import Mask

FREE, OCCUPIED, UNSEEN = 0, 1, 2

_REACH_M = 0.25  # further from the object's box no part of a gripper comes during approach and lift
_EDGE_PX = 3  # depth of an object bleeds this far over its mask
_BORDER_PX = 1
_LATTICE_POINTS = 60_000
_OBSTACLE_VOXEL_M = 0.004
_TABLE_M = 0.003  # lower than this over the plane, and twice the noise of the depth, it is the plane
_LOW_M, _LOW_WITHIN_M = 0.002, 0.1  # the same, and the noise once, this near to the object: a tilted palm goes low
_BESIDE_M = 0.05  # from the object, what finger tips come down on
_FLAT_M = 0.0012  # lower than this, and a third of the noise, is the plane where heights are averaged
_AVERAGED_PX, _FLAT_PX = 9, 7  # a side of what heights are averaged over; of what a flat thing covers at least
_FLAT_AT_MOST_M = 0.006  # whatever is higher counts in no average
_FOOT_PX = 5  # beyond the object's edge: depth there still has something of its foot
_LOOKED_AT_PX = _AVERAGED_PX + _FLAT_PX + _FOOT_PX  # around a pixel, to say whether it shows a flat thing
_CELL_M = 0.008  # unseen space is looked at in cells of this size
_GOES_ON_CELLS = 2  # so far, 16 mm, an obstacle may go on where it is not seen
_GOES_ON_OUTSIDE_CELLS = 6  # the same, out of the image
_CUT_OFF_PX = 6  # an obstacle this near to the image's border is cut off by it
_NEAR_CELL_M, _NEAR_CELLS = 0.02, 3  # 6 to 8 cm: what is near to something that stands around
_STANDS_M, _STANDS_POINTS = 0.03, 3  # so high, so many to a cell: the depth bleeds around objects, low and thin


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """What the camera saw, to ask what is at a point.

    Attributes:
        depth_m: (H, W) float32 metres; 0 where nothing was measured.
        intrinsics: of the depth.
        mask: of the object.
    """

    depth_m: NDArray[np.float32]
    intrinsics: CameraIntrinsics
    mask: Mask

    @functools.cached_property
    def object_pixels(self) -> NDArray[np.bool_]:
        """(H, W) bool: the object's pixels."""
        return self.mask.to_array()

    @property
    def cuts_object_off(self) -> bool:
        """Whether the object reaches the image's border, so that there may be more of it."""
        height, width = self.depth_m.shape
        rows, columns = self.mask.crop.shape
        x, y = self.mask.x, self.mask.y
        return bool(
            rows
            and columns
            and (min(x, y) < _BORDER_PX or x + columns > width - _BORDER_PX or y + rows > height - _BORDER_PX)
        )

    def states(self, points: NDArray[np.floating], margin_m: float = 0.005) -> NDArray[np.uint8]:
        """(N,) FREE, OCCUPIED or UNSEEN of (N, 3) points.

        FREE lies before what was measured, OCCUPIED within ``margin_m`` and the depth's noise of it, UNSEEN behind it,
        out of the image, or where nothing was measured.
        """
        measured, _ = self._looked_up(points)
        margin = margin_m + 2 * depth_noise_m(measured)
        behind = points[:, 2] - measured
        states = np.full(len(points), UNSEEN, np.uint8)
        states[(measured > 0) & (behind < -margin)] = FREE
        states[(measured > 0) & (np.abs(behind) <= margin)] = OCCUPIED
        return states

    def is_hidden_by_others(self, points: NDArray[np.floating], margin_m: float = 0.02) -> NDArray[np.bool_]:
        """(N,) bool: which of (N, 3) points lie well behind something that is not the object."""
        measured, own = self._looked_up(points)
        return (measured > 0) & ~own & (points[:, 2] - measured > margin_m)

    def is_hidden(self, points: NDArray[np.floating], margin_m: float = 0.02) -> NDArray[np.bool_]:
        """(N,) bool: which of (N, 3) points lie well behind something, be it the object."""
        measured, _ = self._looked_up(points)
        return (measured > 0) & (points[:, 2] - measured > margin_m)

    def is_outside(self, points: NDArray[np.floating], beyond_px: float = 0.0) -> NDArray[np.bool_]:
        """(N,) bool: which of (N, 3) points lie outside the image and further than ``beyond_px`` from its border."""
        height, width = self.depth_m.shape
        x, y = np.nan_to_num(project(points, self.intrinsics), nan=-1).T
        low, x_high, y_high = -0.5 - beyond_px, width - 0.5 + beyond_px, height - 0.5 + beyond_px
        return (x < low) | (y < low) | (x > x_high) | (y > y_high)

    def _looked_up(self, points: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(N,) depth where each point is seen, 0 for none; (N,) bool: whether that is the object."""
        height, width = self.depth_m.shape
        x, y = np.rint(np.nan_to_num(project(points, self.intrinsics), nan=-1)).astype(np.intp).T
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        x, y = np.where(inside, x, 0), np.where(inside, y, 0)
        return np.where(inside, self.depth_m[y, x], np.float32(0)), inside & self.object_pixels[y, x]


@dataclasses.dataclass(frozen=True, eq=False)
class GraspScene:
    """An object and its surroundings in the camera's optical frame, metres.

    Attributes:
        cloud: (N, 3) points of the object's visible surface. numpy, or a torch tensor, which is brought to numpy.
        obstacles: (M, 3) points of what is around, neither the object nor the plane it stands on.
        flat: (F, 3) points of what lies on the plane beside the object and is hardly higher, such as a card.
        plane: what the object stands on; None when unknown.
        box: around the object, on the plane; None when unknown.
        object_cloud: the cloud with its pixels, where it came from an image; None otherwise.
        completed: that cloud and what its unseen side probably is; None where a planner has to guess that.
        view: what the camera saw; None when unknown, whence nothing is known of the space around.
        device: where grasps are closed on the cloud, all at once: auto, cuda, cuda:N or cpu; by default where the cloud
            is. Only on a GPU torch does it, which has the same answers but for rounding.
        lift: (3,) unit vector against gravity; the plane's normal, or towards the camera where there is no plane.

    Raises:
        InvalidInputError: points of another shape.
    """

    cloud: NDArray[np.floating]
    obstacles: NDArray[np.floating] = dataclasses.field(default_factory=lambda: np.empty((0, 3), np.float32))
    plane: Plane | None = None
    box: OrientedBox | None = None
    object_cloud: ObjectCloud | None = None
    view: View | None = None
    flat: NDArray[np.floating] = dataclasses.field(default_factory=lambda: np.empty((0, 3), np.float32))
    completed: CompletedCloud | None = None
    device: str = ""

    def __post_init__(self) -> None:
        if not self.device:
            object.__setattr__(self, "device", _device_of(self.cloud))
        for name in ("cloud", "obstacles", "flat"):
            points = _to_numpy(getattr(self, name))
            if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
                raise InvalidInputError.for_field(f"GraspScene.{name}", "shape (N, 3)", points.shape)
            points = points.astype(np.float32, copy=False)
            finite = np.isfinite(points).all(axis=1)
            object.__setattr__(self, name, points if finite.all() else points[finite])

    @functools.cached_property
    def lift(self) -> NDArray[np.float64]:
        """(3,) unit vector: away from the plane; where there is none, towards the camera."""
        if self.plane is not None:
            return self.plane.normal
        toward_camera = -self.cloud.mean(axis=0, dtype=np.float64)
        return toward_camera / max(float(np.linalg.norm(toward_camera)), 1e-9)

    @functools.cached_property
    def distance_m(self) -> float:
        """How deep in the image the object is, in the median; 0 of an empty cloud."""
        return float(np.median(self.cloud[:, 2])) if len(self.cloud) else 0.0

    @functools.cached_property
    def extent(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """(3,) the least and (3,) the greatest coordinates of the cloud."""
        return self.cloud.min(axis=0), self.cloud.max(axis=0)

    @functools.cached_property
    def unseen_near_obstacles(self) -> NDArray[np.float32]:
        """(C, 3) middles of small cells that were not seen, but are so near to obstacles that these may reach there.

        Where the image cuts an obstacle off, that is further than elsewhere. Without a view there are none.
        """
        if self.view is None or not len(self.obstacles):
            return np.empty((0, 3), np.float32)
        near = _cells_around(self.obstacles, _GOES_ON_CELLS)
        unseen = [near[self.view.states(near) == UNSEEN]]
        cut_off = self.obstacles[self.view.is_outside(self.obstacles, -_CUT_OFF_PX)]
        if len(cut_off):
            beyond = _cells_around(cut_off, _GOES_ON_OUTSIDE_CELLS)
            unseen.append(beyond[self.view.is_outside(beyond)])
        cells = np.concatenate(unseen)
        return cells if self.plane is None else cells[self.plane.heights_m(cells) > _CELL_M / 2]

    def is_near_others(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) bool: which of (N, 3) points have something that stands around within 6 to 8 cm along each axis."""
        near = np.zeros(len(points), np.bool_)
        if self._near_others is not None:
            grid, low = self._near_others
            cells = np.floor(points / _NEAR_CELL_M).astype(np.intp) - low
            known = np.flatnonzero(((cells >= 0) & (cells < grid.shape)).all(axis=1))
            near[known] = grid[tuple(cells[known].T)]
        return near

    @functools.cached_property
    def _near_others(self) -> tuple[NDArray[np.bool_], NDArray[np.intp]] | None:
        points = self.obstacles
        if self.plane is not None:
            points = points[self.plane.heights_m(points) > _STANDS_M]
        cells = np.floor(points / _NEAR_CELL_M).astype(np.intp)
        _, which, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        points = points[counts[which.reshape(-1)] >= _STANDS_POINTS]
        return _grid_around(points, _NEAR_CELL_M, _NEAR_CELLS) if len(points) else None


def _cells_around(points: NDArray[np.floating], reach: int) -> NDArray[np.float32]:
    """(C, 3) middles of the cells that hold points, and of those up to ``reach`` cells from them along each axis."""
    grid, low = _grid_around(points, _CELL_M, reach)
    filled = np.stack(np.unravel_index(np.flatnonzero(grid), grid.shape), axis=1)
    return ((filled + low + 0.5) * _CELL_M).astype(np.float32)


def _grid_around(points: NDArray[np.floating], cell_m: float, reach: int) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """A grid of those cells, and the number of its first cell along each axis."""
    cells = np.floor(points / cell_m).astype(np.intp)
    low = cells.min(axis=0) - reach
    grid = np.zeros(cells.max(axis=0) + reach + 1 - low, np.bool_)
    grid[tuple((cells - low).T)] = True
    for axis in range(3):
        along = np.moveaxis(grid, axis, 0)
        before = along.copy()
        for step in range(1, reach + 1):
            along[step:] |= before[:-step]
            along[:-step] |= before[step:]
    return grid, low


def grasp_scene(frame: RgbdFrame, geometry: ObjectGeometry, device: str = "cpu") -> GraspScene:
    """What a planner needs to know of a measured object and the frame that it was measured in.

    Args:
        frame: with depth and intrinsics.
        geometry: of the object, from ``measure_object``.
        device: see ``GraspScene``.

    Raises:
        InvalidInputError: a frame without depth or intrinsics.
    """
    cloud = geometry.cloud
    if frame.intrinsics is None:
        raise InvalidInputError("RgbdFrame.intrinsics: grasps need the camera's intrinsics, got None; give them")
    view = View(frame.depth_m, frame.intrinsics, cloud.mask)
    if geometry.box is None:
        return GraspScene(cloud.points, plane=geometry.plane, object_cloud=cloud, view=view, device=device)
    around = deproject_mask(frame, _around(geometry.box, frame.intrinsics, cloud.mask))
    obstacles, flat = _obstacles(around, geometry), _flat(around, geometry, frame.intrinsics)
    # What an outline suggests is no surface to close on: of such an object the few points that it has are completed.
    completed = None if geometry.is_estimated else geometry.completed
    return GraspScene(cloud.points, obstacles, geometry.plane, geometry.box, cloud, view, flat, completed, device)


def _obstacles(cloud: ObjectCloud, geometry: ObjectGeometry) -> NDArray[np.float32]:
    """(M, 3) thinned points around the object that are neither its own nor of its plane, nor flying."""
    assert geometry.box is not None  # the caller has seen to it
    step = max(1, math.isqrt(len(cloud) // _LATTICE_POINTS))
    solid = cloud.select(_above(cloud.points, geometry))
    if step == 1 or len(solid) < _LATTICE_POINTS:
        solid = solid.select(~flying_pixels(solid, CloudCleaning()))
    near = solid.points[geometry.box.contains(solid.points, _REACH_M)]
    return voxel_downsample(near, _OBSTACLE_VOXEL_M)[0] if len(near) else near


def _flat(cloud: ObjectCloud, geometry: ObjectGeometry, intrinsics: CameraIntrinsics) -> NDArray[np.float32]:
    """(F, 3) thinned points of what lies flat on the plane beside the object.

    A single pixel's noise hides what is so low; the mean of some does not.
    """
    plane, box = geometry.plane, geometry.box
    if plane is None or box is None or cloud.is_empty:
        return np.empty((0, 3), np.float32)
    points, at, heights, apart = _beside(cloud, plane, box, intrinsics)
    counts = (np.abs(heights) < _FLAT_AT_MOST_M) & apart  # nowhere where nothing was measured
    window = (_AVERAGED_PX, _AVERAGED_PX)
    total, share = (
        cv2.blur(each, window, borderType=cv2.BORDER_CONSTANT)
        for each in (np.where(counts, heights, np.float32(0)), counts.astype(np.float32))
    )
    mean = total / np.maximum(share, np.float32(1e-6))
    least = np.zeros(heights.shape)
    least.reshape(-1)[at] = _FLAT_M + depth_noise_m(points[:, 2]) / 3
    is_flat = counts & (mean > least)
    kernel = np.ones((_FLAT_PX, _FLAT_PX), np.uint8)
    wide = cv2.morphologyEx(is_flat.view(np.uint8), cv2.MORPH_OPEN, kernel)
    if not wide.any():
        return np.empty((0, 3), np.float32)
    # At the edge of a thing half of what is averaged is the plane: its top reaches half a window further.
    top = np.asarray(cv2.dilate(np.where(wide > 0, mean, np.float32(0)), np.ones(window, np.uint8)))
    found = np.flatnonzero((top > 0) & counts)
    raised, points = (top - heights).reshape(-1)[found], points[np.searchsorted(at, found)]
    near = box.contains(points, _BESIDE_M)
    points = points[near] + raised[near, None] * plane.normal.astype(np.float32)
    return voxel_downsample(points, _OBSTACLE_VOXEL_M)[0] if len(points) else points


def _beside(
    cloud: ObjectCloud, plane: Plane, box: OrientedBox, intrinsics: CameraIntrinsics
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]:
    """What of a cloud decides what lies flat beside the object.

    Returns:
        (N, 3) points; their (N,) flat indices in a window of the image; (h, w) heights there, NaN where nothing was
        measured; (h, w) bool: what is in the cloud's mask and not near its end.
    """
    mask, corners = cloud.mask, box.corners(_BESIDE_M)
    foot = corners - plane.heights_m(corners)[:, None] * plane.normal
    slab = np.concatenate([foot + side * _FLAT_AT_MOST_M * plane.normal for side in (-1, 1)])
    x0, y0, x1, y1 = _extent(slab, intrinsics, mask.image_size)
    rows = slice(max(0, y0 - _LOOKED_AT_PX - mask.y), max(0, y1 + _LOOKED_AT_PX - mask.y))
    columns = slice(max(0, x0 - _LOOKED_AT_PX - mask.x), max(0, x1 + _LOOKED_AT_PX - mask.x))
    width = cloud.seen.shape[1]
    first, last = np.searchsorted(cloud.crop_indices, [rows.start * width, rows.stop * width])
    column = cloud.crop_indices[first:last] % width
    points = cloud.points[first:last].take(np.flatnonzero((column >= columns.start) & (column < columns.stop)), axis=0)
    seen = cloud.seen[rows, columns]
    at = np.flatnonzero(seen)
    heights = np.full(seen.shape, np.nan, np.float32)
    heights.reshape(-1)[at] = plane.heights_m(points)
    own, kernel = mask.crop.view(np.uint8)[rows, columns], np.ones((2 * _FOOT_PX + 1,) * 2, np.uint8)
    return points, at, heights, cv2.erode(own, kernel, borderValue=1) > 0


def _above(points: NDArray[np.float32], geometry: ObjectGeometry) -> NDArray[np.bool_]:
    """(N,) bool: what is higher than the plane; near the object, where the gripper goes low, also what is hardly so."""
    plane, box = geometry.plane, geometry.box
    if plane is None or box is None:
        return np.ones(len(points), dtype=np.bool_)
    heights = plane.heights_m(points)
    maybe = np.flatnonzero(heights > _LOW_M)  # few: most of what is seen is the plane
    heights, noise = heights[maybe], depth_noise_m(points[maybe, 2])
    high = heights > _TABLE_M + 2 * noise
    low = np.flatnonzero(~high & (heights > _LOW_M + noise))
    high[low] = box.contains(points[maybe[low]], _LOW_WITHIN_M)
    above = np.zeros(len(points), np.bool_)
    above[maybe[high]] = True
    return above


def _around(box: OrientedBox, intrinsics: CameraIntrinsics, mask: Mask) -> Mask:
    """The pixels that may show something within reach of the box, without the object's own and those at its edge."""
    x0, y0, x1, y1 = _extent(box.corners(_REACH_M), intrinsics, mask.image_size)
    kernel = np.ones((2 * _EDGE_PX + 1, 2 * _EDGE_PX + 1), np.uint8)
    own = cv2.dilate(mask.to_array().view(np.uint8), kernel)[y0:y1, x0:x1]
    return Mask(own == 0, x0, y0, mask.image_size)


def _extent(
    points: NDArray[np.floating], intrinsics: CameraIntrinsics, image_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """First x and y, and last ones and 1, of the pixels that show (N, 3) points and all between them."""
    height, width = image_size
    pixels = project(points, intrinsics)
    if not np.isfinite(pixels).all():
        return 0, 0, width, height
    low, high = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0))
    x0, y0 = (int(value) for value in np.clip(low, 0, [width - 1, height - 1]))
    x1, y1 = (int(value) for value in np.clip(high, [x0 + 1, y0 + 1], [width, height]))
    return x0, y0, x1, y1


def _device_of(points: Any) -> str:
    return str(points.device) if getattr(points, "is_cuda", False) else "cpu"


def _to_numpy(points: Any) -> NDArray[Any]:
    """Points as an array; a torch tensor comes from wherever it is."""
    return points.detach().cpu().numpy() if hasattr(points, "detach") else np.asarray(points)
