"""What would be between the fingers: how deep they go, how wide they open, and whether they get there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.hypotheses import MIN_GAP_M, Hypotheses
from sam_perception.grasping.merits import Contents, merits_of
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.surface import Surface
from sam_perception.grasping.sweep import OWN_MARGIN_M, PLANE_MARGIN_M, in_frames, lowest_m, palm_hits, plane_margin_m

Floats = NDArray[np.float32]

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
class _Local:
    """The surface's N points in the frames of K hypotheses, each (K, N); float32, since there are many.

    Attributes:
        x: across the fingers, likewise y along the closing direction and z along the approach.
        y: see above.
        z: see above.
        column: whether a point comes between the fingers at some depth.
        first: (K,) least z in the column.
        last: (K,) greatest z in the column.
    """

    x: Floats
    y: Floats
    z: Floats
    column: NDArray[np.bool_]
    first: Floats
    last: Floats

    @classmethod
    def of(cls, hypotheses: Hypotheses, surface: Surface, gripper: Gripper) -> _Local:
        x, y, z = in_frames(hypotheses.frames, surface.points)
        half = np.minimum(hypotheses.widths_m / 2 + _SEARCH_M, gripper.max_opening_m / 2).astype(np.float32)
        column = (np.abs(x) < gripper.finger_width_m / 2) & (np.abs(y) < half[:, None])
        return cls(x, y, z, column, _least(z, column), _greatest(z, column))

    def take(self, rows: NDArray[np.intp]) -> _Local:
        return _Local(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


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
    local = _Local.of(hypotheses, surface, gripper)
    deep = _deepest(hypotheses, local, scene, gripper)
    some = np.flatnonzero(deep - local.first > _LEAST_OVERLAP_M)
    _count(rejected, "with nothing between the fingers", len(deep) - len(some))
    frames, local, deep = hypotheses.frames[some], local.take(some), deep[some]
    shallow = np.minimum(deep, _SHALLOW_M)
    other = np.flatnonzero((deep - shallow > _SAME_DEPTH_M) & (shallow - local.first > _LEAST_OVERLAP_M))
    return Grips.joined(
        _grips(frames, deep, local, surface, scene, gripper, rejected),
        _grips(frames[other], shallow[other], local.take(other), surface, scene, gripper, rejected),
    )


def _deepest(hypotheses: Hypotheses, local: _Local, scene: GraspScene, gripper: Gripper) -> NDArray[np.float64]:
    """(K,) how far along each frame's z the finger tips can go: to palm, shoulder or plane, or past the object."""
    frames, palm = hypotheses.frames, gripper.palm_size_m
    x, y = np.abs(local.x), np.abs(local.y)
    top = _least(local.z, (x < palm[0] / 2) & (y < palm[1] / 2))
    inner = np.minimum(hypotheses.widths_m / 2 + _GAPS_M[1], gripper.max_opening_m / 2).astype(np.float32)[:, None]
    beside = (y > inner) & (y < inner + np.float32(gripper.finger_thickness_m)) & (x < gripper.finger_width_m / 2)
    shoulder = _least(local.z, beside)
    deep = np.minimum(top + gripper.finger_length_m - _PALM_GAP_M, local.last + _BEYOND_M)
    deep = np.minimum(deep, shoulder - _SHOULDER_GAP_M).astype(np.float64)
    if scene.plane is None:
        return deep
    with_tips_at_origin = frames.copy()
    with_tips_at_origin[:, :3, 3] -= gripper.tip_m * frames[:, :3, 2]
    openings = np.full(len(frames), gripper.max_opening_m)
    room = lowest_m(with_tips_at_origin, openings, scene, gripper) - plane_margin_m(scene)
    sink = -(frames[:, :3, 2] @ scene.plane.normal)
    until_plane = np.where(sink > _LEVEL, room / np.maximum(sink, _LEVEL), np.where(room > 0, np.inf, -np.inf))
    return np.minimum(np.minimum(deep, until_plane), _until_flat(frames, scene, gripper))


