"""What would be between the fingers: how deep they go, how wide they open, and whether they get there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.arrays import Array, Arrays, Entries, Floats, arrays_on
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.hypotheses import MIN_GAP_M, Hypotheses
from sam_perception.grasping.merits import Contents, merits_of
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.surface import Surface
from sam_perception.grasping.sweep import OWN_MARGIN_M, PLANE_MARGIN_M, lowest_m, palm_hits, plane_margin_m

_SEARCH_M = 0.008  # further than this beyond the contacts' distance nothing is taken to be between the fingers
_GAPS_M = (0.010, 0.005)  # on each side of the object; the first that is free
_PALM_GAP_M = 0.004
_SHOULDER_GAP_M = 0.002  # between finger tips and what they would land on
_BEYOND_M = 0.004  # how far finger tips go beyond what they grasp
_SHALLOW_M = 0.010  # how far beyond the contacts' middle the tips go at least, where they are not to go deep
_SAME_DEPTH_M = 0.006
_LEAST_OVERLAP_M = 0.0015  # of finger tips and object, along the approach
_LEVEL = 0.05  # an approach that goes down by less than this share does not come nearer to the plane


@dataclasses.dataclass(frozen=True, eq=False)
class Grips:
    """K grasps that hold something.

    Attributes:
        poses: (K, 4, 4) camera_T_tcp, midway between the contacts.
        widths_m: (K,) of what is between the fingers.
        openings_m: (K,) during the approach.
        merits: (K,) each, 0..1: what speaks for each grasp, by name.
    """

    poses: NDArray[np.float64]
    widths_m: NDArray[np.float64]
    openings_m: NDArray[np.float64]
    merits: dict[str, NDArray[np.float64]]

    @classmethod
    def joined(cls, first: Grips, second: Grips) -> Grips:
        """Those of the first and of the second."""
        return cls(
            np.concatenate([first.poses, second.poses]),
            np.concatenate([first.widths_m, second.widths_m]),
            np.concatenate([first.openings_m, second.openings_m]),
            {name: np.concatenate([values, second.merits[name]]) for name, values in first.merits.items()},
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Strips(Entries):
    """The surface's points that the fingers' planes come by, in the frames of K hypotheses.

    A finger is as wide as a strip of the object, and what is aside of it only the palm can meet: most of the points of
    K hypotheses need no further look.

    Attributes:
        column: (E,) bool: whether it comes between the fingers at some depth.
        first: (K,) least z in the column.
        last: (K,) greatest z in the column.
        under_palm: (K,) least z of all points that the palm meets, if it goes so far.
        near_palm: (K,) least z of those that it may meet when it is moved along the closing direction.
    """

    column: Array
    first: Floats
    last: Floats
    under_palm: Floats
    near_palm: Floats

    @classmethod
    def of(cls, hypotheses: Hypotheses, surface: Surface, scene: GraspScene, gripper: Gripper) -> _Strips:
        arrays = arrays_on(scene.device)
        x, y, z = arrays.in_frames(hypotheses.frames, surface.points)
        aside, palm = abs(x), gripper.palm_size_m
        near_palm = arrays.least_where(z, aside < palm[0] / 2 + OWN_MARGIN_M)
        under_palm = arrays.least_where(z, (aside < palm[0] / 2) & (abs(y) < palm[1] / 2))
        at = arrays.where(aside < gripper.finger_width_m / 2 + OWN_MARGIN_M)
        grasp = at // len(surface.points)
        point = at - grasp * len(surface.points)
        x, y, z = (arrays.take(each.reshape(-1), at) for each in (x, y, z))
        half = arrays.of(np.minimum(hypotheses.widths_m / 2 + _SEARCH_M, gripper.max_opening_m / 2))
        column = (abs(x) < gripper.finger_width_m / 2) & (abs(y) < arrays.take(half, grasp))
        inside = arrays.where(column)
        first, last = arrays.extremes(arrays.take(z, inside), arrays.take(grasp, inside), len(hypotheses.frames))
        return cls(arrays, grasp, point, x, y, z, column, first, last, under_palm, near_palm)

    def take(self, kept: NDArray[np.intp], where: Array | None = None) -> _Strips:
        """Those of some of the hypotheses, given in rising order, and of these perhaps only some entries, (E,) bool."""
        number = np.full(len(self.first), -1, np.intp)
        number[kept] = np.arange(len(kept))
        grasp = self.of_each(number)
        some = self.arrays.where(grasp >= 0 if where is None else (grasp >= 0) & where)
        return _Strips(
            self.arrays,
            self.arrays.take(grasp, some),
            self.arrays.take(self.point, some),
            self.arrays.take(self.x, some),
            self.arrays.take(self.y, some),
            self.arrays.take(self.z, some),
            self.arrays.take(self.column, some),
            self.first[kept],
            self.last[kept],
            self.under_palm[kept],
            self.near_palm[kept],
        )

    def of_each(self, values: NDArray[Any]) -> Array:
        """(E,) the value of each entry's hypothesis, of (K,)."""
        return self.arrays.take(self.arrays.of(values), self.grasp)


