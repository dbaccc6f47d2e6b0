"""The surface that contacts are looked for on: an object's points, completed and thinned, with their normals."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam_perception.geometry.completion import complete
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.unmeasured import flat_parts, spanned_holes

MOST_POINTS = 720
_NEIGHBOURS = 12
_SMALLEST_RADIUS_M, _LARGEST_RADIUS_M = 0.004, 0.015
_PROBED = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """Points of an object, evenly thinned.

    Attributes:
        points: (N, 3) float32, in the camera's optical frame.
        normals: (N, 3) float32 unit vectors towards the camera, which says where outside is of observed points alone.
        is_observed: (N,) bool: measured, not completed.
        center: (3,) float64: where the centre of mass is assumed.
        one_view: whether the observed points are those of one image, and so face the camera.
        spans_holes: whether some points span holes in the depth, where the object may be open.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    is_observed: NDArray[np.bool_]
    center: NDArray[np.float64]
    one_view: bool
    spans_holes: bool


def surface_of(scene: GraspScene, with_holes: bool = False) -> Surface:
    """The object's surface, its unseen side completed where the scene knows the image that the cloud came from.

    Args:
        scene: the object and its surroundings.
        with_holes: whether the object is open where its depth has holes; otherwise a hole is spanned from edge to edge.
    """
    if scene.object_cloud is None:
        points, is_observed = scene.cloud, np.ones(len(scene.cloud), dtype=np.bool_)
    else:
        completed = scene.completed or complete(scene.object_cloud, scene.plane)
        flat = flat_parts(scene)
        points = np.concatenate([completed.points, flat])
        is_observed = np.concatenate([completed.is_observed, np.zeros(len(flat), dtype=np.bool_)])
    chosen = _spread(len(points))
    spanned = np.empty((0, 3), np.float32) if with_holes else spanned_holes(scene)
    whole = np.concatenate([points, spanned])
    low, high = np.percentile(whole, [2, 98], axis=0)
    center = (whole.mean(axis=0, dtype=np.float64) + (low + high) / 2) / 2
    points = np.ascontiguousarray(np.concatenate([points[chosen], spanned]), dtype=np.float32)
    is_observed = np.concatenate([is_observed[chosen], np.zeros(len(spanned), dtype=np.bool_)])
    normals = normals_of(points)
    normals[np.einsum("ij,ij->i", normals, points) > 0] *= -1
    return Surface(points, normals, is_observed, center, scene.object_cloud is not None, len(spanned) > 0)


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
    products = centred @ centred.T
    products *= 2
    distances = squares[:, None] + squares
    distances -= products
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
