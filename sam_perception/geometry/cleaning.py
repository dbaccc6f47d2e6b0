"""Removes from an object's cloud the points that no surface of the object produced."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import RgbdFrame
from sam_perception.geometry.clouds import ObjectCloud, deproject_mask
from sam_perception.geometry.noise import NOISE_PER_M, depth_noise_m
from sam_perception.geometry.voxels import VoxelGrid
from sam_perception.masks import Mask


@dataclasses.dataclass(frozen=True)
class CloudCleaning:
    """How a cloud is cleaned. 0 turns a step off: ``min_neighbours``, ``outlier_density``, ``cluster_gap_m``.

    Attributes:
        steepest_surface_deg: largest angle between a surface's normal and the viewing ray at which neighbouring
            pixels still count as one surface; what is steeper is a jump in depth.
        min_neighbours: of a pixel's 8 neighbours, how many must be of the same mask and surface. The pixels of a clean
            straight edge have 5 and those of its corner 3; a flying pixel has about 2, those along the edge.
        outlier_density: a point goes when the space around it holds fewer than this share of the points that the
            space around the object's median point holds.
        cluster_gap_m: parts of the object that are at most this far apart stay together, at more than twice this
            they never do. It grows to 3 standard deviations of the depth noise where that is more.
        fill_hole_px: area up to which a hole in the depth, surrounded by the object, is filled from its rim. Off by
            default: what it adds was never measured.
        noise_per_m: standard deviation of the depth over depth squared, 1/m (see ``noise.py``).
    """

    steepest_surface_deg: float = 80.0
    min_neighbours: int = 3
    outlier_density: float = 0.05
    cluster_gap_m: float = 0.02
    fill_hole_px: int = 0
    noise_per_m: float = NOISE_PER_M

    def __post_init__(self) -> None:
        for name in ("min_neighbours", "outlier_density", "cluster_gap_m", "fill_hole_px"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InvalidInputError.for_field(f"CloudCleaning.{name}", "a finite number, 0 or more", value)
        if not 0 < self.steepest_surface_deg < 90:
            raise InvalidInputError.for_field(
                "CloudCleaning.steepest_surface_deg", "an angle between 0 and 90 degrees", self.steepest_surface_deg
            )
        if not 0 < self.noise_per_m < math.inf:
            raise InvalidInputError.for_field("CloudCleaning.noise_per_m", "more than 0", self.noise_per_m)


@dataclasses.dataclass(frozen=True)
class CloudCounts:
    """How many points each step took: pixels in the mask, those with depth, then what went and what is left."""

    mask: int = 0
    measured: int = 0
    filled: int = 0
    flying: int = 0
    outliers: int = 0
    other_clusters: int = 0
    support: int = 0
    kept: int = 0


def object_cloud(
    frame: RgbdFrame, mask: Mask, cleaning: CloudCleaning | None = None
) -> tuple[ObjectCloud, CloudCounts]:
    """The points of a mask, cleaned: holes filled (if asked for), flying pixels, outliers and other clusters gone.

    Raises:
        InvalidInputError: as ``deproject_mask``.
    """
    cleaning = cleaning or CloudCleaning()
    raw = deproject_mask(frame, mask)
    filled = fill_holes(raw, cleaning) if cleaning.fill_hole_px else raw
    solid = filled.select(~flying_pixels(filled, cleaning))
    dense = solid.select(~outliers(solid, cleaning))
    cloud = dense.select(largest_cluster(dense, cleaning))
    counts = CloudCounts(
        mask=mask.area,
        measured=len(raw),
        filled=len(filled) - len(raw),
        flying=len(filled) - len(solid),
        outliers=len(solid) - len(dense),
        other_clusters=len(dense) - len(cloud),
        kept=len(cloud),
    )
    return cloud, counts


def flying_pixels(cloud: ObjectCloud, cleaning: CloudCleaning) -> NDArray[np.bool_]:
    """(N,) bool: points that hang between foreground and background, where one pixel saw both.

    A flying pixel lies on a ramp of depth across an edge of the object: to either side of it the surface through it
    and its neighbour would be steeper than ``steepest_surface_deg``, so that only the pixels along the edge support it.
    The angle between that surface and the viewing ray is the criterion of May et al., "Three-dimensional mapping
    with time-of-flight cameras", Journal of Field Robotics 26, 2009, section 4; here the depth's own noise (2
    standard deviations) is allowed on top, so that it holds from 0.3 m to 3 m. Neighbours outside the mask
    lend no support, whence a fringe of background one pixel wide goes too.
    """
    if not cleaning.min_neighbours or cloud.is_empty:
        return np.zeros(len(cloud), dtype=np.bool_)
    depth, at = _depth_around_points(cloud)
    straight = allowed_step_m(depth, _pitch(cloud), cleaning)
    diagonal = allowed_step_m(depth, math.sqrt(2) * _pitch(cloud), cleaning)
    support = np.zeros(depth.shape, dtype=np.uint8)
    every, left, right = slice(None), slice(None, -1), slice(1, None)
    for first, second, allowed in (
        ((every, left), (every, right), straight),
        ((left, every), (right, every), straight),
        ((left, left), (right, right), diagonal),
        ((left, right), (right, left), diagonal),
    ):
        same = (np.abs(depth[first] - depth[second]) <= allowed[first]).view(np.uint8)  # NaN: False
        support[first] += same
        support[second] += same
    return support.reshape(-1).take(at) < cleaning.min_neighbours


def _depth_around_points(cloud: ObjectCloud) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The depth of the rows and columns that have points, NaN elsewhere, and the (N,) flat indices of the points there.

    Of a large mask few points may be left.
    """
    rows, columns = np.divmod(cloud.crop_indices, cloud.seen.shape[1])
    rows, columns = rows - rows[0], columns - columns.min()
    depth = np.full((rows[-1] + 1, columns.max() + 1), np.nan, np.float32)
    at = rows * depth.shape[1] + columns
    depth.reshape(-1)[at] = cloud.points[:, 2]
    return depth, at


