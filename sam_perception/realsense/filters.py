"""DepthFilters: librealsense's post-processing of depth, in the order that its documentation recommends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import CameraIntrinsics
from sam_perception.realsense.calibration import decimated, intrinsics_from_realsense

HOLE_FILLING = ("none", "fill_from_left", "farthest_from_around", "nearest_from_around")


@dataclasses.dataclass(frozen=True)
class FilterSettings:
    """Which filters run; the defaults are librealsense's, and all filters off.

    Attributes:
        decimation: side of the blocks that become one pixel; 1: none.
        spatial: whether to smooth along rows and columns, keeping edges.
        spatial_magnitude: how often.
        spatial_alpha: 1 leaves the image as it is, smaller smooths more.
        spatial_delta: step that is an edge, in units of disparity / 32.
        spatial_holes_fill: radius of the holes that are filled; 5: any.
        temporal: whether to smooth over time.
        temporal_alpha: as in space.
        temporal_delta: as in space.
        temporal_persistence: rule by which a pixel without depth keeps its last; 0: never.
        hole_filling: of HOLE_FILLING.
    """

    decimation: int = 1
    spatial: bool = False
    spatial_magnitude: int = 2
    spatial_alpha: float = 0.5
    spatial_delta: int = 20
    spatial_holes_fill: int = 0
    temporal: bool = False
    temporal_alpha: float = 0.4
    temporal_delta: int = 20
    temporal_persistence: int = 3
    hole_filling: str = "none"


class DepthFilters:
    """The filters with their memory of past images.

    Args:
        rs: pyrealsense2.
        settings: which filters, and how.
    """

    def __init__(self, rs: Any, settings: FilterSettings) -> None:
        self.settings = settings
        self._chain = _chain(rs, settings)

    def process(self, frame: Any) -> tuple[NDArray[np.uint16], CameraIntrinsics]:
        """(H, W) uint16 depth in the device's unit, and its intrinsics.

        Args:
            frame: rs.frame of depth; every image has to come, for the temporal filter.
        """
        intrinsics = intrinsics_from_realsense(frame.get_profile().as_video_stream_profile().get_intrinsics())
        for block in self._chain:
            frame = block.process(frame)
        depth = np.asanyarray(frame.get_data())
        if self.settings.decimation > 1:
            height, width = depth.shape
            intrinsics = decimated(intrinsics, self.settings.decimation, width, height)
        return depth, intrinsics


def _chain(rs: Any, settings: FilterSettings) -> list[Any]:
    blocks: list[Any] = []
    option = rs.option
    if settings.decimation > 1:
        blocks.append(_with(rs.decimation_filter(), {option.filter_magnitude: settings.decimation}))
    smoothing: list[Any] = []
    if settings.spatial:
        values = {
            option.filter_magnitude: settings.spatial_magnitude,
            option.filter_smooth_alpha: settings.spatial_alpha,
            option.filter_smooth_delta: settings.spatial_delta,
            option.holes_fill: settings.spatial_holes_fill,
        }
        smoothing.append(_with(rs.spatial_filter(), values))
    if settings.temporal:
        values = {
            option.filter_smooth_alpha: settings.temporal_alpha,
            option.filter_smooth_delta: settings.temporal_delta,
            option.holes_fill: settings.temporal_persistence,
        }
        smoothing.append(_with(rs.temporal_filter(), values))
    if smoothing:  # in disparity, where a stereo camera's noise is the same at all distances
        blocks += [rs.disparity_transform(True), *smoothing, rs.disparity_transform(False)]
    if settings.hole_filling != "none":
        mode = HOLE_FILLING.index(settings.hole_filling) - 1
        blocks.append(_with(rs.hole_filling_filter(), {option.holes_fill: mode}))
    return blocks


def _with(block: Any, values: Mapping[Any, float]) -> Any:
    for option, value in values.items():
        block.set_option(option, float(value))
    return block