def closed_on(
    hypotheses: Hypotheses, surface: Surface, scene: GraspScene, gripper: Gripper, rejected: dict[str, int]
) -> Grips:
    """Close each hypothesis on the surface, deep and shallow.

    Args:
        hypotheses: frames to close in.
        surface: of the object.
        scene: for the plane.
        gripper: that closes.
        rejected: counts what is left out, by reason; changed.
    """
    strips = _Strips.of(hypotheses, surface, scene, gripper)
    deep = _deepest(hypotheses, strips, scene, gripper)
    some = np.flatnonzero(deep - strips.first > _LEAST_OVERLAP_M)
    _count(rejected, "with nothing between the fingers", len(deep) - len(some))
    frames, strips, deep = hypotheses.frames[some], strips.take(some), deep[some]
    shallow = np.minimum(deep, _SHALLOW_M)
    other = np.flatnonzero((deep - shallow > _SAME_DEPTH_M) & (shallow - strips.first > _LEAST_OVERLAP_M))
    return Grips.joined(
        _grips(frames, deep, strips, surface, scene, gripper, rejected),
        _grips(frames[other], shallow[other], strips.take(other), surface, scene, gripper, rejected),
    )


def _deepest(hypotheses: Hypotheses, strips: _Strips, scene: GraspScene, gripper: Gripper) -> NDArray[np.float64]:
    """(K,) how far along each frame's z the finger tips can go: to palm, shoulder or plane, or past the object."""
    frames, arrays = hypotheses.frames, strips.arrays
    inner = strips.of_each(np.minimum(hypotheses.widths_m / 2 + _GAPS_M[1], gripper.max_opening_m / 2))
    x, y = abs(strips.x), abs(strips.y)
    beside = (y > inner) & (y < inner + gripper.finger_thickness_m) & (x < gripper.finger_width_m / 2)
    met = arrays.where(beside)
    shoulder = arrays.least(arrays.take(strips.z, met), arrays.take(strips.grasp, met), len(frames))
    deep = np.minimum(strips.under_palm + gripper.finger_length_m - _PALM_GAP_M, strips.last + _BEYOND_M)
    deep = np.minimum(deep, shoulder - _SHOULDER_GAP_M).astype(np.float64)
    if scene.plane is None:
        return deep
    with_tips_at_origin = frames.copy()
    with_tips_at_origin[:, :3, 3] -= gripper.tip_m * frames[:, :3, 2]
    openings = np.full(len(frames), gripper.max_opening_m)
    room = lowest_m(with_tips_at_origin, openings, scene, gripper) - plane_margin_m(scene)
    sink = -(frames[:, :3, 2] @ scene.plane.normal)
    until_plane = np.where(sink > _LEVEL, room / np.maximum(sink, _LEVEL), np.where(room > 0, np.inf, -np.inf))
    return np.minimum(np.minimum(deep, until_plane), _until_flat(frames, scene, gripper, arrays))


def _until_flat(
    frames: NDArray[np.float64], scene: GraspScene, gripper: Gripper, arrays: Arrays
) -> NDArray[np.float64]:
    """(K,) how far along each frame's z the finger tips can go until they are over what lies flat beside the object."""
    if not len(scene.flat):
        return np.full(len(frames), np.inf)
    x, y, z = arrays.in_frames(frames, scene.flat)
    aside = gripper.max_opening_m / 2 + gripper.finger_thickness_m + PLANE_MARGIN_M
    below = (abs(x) < gripper.finger_width_m / 2 + PLANE_MARGIN_M) & (abs(y) < aside)
    return arrays.least_where(z, below).astype(np.float64) - plane_margin_m(scene)


