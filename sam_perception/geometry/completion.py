"""Guesses the unseen side of an object: by its symmetry where the view bears it out, by extrusion to the table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.geometry.clouds import ObjectCloud
from sam_perception.geometry.planes import Plane
from sam_perception.geometry.seen_space import SeenSpace
from sam_perception.geometry.voxels import voxel_downsample

Floats = NDArray[np.float64]
# Of K candidates (K, A, 2, 2) linear parts and (K, A, 2) shifts of the images that each makes, and (K,) its worth.
_Candidates = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]
Method = Literal["symmetry", "extrusion", "outline", "none"]

_OBSERVED_POINTS = 900
_SEARCH_POINTS = 250
_EDGE_PX = 2
_SMALLEST_VOXEL_M = 0.0015
_SEEN_FREE_COST = 3.0  # a mirrored point in free space outweighs that many that meet the surface
_SHIFT_COST = 0.05
_MOST_SEEN_FREE = 0.12  # share of the mirrored points beyond which a symmetry is not believed
_LEAST_SUPPORT = 0.15
# Chosen on some 240 simulated objects, alone and in clutter, by how far off the far side of what was guessed is.
_SURE_SUPPORT, _HARDLY_SEEN_FREE = 0.25, 0.03  # half a turn is taken without asking whether the object is round
_LEAST_UNOPPOSED_SUPPORT, _UNOPPOSED = 0.05, 0.01  # half a turn that nothing was seen to speak against
_ROUND_ANGLES_DEG = (-90.0, -50.0, -25.0, 25.0, 50.0, 90.0, 180.0)  # turned by these, what is round meets itself
_ROUND_POINTS = 60
_LEAST_ROUND_SUPPORT = 0.5
_MOST_NOT_ROUND = 0.12  # share of the points, such as a handle's, that some turn takes to seen free space
_TURNS_DEG = np.arange(15.0, 346.0, 15.0)
_MIRROR_ANGLES_DEG = np.arange(-75.0, 76.0, 15.0)  # of a mirror's normal, 0 leads straight away from the camera
_FAR_SIDE_WORTH = 0.3
_REFINEMENTS = 3
_HALF_STEPS = np.array([-0.5, 0.0, 0.5])
_SECTORS = 72
_RIM = 0.85  # of a sector's radius: from there on out a point belongs to the outline
_SMALLEST_STEP_M = 0.004
_MOST_STEPS = 20
_CELL_M = 0.004
_DEEPEST = 1.3  # how deep an object may be behind what is seen of it, in its widths across the view


@dataclasses.dataclass(frozen=True, eq=False)
class CompletedCloud:
    """An object's surface, as far as it was seen and as far as it is guessed.

    Attributes:
        points: (N, 3) float32 metres in the camera's optical frame, evenly thinned; the observed ones come first.
        is_observed: (N,) bool: measured, not guessed.
        method: "symmetry": the unseen side is the seen one, turned all around a vertical axis or by half a turn, or
            mirrored in a vertical plane, and extruded to the table where there is still nothing; "extrusion": the
            outline of what was seen goes straight down to the table; "outline": all of it is an upright cylinder or
            box with the mask's outline (see missing_depth.py); "none": nothing was added.
        center_m: (3,) float64 the middle of all that stands between the plane and the surface, about where the centre
            of mass is; without a plane the mean of the points; None when there are none.
    """

    points: NDArray[np.float32]
    is_observed: NDArray[np.bool_]
    method: Method
    center_m: Floats | None


def complete(cloud: ObjectCloud, plane: Plane | None) -> CompletedCloud:
    """Add to an object's points those that its unseen side probably has.

    Nothing is guessed where the camera saw through: a guessed point lies in the shadow of what was measured. A
    symmetry is believed if next to none of the mirrored points would be in seen free space and enough of them meet the
    measured surface. After Bohg and others, "Mind the gap: robotic grasping under incomplete observation", ICRA 2011,
    who mirror in vertical planes and rate them by the view.

    Args:
        cloud: the object's cleaned points; with the frame, for what the camera saw beside it.
        plane: what the object stands on; without it nothing is added.
    """
    observed = _thinned(cloud)
    if plane is None or len(observed) < 3:
        center = observed.mean(axis=0, dtype=np.float64) if len(observed) else None
        return CompletedCloud(observed, np.ones(len(observed), dtype=np.bool_), "none", center)
    ground = _Ground.under(plane, observed)
    view = SeenSpace.around(cloud)
    within = _without_edge(cloud)
    inner = _thinned(within)
    flat, heights = ground.flat(inner), np.asarray(plane.heights_m(inner), dtype=np.float64)
    symmetry = _SymmetrySearch.over(view, ground, flat, heights).best()
    added = np.empty((0, 3))
    if symmetry is not None and symmetry.is_round:
        added = _turned_around(symmetry, view, ground, flat, heights, _voxel_m(within))
    elif symmetry is not None:
        turned = ground.points(symmetry.apply(flat), heights)
        added = turned[view.may_hold(turned)]
    outline = _extruded(
        ground, np.concatenate([flat, ground.flat(added)]), np.concatenate([heights, plane.heights_m(added)])
    )
    possible = view.may_hold(outline)
    if symmetry is not None:
        possible &= view.may_hold(ground.points(symmetry.apply(ground.flat(outline)), plane.heights_m(outline)))
    guessed = np.concatenate([added, outline[possible]]).astype(np.float32)
    method: Method = "none" if len(guessed) == 0 else "extrusion" if symmetry is None else "symmetry"
    points = np.concatenate([observed, guessed])
    is_observed = np.arange(len(points)) < len(observed)
    return CompletedCloud(points, is_observed, method, _middle(ground, ground.flat(points), plane.heights_m(points)))


def _voxel_m(cloud: ObjectCloud) -> float:
    """The side of cubes of which about ``_OBSERVED_POINTS`` hold what is seen of the surface."""
    if cloud.is_empty:
        return _SMALLEST_VOXEL_M
    assert cloud.frame.intrinsics is not None  # deproject_mask has seen to it
    depth = float(np.median(cloud.points[:, 2]))
    pixel_m = depth / min(cloud.frame.intrinsics.fx, cloud.frame.intrinsics.fy)
    return max(_SMALLEST_VOXEL_M, pixel_m * math.sqrt(2 * len(cloud) / _OBSERVED_POINTS))


def _thinned(cloud: ObjectCloud) -> NDArray[np.float32]:
    """About ``_OBSERVED_POINTS`` points, spread evenly over what is seen of the surface."""
    return cloud.points if cloud.is_empty else voxel_downsample(cloud.points, _voxel_m(cloud))[0]


def _without_edge(cloud: ObjectCloud) -> ObjectCloud:
    """The points that are not along the mask's edge, where depth is least sure and would be guessed from twice over.

    All of them for something so thin that it is mostly edge.
    """
    kernel = np.ones((2 * _EDGE_PX + 1, 2 * _EDGE_PX + 1), np.uint8)
    inner = cv2.erode(np.pad(cloud.mask.crop, 1).view(np.uint8), kernel, borderValue=0)[1:-1, 1:-1]
    keep = inner.reshape(-1).take(cloud.crop_indices) != 0
    return cloud.select(keep) if 2 * np.count_nonzero(keep) > len(cloud) else cloud


@dataclasses.dataclass(frozen=True, eq=False)
class _Ground:
    """Coordinates on the plane: the first axis leads away from the camera, the second across.

    Attributes:
        origin: (3,) a point of the plane.
        basis: (3, 2) unit vectors along the plane.
        normal: (3,) of the plane.
    """

    origin: Floats
    basis: Floats
    normal: Floats

    @classmethod
    def under(cls, plane: Plane, points: NDArray[np.float32]) -> _Ground:
        middle = points.mean(axis=0, dtype=np.float64)
        origin = middle - (plane.normal @ middle + plane.offset) * plane.normal
        away = middle - (middle @ plane.normal) * plane.normal
        if np.linalg.norm(away) < 1e-6:  # seen from straight above
            away = np.cross(plane.normal, np.eye(3)[np.argmin(np.abs(plane.normal))])
        away /= np.linalg.norm(away)
        return cls(origin, np.stack([away, np.cross(plane.normal, away)], axis=1), plane.normal)

    def flat(self, points: NDArray[np.floating]) -> Floats:
        """(N, 2) coordinates of (N, 3) points."""
        return (points - self.origin) @ self.basis

    def points(self, flat: Floats, heights: NDArray[np.floating]) -> Floats:
        """(..., N, 3) points at (..., N, 2) coordinates and (N,) heights."""
        return flat @ self.basis.T + (heights[:, None] * self.normal + self.origin)


@dataclasses.dataclass(frozen=True, eq=False)
class _Symmetry:
    """A turn by half a turn or a mirror image, on the ground: ``flat -> linear @ flat + shift``.

    Attributes:
        linear: (2, 2).
        shift: (2,).
        is_round: half a turn is not all: about the same axis any other does as well.
    """

    linear: Floats
    shift: Floats
    is_round: bool = False

    def apply(self, flat: Floats) -> Floats:
        """(N, 2) where (N, 2) coordinates go."""
        return flat @ self.linear.T + self.shift


@dataclasses.dataclass(frozen=True, eq=False)
class _Rated:
    """A symmetry, and what the view says of the images that it, and others like it, make of the points.

    Attributes:
        symmetry: itself.
        support: how well the images meet the measured surface, 0..1.
        seen_free: share of the images that are in seen free space.
        not_round: share of the points of which any image is.
    """

    symmetry: _Symmetry
    support: float
    seen_free: float
    not_round: float


@dataclasses.dataclass(frozen=True, eq=False)
class _SymmetrySearch:
    """Rates symmetries by what the camera saw, on some of the points.

    Attributes:
        view: what the camera saw.
        ground: coordinates.
        flat: (N, 2) of the points.
        heights: (N,) of the points.
        middle: (2,) of the points' extents.
        spans: (2,) their extents, away from the camera and across.
    """

    view: SeenSpace
    ground: _Ground
    flat: Floats
    heights: Floats
    middle: Floats
    spans: Floats

    @classmethod
    def over(cls, view: SeenSpace, ground: _Ground, flat: Floats, heights: Floats) -> _SymmetrySearch:
        step = max(1, len(flat) // _SEARCH_POINTS)
        low, high = np.percentile(flat, [1, 99], axis=0)
        return cls(view, ground, flat[::step], heights[::step], (low + high) / 2, np.maximum(high - low, 1e-3))

    def best(self) -> _Symmetry | None:
        """Half a turn that the view bears out, or all turns of what is round, or a mirror image; None for none.

        Half a turn of a tall thing meets next to nothing that was seen, and of a slender one it may meet the wrong
        side; smaller turns of what is round say where its axis is. A mirror image comes last since it gives less of
        what is unseen, even if it fits better.
        """
        turn = self._best_turn()
        if turn.support >= _SURE_SUPPORT and turn.seen_free <= _HARDLY_SEEN_FREE:
            return turn.symmetry
        if turn.seen_free <= _MOST_SEEN_FREE:
            around = self._best_around()
            if around.support >= _LEAST_ROUND_SUPPORT and around.not_round <= _MOST_NOT_ROUND:
                return around.symmetry
            if turn.support >= (_LEAST_UNOPPOSED_SUPPORT if turn.seen_free <= _UNOPPOSED else _LEAST_SUPPORT):
                return turn.symmetry
        mirror = self._best_mirror()
        if mirror.support >= _LEAST_SUPPORT and mirror.seen_free <= _MOST_SEEN_FREE:
            return mirror.symmetry
        return None

    def _best_turn(self) -> _Rated:
        return self._best_about_axes((180.0,))

    def _best_around(self) -> _Rated:
        """Several turns about one axis, by fewer points."""
        step = max(1, len(self.flat) // _ROUND_POINTS)
        some = dataclasses.replace(self, flat=self.flat[::step], heights=self.heights[::step])
        found = some._best_about_axes(_ROUND_ANGLES_DEG)
        return dataclasses.replace(found, symmetry=dataclasses.replace(found.symmetry, is_round=True))

    def _best_about_axes(self, angles_deg: tuple[float, ...]) -> _Rated:
        """Turns about a vertical axis; the symmetry that is found is the last of them."""
        linear = _turns(angles_deg)

        def turns(away: Floats, across: Floats) -> tuple[Floats, Floats, Floats]:
            centers = self.middle + np.stack([away, across], axis=1)
            shifts = centers[:, None] - np.einsum("aij,kj->kai", linear, centers)
            return np.broadcast_to(linear, (len(away), *linear.shape)), shifts, np.zeros(len(away))

        return self._refined(turns, (self._ways_away(self.spans[0]), np.linspace(-0.15, 0.15, 5) * self.spans[1]))

    def _best_mirror(self) -> _Rated:
        """Across a vertical plane; the more its normal leads away from the camera, the more the image is worth."""

        def mirrors(angles: Floats, away: Floats) -> tuple[Floats, Floats, Floats]:
            normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
            centers = self.middle + away[:, None] * normals
            linear = np.eye(2) - 2 * normals[:, :, None] * normals[:, None, :]
            shifts = 2 * np.einsum("ki,ki->k", centers, normals)[:, None] * normals
            return linear[:, None], shifts[:, None], _FAR_SIDE_WORTH * np.cos(angles)

        return self._refined(mirrors, (np.deg2rad(_MIRROR_ANGLES_DEG), self._ways_away(float(self.spans.min()))))

    def _ways_away(self, span: float) -> Floats:
        """How far behind the middle of what is seen the centre may lie."""
        return np.linspace(-0.1, 0.5, 9) * max(span, min(_DEEPEST * float(self.spans[1]), 2 * span))

    def _refined(self, candidates: _Candidates, axes: tuple[Floats, ...]) -> _Rated:
        """The best of a grid of two parameters, on ever finer grids."""
        found = self._best_of(candidates, axes)
        for _ in range(_REFINEMENTS):
            axes = tuple(best + (axis[1] - axis[0]) * _HALF_STEPS for best, axis in zip(found[0], axes, strict=True))
            found = self._best_of(candidates, axes)
        return found[1]

    def _best_of(self, candidates: _Candidates, axes: tuple[Floats, ...]) -> tuple[tuple[float, float], _Rated]:
        """The best parameters of a grid, and how their images are rated."""
        first, second = (axis.reshape(-1) for axis in np.meshgrid(*axes, indexing="ij"))
        linear, shifts, worth = candidates(first, second)
        images = self.flat @ linear.transpose(0, 1, 3, 2) + shifts[:, :, None]
        meets, free = self.view.rate(self.ground.points(images, self.heights))
        support, seen_free = meets.mean(axis=(1, 2)), free.mean(axis=(1, 2))
        middle = self.flat.mean(axis=0)
        moved = np.abs((linear @ middle + shifts).mean(axis=1) - middle).sum(axis=1) / self.spans.max()
        best = int(np.argmax(support + worth - _SEEN_FREE_COST * seen_free - _SHIFT_COST * moved))
        rated = _Rated(
            _Symmetry(linear[best, -1], shifts[best, -1]),
            float(support[best]),
            float(seen_free[best]),
            float(free[best].any(axis=0).mean()),
        )
        return (float(first[best]), float(second[best])), rated


def _turns(angles_deg: Sequence[float] | Floats) -> Floats:
    """(A, 2, 2) rotations on the ground."""
    angles = np.deg2rad(np.asarray(angles_deg))
    cosines, sines = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cosines, -sines], axis=1), np.stack([sines, cosines], axis=1)], axis=1)


def _turned_around(
    symmetry: _Symmetry,
    view: SeenSpace,
    ground: _Ground,
    flat: Floats,
    heights: NDArray[np.floating],
    voxel_m: float,
) -> Floats:
    """(M, 3) points all around a vertical axis, one in each cube where there may be some and none were seen.

    What some turn takes to where the camera saw through is not round, such as a handle, and is left out.
    """
    center = symmetry.shift / 2
    images = (flat - center) @ _turns(_TURNS_DEG).transpose(0, 2, 1) + center
    points = ground.points(images, heights)
    meets, free = view.rate(points)
    unseen = points[(meets == 0) & ~free.any(axis=0)]
    return np.asarray(voxel_downsample(unseen, voxel_m)[0] if len(unseen) else unseen, np.float64)


def _extruded(ground: _Ground, flat: Floats, heights: NDArray[np.floating]) -> Floats:
    """(M, 3) points straight below the outline of what stands at (N, 2) coordinates and (N,) heights.

    In each sector around the middle of the outline they go from the lowest of its outermost points to the plane.
    """
    offset = flat - (flat.min(axis=0) + flat.max(axis=0)) / 2
    radii = np.hypot(offset[:, 0], offset[:, 1])
    sector = ((np.arctan2(offset[:, 1], offset[:, 0]) / (2 * math.pi) + 0.5) * _SECTORS).astype(np.intp) % _SECTORS
    reach = np.zeros(_SECTORS)
    np.maximum.at(reach, sector, radii)
    rim = np.flatnonzero(radii > _RIM * reach[sector])
    lowest = np.full(_SECTORS, np.inf)
    np.minimum.at(lowest, sector[rim], heights[rim])
    outermost = rim[radii[rim] == reach[sector[rim]]]
    lowest = lowest[sector[outermost]]
    step = max(_SMALLEST_STEP_M, float(lowest.max(initial=0.0)) / _MOST_STEPS)
    levels = np.arange(0.0, float(lowest.max(initial=0.0)), step)
    column, level = np.nonzero(levels < lowest[:, None] - step)
    return ground.points(flat[outermost[column]], levels[level])


def _middle(ground: _Ground, flat: Floats, heights: NDArray[np.floating]) -> Floats:
    """(3,) centre of mass of columns from the plane to the highest point in each cell of the ground."""
    cells = np.floor((flat - flat.min(axis=0)) / _CELL_M).astype(np.intp)
    key = cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    _, cell_of = np.unique(key, return_inverse=True)
    cell_of = cell_of.reshape(-1)
    counts = np.bincount(cell_of)
    tops = np.full(len(counts), 1e-6)
    np.maximum.at(tops, cell_of, heights)
    places = np.stack([np.bincount(cell_of, flat[:, axis]) / counts for axis in range(2)], axis=1)
    weights = tops / tops.sum()
    return ground.points((weights @ places)[None], np.array([weights @ tops / 2]))[0]
