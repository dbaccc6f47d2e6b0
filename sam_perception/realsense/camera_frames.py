"""CameraFrames: one colour and one depth image that belong together, worked out as far as somebody asks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.alignment import DepthAligner
from sam_perception.realsense.filters import DepthFilters, FilterSettings
from sam_perception.realsense.stream import Stream

_TO_RGB: dict[str, Callable[[NDArray], NDArray]] = {
    "rgb8": lambda pixels: pixels,
    "bgr8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB),
    "rgba8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB),
    "bgra8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB),
    "y8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB),
    "yuyv": lambda pixels: cv2.cvtColor(_two_bytes(pixels), cv2.COLOR_YUV2RGB_YUY2),
    "uyvy": lambda pixels: cv2.cvtColor(_two_bytes(pixels), cv2.COLOR_YUV2RGB_UYVY),
}


class DepthProcessing:
    """Filters and aligns the depth of one open stream.

    Args:
        rs: pyrealsense2.
        stream: where the depth comes from.
        settings: of the filters.
    """

    def __init__(self, rs: Any, stream: Stream, settings: FilterSettings) -> None:
        self._filters = DepthFilters(rs, settings)
        self._color = stream.color
        self._color_T_depth = np.linalg.inv(stream.depth_T_color)
        self._aligner: DepthAligner | None = None

    def filtered(self, frame: Any) -> tuple[NDArray[np.uint16], CameraIntrinsics]:
        """See DepthFilters.process."""
        return self._filters.process(frame)

    def aligned(self, depth: NDArray[np.uint16], intrinsics: CameraIntrinsics, unit_m: float) -> NDArray[np.uint16]:
        """See DepthAligner.align."""
        if self._aligner is None or self._aligner.depth != intrinsics:
            self._aligner = DepthAligner(intrinsics, self._color, self._color_T_depth)
        return self._aligner.align(depth, unit_m)


class CameraFrames:
    """What a camera gave at one instant; nothing is computed before it is asked for, and that once.

    Attributes:
        stamp_ns: ROS time, of the colour image where there is one.
        has_color: whether there is a colour image.
        has_depth: whether there is depth.
        depth_lag_ms: how much later than the colour image the depth was taken; 0 when one is missing.
    """

    def __init__(
        self, color: Any | None, depth: Any | None, stamp_ns: int, processing: DepthProcessing, depth_lag_ms: float = 0
    ) -> None:
        self._color = color
        self._depth = depth
        self._processing = processing
        self.stamp_ns = stamp_ns
        self.has_color = color is not None
        self.has_depth = depth is not None
        self.depth_lag_ms = depth_lag_ms

    @functools.cached_property
    def color(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; a view of librealsense's buffer where it has that.

        Raises:
            InvalidInputError: a recording with pixels in a format that is not understood.
        """
        assert self._color is not None
        pixels = np.asanyarray(self._color.get_data())
        name = str(self._color.get_profile().format()).rpartition(".")[2]
        if name not in _TO_RGB:
            raise InvalidInputError.for_field("format of the colour images", f"one of {', '.join(_TO_RGB)}", name)
        return np.asarray(_TO_RGB[name](pixels), dtype=np.uint8)

    @functools.cached_property
    def depth_unit_m(self) -> float:
        """Metres of one unit of the depth, without the rounding of a float32."""
        assert self._depth is not None
        return round(float(self._depth.as_depth_frame().get_units()), 9)

    @property
    def depth(self) -> NDArray[np.uint16]:
        """(H, W) depth after the filters, of the depth camera."""
        return self._filtered[0]

    @property
    def depth_intrinsics(self) -> CameraIntrinsics:
        """Of the depth."""
        return self._filtered[1]

    @functools.cached_property
    def aligned_depth(self) -> NDArray[np.uint16]:
        """(H, W) depth as the colour camera would see it, along its axis."""
        return self._processing.aligned(self.depth, self.depth_intrinsics, self.depth_unit_m)

    @functools.cached_property
    def _filtered(self) -> tuple[NDArray[np.uint16], CameraIntrinsics]:
        assert self._depth is not None
        return self._processing.filtered(self._depth)


def _two_bytes(pixels: NDArray) -> NDArray[np.uint8]:
    """(H, W, 2) of an image of 16 bits for each pixel."""
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape[:2], 2)
