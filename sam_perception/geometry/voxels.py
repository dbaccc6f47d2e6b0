"""Points in a grid of cubes: counting, connecting and thinning them in time that grows with their number alone."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError

_DENSE_CELLS = 1 << 21  # up to here a table over all cells is faster than sorting the occupied ones
_LARGEST_GRID = 1 << 62
# One of each pair of opposite neighbours among the 26.
_HALF_NEIGHBOURS = np.array(
    [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)]
)


@dataclasses.dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Which cube each point lies in.

    Attributes:
        cell_of: (N,) the number of each point's cell among the occupied ones.
        counts: (M,) points in each occupied cell.
        pairs: (P, 2) numbers of occupied cells that touch (by a face, an edge or a corner), each pair once.
    """

    cell_of: NDArray[np.intp]
    counts: NDArray[np.intp]
    pairs: NDArray[np.intp]

    @classmethod
    def of(cls, points: NDArray[np.floating], voxel_m: float) -> VoxelGrid:
        """Sort (N, 3) points into cubes of side ``voxel_m``.

        Raises:
            InvalidInputError: a side that is not positive, or so small that the grid has more than 2^62 cells.
        """
        keys, strides = _keys(points, voxel_m)
        occupied, cell_of, counts = _occupied(keys)
        offsets = _HALF_NEIGHBOURS @ strides
        pairs = [_touching(occupied, int(offset)) for offset in offsets]
        return cls(cell_of, counts, np.concatenate(pairs))

    def neighbourhood_counts(self) -> NDArray[np.intp]:
        """(N,) points in the 27 cells around each point, itself included."""
        first, second = self.pairs.T
        total = self.counts.astype(np.float64)
        total += np.bincount(first, weights=self.counts[second], minlength=len(total))
        total += np.bincount(second, weights=self.counts[first], minlength=len(total))
        return total.astype(np.intp).take(self.cell_of)

    def components(self) -> NDArray[np.intp]:
        """(N,) number of the connected group of cells that each point lies in.

        Every cell takes the smallest number among its neighbours', then the number's own number, until nothing
        changes: O(P log M) for M cells. Source: Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm",
        1982.
        """
        group = np.arange(len(self.counts))
        first, second = self.pairs.T
        while True:
            a, b = group[first], group[second]
            differ = a != b
            if not differ.any():
                return group.take(self.cell_of)
            low, high = np.minimum(a, b)[differ], np.maximum(a, b)[differ]
            np.minimum.at(group, high, low)
            while True:
                shorter = group[group]
                if np.array_equal(shorter, group):
                    break
                group = shorter


def voxel_downsample(
    points: NDArray[np.float32], voxel_m: float, colors: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """One point for each cube of side ``voxel_m`` that holds any: the mean of its points, and of their colours.

    Args:
        points: (N, 3) metres.
        voxel_m: side of the cubes.
        colors: (N, 3) uint8, or None.

    Returns:
        (M, 3) float32 points ordered by cube, and (M, 3) uint8 colours or None.
    """
    points = np.asarray(points)
    _, cell_of, counts = _occupied(_keys(points, voxel_m)[0])
    means = _cell_means(points, cell_of, counts).astype(np.float32)
    if colors is None:
        return means, None
    return means, np.rint(_cell_means(colors, cell_of, counts)).astype(np.uint8)


def _cell_means(values: NDArray, cell_of: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    sums = [np.bincount(cell_of, weights=values[:, i], minlength=len(counts)) for i in range(values.shape[1])]
    return np.stack(sums, axis=1) / counts[:, None]


def _keys(points: NDArray[np.floating], voxel_m: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One integer for each point's cell, and what a step along x, y and z adds to it; no neighbour wraps around."""
    if not voxel_m > 0:
        raise InvalidInputError.for_field("voxel_m", "a length above 0", voxel_m)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InvalidInputError.for_field("points", "shape (N, 3)", points.shape)
    if len(points) == 0:
        return np.empty(0, np.int64), np.ones(3, np.int64)
    axes = points.T.astype(np.float64, order="C")
    axes -= axes.min(axis=1, keepdims=True)
    axes /= voxel_m
    sizes = [int(extent) + 3 for extent in axes.max(axis=1)]
    if sizes[0] * sizes[1] * sizes[2] > _LARGEST_GRID:
        raise InvalidInputError.for_field("voxel_m", "voxels large enough for the points' extent", voxel_m)
    strides = np.array([sizes[1] * sizes[2], sizes[2], 1], dtype=np.int64)
    key = np.full(len(points), strides.sum())  # a layer of empty cells around all
    for cells, stride in zip(axes, strides, strict=True):
        key += cells.astype(np.int64) * stride
    return key, strides


def _occupied(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    """The distinct keys ascending, which of them each key is, and how often each occurs."""
    if len(keys) == 0 or keys.max() >= _DENSE_CELLS:
        distinct, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
        return distinct, which.reshape(-1), counts
    histogram = np.bincount(keys)
    distinct = np.flatnonzero(histogram)
    number = np.empty(len(histogram), dtype=np.intp)
    number[distinct] = np.arange(len(distinct))
    return distinct, number.take(keys), histogram.take(distinct)


def _touching(occupied: NDArray[np.int64], offset: int) -> NDArray[np.intp]:
    """(P, 2) pairs of occupied cells whose keys differ by ``offset``."""
    if len(occupied) == 0:
        return np.empty((0, 2), np.intp)
    found = np.searchsorted(occupied, occupied + offset)
    np.minimum(found, len(occupied) - 1, out=found)
    first = np.flatnonzero(occupied[found] == occupied + offset)
    return np.stack([first, found[first]], axis=1)