def _grips(
    frames: NDArray[np.float64],
    tips: NDArray[np.float64],
    strips: _Strips,
    surface: Surface,
    scene: GraspScene,
    gripper: Gripper,
    rejected: dict[str, int],
) -> Grips:
    """Those of the frames, with their finger tips at ``tips`` along z, that hold something and get there."""
    arrays, depth = strips.arrays, strips.of_each(tips)
    between = strips.column & (strips.z < depth) & (strips.z > depth - gripper.finger_length_m)
    inside = arrays.where(between)
    low, high = arrays.extremes(arrays.take(strips.y, inside), arrays.take(strips.grasp, inside), len(frames))
    holds = np.isfinite(low)
    _count(rejected, "with nothing between the fingers", np.count_nonzero(~holds))
    widths = np.where(holds, high, 0).astype(np.float64) - np.where(holds, low, 0)
    fits = holds & (widths <= gripper.max_opening_m - 2 * MIN_GAP_M)
    _count(rejected, "too wide for the gripper", np.count_nonzero(holds & ~fits))
    middles = np.zeros(len(frames), np.float32)
    middles[fits] = (low[fits] + high[fits]) / np.float32(2)
    at_tcp = (tips - gripper.tip_m).astype(np.float32)
    openings, free = _openings(strips, middles, at_tcp, widths, gripper)
    free &= fits
    kept = np.flatnonzero(free)
    poses = frames[kept].copy()
    along = (tips[kept] - gripper.tip_m)[:, None]
    poses[:, :3, 3] += along * poses[:, :3, 2] + middles[kept, None] * poses[:, :3, 1]
    may_hit = tips[kept] - gripper.finger_length_m + OWN_MARGIN_M > strips.near_palm[kept]
    clear = ~_palm_hits_any(poses, may_hit, surface, gripper, arrays)
    kept, poses = kept[clear], poses[clear]
    _count(rejected, "would push the object before closing", np.count_nonzero(fits) - len(kept))
    held = strips.take(kept, between)
    contents = Contents(
        arrays,
        held.grasp,
        held.point,
        held.x,
        held.y - held.of_each(middles[kept]),
        held.z - held.of_each(at_tcp[kept]),
        widths[kept],
        (strips.last[kept] - tips[kept]).astype(np.float32),
    )
    return Grips(poses, widths[kept], openings[kept], merits_of(poses, contents, surface, scene, gripper))


def _palm_hits_any(
    poses: NDArray[np.float64], may_hit: NDArray[np.bool_], surface: Surface, gripper: Gripper, arrays: Arrays
) -> NDArray[np.bool_]:
    """(K,) bool: which grippers' palms meet a point of the object, looked up for those (K,) bool that may."""
    hits = may_hit.copy()
    x, y, z = arrays.in_frames(poses[may_hit], surface.points)
    hits[may_hit] = arrays.to_numpy(palm_hits(x, y, z, gripper).any(axis=1))
    return hits


def _count(rejected: dict[str, int], reason: str, number: Any) -> None:
    rejected[reason] = rejected.get(reason, 0) + int(number)


def _openings(
    strips: _Strips, middles: Floats, at_tcp: Floats, widths: NDArray[np.float64], gripper: Gripper
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(K,) the widest openings with which fingers do not push the object, and (K,) bool whether there is one.

    Args:
        strips: points the fingers may meet.
        middles: (K,) along the closing direction, between the contacts.
        at_tcp: (K,) along the approach, where the TCP is.
        widths: (K,) of what is between the fingers.
        gripper: that closes.
    """
    openings, free = np.zeros(len(widths)), np.zeros(len(widths), dtype=np.bool_)
    arrays = strips.arrays
    before = arrays.where(strips.z - strips.of_each(at_tcp) < gripper.tip_m + OWN_MARGIN_M)
    grasp = arrays.take(strips.grasp, before)
    away = abs(arrays.take(strips.y, before) - arrays.take(arrays.of(middles), grasp))
    for gap in _GAPS_M:
        wide = np.minimum(widths + 2 * gap, gripper.max_opening_m)
        inner = arrays.take(arrays.of(wide / 2 - OWN_MARGIN_M), grasp)
        met = arrays.where((away > inner) & (away < inner + (gripper.finger_thickness_m + 2 * OWN_MARGIN_M)))
        fits = ~free & (arrays.counts(arrays.take(grasp, met), len(widths)) == 0)
        openings[fits], free[fits] = wide[fits], True
    return openings, free
