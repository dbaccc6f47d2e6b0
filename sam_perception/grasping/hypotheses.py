"""Where a gripper might close on a surface: closing axes from contacts, each with the ways to approach along them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.surface import Surface
from sam_perception.rotations import rotation_from_quaternion

MIN_GAP_M = 0.0025  # between a finger and the object, on each side

_CONTACTS = 190
_PAIRS = 110
_SINGLES = 40
_THICKEST_WALL_M = 0.012
_SMALLEST_PAIR_M = 0.005
_SLACK = 1.25  # how far outside the friction cone a pair's normals may be: the fingers average over an area
_CELL_M = 0.012  # pairs are spread over cells of this size
_YAWS = 8
_SHIFTS = (0.0, 0.15, -0.15, 0.3, -0.3)  # from the box's middle, as shares of its side
_TILTS_DEG = (0.0, 30.0, -30.0, 60.0, -60.0)
_STEEPEST_DEG = 85.0  # between an approach and straight down
_NEARBY_DEG, _NEARBY_M = 20.0, 0.010  # how far beside a grasp another is tried


@dataclasses.dataclass(frozen=True, eq=False)
class Axes:
    """K ways to close on something.

    Attributes:
        middles: (K, 3) midway between the contacts.
        directions: (K, 3) unit vectors from the one to the other.
        widths_m: (K,) distances between the contacts.
    """

    middles: NDArray[np.float64]
    directions: NDArray[np.float64]
    widths_m: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Hypotheses:
    """K frames in which the gripper might come; how far along their z and how wide is still open.

    Attributes:
        frames: (K, 4, 4) camera_T_frame: +Z the approach, +Y the closing direction, the origin between the contacts.
        widths_m: (K,) between the contacts.
    """

    frames: NDArray[np.float64]
    widths_m: NDArray[np.float64]


def hypotheses_of(surface: Surface, scene: GraspScene, gripper: Gripper) -> Hypotheses:
    """All that is worth a look, the same for the same scene."""
    axes = _joined(
        [
            _pairs(surface, gripper),
            _walls(surface, scene),
            _through_center(surface, scene, gripper),
        ]
    )
    return _approached(axes, scene, surface)


def hypotheses_near(poses: NDArray[np.float64], widths_m: NDArray[np.float64], scene: GraspScene) -> Hypotheses:
    """What is near to (K, 4, 4) grasps of things (K,) wide.

    Turned about the approach, turned about the closing direction, and moved across the fingers, each both ways.
    """
    steps = _steps_aside()
    frames = np.concatenate([poses @ step for step in steps])
    fine = _goes_down(frames[:, :3, 2], scene)
    return Hypotheses(frames[fine], np.tile(widths_m, len(steps))[fine])


def _steps_aside() -> NDArray[np.float64]:
    """(6, 4, 4) grasp_T_nearby."""
    steps = np.tile(np.eye(4), (6, 1, 1))
    sine, cosine = math.sin(math.radians(_NEARBY_DEG) / 2), math.cos(math.radians(_NEARBY_DEG) / 2)
    for k, side in enumerate((-1, 1)):
        steps[k, :3, :3] = rotation_from_quaternion([0, 0, side * sine, cosine])
        steps[2 + k, :3, :3] = rotation_from_quaternion([0, side * sine, 0, cosine])
        steps[4 + k, 0, 3] = side * _NEARBY_M
    return steps


def _joined(several: list[Axes]) -> Axes:
    return Axes(
        np.concatenate([axes.middles for axes in several]),
        np.concatenate([axes.directions for axes in several]),
        np.concatenate([axes.widths_m for axes in several]),
    )


def _pairs(surface: Surface, gripper: Gripper) -> Axes:
    """Pairs of contacts whose line lies in both friction cones, spread over the object."""
    rng = np.random.default_rng(0)
    count = len(surface.points)
    chosen = np.sort(rng.permutation(count)[:_CONTACTS])
    points, normals = surface.points[chosen].astype(np.float64), surface.normals[chosen].astype(np.float64)
    # A cloud without an image may be of both sides, and then its normals do not say where outside is.
    seen = surface.is_observed[chosen] & surface.one_view
    first, second = np.triu_indices(len(points), 1)
    between = points[second] - points[first]
    widths = np.linalg.norm(between, axis=1)
    fits = (widths > _SMALLEST_PAIR_M) & (widths < gripper.max_opening_m - 2 * MIN_GAP_M)
    first, second, between, widths = first[fits], second[fits], between[fits], widths[fits]
    directions = between / widths[:, None]
    out_of_first = -np.einsum("ij,ij->i", directions, normals[first])
    out_of_second = np.einsum("ij,ij->i", directions, normals[second])
    cosines = np.minimum(
        np.where(seen[first], out_of_first, np.abs(out_of_first)),
        np.where(seen[second], out_of_second, np.abs(out_of_second)),
    )
    inside = np.flatnonzero(cosines > math.cos(_SLACK * math.atan(gripper.friction)))
    middles = (points[first[inside]] + points[second[inside]]) / 2
    distance = np.linalg.norm(middles - surface.center, axis=1)
    order = np.argsort(-(cosines[inside] - 2.0 * distance), kind="stable")
    middles, inside = middles[order], inside[order]
    kept = _spread_over_cells(middles, directions[inside], _PAIRS)
    return Axes(middles[kept], directions[inside[kept]], widths[inside[kept]])


def _spread_over_cells(middles: NDArray[np.float64], directions: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The first of each cell of place and direction, in their order, at most ``count``."""
    upward = np.where(directions[:, :1] < 0, -directions, directions)
    cells = np.concatenate([np.floor(middles / _CELL_M), np.rint(upward * 3)], axis=1).astype(np.int64)
    if not len(cells):
        return np.empty(0, np.intp)
    cells -= cells.min(axis=0)
    keys = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    return np.sort(np.unique(keys, return_index=True)[1])[:count]