def _until_flat(frames: NDArray[np.float64], scene: GraspScene, gripper: Gripper) -> NDArray[np.float64]:
    """(K,) how far along each frame's z the finger tips can go until they are over what lies flat beside the object."""
    if not len(scene.flat):
        return np.full(len(frames), np.inf)
    x, y, z = in_frames(frames, scene.flat)
    aside = gripper.max_opening_m / 2 + gripper.finger_thickness_m + PLANE_MARGIN_M
    below = (np.abs(x) < gripper.finger_width_m / 2 + PLANE_MARGIN_M) & (np.abs(y) < aside)
    return _least(z, below).astype(np.float64) - plane_margin_m(scene)


def _grips(
    frames: NDArray[np.float64],
    tips: NDArray[np.float64],
    local: _Local,
    surface: Surface,
    scene: GraspScene,
    gripper: Gripper,
    rejected: dict[str, int],
) -> Grips:
    """Those of the frames, with their finger tips at ``tips`` along z, that hold something and get there."""
    depth = tips.astype(np.float32)[:, None]
    between = local.column & (local.z < depth) & (local.z > depth - np.float32(gripper.finger_length_m))
    low, high = _least(local.y, between), _greatest(local.y, between)
    holds = np.isfinite(low)
    _count(rejected, "with nothing between the fingers", np.count_nonzero(~holds))
    widths = np.where(holds, high, 0).astype(np.float64) - np.where(holds, low, 0)
    fits = holds & (widths <= gripper.max_opening_m - 2 * MIN_GAP_M)
    _count(rejected, "too wide for the gripper", np.count_nonzero(holds & ~fits))
    kept = np.flatnonzero(fits)
    middles: Floats = (low[kept] + high[kept]) / np.float32(2)
    at_tcp = (tips[kept] - gripper.tip_m).astype(np.float32)[:, None]
    x, y, z = local.x[kept], local.y[kept] - middles[:, None], local.z[kept] - at_tcp
    openings, free = _openings(x, y, z, widths[kept], gripper)
    _count(rejected, "would push the object before closing", np.count_nonzero(~free))
    where = np.flatnonzero(free)
    kept, openings, middles = kept[where], openings[where], middles[where]
    poses = frames[kept].copy()
    along = (tips[kept] - gripper.tip_m)[:, None]
    poses[:, :3, 3] += along * poses[:, :3, 2] + middles[:, None] * poses[:, :3, 1]
    beyond: Floats = (local.last[kept] - tips[kept]).astype(np.float32)
    contents = Contents(x[where], y[where], z[where], between[kept], widths[kept], beyond)
    return Grips(poses, widths[kept], openings, merits_of(poses, contents, surface, scene, gripper))


def _least(values: Floats, where: NDArray[np.bool_]) -> Floats:
    """(K,) the least of each row's values where asked for; infinite where it is nowhere."""
    result: Floats = np.where(where, values, np.float32(np.inf)).min(axis=1, initial=np.float32(np.inf))
    return result


def _greatest(values: Floats, where: NDArray[np.bool_]) -> Floats:
    """(K,) the greatest, likewise."""
    result: Floats = np.where(where, values, np.float32(-np.inf)).max(axis=1, initial=np.float32(-np.inf))
    return result


def _count(rejected: dict[str, int], reason: str, number: Any) -> None:
    rejected[reason] = rejected.get(reason, 0) + int(number)


def _openings(
    x: Floats, y: Floats, z: Floats, widths: NDArray[np.float64], gripper: Gripper
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(K,) the widest openings that do not push the object, and whether there is one; z from the TCP on."""
    openings, free = np.zeros(len(widths)), np.zeros(len(widths), dtype=np.bool_)
    # What is neither beside the fingers nor under the palm is met at no opening.
    beside = (np.abs(x) < gripper.finger_width_m / 2 + OWN_MARGIN_M) & (z < gripper.tip_m + OWN_MARGIN_M)
    palm = np.flatnonzero(~palm_hits(x, y, z, gripper).any(axis=1))
    away = np.where(beside[palm], np.abs(y[palm]), np.float32(np.inf))
    for gap in _GAPS_M:
        wide = np.minimum(widths[palm] + 2 * gap, gripper.max_opening_m)
        inner = (wide / 2 - OWN_MARGIN_M).astype(np.float32)[:, None]
        met = (away > inner) & (away < inner + np.float32(gripper.finger_thickness_m + 2 * OWN_MARGIN_M))
        fits = ~met.any(axis=1)
        openings[palm[fits]], free[palm[fits]] = wide[fits], True
        palm, away = palm[~fits], away[~fits]
    return openings, free
