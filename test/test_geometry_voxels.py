"""Voxel counts, groups and means against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.geometry.voxels import VoxelGrid, voxel_downsample

VOXEL_M = 0.02


def cells_of(points: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(cell) for cell in np.floor((points - points.min(axis=0)) / VOXEL_M).astype(int)]


def neighbours(cell: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(cell[0] + i, cell[1] + j, cell[2] + k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]


@pytest.fixture(params=[0.0, 500.0], ids=["dense", "with a point far away"])
def points(request) -> np.ndarray:
    """Random points; one very far away makes the grid too large for a table over its cells."""
    rng = np.random.default_rng(3)
    near = rng.uniform([0, 0, 0.5], [0.4, 0.3, 0.9], (700, 3))
    return np.vstack([near, [[request.param, 0.1, 0.6]]])


def test_counts_are_those_of_the_27_cells(points):
    cells = cells_of(points)
    expected = [sum(cells.count(near) for near in neighbours(cell)) for cell in cells[:200]]
    assert VoxelGrid.of(points, VOXEL_M).neighbourhood_counts()[:200].tolist() == expected


def test_groups_are_those_of_a_flood_fill(points):
    cells = cells_of(points)
    occupied, expected = set(cells), {}
    for number, start in enumerate(sorted(occupied)):
        if start in expected:
            continue
        frontier = [start]
        while frontier:
            cell = frontier.pop()
            if cell in occupied and cell not in expected:
                expected[cell] = number
                frontier += neighbours(cell)
    groups = VoxelGrid.of(points, VOXEL_M).components()
    truth = np.array([expected[cell] for cell in cells])
    assert 10 < len(set(truth)) < 400
    assert len(set(zip(groups.tolist(), truth.tolist(), strict=True))) == len(set(truth)) == len(set(groups.tolist()))


def test_a_long_winding_chain_is_one_group():
    t = np.linspace(0, 30, 3000)
    chain = np.stack([np.cos(t) * 0.2, np.sin(t) * 0.2, 0.5 + t * 0.06], axis=1)
    order = np.random.default_rng(0).permutation(len(t))
    assert len(set(VoxelGrid.of(chain[order], 0.005).components().tolist())) == 1


def test_downsampling_gives_the_mean_of_each_cell(points):
    colors = np.random.default_rng(1).integers(0, 256, points.shape).astype(np.uint8)
    thin, thin_colors = voxel_downsample(points.astype(np.float32), VOXEL_M, colors)
    cells = np.array(cells_of(points.astype(np.float32).astype(float)))
    distinct, which = np.unique(cells, axis=0, return_inverse=True)
    which = which.reshape(-1)
    assert len(thin) == len(distinct) == len(thin_colors)
    for cell in range(0, len(distinct), 7):
        assert thin[cell] == pytest.approx(points[which == cell].mean(axis=0), abs=1e-4)
        assert thin_colors[cell] == pytest.approx(colors[which == cell].mean(axis=0), abs=0.51)
    assert voxel_downsample(points, VOXEL_M)[1] is None


def test_no_points_are_no_voxels():
    grid = VoxelGrid.of(np.empty((0, 3), np.float32), VOXEL_M)
    assert len(grid.neighbourhood_counts()) == len(grid.components()) == 0
    assert voxel_downsample(np.empty((0, 3), np.float32), VOXEL_M)[0].shape == (0, 3)


@pytest.mark.parametrize("voxel_m", [0, -1, np.nan, 1e-30])
def test_impossible_voxels_are_refused(points, voxel_m):
    with pytest.raises(InvalidInputError, match="voxel_m"):
        voxel_downsample(points, voxel_m)