def _walls(surface: Surface, scene: GraspScene) -> Axes:
    """Across what is thin and high: rims of bowls and mugs, of which often only one side is seen."""
    heights = surface.points @ scene.lift
    across = np.abs(surface.normals @ scene.lift)
    top = np.percentile(heights, 98)
    high = np.flatnonzero((heights > top - max(0.015, 0.25 * float(np.ptp(heights)))) & (across < 0.6))
    if not high.size:
        return Axes(np.empty((0, 3)), np.empty((0, 3)), np.empty(0))
    chosen = high[np.linspace(0, len(high) - 1, min(len(high), _SINGLES)).round().astype(np.intp)]
    directions = surface.normals[chosen] - np.outer(surface.normals[chosen] @ scene.lift, scene.lift)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    middles = surface.points[chosen].astype(np.float64)
    return Axes(middles, directions, np.full(len(chosen), _THICKEST_WALL_M))


def _through_center(surface: Surface, scene: GraspScene, gripper: Gripper) -> Axes:
    """Level axes through the middle of the object, and along its box, whatever the normals say."""
    basis = level_basis(scene)
    angles = np.arange(_YAWS) * np.pi / _YAWS
    level = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ basis
    middles, directions = [np.tile(surface.center, (_YAWS, 1))], [level]
    if scene.box is not None:
        order = np.argsort(np.abs(scene.box.rotation.T @ scene.lift), kind="stable")[:2]  # the level ones
        for closing, along in (order, order[::-1]):
            shifts = np.array(_SHIFTS)[:, None] * scene.box.size[along]
            middles.append(scene.box.center + shifts * scene.box.rotation[:, along])
            directions.append(np.tile(scene.box.rotation[:, closing], (len(_SHIFTS), 1)))
    joined = np.concatenate(middles)
    all_directions = np.concatenate(directions)
    spans = np.array([np.ptp(surface.points @ each) for each in all_directions])
    return Axes(joined, all_directions, np.minimum(spans, gripper.max_opening_m - 2 * MIN_GAP_M))


def level_basis(scene: GraspScene) -> NDArray[np.float64]:
    """(2, 3) two unit vectors across the lift and each other."""
    seed = np.eye(3)[int(np.argmin(np.abs(scene.lift)))]
    first = np.cross(scene.lift, seed)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(scene.lift, first)])


def _approached(axes: Axes, scene: GraspScene, surface: Surface) -> Hypotheses:
    """Each axis with approaches across it: as steep as can be, leaning to both sides, and along the view."""
    down, view = -scene.lift, surface.center / np.linalg.norm(surface.center)
    inward = surface.center - axes.middles
    steep = _across(np.tile(down, (len(axes.middles), 1)), axes.directions, inward)
    aside = np.cross(axes.directions, steep)
    candidates = [np.cos(tilt) * steep + np.sin(tilt) * aside for tilt in np.radians(_TILTS_DEG)]
    candidates.append(_across(np.tile(view, (len(axes.middles), 1)), axes.directions, inward))
    approaches = np.concatenate(candidates)
    which = np.tile(np.arange(len(axes.middles)), len(candidates))
    fine = _goes_down(approaches, scene)
    approaches, which = approaches[fine], which[fine]
    frames = np.tile(np.eye(4), (len(which), 1, 1))
    y_axes = axes.directions[which]
    frames[:, :3, 0] = np.cross(y_axes, approaches)
    frames[:, :3, 1] = y_axes
    frames[:, :3, 2] = approaches
    frames[:, :3, 3] = axes.middles[which]
    return Hypotheses(frames, axes.widths_m[which])


def _goes_down(approaches: NDArray[np.float64], scene: GraspScene) -> NDArray[np.bool_]:
    return -(approaches @ scene.lift) > math.cos(math.radians(_STEEPEST_DEG))


def _across(
    wanted: NDArray[np.float64], directions: NDArray[np.float64], otherwise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(K, 3) unit vectors across the directions, as near to the wanted ones as can be, or to others if along them."""
    result = wanted - np.einsum("ij,ij->i", wanted, directions)[:, None] * directions
    second = otherwise - np.einsum("ij,ij->i", otherwise, directions)[:, None] * directions
    along = np.linalg.norm(result, axis=1) < 0.5
    result[along] = second[along]
    lengths = np.linalg.norm(result, axis=1)
    bad = lengths < 1e-9
    result[bad] = np.cross(directions[bad], directions[bad][:, [1, 2, 0]] + np.array([0.1, 0.0, 0.0]))
    return result / np.maximum(np.linalg.norm(result, axis=1), 1e-9)[:, None]
