"""One mask of one frame as a thing in space: its cloud, centroid, supporting plane and box."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import RgbdFrame
from sam_perception.geometry.boxes import OrientedBox, oriented_box
from sam_perception.geometry.cleaning import CloudCleaning, CloudCounts, object_cloud
from sam_perception.geometry.clouds import ObjectCloud
from sam_perception.geometry.completion import CompletedCloud, complete
from sam_perception.geometry.missing_depth import OutlineEstimate, estimate_from_outline
from sam_perception.geometry.noise import depth_noise_m
from sam_perception.geometry.planes import Plane, SupportSearch, supporting_plane
from sam_perception.masks import Mask

MIN_POINTS = 20
_RIM_PX = 4  # how far a mask may overlap the table
_TABLE_M = 0.003
_MISSING = 0.5  # share of a mask's pixels without depth, or with that of something else, from which ...
_OWN = 0.2  # ... fewer own pixels than this share are not the object but remnants of it
_BOX_POINTS = 8000


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectGeometry:
    """What is known of an object in space, in the camera's optical frame and metres.

    Attributes:
        cloud: its cleaned points, which are measured.
        centroid_m: (3,) float64 mean of the cloud, which is the visible surface; None when nothing is known.
        box: around the object, on the plane where there is one; None when nothing is known.
        plane: what the object stands on; None when none was found.
        counts: points that each step of the cleaning took.
        reasons: why something above is None or not to be trusted, in words; empty when all is well.
        completed: the cloud and what its unseen side probably is; the box is around both. None when nothing is known.
        is_estimated: whether the object has (nearly) no depth, as glass and black plastic. Its place and size
            then come from the mask's outline on the plane, the centroid is the middle of the box, and the cloud holds
            the few points that were measured on the object, or none.
    """

    cloud: ObjectCloud
    centroid_m: NDArray[np.float64] | None
    box: OrientedBox | None
    plane: Plane | None
    counts: CloudCounts
    reasons: tuple[str, ...] = ()
    completed: CompletedCloud | None = None
    is_estimated: bool = False


def measure_object(
    frame: RgbdFrame,
    mask: Mask,
    others: Sequence[Mask] = (),
    *,
    cleaning: CloudCleaning | None = None,
    search: SupportSearch | None = None,
    seed: int = 0,
) -> ObjectGeometry:
    """Measure one object: cleaned cloud, centroid, supporting plane and oriented box.

    Args:
        frame: with depth and intrinsics.
        mask: the object.
        others: masks of further objects in the frame, which are then not mistaken for what it stands on.
        cleaning: how the cloud is cleaned.
        search: how the plane is looked for.
        seed: of the plane's random samples; the same seed gives the same answer.

    Raises:
        InvalidInputError: a frame without depth or intrinsics, a mask of another image size.
    """
    cleaning = cleaning or CloudCleaning()
    cloud, counts = object_cloud(frame, mask, cleaning)
    plane = None
    if len(cloud) >= MIN_POINTS:
        plane = supporting_plane(frame, mask, others, cloud=cloud, search=search, seed=seed)
    if counts.measured <= (1 - _MISSING) * counts.mask or len(cloud) < MIN_POINTS:
        estimate = estimate_from_outline(frame, mask, others, plane=plane, seed=seed)
        if estimate is not None:
            own = cloud.select(_above(cloud, estimate.plane, cleaning))
            if len(own) < max(MIN_POINTS, _OWN * counts.mask):
                return _estimated(own, estimate, counts)
    if len(cloud) < MIN_POINTS:
        return ObjectGeometry(cloud, None, None, None, counts, (_too_few(counts),))
    reasons: tuple[str, ...] = ()
    if plane is None:
        reasons = ("no supporting plane was found around the object; the box is that of the visible surface alone",)
    else:
        cloud = cloud.select(~_table_at_rim(cloud, plane, cleaning))
        counts = dataclasses.replace(counts, support=counts.kept - len(cloud), kept=len(cloud))
    centroid = cloud.points.mean(axis=0, dtype=np.float64)
    completed = complete(cloud, plane)
    return ObjectGeometry(cloud, centroid, _box(cloud, completed, plane), plane, counts, reasons, completed)


def _box(cloud: ObjectCloud, completed: CompletedCloud, plane: Plane | None) -> OrientedBox:
    """Around what was measured and what was guessed, which is as dense as that for the box's percentiles."""
    measured = cloud.points[:: max(1, len(cloud) // _BOX_POINTS)]
    guessed = completed.points[~completed.is_observed]
    if len(guessed) == 0:
        return oriented_box(cloud.points, plane)
    times = max(1, round(len(measured) / np.count_nonzero(completed.is_observed)))
    return oriented_box(np.concatenate([measured, np.repeat(guessed, times, axis=0)]), plane)


def _estimated(own: ObjectCloud, estimate: OutlineEstimate, counts: CloudCounts) -> ObjectGeometry:
    surface = estimate.surface()
    unseen = np.zeros(len(surface), dtype=np.bool_)
    return ObjectGeometry(
        cloud=own,
        centroid_m=estimate.box.center,
        box=estimate.box,
        plane=estimate.plane,
        counts=dataclasses.replace(counts, support=counts.kept - len(own), kept=len(own)),
        reasons=(
            f"the object has hardly any depth ({len(own)} points of {counts.mask} pixels; glass, mirrors and black "
            "things have none), so its place and size are estimated from the mask's outline on the plane around it",
        ),
        completed=CompletedCloud(surface, unseen, "outline", estimate.box.center),
        is_estimated=True,
    )


def _above(cloud: ObjectCloud, plane: Plane, cleaning: CloudCleaning) -> NDArray[np.bool_]:
    """(N,) bool: points that are not those of the plane, or of something behind it, seen through the object."""
    return plane.heights_m(cloud.points) > _TABLE_M + 2 * depth_noise_m(cloud.points[:, 2], cleaning.noise_per_m)


def _table_at_rim(cloud: ObjectCloud, plane: Plane, cleaning: CloudCleaning) -> NDArray[np.bool_]:
    """(N,) bool: points in the plane along the mask's border, where masks overlap what the object stands on.

    None for something that is itself about as flat as the depth is noisy, like a card.
    """
    tolerance = _TABLE_M + depth_noise_m(cloud.points[:, 2], cleaning.noise_per_m)
    low = plane.heights_m(cloud.points) < tolerance
    if 2 * np.count_nonzero(low) > len(cloud):
        return np.zeros(len(cloud), dtype=np.bool_)
    kernel = np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)
    inner = cv2.erode(np.pad(cloud.mask.crop, 1).view(np.uint8), kernel, borderValue=0)[1:-1, 1:-1]
    return low & (inner.reshape(-1).take(cloud.crop_indices) == 0)


def _too_few(counts: CloudCounts) -> str:
    if counts.mask == 0:
        return "the mask is empty"
    return (
        f"{counts.kept} points are left of {counts.mask} pixels in the mask, of which {counts.measured} have depth; "
        f"at least {MIN_POINTS} are needed"
    )
