"""Where an object that the depth camera does not see stands, and about how large it is: from its mask's outline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import RgbdFrame
from sam_perception.geometry.boxes import OrientedBox
from sam_perception.geometry.clouds import deproject_mask
from sam_perception.geometry.planes import Plane, PlaneSearch, fit_plane_ransac
from sam_perception.geometry.rays import deproject_pixels
from sam_perception.masks import Mask

_CLEARANCE_PX = 6  # depth is unsure that near to a mask
_MARGIN = 0.5  # of the mask's longer side: how far around it the plane is looked for
_SMALLEST_MARGIN_PX = 32
_SAMPLED_POINTS = 4000
_PLANE_SHARE = 0.25  # of what is seen around the mask
_TRIM_PERCENT = 1.0
_LOWEST_CAMERA_M = 0.02  # nearer to the plane than that, the outline says nothing of where on it the object stands
_FROM_ABOVE_DEG = 100.0  # the outline spans more than that around the camera's foot: seen from above
_ROUND = 0.75  # from that ratio of the footprint's sides on
_SMALLEST_M, _LARGEST_M = 0.005, 1.0
_STEP_M = 0.005


@dataclasses.dataclass(frozen=True, eq=False)
class OutlineEstimate:
    """An object as its outline has it.

    Attributes:
        plane: what it is taken to stand on.
        box: around it.
        is_round: whether the footprint is taken for an ellipse, mostly a circle, rather than for the box's rectangle.
    """

    plane: Plane
    box: OrientedBox
    is_round: bool

    def surface(self) -> NDArray[np.float32]:
        """(N, 3) points on the sides and the top of the upright cylinder or box, in the camera's frame."""
        half, height = self.box.size[:2] / 2, float(self.box.size[2])
        sides = _ellipse(half) if self.is_round else _rectangle(half)
        levels = np.linspace(0, height, max(2, math.ceil(height / _STEP_M))) - height / 2
        walls = np.concatenate([np.column_stack([sides, np.full(len(sides), level)]) for level in levels])
        rings = np.linspace(0, 1, max(2, math.ceil(half.min() / _STEP_M)))[:-1]
        top = np.concatenate([np.column_stack([ring * sides, np.full(len(sides), height / 2)]) for ring in rings])
        local = np.concatenate([walls, top])
        return (local @ self.box.rotation.T + self.box.center).astype(np.float32)


def estimate_from_outline(
    frame: RgbdFrame, mask: Mask, others: Sequence[Mask] = (), *, plane: Plane | None = None, seed: int = 0
) -> OutlineEstimate | None:
    """An upright cylinder or box on the supporting plane that has the mask's outline.

    The rays through the mask's lower edge meet the plane at the near side of what stands there, and the outermost ones
    to the left and right bound its width. Its depth, which cannot be seen, is taken to be its width (a circle), or less
    where the upper edge says that it is lower than wide: then depth and height are equal, as of a bottle that lies
    across the view. The height is where the ray through the upper edge passes over the far side. A flat thing is
    so taken for a higher one. What hides the object's foot from the camera makes it seem farther away.

    Args:
        frame: with depth and intrinsics.
        mask: the object.
        others: masks of further objects, left out of the search for the plane.
        plane: what it stands on, where that is known.
        seed: of the plane's random samples.

    Returns:
        None without a plane around the mask, or when the outline does not stand on it.
    """
    if mask.is_empty or frame.intrinsics is None:
        return None
    plane = _surrounding_plane(frame, mask, others, seed) if plane is None else plane
    if plane is None or plane.offset < _LOWEST_CAMERA_M:
        return None
    v, u = np.nonzero(mask.boundary())
    rays = deproject_pixels(np.stack([u, v], axis=1), np.ones(len(u)), frame.intrinsics)
    rays = rays[np.isfinite(rays).all(axis=1)]
    if len(rays) < 3:
        return None
    away = rays.mean(axis=0) - (rays.mean(axis=0) @ plane.normal) * plane.normal
    if np.linalg.norm(away) < 1e-6:  # the camera looks straight down on it
        away = np.cross(plane.normal, np.eye(3)[np.argmin(np.abs(plane.normal))])
    away /= np.linalg.norm(away)
    axes = np.stack([away, np.cross(plane.normal, away)], axis=1)
    flat, down = rays @ axes, -(rays @ plane.normal)
    azimuth = np.arctan2(flat[:, 1], flat[:, 0])
    left, right = np.percentile(azimuth, [_TRIM_PERCENT, 100 - _TRIM_PERCENT])
    if math.degrees(right - left) > _FROM_ABOVE_DEG:
        return _seen_from_above(plane, axes, flat, down)
    return _seen_from_aside(plane, axes, azimuth, down / np.hypot(flat[:, 0], flat[:, 1]))


def _seen_from_aside(
    plane: Plane, axes: NDArray[np.float64], azimuth: NDArray[np.float64], slope: NDArray[np.float64]
) -> OutlineEstimate | None:
    """From the outline's rays: how far they turn about the camera's foot, and how far down they go for each metre."""
    left, right = np.percentile(azimuth, [_TRIM_PERCENT, 100 - _TRIM_PERCENT])
    middle, half = (left + right) / 2, (right - left) / 2
    central = slope[np.abs(azimuth - middle) <= half / 2]
    if len(central) < 2:
        return None
    top, bottom = np.percentile(central, [_TRIM_PERCENT, 100 - _TRIM_PERCENT])
    if not (bottom > 0.02 and 0 < math.sin(half) < 0.9):
        return None
    camera_m = plane.offset
    near_m = camera_m / bottom
    width = 2 * near_m * math.sin(half) / (1 - math.sin(half))  # of the circle that touches the outermost rays
    as_deep_as_high = (camera_m - near_m * top) / (1 + top) if top > -1 else math.inf
    depth = min(width, as_deep_as_high)
    is_round = depth > _ROUND * width
    if depth < width:
        width = 2 * (near_m + depth / 2) * math.tan(half)
    height = camera_m - (near_m + depth) * top
    direction = axes @ [math.cos(middle), math.sin(middle)]
    foot = -camera_m * plane.normal + (near_m + depth / 2) * direction
    return _estimate(plane, foot, np.cross(plane.normal, direction), np.array([width, depth, height]), is_round)