def allowed_step_m(depth_m: NDArray[np.float32], pitch: float, cleaning: CloudCleaning) -> NDArray[np.float32]:
    """How much the depth of one surface may change between pixels whose rays are ``pitch`` apart at z = 1."""
    slope = np.float32(pitch * math.tan(math.radians(cleaning.steepest_surface_deg)))
    return depth_m * (slope + np.float32(2 * cleaning.noise_per_m) * depth_m)


def outliers(cloud: ObjectCloud, cleaning: CloudCleaning) -> NDArray[np.bool_]:
    """(N,) bool: points in thin air, by the number of points in the 27 voxels around each against the median.

    The voxels are 4 pixels wide at the cloud's median depth, plus 3 standard deviations of its noise, so that
    neither distance nor noise thins a surface out.
    """
    if not cleaning.outlier_density or cloud.is_empty:
        return np.zeros(len(cloud), dtype=np.bool_)
    depth = float(np.median(cloud.points[:, 2]))
    voxel_m = 4 * _pitch(cloud) * depth + 3 * depth_noise_m(depth, cleaning.noise_per_m)
    counts = VoxelGrid.of(cloud.points, voxel_m).neighbourhood_counts()
    return counts < cleaning.outlier_density * np.median(counts)


def largest_cluster(cloud: ObjectCloud, cleaning: CloudCleaning) -> NDArray[np.bool_]:
    """(N,) bool: points of the largest group of touching voxels of side ``cluster_gap_m``.

    In space rather than on the pixel grid, so that an object split in the image by something thin in front
    of it, or by a hole in the depth, stays one.
    """
    if not cleaning.cluster_gap_m or cloud.is_empty:
        return np.ones(len(cloud), dtype=np.bool_)
    depth = float(np.median(cloud.points[:, 2]))
    gap_m = max(cleaning.cluster_gap_m, 3 * depth_noise_m(depth, cleaning.noise_per_m))
    group = VoxelGrid.of(cloud.points, gap_m).components()
    return group == np.argmax(np.bincount(group))


def fill_holes(cloud: ObjectCloud, cleaning: CloudCleaning) -> ObjectCloud:
    """The cloud with the small holes of its depth filled by planes through their rims.

    Filled is a hole of up to ``fill_hole_px`` pixels that measured pixels of the mask enclose and whose rim shows no
    jump in depth across it. The inverse depth of a plane is linear in the pixels, so each hole is a small least
    squares fit.
    """
    depth = np.pad(cloud.depth_crop(), 1, constant_values=np.nan)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(np.isnan(depth).astype(np.uint8), connectivity=4)
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[label])
        if left == 0 or area > cleaning.fill_hole_px:  # the first is all that lies around the mask
            continue
        window = depth[top - 1 : top + height + 1, left - 1 : left + width + 1]
        inside = labels[top - 1 : top + height + 1, left - 1 : left + width + 1] == label
        rim = cv2.dilate(inside.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_) & ~inside
        allowed = allowed_step_m(window[rim], max(width, height) * _pitch(cloud), cleaning)
        if np.ptp(window[rim]) <= allowed.min():  # False where the rim itself has gaps
            window[inside] = _plane_through_rim(window, rim, inside)
    metres = np.zeros(cloud.frame.size, dtype=np.float32)
    metres[cloud.mask.rows, cloud.mask.columns] = np.nan_to_num(depth[1:-1, 1:-1])
    repaired = deproject_mask(dataclasses.replace(cloud.frame, depth=metres), cloud.mask)
    return dataclasses.replace(repaired, frame=cloud.frame)


def _plane_through_rim(
    depth: NDArray[np.float32], rim: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    pixels = [np.column_stack([*np.nonzero(where), np.ones(np.count_nonzero(where))]) for where in (rim, inside)]
    coefficients, *_ = np.linalg.lstsq(pixels[0], 1 / depth[rim].astype(np.float64), rcond=None)
    low, high = depth[rim].min(), depth[rim].max()
    return np.clip(1 / (pixels[1] @ coefficients), low, high)


def _pitch(cloud: ObjectCloud) -> float:
    """Distance between the rays of neighbouring pixels at z = 1, on the axis."""
    intrinsics = cloud.frame.intrinsics
    assert intrinsics is not None  # deproject_mask has seen to it
    return 1 / min(intrinsics.fx, intrinsics.fy)
