"""How far off a stereo depth camera's depth is at a distance."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# Standard deviation of depth over depth squared, 1/m: subpixel error / (focal length x baseline), the formula of
# Grunnet-Jepsen et al., "Best-Known-Methods for Tuning Intel RealSense D400 Depth Cameras for Best Performance",
# with 0.08 px, 425 px (848x480) and the D435's 50 mm, rounded up.
NOISE_PER_M = 0.004

Depth = TypeVar("Depth", float, NDArray[np.float32], NDArray[np.float64])


def depth_noise_m(depth_m: Depth, noise_per_m: float = NOISE_PER_M) -> Depth:
    """Standard deviation of a depth measurement, metres; grows with the square of the depth."""
    return noise_per_m * depth_m * depth_m
