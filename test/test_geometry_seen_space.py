"""What a frame rules out about where an object's surface is, on a box over a table in closed form."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from test_geometry_scenes import D435, Box, Table, as_d435, cast, frame_of, grown, on_table, table_pose

from sam_perception.geometry.clouds import deproject_mask
from sam_perception.geometry.seen_space import SeenSpace
from sam_perception.masks import Mask


def along(u: float, v: float, depth_m: np.ndarray) -> np.ndarray:
    """(N, 3) points that a pixel sees, at these depths."""
    return np.stack([(u - D435.cx) / D435.fx * depth_m, (v - D435.cy) / D435.fy * depth_m, depth_m], axis=1)


def beside(mask: Mask, where: np.ndarray) -> tuple[int, int]:
    """Row and column of a pixel there, 5 to 10 pixels from the mask."""
    ring = grown(mask.to_array(), 10).to_array() & ~grown(mask.to_array(), 5).to_array()
    places = np.argwhere(ring & (cv2.erode(where.astype(np.uint8), np.ones((5, 5))) > 0))
    return tuple(int(value) for value in places[len(places) // 2])


@pytest.fixture(scope="module")
def scene():
    table = table_pose(0.6, 40.0)
    shapes = [
        Table(table),
        Box(on_table(table, 0.09, 0.06, 0.05), np.array([0.05, 0.05, 0.1])),
        Box(on_table(table, 0, 0, 0.04), np.array([0.1, 0.06, 0.08])),
    ]
    depth, seen = cast(shapes)
    frame = frame_of(as_d435(depth, 0))
    mask = grown(seen == 2, 0)
    return SeenSpace.around(deproject_mask(frame, mask)), depth, seen, mask


def test_before_the_objects_surface_is_free_space_and_behind_it_may_be_more(scene):
    space, depth, _, mask = scene
    x0, y0, x1, y1 = mask.box
    u, v = (x0 + x1) // 2, (y0 + y1) // 2
    at = depth[v, u]
    points = along(u, v, at + np.array([-0.1, -0.015, 0.0, 0.015, 0.1]))
    meets, free = space.rate(points)
    assert free.tolist() == [True, True, False, False, False]
    assert meets[2] > 0.7 and meets[[0, 1, 3, 4]].max() == 0
    assert space.may_hold(points).tolist() == [False, False, True, True, True]


def test_beside_the_mask_it_can_only_be_behind_what_is_seen_there(scene):
    space, depth, seen, mask = scene
    for number in (0, 1):  # the table, and a neighbour
        v, u = beside(mask, seen == number)
        points = along(u, v, depth[v, u] + np.array([-0.1, 0.0, 0.03]))
        assert space.may_hold(points).tolist() == [False, False, True]


def test_beside_the_mask_where_there_is_no_depth_it_is_not(scene):
    _, _, seen, mask = scene
    table = table_pose(0.6, 40.0)
    blind = frame_of(np.where(mask.to_array(), as_d435(cast([Table(table)])[0], 0), 0).astype(np.uint16))
    space = SeenSpace.around(deproject_mask(blind, mask))
    v, u = beside(mask, seen == 0)
    assert not space.may_hold(along(u, v, np.array([0.3, 0.6, 2.0]))).any()


def test_what_is_out_of_view_is_not_ruled_out(scene):
    space, _, _, _ = scene
    points = np.array([[5.0, 0.0, 0.5], [0.0, 0.0, -1.0]])
    meets, free = space.rate(points)
    assert not meets.any() and not free.any()
