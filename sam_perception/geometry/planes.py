"""Planes in a cloud, among them the one that an object stands on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import RgbdFrame
from sam_perception.geometry.clouds import ObjectCloud, deproject_mask
from sam_perception.geometry.noise import NOISE_PER_M, depth_noise_m
from sam_perception.geometry.rays import project
from sam_perception.masks import Mask

_BATCH = 64
_SCORED_POINTS = 2000
_REFINEMENTS = 3
_IN_FRONT_M = 0.01
_STEP_M = 0.001
_HIDDEN_FEET = 0.3  # of the points; a ball's share is least where its gap just exceeds max_gap_m


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """The points p with ``normal @ p + offset == 0``.

    Attributes:
        normal: (3,) float64 unit vector, on the side of the camera (the origin).
        offset: distance of the camera from the plane, metres, 0 or more.
    """

    normal: NDArray[np.float64]
    offset: float

    @classmethod
    def through(cls, point: ArrayLike, normal: ArrayLike) -> Plane:
        """The plane through ``point`` (3,) across ``normal`` (3,) of any length, turned towards the camera.

        Raises:
            InvalidInputError: a normal without direction, or values that are not finite.
        """
        at, direction = np.asarray(point, dtype=np.float64), np.asarray(normal, dtype=np.float64)
        length = float(np.linalg.norm(direction))
        if at.shape != (3,) or direction.shape != (3,) or not (np.isfinite(at).all() and 0 < length < np.inf):
            raise InvalidInputError.for_field("Plane", "a finite point (3,) and a normal (3,) with a direction", normal)
        direction = direction / length
        offset = -float(direction @ at)
        return cls(direction, offset) if offset >= 0 else cls(-direction, -offset)

    def heights_m(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """(N,) signed distances of (N, 3) points, positive on the camera's side."""
        return points @ self.normal.astype(points.dtype) + points.dtype.type(self.offset)


@dataclasses.dataclass(frozen=True)
class PlaneSearch:
    """How planes are looked for.

    Attributes:
        threshold_m: how far an inlier may lie from the plane at depth 0; ``noise_sigmas`` of depth noise come on top.
        noise_sigmas: standard deviations of depth noise that an inlier may be off.
        noise_per_m: standard deviation of the depth over depth squared, 1/m (see ``noise.py``).
        min_inliers: points that a plane needs at least.
        min_share: share of the points that a plane needs at least.
        confidence: probability of having drawn one sample of inliers alone, at which the search stops.
        max_samples: the search stops here in any case.
    """

    threshold_m: float = 0.003
    noise_sigmas: float = 2.0
    noise_per_m: float = NOISE_PER_M
    min_inliers: int = 50
    min_share: float = 0.25
    confidence: float = 0.999
    max_samples: int = 1024

    def __post_init__(self) -> None:
        if not self.threshold_m > 0:
            raise InvalidInputError.for_field("PlaneSearch.threshold_m", "more than 0", self.threshold_m)
        if not (0 < self.confidence < 1 and 0 <= self.min_share <= 1):
            actual = f"{self.confidence} and {self.min_share}"
            raise InvalidInputError.for_field("PlaneSearch.confidence, min_share", "shares within 0..1", actual)

    def tolerance_m(self, depth_m: NDArray[np.floating]) -> NDArray[np.floating]:
        """How far an inlier at each depth may lie from the plane."""
        return self.threshold_m + self.noise_sigmas * depth_noise_m(depth_m, self.noise_per_m)


