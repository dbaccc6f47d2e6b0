"""What of an object has no depth though the image shows it: dark, shiny, thin or overexposed parts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.geometry.clouds import ObjectCloud
from sam_perception.geometry.rays import cached_rays
from sam_perception.geometry.voxels import voxel_downsample
from sam_perception.grasping.scene import GraspScene

_FLAT_M = 0.03  # what is no higher lies on the plane with all that it has
_EDGE_PX = 2
_MOST_POINTS = 300
_REACH_M = 0.1
_SMALLEST_HOLE_PX = 60
_SPACINGS_M, _MOST_SPANNING = (0.006, 0.009, 0.013, 0.02), 240
_RING_PX, _LEAST_RING_PX = 3, 12  # around a hole, what its plane is fitted to: how wide, and how many at least


def flat_parts(scene: GraspScene) -> NDArray[np.float32]:
    """(M, 3) points of a flat object where its mask has no depth, or only the table's: thin blades and dark parts.

    Of a tall object one cannot say where along its ray such a pixel lies; nothing is added.
    """
    cloud, view, plane, box = scene.object_cloud, scene.view, scene.plane, scene.box
    height = _height_m(scene)
    if cloud is None or view is None or plane is None or box is None or height > _FLAT_M:
        return np.empty((0, 3), np.float32)
    rows, columns = np.nonzero(_unmeasured(cloud))
    step = max(1, len(rows) // _MOST_POINTS)
    rows, columns = rows[::step] + cloud.mask.y, columns[::step] + cloud.mask.x
    rays = cached_rays(view.intrinsics).points[rows, columns]
    falls = rays @ plane.normal.astype(np.float32)
    at = np.float32(height / 2 - plane.offset) / np.where(falls < 0, falls, np.float32(np.nan))
    points = rays * at[:, None]
    return points[np.isfinite(points).all(axis=1) & box.contains(points, _REACH_M)]


def spanned_holes(scene: GraspScene) -> NDArray[np.float32]:
    """(M, 3) points of planes that span the holes in an object's depth, such as a lid too bright to be measured.

    Where nothing was measured the object is there all the same, or may be: fingers have no business in it. A hole is
    what of the mask has no depth between pixels that have some; beyond them nothing is said. Nothing of a flat object.
    """
    cloud, view = scene.object_cloud, scene.view
    none = np.empty((0, 3), np.float32)
    if cloud is None or view is None or len(cloud) < _LEAST_RING_PX or _height_m(scene) <= _FLAT_M:
        return none
    unmeasured = _unmeasured(cloud)
    if not unmeasured.any():
        return none
    depth, missing = cloud.depth_crop(), (unmeasured & _hull(cloud.seen)).astype(np.uint8)
    _, holes, statistics, _ = cv2.connectedComponentsWithStats(missing, connectivity=4)
    found = [none]
    for hole in np.flatnonzero(statistics[1:, cv2.CC_STAT_AREA] >= _SMALLEST_HOLE_PX) + 1:
        inside = holes == hole
        rows, columns, z = _spanned(inside, depth)
        found.append(cached_rays(view.intrinsics).points[rows + cloud.mask.y, columns + cloud.mask.x] * z[:, None])
    points = np.concatenate(found)
    return _thinned(points[np.isfinite(points).all(axis=1)])


def _thinned(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """So near to each other that no finger fits between, or of large things as near as that many can be."""
    for spacing_m in _SPACINGS_M:
        thinned = voxel_downsample(points, spacing_m)[0] if len(points) else points
        if len(thinned) <= _MOST_SPANNING:
            break
    return thinned


def _height_m(scene: GraspScene) -> float:
    """Of the object's box over the plane; infinite when unknown."""
    if scene.plane is None or scene.box is None:
        return np.inf
    return float(scene.plane.heights_m(scene.box.corners()).max())


def _unmeasured(cloud: ObjectCloud) -> NDArray[np.bool_]:
    """(h, w) bool over the mask's crop: its pixels without depth that are not at the edge of such with depth."""
    kernel = np.ones((2 * _EDGE_PX + 1, 2 * _EDGE_PX + 1), np.uint8)
    known = cv2.dilate(cloud.seen.astype(np.uint8), kernel) > 0  # what is at its edge adds nothing but width
    return np.asarray(cloud.mask.crop & ~known)


def _hull(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h, w) bool: what lies between pixels."""
    rows, columns = np.nonzero(seen)
    hull = cv2.convexHull(np.stack([columns, rows], axis=1).astype(np.int32))
    return cv2.fillConvexPoly(np.zeros(seen.shape, np.uint8), hull, 1) > 0


def _spanned(
    inside: NDArray[np.bool_], depth: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Rows, columns and depth of a hole's pixels: of the plane through what was measured around it.

    In inverse depth a plane is linear in the image; nothing is nearer or farther than what is around.
    """
    kernel = np.ones((2 * (_EDGE_PX + _RING_PX) + 1,) * 2, np.uint8)
    ring = (cv2.dilate(inside.astype(np.uint8), kernel) > 0) & np.isfinite(depth)
    y, x = np.nonzero(ring)
    inverse = 1 / depth[y, x].astype(np.float64)
    rows, columns = np.nonzero(inside)
    if len(y) < _LEAST_RING_PX:
        return rows[:0], columns[:0], depth[:0, 0]
    ones, at = np.ones(len(y)), np.array([y.mean(), x.mean()])
    plane = np.linalg.lstsq(np.stack([y - at[0], x - at[1], ones], axis=1), inverse, rcond=None)[0]
    spanned = plane[0] * (rows - at[0]) + plane[1] * (columns - at[1]) + plane[2]
    return rows, columns, (1 / np.clip(spanned, inverse.min(), inverse.max())).astype(np.float32)
