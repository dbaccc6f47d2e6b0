"""Depth in a device's own unit as ROS writes it: millimetres or metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import depth_to_metres

_MILLIMETRE = 0.001


def millimetres(depth: NDArray[np.uint16], unit_m: float) -> NDArray[np.uint16]:
    """(H, W) uint16, rounded; 0 where there is no depth, or more than 65.535 m."""
    if unit_m == _MILLIMETRE:
        return depth
    scaled = depth * np.float32(unit_m / _MILLIMETRE)
    return np.where(scaled > np.iinfo(np.uint16).max, 0, np.rint(scaled)).astype(np.uint16)


def metres(depth: NDArray[np.uint16], unit_m: float) -> NDArray[np.float32]:
    """(H, W) float32; NaN where there is no depth."""
    return np.where(depth > 0, depth_to_metres(depth, unit_m), np.float32(np.nan))