def fit_plane_ransac(
    points: NDArray[np.floating], search: PlaneSearch | None = None, *, seed: int = 0
) -> tuple[Plane, NDArray[np.bool_]] | None:
    """The plane with the most inliers, fitted to them by least squares.

    Fischler and Bolles, "Random Sample Consensus", 1981: batches of three points each, scored on up to 2000 points,
    until ``confidence``; then least squares on the inliers, weighted by 1 / noise^2 and repeated as they change.

    Args:
        points: (N, 3) metres in the camera's optical frame, all finite.
        search: tolerances and limits.
        seed: the same seed gives the same plane.

    Returns:
        The plane and its inliers, (N,) bool; None when no plane reaches ``min_inliers`` and ``min_share``.

    Raises:
        InvalidInputError: points of another shape.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise InvalidInputError.for_field("points", "shape (N, 3)", points.shape)
    search = search or PlaneSearch()
    needed = max(3, search.min_inliers, int(np.ceil(search.min_share * len(points))))
    if len(points) < needed:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(points), min(len(points), _SCORED_POINTS), replace=False)
    plane = _best_sample(points[chosen].astype(np.float64), search, rng)
    tolerance = search.tolerance_m(points[:, 2])
    for _ in range(_REFINEMENTS):
        if plane is None:
            return None
        inliers = np.abs(plane.heights_m(points)) <= tolerance
        plane = _least_squares(points[inliers], search) if np.count_nonzero(inliers) >= 3 else None
    if plane is None:
        return None
    inliers = np.abs(plane.heights_m(points)) <= tolerance
    return (plane, inliers) if np.count_nonzero(inliers) >= needed else None


def _best_sample(points: NDArray[np.float64], search: PlaneSearch, rng: np.random.Generator) -> Plane | None:
    tolerance = search.tolerance_m(points[:, 2])
    best, best_count, drawn, wanted = None, 0, 0, float(search.max_samples)
    while drawn < min(wanted, search.max_samples):
        a, b, c = points[rng.integers(len(points), size=(3, _BATCH))]
        drawn += _BATCH
        normals = np.cross(b - a, c - a)
        lengths = np.linalg.norm(normals, axis=1)
        proper = lengths > 1e-9
        normals, a = normals[proper] / lengths[proper, None], a[proper]
        if len(a) == 0:
            continue
        distances = points @ normals.T - np.einsum("ij,ij->i", normals, a)
        counts = np.count_nonzero(np.abs(distances) <= tolerance[:, None], axis=0)
        winner = int(np.argmax(counts))
        if counts[winner] > best_count:
            best, best_count = Plane.through(a[winner], normals[winner]), int(counts[winner])
            all_inliers = (best_count / len(points)) ** 3
            wanted = np.log(1 - search.confidence) / np.log1p(-min(all_inliers, 1 - 1e-12))
    return best


def _least_squares(points: NDArray[np.floating], search: PlaneSearch) -> Plane:
    """Total least squares, each point weighted by how sure its depth is."""
    points = points.astype(np.float64)
    weights = 1 / (search.threshold_m + depth_noise_m(points[:, 2], search.noise_per_m)) ** 2
    weights /= weights.sum()
    mean = weights @ points
    centred = points - mean
    _, axes = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    return Plane.through(mean, axes[:, 0])


@dataclasses.dataclass(frozen=True)
class SupportSearch:
    """How the plane under an object is looked for.

    Attributes:
        planes: tolerances of the plane itself.
        first_margin: how far around the object's box the search starts, as a share of the box's longer side.
        growth: factor by which that margin grows while no plane is found.
        max_rings: how many margins are tried.
        widening: by how many margins the ring grows beyond the one in which the plane was found, to fit its tilt.
        min_margin_px: the smallest margin.
        clearance_px: pixels this near to a mask are not looked at, since they may be the object's own.
        depth_reach: how far before and behind the object points are looked at, in half diagonals of the ring.
        sampled_points: pixels looked at in each ring.
        candidates: planes tried in each ring, by their inliers.
        max_below_share: share of the object's points that may lie behind the plane.
        max_gap_m: how high above the plane the object's lowest visible points may be.
        max_hidden_gap_m: the same where what is below them is hidden, by the object itself (seen from above) or by
            something in front.
    """

    planes: PlaneSearch = dataclasses.field(default_factory=PlaneSearch)
    first_margin: float = 0.3
    growth: float = 2.0
    max_rings: int = 4
    widening: int = 2
    min_margin_px: int = 24
    clearance_px: int = 4
    depth_reach: float = 2.0
    sampled_points: int = 4000
    candidates: int = 3
    max_below_share: float = 0.05
    max_gap_m: float = 0.03
    max_hidden_gap_m: float = 0.25


def supporting_plane(
    frame: RgbdFrame,
    mask: Mask,
    others: Sequence[Mask] = (),
    *,
    cloud: ObjectCloud | None = None,
    search: SupportSearch | None = None,
    seed: int = 0,
) -> Plane | None:
    """The plane that an object stands on, from the depth around its mask.

    Planes are fitted to a ring around the object's box without the masks; where none fits, the ring grows. A
    plane supports the object if the object lies on the camera's side of it and reaches down to it; of several
    the one with the most inliers is taken. No answer is better than a wrong one: a wall behind the object, or a
    table seen far below what the object stands on, is None. What lies between an object and the plane around it cannot
    be seen from straight above; there the plane is taken.

    Args:
        frame: with depth and intrinsics.
        mask: the object.
        others: further objects of the frame, left out of the search.
        cloud: the object's cleaned cloud, where the caller has it; otherwise the mask's raw one.
        search: limits.
        seed: the same seed gives the same plane.

    Raises:
        InvalidInputError: as ``deproject_mask``.
    """
    search = search or SupportSearch()
    cloud = deproject_mask(frame, mask) if cloud is None else cloud
    if cloud.is_empty:
        return None
    taken = _near_masks(frame, (mask, *others), search.clearance_px)
    windows = _windows(mask, search)
    for i, window in enumerate(windows):
        surroundings = _surroundings(frame, taken, cloud, window, search)
        for plane in _planes(surroundings, search, seed):
            if not _supports(plane, cloud, search):
                continue
            wider = windows[min(i + search.widening, len(windows) - 1)]
            refined = _refitted(plane, surroundings, _surroundings(frame, taken, cloud, wider, search), search)
            return refined if refined is not None and _supports(refined, cloud, search) else plane
    return None


def _near_masks(frame: RgbdFrame, masks: Sequence[Mask], clearance_px: int) -> NDArray[np.bool_]:
    """(H, W) bool: pixels of the masks and those around them."""
    taken = np.zeros(frame.size, dtype=np.uint8)
    for mask in masks:
        if mask.image_size != frame.size:
            raise InvalidInputError.for_field("Mask.image_size", f"the frame's {frame.size}", mask.image_size)
        taken[mask.rows, mask.columns] |= mask.crop.view(np.uint8)
    kernel = np.ones((2 * clearance_px + 1, 2 * clearance_px + 1), np.uint8)
    return cv2.dilate(taken, kernel).view(np.bool_)


def _windows(mask: Mask, search: SupportSearch) -> list[tuple[int, int, int, int]]:
    """(x0, y0, x1, y1) around the mask's box, growing, the last one at most the whole image."""
    x0, y0, x1, y1 = mask.box
    height, width = mask.image_size
    margin = max(search.min_margin_px, round(search.first_margin * max(x1 - x0, y1 - y0)))
    windows = []
    for _ in range(search.max_rings):
        windows.append((max(0, x0 - margin), max(0, y0 - margin), min(width, x1 + margin), min(height, y1 + margin)))
        if windows[-1] == (0, 0, width, height):
            break
        margin = round(margin * search.growth)
    return windows


