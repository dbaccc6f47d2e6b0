"""The surface that contacts are looked for on: an object's points, completed and thinned, with their normals."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.geometry.completion import complete
from sam_perception.geometry.rays import cached_rays
from sam_perception.grasping.scene import GraspScene

MOST_POINTS = 720
_NEIGHBOURS = 12
_SMALLEST_RADIUS_M, _LARGEST_RADIUS_M = 0.004, 0.015
_PROBED = 64
_FLAT_M = 0.03
_EDGE_PX = 2
_MOST_DARK = 300
_DARK_REACH_M = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """Points of an object, evenly thinned.

    Attributes:
        points: (N, 3) float32, in the camera's optical frame.
        normals: (N, 3) float32 unit vectors towards the camera, which says where outside is of observed points alone.
        is_observed: (N,) bool: measured, not completed.
        center: (3,) float64: where the centre of mass is assumed.
        one_view: whether the observed points are those of one image, and so face the camera.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    is_observed: NDArray[np.bool_]
    center: NDArray[np.float64]
    one_view: bool


def surface_of(scene: GraspScene) -> Surface:
    """The object's surface, its unseen side completed where the scene knows the image that the cloud came from."""
    if scene.object_cloud is None:
        points, is_observed = scene.cloud, np.ones(len(scene.cloud), dtype=np.bool_)
    else:
        completed = scene.completed or complete(scene.object_cloud, scene.plane)
        dark = _unmeasured_flat(scene)
        points = np.concatenate([completed.points, dark])
        is_observed = np.concatenate([completed.is_observed, np.zeros(len(dark), dtype=np.bool_)])
    low, high = np.percentile(points, [2, 98], axis=0)
    center = (points.mean(axis=0, dtype=np.float64) + (low + high) / 2) / 2
    chosen = _spread(len(points))
    points = np.ascontiguousarray(points[chosen], dtype=np.float32)
    normals = normals_of(points)
    normals[np.einsum("ij,ij->i", normals, points) > 0] *= -1
    return Surface(points, normals, is_observed[chosen], center, scene.object_cloud is not None)


def _unmeasured_flat(scene: GraspScene) -> NDArray[np.float32]:
    """(M, 3) points of a flat object where its mask has no depth, or only the table's: thin blades and dark parts.

    Of a tall object one cannot say where along its ray such a pixel lies; nothing is added.
    """
    cloud, view, plane, box = scene.object_cloud, scene.view, scene.plane, scene.box
    none = np.empty((0, 3), np.float32)
    if cloud is None or view is None or plane is None or box is None:
        return none
    height = float(plane.heights_m(box.corners()).max())
    if height > _FLAT_M:
        return none
    kernel = np.ones((2 * _EDGE_PX + 1, 2 * _EDGE_PX + 1), np.uint8)
    known = cv2.dilate(cloud.seen.astype(np.uint8), kernel) > 0  # what is at its edge adds nothing but width
    rows, columns = np.nonzero(cloud.mask.crop & ~known)
    step = max(1, len(rows) // _MOST_DARK)
    rows, columns = rows[::step] + cloud.mask.y, columns[::step] + cloud.mask.x
    rays = cached_rays(view.intrinsics).points[rows, columns]
    falls = rays @ plane.normal.astype(np.float32)
    at = np.float32(height / 2 - plane.offset) / np.where(falls < 0, falls, np.float32(np.nan))
    points = rays * at[:, None]
    return points[np.isfinite(points).all(axis=1) & box.contains(points, _DARK_REACH_M)]


def _spread(count: int) -> NDArray[np.intp]:
    """At most ``MOST_POINTS`` of so many, in their order and evenly."""
    return np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.intp)


def normals_of(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3) unit vectors across the surface at each of (N, 3) points: the least axis of the points around it.

    The radius is where the median point has a dozen neighbours. All pairs are compared, so N should be small.
    """
    if len(points) < 3:
        return np.tile(np.array([0, 0, 1], np.float32), (len(points), 1))
    centred = points - points.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    distances = squares[:, None] + squares - 2 * (centred @ centred.T)
    probed = distances[:: max(1, len(points) // _PROBED)]
    k = min(_NEIGHBOURS, len(points) - 1)
    radius = np.sqrt(max(0.0, float(np.median(np.partition(probed, k, axis=1)[:, k]))))
    radius = min(max(radius, _SMALLEST_RADIUS_M), _LARGEST_RADIUS_M)
    near = (distances < radius * radius).astype(np.float32)
    rows, columns = np.triu_indices(3)
    moments = np.concatenate(
        [centred, centred[:, rows] * centred[:, columns], np.ones((len(points), 1), np.float32)], axis=1
    )
    sums = (near @ moments).astype(np.float64)
    sums /= sums[:, -1:]
    covariances = np.empty((len(points), 3, 3))
    covariances[:, rows, columns] = covariances[:, columns, rows] = sums[:, 3:9] - sums[:, rows] * sums[:, columns]
    _, axes = np.linalg.eigh(covariances)
    return axes[:, :, 0].astype(np.float32)
