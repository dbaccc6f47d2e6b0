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
from sam_perception.geometry.noise import depth_noise_m
from sam_perception.geometry.planes import Plane, SupportSearch, supporting_plane
from sam_perception.masks import Mask

MIN_POINTS = 20
_RIM_PX = 4  # how far a mask may overlap the table
_TABLE_M = 0.003


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectGeometry:
    """What is known of an object in space, in the camera's optical frame and metres.

    Attributes:
        cloud: its cleaned points.
        centroid_m: (3,) float64 mean of the cloud, which is the visible surface; None for an empty cloud.
        box: around the object, on the plane where there is one; None for an empty cloud.
        plane: what the object stands on; None when none was found.
        counts: points that each step of the cleaning took.
        reasons: why something above is None or not to be trusted, in words; empty when all is well.
    """

    cloud: ObjectCloud
    centroid_m: NDArray[np.float64] | None
    box: OrientedBox | None
    plane: Plane | None
    counts: CloudCounts
    reasons: tuple[str, ...] = ()


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
    if len(cloud) < MIN_POINTS:
        return ObjectGeometry(cloud, None, None, None, counts, (_too_few(counts),))
    plane = supporting_plane(frame, mask, others, cloud=cloud, search=search, seed=seed)
    reasons: tuple[str, ...] = ()
    if plane is None:
        reasons = ("no supporting plane was found around the object; the box is that of the visible surface alone",)
    else:
        cloud = cloud.select(~_table_at_rim(cloud, plane, cleaning))
        counts = dataclasses.replace(counts, support=counts.kept - len(cloud), kept=len(cloud))
    centroid = cloud.points.mean(axis=0, dtype=np.float64)
    return ObjectGeometry(cloud, centroid, oriented_box(cloud.points, plane), plane, counts, reasons)


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