def _seen_from_above(
    plane: Plane, axes: NDArray[np.float64], flat: NDArray[np.float64], down: NDArray[np.float64]
) -> OutlineEstimate | None:
    """The shadow that the outline casts on the plane, shrunk to something as high as its footprint is narrow."""
    if (down < 0.02).any():
        return None
    camera_m = plane.offset
    shadow = (flat / down[:, None] * camera_m).astype(np.float32)
    corners = cv2.boxPoints(cv2.minAreaRect(shadow)).astype(np.float64)
    first, second = corners[1] - corners[0], corners[2] - corners[1]
    long, short = (first, second) if np.hypot(*first) >= np.hypot(*second) else (second, first)
    if np.hypot(*short) < 1e-9:
        return None
    shrink = camera_m / (camera_m + float(np.hypot(*short)))
    size = shrink * np.array([np.hypot(*long), np.hypot(*short), np.hypot(*short)])
    foot = -camera_m * plane.normal + axes @ (shrink * corners.mean(axis=0))
    return _estimate(plane, foot, axes @ (long / np.hypot(*long)), size, bool(size[1] > _ROUND * size[0]))


def _estimate(
    plane: Plane, foot: NDArray[np.float64], x_axis: NDArray[np.float64], size: NDArray[np.float64], is_round: bool
) -> OutlineEstimate | None:
    """The estimate on the plane's point ``foot``; None for a size that nothing has."""
    if not (np.isfinite(size).all() and (size >= _SMALLEST_M).all() and (size <= _LARGEST_M).all()):
        return None
    x_axis = x_axis if x_axis[0] >= 0 else -x_axis  # to the camera's right, as other boxes
    rotation = np.stack([x_axis, np.cross(plane.normal, x_axis), plane.normal], axis=1)
    return OutlineEstimate(plane, OrientedBox(foot + size[2] / 2 * plane.normal, size, rotation), is_round)


def _surrounding_plane(frame: RgbdFrame, mask: Mask, others: Sequence[Mask], seed: int) -> Plane | None:
    """Of the planes around the mask the one that is met first: the table, not the floor beyond its edge."""
    x0, y0, x1, y1 = mask.box
    margin = max(_SMALLEST_MARGIN_PX, round(_MARGIN * max(x1 - x0, y1 - y0)))
    height, width = frame.size
    rows = slice(max(0, y0 - margin), min(height, y1 + margin))
    columns = slice(max(0, x0 - margin), min(width, x1 + margin))
    taken = np.zeros(frame.size, dtype=np.uint8)
    for each in (mask, *others):
        taken[each.rows, each.columns] |= each.crop.view(np.uint8)
    kernel = np.ones((2 * _CLEARANCE_PX + 1, 2 * _CLEARANCE_PX + 1), np.uint8)
    around = cv2.dilate(taken, kernel)[rows, columns] == 0
    points = deproject_mask(frame, Mask(around, columns.start, rows.start, frame.size)).points
    points = points[:: max(1, len(points) // _SAMPLED_POINTS)]
    return min(_planes(points, seed), key=lambda plane: _distance_along(plane, frame, mask), default=None)


def _planes(points: NDArray[np.float32], seed: int) -> Iterator[Plane]:
    """Up to two planes that each hold much of (N, 3) points."""
    needed = _PLANE_SHARE * len(points)
    for _ in range(2):
        if len(points) < needed or needed < 1:
            return
        found = fit_plane_ransac(points, PlaneSearch(min_share=needed / len(points)), seed=seed)
        if found is None:
            return
        plane, inliers = found
        yield plane
        points = points[~inliers]


def _distance_along(plane: Plane, frame: RgbdFrame, mask: Mask) -> float:
    """How far the camera sees through the middle of the mask's box before it meets the plane."""
    assert frame.intrinsics is not None  # deproject_mask has seen to it
    x0, y0, x1, y1 = mask.box
    ray = deproject_pixels([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2], 1.0, frame.intrinsics)
    down = -float(ray @ plane.normal)
    return plane.offset / down if down > 0 else math.inf


def _ellipse(half: NDArray[np.float64]) -> NDArray[np.float64]:
    count = max(12, math.ceil(2 * math.pi * float(half.max()) / _STEP_M))
    angles = np.arange(count) * 2 * math.pi / count
    return np.stack([half[0] * np.cos(angles), half[1] * np.sin(angles)], axis=1)


def _rectangle(half: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = (np.linspace(-each, each, max(2, math.ceil(2 * each / _STEP_M)) + 1) for each in half)
    return np.concatenate(
        [np.column_stack(np.broadcast_arrays(along, across)) for along, across in ((x, -half[1]), (x, half[1]))]
        + [np.column_stack(np.broadcast_arrays(across, along)) for along, across in ((y, -half[0]), (y, half[0]))]
    )
