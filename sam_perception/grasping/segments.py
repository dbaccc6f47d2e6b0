"""Least, greatest and mean for each grasp, of entries that each belong to one of K grasps and are sorted by it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def least_of(values: Floats, grasp: NDArray[np.intp], count: int) -> Floats:
    """(count,) the least of (E,) values of each grasp; infinite where there is none."""
    result = np.full(count, np.inf, np.float32)
    if len(values):
        starts = _starts(grasp)
        result[grasp[starts]] = np.minimum.reduceat(values, starts)
    return result


def extremes_of(values: Floats, grasp: NDArray[np.intp], count: int) -> tuple[Floats, Floats]:
    """(count,) the least and (count,) the greatest of (E,) values of each grasp; inf and -inf where there is none."""
    low, high = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
    if len(values):
        starts = _starts(grasp)
        low[grasp[starts]] = np.minimum.reduceat(values, starts)
        high[grasp[starts]] = np.maximum.reduceat(values, starts)
    return low, high


def mean_of(values: NDArray, grasp: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """(count,) mean of (E,) values of each grasp; 0 where there is none."""
    counts = np.maximum(np.bincount(grasp, minlength=count), 1)
    return np.bincount(grasp, weights=values, minlength=count) / counts


def _starts(grasp: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the entries of each grasp begin that has any."""
    return np.flatnonzero(np.diff(grasp, prepend=-1))
