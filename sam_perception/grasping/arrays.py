"""Arithmetic on points in the frames of many grasps: by numpy, or by torch where the points are on a GPU.

An ``Array`` is a numpy array or a torch tensor on a device: what there is one of for each point of each grasp. The
operators of the two are written alike, what else is needed of them is here. What there is one of for each grasp is
numpy's in any case.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = Any
Floats = NDArray[np.float32]

_FAR = np.float32(1e30)


class Arrays(Protocol):
    """What closing and its merits ask for.

    Of E entries each belongs to one of K grasps, whose number is in ``grasp``, (E,) and rising.
    """

    def of(self, values: NDArray[Any]) -> Array:
        """The same values where the arithmetic is done, in single precision."""

    def to_numpy(self, values: Array) -> NDArray[Any]:
        """The same values as a numpy array."""

    def in_frames(self, poses: NDArray[np.float64], points: NDArray[np.floating]) -> tuple[Array, Array, Array]:
        """(K, N) x, y and z of (N, 3) points in the frames of (K, 4, 4) poses."""

    def where(self, mask: Array) -> Array:
        """(E,) rising flat indices of what is set in a mask."""

    def take(self, values: Array, indices: Array) -> Array:
        """(E, ...) the values at (E,) indices of the first axis."""

    def whole(self, values: Array, most: int) -> Array:
        """Values without what follows the point, as indices from 0 to ``most``."""

    def dots(self, first: Array, second: Array) -> Array:
        """(E,) dot products of (E, 3) vectors."""

    def least_where(self, values: Array, mask: Array) -> Floats:
        """(K,) the least of each row of (K, N) values where (K, N) bool is set; infinite where it is nowhere."""

    def least(self, values: Array, grasp: Array, count: int) -> Floats:
        """(K,) the least of each grasp's (E,) values; infinite where there is none."""

    def extremes(self, values: Array, grasp: Array, count: int) -> tuple[Floats, Floats]:
        """(K,) the least and (K,) the greatest of each grasp's (E,) values; inf and -inf where there is none."""

    def means(self, values: Array, grasp: Array, count: int) -> NDArray[np.float64]:
        """(K,) mean of each grasp's (E,) values; 0 where there is none."""

    def counts(self, grasp: Array, count: int) -> NDArray[np.intp]:
        """(K,) how many entries each grasp has."""

    def greatest_at(self, values: Array, places: Array, count: int) -> Floats:
        """(count,) the greatest of the (E,) values at each place, of (E,) in any order; -inf where there is none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Entries:
    """E points, each of an object's surface and in the frame of one of K grasps.

    Attributes:
        arrays: that they are reckoned with.
        grasp: (E,) which of the grasps, in rising order.
        point: (E,) which of the surface's points.
        x: (E,) across the fingers, likewise y along the closing direction and z along the approach.
        y: see above.
        z: see above.
    """

    arrays: Arrays
    grasp: Array
    point: Array
    x: Array
    y: Array
    z: Array


def arrays_on(device: str) -> Arrays:
    """Those of torch on a GPU, and of numpy everywhere else.

    Args:
        device: as models take it: auto, cuda, cuda:N, mps or cpu.

    Raises:
        ModelUnavailableError: another name, or a GPU that is not there.
    """
    if device == "cpu":
        return _NumpyArrays()
    from sam_perception.models import devices

    found = devices.torch_device(device)
    if found.type != "cuda":
        return _NumpyArrays()
    from sam_perception.grasping.torch_arrays import torch_arrays

    return torch_arrays(found)


def relative_to_points(
    poses: NDArray[np.float64], points: NDArray[np.floating]
) -> tuple[Floats, Floats, NDArray[np.float32]]:
    """What float32 needs to know points to micrometres in other frames: all of it around the points' middle.

    Args:
        poses: (K, 4, 4).
        points: (N, 3).

    Returns:
        (3 x K, 3) the axes x of all poses, then y, then z; (N, 3) points around their middle; (3, K, 1) what to take
        away from the products of the two.
    """
    rotations = poses[:, :3, :3]
    origins = np.einsum("kij,ki->jk", rotations, poses[:, :3, 3])
    axes = rotations.transpose(2, 0, 1).reshape(-1, 3).astype(np.float32)
    center = points.mean(axis=0, dtype=np.float64) if len(points) else np.zeros(3)
    shift = origins - np.einsum("kij,i->jk", rotations, center)
    return axes, (points - center).astype(np.float32), shift.astype(np.float32)[:, :, None]


def in_frames(poses: NDArray[np.float64], points: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """(K, N) float32 x, y and z of (N, 3) points in the frames of (K, 4, 4) poses, by one matrix product."""
    axes, around, shift = relative_to_points(poses, points)
    local = (axes @ around.T).reshape(3, len(poses), len(points))
    local -= shift
    return local[0], local[1], local[2]


class _NumpyArrays:
    def of(self, values: NDArray[Any]) -> Array:
        return values.astype(np.float32) if values.dtype == np.float64 else values

    def to_numpy(self, values: Array) -> NDArray[Any]:
        return np.asarray(values)

    def in_frames(self, poses: NDArray[np.float64], points: NDArray[np.floating]) -> tuple[Array, Array, Array]:
        return in_frames(poses, points)

    def where(self, mask: Array) -> Array:
        return np.flatnonzero(mask)

    def take(self, values: Array, indices: Array) -> Array:
        return values.take(indices, axis=0)

    def whole(self, values: Array, most: int) -> Array:
        return np.clip(values.astype(np.intp), 0, most)

    def dots(self, first: Array, second: Array) -> Array:
        return np.einsum("ij,ij->i", first, second)

    def least_where(self, values: Array, mask: Array) -> Floats:
        added = np.multiply(~mask, _FAR, dtype=np.float32)  # five times as fast as np.where, which guesses each value
        added += values
        least: Floats = added.min(axis=1, initial=_FAR)
        least[least >= _FAR / 2] = np.inf
        return least

    def least(self, values: Array, grasp: Array, count: int) -> Floats:
        result = np.full(count, np.inf, np.float32)
        if len(values):
            starts = _starts(grasp)
            result[grasp[starts]] = np.minimum.reduceat(values, starts)
        return result

    def extremes(self, values: Array, grasp: Array, count: int) -> tuple[Floats, Floats]:
        low, high = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
        if len(values):
            starts = _starts(grasp)
            low[grasp[starts]] = np.minimum.reduceat(values, starts)
            high[grasp[starts]] = np.maximum.reduceat(values, starts)
        return low, high

    def means(self, values: Array, grasp: Array, count: int) -> NDArray[np.float64]:
        return np.bincount(grasp, weights=values, minlength=count) / np.maximum(self.counts(grasp, count), 1)

    def counts(self, grasp: Array, count: int) -> NDArray[np.intp]:
        return np.bincount(grasp, minlength=count)

    def greatest_at(self, values: Array, places: Array, count: int) -> Floats:
        greatest = np.full(count, -np.inf, np.float32)  # of the values' type: others are slow here
        np.maximum.at(greatest, places, values)
        return greatest


def _starts(grasp: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the entries of each grasp begin that has any."""
    return np.flatnonzero(np.diff(grasp, prepend=-1))