def _surroundings(
    frame: RgbdFrame,
    taken: NDArray[np.bool_],
    cloud: ObjectCloud,
    window: tuple[int, int, int, int],
    search: SupportSearch,
) -> NDArray[np.float32]:
    """(N, 3) about ``sampled_points`` points of the window outside the masks, at about the object's depth.

    That is within ``depth_reach`` half diagonals of the window, in metres where the object is. A floor far behind the
    table's edge would otherwise have its say, with the wide tolerance of its distance.
    """
    x0, y0, x1, y1 = window
    # A lattice of pixels, since a large window has far more points than a plane needs.
    step = max(1, math.isqrt((x1 - x0) * (y1 - y0) // (2 * search.sampled_points)))
    lattice = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
    lattice[::step, ::step] = ~taken[y0:y1:step, x0:x1:step]
    points = deproject_mask(frame, Mask(lattice, x0, y0, frame.size)).points
    depth = float(np.median(cloud.points[:, 2]))
    reach = search.depth_reach * depth * math.hypot(x1 - x0, y1 - y0) / 2 / min(_focal_lengths(cloud))
    near = points.take(np.flatnonzero(np.abs(points[:, 2] - depth) <= reach), axis=0)
    return near[:: max(1, len(near) // search.sampled_points)]


def _planes(points: NDArray[np.float32], search: SupportSearch, seed: int) -> Iterator[Plane]:
    """Planes in the points, each fitted to what the ones before it left; the share counts against all points."""
    needed = search.planes.min_share * len(points)
    for _ in range(search.candidates):
        if len(points) == 0:
            return
        share = min(1.0, needed / len(points))
        found = fit_plane_ransac(points, dataclasses.replace(search.planes, min_share=share), seed=seed)
        if found is None:
            return
        plane, inliers = found
        yield plane
        points = points[~inliers]


def _refitted(
    plane: Plane, near: NDArray[np.float32], wide: NDArray[np.float32], search: SupportSearch
) -> Plane | None:
    """The plane with the tilt of more of its surface, and the height of what is near the object.

    Real depth is wavy: a small patch tilts by degrees, a large one is off by millimetres in places.
    """
    tilted = plane
    for _ in range(_REFINEMENTS):
        inliers = np.abs(tilted.heights_m(wide)) <= search.planes.tolerance_m(wide[:, 2])
        if np.count_nonzero(inliers) < search.planes.min_inliers:
            return None
        tilted = _least_squares(wide[inliers], search.planes)
    local = near[np.abs(plane.heights_m(near)) <= search.planes.tolerance_m(near[:, 2])]
    return Plane.through(local.mean(axis=0, dtype=np.float64), tilted.normal)


def _supports(plane: Plane, cloud: ObjectCloud, search: SupportSearch) -> bool:
    heights = plane.heights_m(cloud.points)
    below = heights < -search.planes.tolerance_m(cloud.points[:, 2])
    if np.count_nonzero(below) > search.max_below_share * len(cloud):
        return False
    gap = float(np.percentile(heights, 2))
    if gap <= search.max_gap_m:
        return True
    return gap <= search.max_hidden_gap_m and (_hidden_by_itself(plane, cloud) or _hidden_below(plane, cloud))


def _hidden_by_itself(plane: Plane, cloud: ObjectCloud) -> bool:
    """Whether much of the plane straight under the visible points is behind the object's own mask.

    Of a ball on the plane it is, from wherever one looks, and of anything seen from above.
    """
    points = cloud.points[:: max(1, len(cloud) // _SCORED_POINTS)]
    feet = points - plane.heights_m(points)[:, None] * plane.normal
    inside, in_view = _looked_up(cloud.mask.to_array(), _pixels(feet, cloud))
    return int(np.count_nonzero(inside)) > _HIDDEN_FEET * len(in_view)


def _hidden_below(plane: Plane, cloud: ObjectCloud) -> bool:
    """Whether most of what lies just below the object's lowest visible points is nearer than they, or out of view."""
    heights = plane.heights_m(cloud.points)
    points = cloud.points[heights <= np.percentile(heights, 5)]
    pixels = _pixels(points, cloud)
    down = _pixels(points - _STEP_M * plane.normal, cloud) - pixels
    down /= np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-9)
    depth = np.where(cloud.mask.to_array(), 0, cloud.frame.depth_m)
    hidden = seen = 0
    for step_px in (4, 8, 12):
        below, in_view = _looked_up(depth, pixels + step_px * down)
        out_of_view = np.count_nonzero(~in_view)
        hidden += out_of_view + np.count_nonzero((below > 0) & (below < points[in_view, 2] - _IN_FRONT_M))
        seen += out_of_view + np.count_nonzero(below)
    return 2 * hidden > seen


def _pixels(points: NDArray[np.floating], cloud: ObjectCloud) -> NDArray[np.float64]:
    assert cloud.frame.intrinsics is not None  # deproject_mask has seen to it
    return project(points, cloud.frame.intrinsics)


def _looked_up(image: NDArray, pixels: NDArray[np.float64]) -> tuple[NDArray, NDArray[np.bool_]]:
    """The image at those of (N, 2) pixels that lie in it, and (N,) bool: which do."""
    x, y = np.rint(np.nan_to_num(pixels, nan=-1)).astype(np.intp).T
    in_view = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
    return image[y[in_view], x[in_view]], in_view


def _focal_lengths(cloud: ObjectCloud) -> tuple[float, float]:
    intrinsics = cloud.frame.intrinsics
    assert intrinsics is not None  # deproject_mask has seen to it
    return intrinsics.fx, intrinsics.fy
