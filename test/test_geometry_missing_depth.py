"""Objects without depth, placed by their outline: silhouettes in closed form over a table that is seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_geometry_scenes import Box, Cylinder, Table, angle_deg, as_d435, cast, frame_of, grown, on_table, table_pose

from sam_perception.frames import RgbdFrame
from sam_perception.geometry.missing_depth import estimate_from_outline
from sam_perception.geometry.objects import ObjectGeometry, measure_object
from sam_perception.masks import Mask


def unseen(table, thing, see_through: float = 0.0, seed: int = 0, outline_px: int = 0) -> tuple[RgbdFrame, Mask]:
    """A frame in which the thing has no depth, but for that share of its pixels, which show the table behind."""
    _, seen = cast([*table, thing])
    depth = as_d435(cast(table)[0], seed)
    inside = seen == len(table)
    lost = inside & (np.random.default_rng(seed).random(inside.shape) >= see_through)
    return frame_of(np.where(lost, 0, depth).astype(np.uint16)), grown(inside, outline_px)


def sizes(found: ObjectGeometry) -> np.ndarray:
    return np.array([*sorted(found.box.size[:2], reverse=True), found.box.size[2]])


@pytest.mark.parametrize(
    ("see_through", "radius", "height", "tilt_deg", "roll_deg"),
    [
        (0.0, 0.035, 0.10, 40.0, 0.0),
        (0.4, 0.03, 0.2, 40.0, 0.0),
        (0.4, 0.045, 0.09, 55.0, 20.0),
        (0.0, 0.03, 0.2, 55.0, 20.0),
    ],
)
def test_a_glass_stands_where_its_outline_meets_the_table(see_through, radius, height, tilt_deg, roll_deg):
    table = table_pose(0.6, tilt_deg, roll_deg)
    pose = on_table(table, 0.03, 0.02, height / 2)
    found = measure_object(*unseen([Table(table)], Cylinder(pose, radius, height), see_through))
    assert found.is_estimated
    assert "estimated from the mask's outline" in found.reasons[0]
    assert found.box.center == pytest.approx(pose[:3, 3], abs=0.008)
    assert found.centroid_m == pytest.approx(found.box.center)
    assert sizes(found) == pytest.approx([2 * radius, 2 * radius, height], abs=0.012)
    assert angle_deg(found.box.rotation[:, 2], table[:3, 2]) < 1.0
    assert found.completed.method == "outline" and not found.completed.is_observed.any()
    local = (found.completed.points - pose[:3, 3]) @ pose[:3, :3]
    on_wall = np.abs(local[:, 2]) < height / 2 - 0.01
    assert np.hypot(*local[on_wall, :2].T) == pytest.approx(radius, abs=0.01)


def test_a_bottle_that_lies_across_the_view_is_as_high_as_deep():
    table = table_pose(0.6, 45.0)
    pose, size = on_table(table, 0.0, 0.0, 0.03), np.array([0.2, 0.06, 0.06])
    found = measure_object(*unseen([Table(table)], Box(pose, size)))
    assert found.is_estimated
    assert sizes(found) == pytest.approx(size, abs=0.02)
    assert min(angle_deg(found.box.rotation[:, 0], sign * pose[:3, 0]) for sign in (1, -1)) < 5.0
    assert found.box.center == pytest.approx(pose[:3, 3], abs=0.015)


def test_seen_from_straight_above_it_is_taken_to_be_as_high_as_wide():
    table = table_pose(0.6, 0.0)
    pose = on_table(table, 0.02, -0.01, 0.035)
    found = measure_object(*unseen([Table(table)], Cylinder(pose, 0.035, 0.07)))
    assert found.is_estimated
    assert found.box.center == pytest.approx(pose[:3, 3], abs=0.01)
    assert sizes(found) == pytest.approx([0.07, 0.07, 0.07], abs=0.01)


def test_beyond_the_tables_edge_the_floor_is_not_taken_for_the_table():
    top = table_pose(0.7, 50.0)
    board = Box(on_table(top, 0.0, 0.1, -0.01), np.array([0.5, 0.36, 0.02]))
    floor = Table(on_table(top, 0.0, 0.0, -0.7))
    pose = on_table(top, 0.05, -0.02, 0.05)  # near the far edge: most around it is floor
    frame, mask = unseen([floor, board], Cylinder(pose, 0.035, 0.1))
    found = measure_object(frame, mask)
    assert found.is_estimated
    assert found.box.center == pytest.approx(pose[:3, 3], abs=0.01)


def test_what_depth_the_thing_itself_has_is_kept():
    """The rim of a glass, or the lit edge of a black box."""
    table = table_pose(0.6, 45.0)
    pose, size = on_table(table, 0.0, 0.0, 0.05, 20), np.array([0.08, 0.07, 0.1])
    frame, mask = unseen([Table(table)], Box(pose, size))
    true, _ = cast([Table(table), Box(pose, size)])
    rows = np.nonzero(mask.to_array().any(axis=1))[0]
    strip = mask.to_array() & (np.arange(480)[:, None] < rows[0] + 14)
    depth = np.where(strip, as_d435(true, 0), frame.depth)
    found = measure_object(dataclasses.replace(frame, depth=depth), mask)
    assert found.is_estimated
    assert 20 < len(found.cloud) < 0.2 * mask.area
    assert found.plane.heights_m(found.cloud.points).min() > 0.01
    assert found.counts.kept == len(found.cloud)
    assert found.box.center == pytest.approx(pose[:3, 3], abs=0.02)


def test_a_thing_with_half_of_its_depth_is_measured_and_not_estimated():
    table = table_pose(0.6, 45.0)
    size = np.array([0.09, 0.06, 0.08])
    shapes = [Table(table), Box(on_table(table, 0, 0, 0.04, 30), size)]
    depth, seen = cast(shapes)
    noisy = as_d435(depth, 0)
    u = np.nonzero(seen == 1)[1]
    noisy[(seen == 1) & (np.arange(640) < np.median(u))] = 0
    found = measure_object(frame_of(noisy), grown(seen == 1, 0))
    assert not found.is_estimated and found.reasons == ()


def test_a_card_with_holes_in_its_depth_stays_a_card():
    table = table_pose(0.5, 30.0)
    depth, seen = cast([Table(table), Box(on_table(table, 0, 0, 0.001, 20), np.array([0.086, 0.054, 0.002]))])
    noisy = as_d435(depth, 0)
    noisy[(seen == 1) & (np.random.default_rng(0).random(seen.shape) < 0.3)] = 0
    found = measure_object(frame_of(noisy), grown(seen == 1, 0))
    assert not found.is_estimated
    assert found.box.size[2] < 0.01


def test_without_a_table_around_it_there_is_no_estimate():
    table = table_pose(0.6, 45.0)
    frame, mask = unseen([Table(table)], Cylinder(on_table(table, 0, 0, 0.05), 0.035, 0.1))
    assert estimate_from_outline(frame, mask) is not None
    blind = dataclasses.replace(frame, depth=np.zeros_like(frame.depth))
    assert estimate_from_outline(blind, mask) is None
    found = measure_object(blind, mask)
    assert (found.box, found.is_estimated) == (None, False)
    assert "0 points are left" in found.reasons[0]
    assert estimate_from_outline(frame, Mask.from_array(np.zeros(frame.size, bool))) is None
