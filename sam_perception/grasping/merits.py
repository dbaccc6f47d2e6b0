"""What speaks for a grasp, each merit between 0 and 1: how the pads meet the surface, and how the object would hang."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.arrays import Array, Entries, Floats
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.surface import Surface

# Quality is the product of the merits, each to its power. The powers are those of a logistic regression on some 500
# executed grasps of simulated objects, rounded; that of "measured" was chosen later, on a few that failed.
POWERS = {
    "cone": 1.0,
    "normals": 0.4,
    "support": 1.0,
    "overlap": 0.4,
    "opposite": 0.3,
    "center": 0.7,
    "width": 0.8,
    "steep": 1.0,
    "view": 0.6,
    "seen": 0.1,
    "measured": 0.7,
}

_CONTACT_M = 0.003  # this far below a surface's outermost point a pad touches it
_OUTLINE_M = 0.012  # this far below it, its shape is looked at
_FIELD_M = 0.008  # along a finger
_GOES_ON_M = 0.004  # an object that ends this near to the finger tips does not go on beyond
_SLACK = 1.6  # how far outside the friction cone a contact counts for nothing: normals come from noisy points
_FLAT_M = 0.02
_FLAT_NORMALS = 0.3
_EVEN_M = 0.006  # standard deviation, along either side of a pad, of points that it touches evenly
_DEEP_M = 0.03
_MOSTLY = 0.6  # of a thickness: the rest is the silhouette's other side, which completion knows well
_NARROWER_M = 0.02  # than the widest opening: enough for errors of the pose


@dataclasses.dataclass(frozen=True, eq=False)
class Contents(Entries):
    """What is between the fingers of K grasps, in the frames of their TCPs; y = 0 is midway between the contacts.

    Attributes:
        widths_m: (K,) of what is between the fingers.
        beyond_m: (K,) how far it goes on beyond the finger tips.
    """

    widths_m: NDArray[np.float64]
    beyond_m: Floats


def quality_of(merits: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """(K,) 0..1."""
    quality = np.ones(len(merits["cone"]))
    for name, power in POWERS.items():
        quality *= merits[name] ** power
    return quality


def merits_of(
    poses: NDArray[np.float64], contents: Contents, surface: Surface, scene: GraspScene, gripper: Gripper
) -> dict[str, NDArray[np.float64]]:
    """What speaks for each of K grasps, (K,) by name.

    - cone: whether the outlines that the pads meet face each other, within the friction cone;
    - normals: the same of the surface's normals;
    - support: over how much of a pad the contacts are spread, on the worse side;
    - overlap: of fingers and object along the approach;
    - opposite: whether the contacts' middles are opposite to each other;
    - center: closeness to the centre of mass, level above all;
    - width: how much wider the gripper could open;
    - steep, view: whether the approach goes down, and along the view, where the space is known to be free;
    - seen: share of the contacts that were observed and not completed;
    - measured: how much of the thickness between the fingers was observed, at the top for instance: what is seen from
      one side only may be of any thickness.
    """
    sides, slopes = _both_sides(contents, poses, surface, gripper)
    cone = math.atan(gripper.friction)
    alignment = np.minimum(*(side["alignment"] for side in sides))
    normals = _margin(np.arccos(np.clip(alignment, 0, 1)), cone)
    spread_x, spread_z = (np.minimum(*(side[name] for side in sides)) for name in ("spread_x", "spread_z"))
    front = contents.arrays.least(contents.z, contents.grasp, len(poses))
    overlaps = gripper.tip_m - front.astype(np.float64)
    # Flat things show upright normals only: there the outline alone has to do.
    ends = contents.beyond_m < _GOES_ON_M
    flat = np.where(ends, np.clip(2 - (overlaps + contents.beyond_m) / _FLAT_M, 0, 1), 0)
    offset = np.hypot(sides[0]["x"] - sides[1]["x"], sides[0]["z"] - sides[1]["z"])
    down = -(poses[:, :3, 2] @ scene.lift)
    view = poses[:, :3, 2] @ (surface.center / max(float(np.linalg.norm(surface.center)), 1e-9))
    return {
        "cone": _margin(np.arctan(np.maximum(*slopes)), cone),
        "normals": np.maximum(normals, _FLAT_NORMALS * flat),
        "support": _share(spread_x, _EVEN_M) ** 0.7 * _share(spread_z, _EVEN_M) ** 0.6,
        "overlap": _share(overlaps, _DEEP_M),
        "opposite": np.exp(-((offset / 0.02) ** 2)),
        "center": _centering(poses, sides, surface, scene),
        "width": _share(gripper.max_opening_m - contents.widths_m, _NARROWER_M),
        "steep": np.clip(0.5 + 0.5 * down, 0, 1),
        "view": np.clip(0.5 + 0.5 * view, 0, 1),
        "seen": np.clip((sides[0]["seen"] + sides[1]["seen"]) / 2, 0.05, 1),
        "measured": _measured(contents, surface),
    }


def _measured(contents: Contents, surface: Surface) -> NDArray[np.float64]:
    """1 where what was observed spans the width between the fingers, less where one side of it is guessed."""
    arrays, half = contents.arrays, (contents.widths_m / 2).astype(np.float32)
    seen = arrays.where(arrays.take(arrays.of(surface.is_observed), contents.point))
    low, high = arrays.extremes(arrays.take(contents.y, seen), arrays.take(contents.grasp, seen), len(half))
    missing = np.maximum(half - np.maximum(high, -half), half - np.maximum(-low, -half))
    share = missing / np.maximum(contents.widths_m, 1e-6)
    return _share(1 - share, _MOSTLY)


def _centering(
    poses: NDArray[np.float64], sides: list[dict[str, NDArray[np.float64]]], surface: Surface, scene: GraspScene
) -> NDArray[np.float64]:
    """1 where the axis through the contacts meets the centre of mass; what is level off it turns the object."""
    x, z = ((sides[0][name] + sides[1][name]) / 2 for name in ("x", "z"))
    lever = surface.center - poses[:, :3, 3] - x[:, None] * poses[:, :3, 0] - z[:, None] * poses[:, :3, 2]
    along = np.einsum("ij,ij->i", lever, poses[:, :3, 1])
    lever -= along[:, None] * poses[:, :3, 1]
    upright = lever @ scene.lift
    level = np.linalg.norm(lever - upright[:, None] * scene.lift, axis=1)
    return np.exp(-((level / 0.045) ** 2) - (upright / 0.2) ** 2 - (along / 0.15) ** 2)


def _share(values: NDArray[np.float64], enough: float) -> NDArray[np.float64]:
    """0.05..1: of what is enough; too little of one thing does not rule a grasp out."""
    return np.clip(values / enough, 0.05, 1)


def _margin(angles: NDArray[np.float64], cone: float) -> NDArray[np.float64]:
    """1 for contacts that face each other, 0 well outside the friction cone."""
    return np.clip(1 - angles / (_SLACK * cone), 0, 1)


def _both_sides(
    contents: Contents, poses: NDArray[np.float64], surface: Surface, gripper: Gripper
) -> tuple[list[dict[str, NDArray[np.float64]]], list[NDArray[np.float64]]]:
    """What each pad touches, and how much it leans."""
    arrays, halves = contents.arrays, contents.arrays.of(contents.widths_m / 2)
    outer = arrays.where(abs(contents.y) > arrays.take(halves, contents.grasp) - _OUTLINE_M)
    grasp, point, x, y, z = (
        arrays.take(values, outer) for values in (contents.grasp, contents.point, contents.x, contents.y, contents.z)
    )
    touches = arrays.take(halves, grasp) - abs(y) < _CONTACT_M
    entries = _NearPads(arrays, grasp, point, x, y, z - gripper.tip_m, touches, len(poses))
    ends = contents.beyond_m < _GOES_ON_M
    both = [entries.where(side) for side in (y > 0, y <= 0)]
    return [_touched(side, poses, surface, gripper) for side in both], [_slope(side, gripper, ends) for side in both]


@dataclasses.dataclass(frozen=True, eq=False)
class _NearPads(Entries):
    """Points near the pads, their z from the finger tips on.

    Attributes:
        touches: (E,) bool: whether the pad touches it.
        count: of the grasps.
    """

    touches: Array
    count: int

    def where(self, keep: Array) -> _NearPads:
        """Those that are kept."""
        some = self.arrays.where(keep)
        grasp, point, x, y, z, touches = (
            self.arrays.take(values, some) for values in (self.grasp, self.point, self.x, self.y, self.z, self.touches)
        )
        return _NearPads(self.arrays, grasp, point, x, y, z, touches, self.count)

    def mean(self, values: Array) -> NDArray[np.float64]:
        """(count,) mean of (E,) values for each grasp; 0 without any."""
        return self.arrays.means(values, self.grasp, self.count)


def _touched(
    entries: _NearPads, poses: NDArray[np.float64], surface: Surface, gripper: Gripper
) -> dict[str, NDArray[np.float64]]:
    """Means over the points that one pad touches: normals along the closing axis, place, spread, share observed."""
    arrays, touched = entries.arrays, entries.where(entries.touches)
    closing = arrays.take(arrays.of(poses[:, :3, 1]), touched.grasp)
    alignment = abs(arrays.dots(arrays.take(arrays.of(surface.normals), touched.point), closing))
    x, z = touched.mean(touched.x), touched.mean(touched.z)
    deviation_x = np.sqrt(np.maximum(touched.mean(touched.x**2) - x**2, 0))
    deviation_z = np.sqrt(np.maximum(touched.mean(touched.z**2) - z**2, 0))
    return {
        "alignment": touched.mean(alignment),
        "x": x,
        "z": z + gripper.tip_m,
        "spread_x": deviation_x,
        "spread_z": deviation_z,
        "seen": touched.mean(arrays.take(arrays.of(surface.is_observed), touched.point)),
    }


def _slope(entries: _NearPads, gripper: Gripper, ends: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(count,) how much what one pad touches leans against it: across the finger, and towards the finger tip.

    The outline that a pad meets is the outermost point in each of 3 x 3 fields of it. It leans across the finger by
    the difference of its left and right, and along it when it is widest at the tip and goes on beyond.
    """
    across = gripper.finger_width_m / 3
    column = entries.arrays.whole((entries.x / gripper.finger_width_m + 0.5) * 3, 2)
    row = entries.arrays.whole(-entries.z / _FIELD_M, 2)
    field = (entries.grasp * 3 + column) * 3 + row
    outermost = entries.arrays.greatest_at(abs(entries.y), field, 9 * entries.count)
    edges = outermost.astype(np.float64).reshape(-1, 3, 3)
    columns, rows = edges.max(axis=2), edges.max(axis=1)
    with np.errstate(invalid="ignore"):
        sideways = np.abs(columns[:, 0] - columns[:, 2]) / (2 * across)
    sideways[~np.isfinite(sideways)] = 0
    with np.errstate(invalid="ignore"):
        upwards = (rows[:, 0] - rows[:, 1]) / _FIELD_M
    upwards[~np.isfinite(upwards) | ends] = 0
    return np.hypot(sideways, np.maximum(upwards, 0))
