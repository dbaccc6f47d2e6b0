"""Cleaning of clouds on rendered scenes whose every pixel's origin is known."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from test_geometry_scenes import D435, Box, Sphere, Table, as_d435, cast, frame_of, grown, on_table, table_pose

from sam_perception.errors import InvalidInputError
from sam_perception.geometry.cleaning import (
    CloudCleaning,
    fill_holes,
    flying_pixels,
    largest_cluster,
    object_cloud,
    outliers,
)
from sam_perception.geometry.clouds import deproject_mask
from sam_perception.geometry.noise import depth_noise_m
from sam_perception.masks import Mask

OFF = CloudCleaning(min_neighbours=0, outlier_density=0, cluster_gap_m=0)


def box_before_wall(distance_m: float) -> tuple[np.ndarray, np.ndarray]:
    """True depth and bool pixels of a box 0.3 m in front of a wall."""
    wall = Table(table_pose(distance_m + 0.3, 0.0))
    box = Box(on_table(table_pose(distance_m, 0.0), 0, 0, 0, 17.0), np.array([0.16, 0.12, 0.04]) * distance_m)
    depth, seen = cast([wall, box])
    return depth, seen == 1


def smeared(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth with ramps across its edges, and bool pixels that lie on a ramp well away from both surfaces."""
    ramp = cv2.blur(depth, (3, 3))
    low, high = cv2.erode(depth, np.ones((3, 3))), cv2.dilate(depth, np.ones((3, 3)))
    flying = (ramp - low > 0.05) & (high - ramp > 0.05)
    return np.where(flying, ramp, depth), flying


@pytest.mark.parametrize(("distance_m", "share"), [(0.4, 0.9), (0.7, 0.9), (1.0, 0.9), (2.0, 0.75)])
def test_flying_pixels_go_and_surfaces_stay(distance_m, share):
    truth, inside = box_before_wall(distance_m)
    depth, flying = smeared(truth)
    depth = depth + np.random.default_rng(0).normal(size=depth.shape) * depth_noise_m(depth) / 2
    cloud = deproject_mask(frame_of(depth.astype(np.float32)), grown(inside, 2))
    u, v = cloud.pixels.T
    found, true = flying_pixels(cloud, CloudCleaning()), flying[v, u]
    surface = inside[v, u] & ~true
    assert np.count_nonzero(true) > 300
    assert np.count_nonzero(found & true) > share * np.count_nonzero(true)
    assert np.count_nonzero(found & surface) < 0.01 * np.count_nonzero(surface)


def test_what_is_left_of_a_large_mask_is_judged_as_in_a_mask_of_its_own():
    """Only the rows and columns that have points are looked at."""
    truth, inside = box_before_wall(0.7)
    depth, _ = smeared(truth)
    cloud = deproject_mask(frame_of(depth.astype(np.float32)), Mask.from_array(np.ones(depth.shape, bool)))
    rows, columns = np.nonzero(inside)
    corner = np.zeros(depth.shape, bool)  # of the box, with what smears beyond it
    corner[rows.max() - 30 : rows.max() + 9, columns.max() - 40 : columns.max() + 9] = True
    u, v = cloud.pixels.T
    left = cloud.select(corner[v, u])
    alone = deproject_mask(cloud.frame, Mask.from_array(corner))
    assert left.seen.shape != alone.seen.shape
    np.testing.assert_array_equal(left.pixels, alone.pixels)
    found = flying_pixels(left, CloudCleaning())
    assert 0 < np.count_nonzero(found) < len(found)
    np.testing.assert_array_equal(found, flying_pixels(alone, CloudCleaning()))


@pytest.mark.parametrize("tilt_deg", [0.0, 50.0, 75.0])
def test_a_steep_surface_is_no_flying_pixel(tilt_deg):
    depth, _ = cast([Table(table_pose(0.7, tilt_deg))])
    noisy = depth + np.random.default_rng(1).normal(size=depth.shape) * depth_noise_m(depth) / 2
    mask = Mask.from_array(np.pad(np.ones((120, 200), bool), ((200, 160), (220, 220))))
    found = flying_pixels(deproject_mask(frame_of(noisy.astype(np.float32)), mask), CloudCleaning())
    assert np.count_nonzero(found) < 0.002 * len(found)


def test_the_noise_of_a_far_surface_is_no_jump():
    depth = np.full((480, 640), 3.0)
    noisy = depth + np.random.default_rng(1).normal(size=depth.shape) * depth_noise_m(depth)
    mask = Mask.from_array(np.pad(np.ones((120, 200), bool), ((200, 160), (220, 220))))
    found = flying_pixels(deproject_mask(frame_of(noisy.astype(np.float32)), mask), CloudCleaning())
    assert np.count_nonzero(found) < 0.01 * len(found)


@pytest.mark.parametrize(("steepest_deg", "goes"), [(85.0, False), (60.0, True)])
def test_the_steepest_surface_is_what_the_parameter_says(steepest_deg, goes):
    """A surface 75 degrees from facing its rays, without noise."""
    depth, _ = cast([Table(table_pose(0.7, 75.0))])
    mask = Mask.from_array(np.pad(np.ones((21, 200), bool), ((235, 224), (220, 220))))
    cloud = deproject_mask(frame_of(depth.astype(np.float32)), mask)
    found = flying_pixels(cloud, CloudCleaning(steepest_surface_deg=steepest_deg, noise_per_m=1e-5))
    assert found.all() == goes
    assert found.any() == goes


def test_a_clean_edge_loses_nothing():
    truth, inside = box_before_wall(0.7)
    cloud = deproject_mask(frame_of(truth.astype(np.float32)), Mask.from_array(inside))
    assert np.count_nonzero(flying_pixels(cloud, CloudCleaning())) <= 8  # tips of the corners


def test_points_in_thin_air_are_outliers():
    sphere = Sphere(np.array([0.0, 0.0, 0.7]), 0.06)
    depth, seen = cast([sphere])
    rng = np.random.default_rng(2)
    stray = (seen == 0) & (rng.random(seen.shape) < 0.01)
    depth = depth + rng.normal(size=depth.shape) * depth_noise_m(depth) / 2
    depth[stray] += rng.choice([-1, 1], np.count_nonzero(stray)) * rng.uniform(0.05, 0.25, np.count_nonzero(stray))
    cloud = deproject_mask(frame_of(depth.astype(np.float32)), Mask.from_array(seen == 0))
    u, v = cloud.pixels.T
    found = outliers(cloud, CloudCleaning())
    assert np.count_nonzero(stray) > 60
    assert np.count_nonzero(found & stray[v, u]) > 0.95 * np.count_nonzero(stray)
    assert np.count_nonzero(found & ~stray[v, u]) < 0.002 * len(cloud)


def test_background_that_leaks_into_the_mask_goes():
    truth, inside = box_before_wall(0.7)
    mask = grown(inside, 6)
    cloud, counts = object_cloud(frame_of(truth.astype(np.float32)), mask)
    u, v = cloud.pixels.T
    assert inside[v, u].all()
    assert len(cloud) > 0.995 * np.count_nonzero(inside)
    assert counts.other_clusters > 1000


def test_an_object_behind_something_thin_stays_whole():
    truth, inside = box_before_wall(0.7)
    truth[:, 315:325] = 0.4  # a rod in front, 11 mm of the object's width
    inside[:, 315:325] = False
    cloud, counts = object_cloud(frame_of(truth.astype(np.float32)), Mask.from_array(inside))
    assert counts.kept > 0.99 * np.count_nonzero(inside)
    assert (cloud.pixels[:, 0] < 315).any()
    assert (cloud.pixels[:, 0] >= 325).any()


def test_two_things_apart_become_the_larger_one():
    table = table_pose(0.8, 0.0)
    small = Sphere((table @ [-0.1, 0, 0.1, 1])[:3], 0.03)
    large = Sphere((table @ [0.1, 0, 0.1, 1])[:3], 0.05)
    depth, seen = cast([small, large])
    cloud = deproject_mask(frame_of(depth.astype(np.float32)), Mask.from_array(seen >= 0))
    u, v = cloud.pixels.T
    assert np.array_equal(largest_cluster(cloud, CloudCleaning()), seen[v, u] == 1)
    assert largest_cluster(cloud, CloudCleaning(cluster_gap_m=0.2)).all()


def test_the_gap_grows_with_the_noise_of_the_distance():
    """Two parts 3 cm apart in depth: two things at 0.5 m, one noisy thing at 3 m."""
    mask = Mask.from_array(np.pad(np.ones((100, 100), bool), ((190, 190), (270, 270))))
    groups = []
    for distance_m in (0.5, 3.0):
        depth = np.full((480, 640), distance_m, np.float32)
        depth[:, 320:] += 0.05
        groups.append(largest_cluster(deproject_mask(frame_of(depth), mask), CloudCleaning()).all())
    assert groups == [False, True]


def test_the_counts_add_up_and_the_answer_is_the_same_again():
    table = table_pose(0.7, 45.0)
    box = Box(on_table(table, 0.02, 0.03, 0.05, 30), np.array([0.09, 0.06, 0.1]))
    depth, seen = cast([Table(table), box])
    frame = frame_of(as_d435(depth, 4))
    mask = grown(seen == 1, 2)
    (cloud, counts), (again, counts_again) = (object_cloud(frame, mask) for _ in range(2))
    assert counts == counts_again
    assert np.array_equal(cloud.points, again.points)
    assert counts.mask == mask.area
    assert counts.measured == len(deproject_mask(frame, mask)) < counts.mask
    assert counts.kept == len(cloud)
    assert counts.measured - counts.flying - counts.outliers - counts.other_clusters == counts.kept
    assert counts.flying > 20


def test_every_step_can_be_turned_off():
    truth, inside = box_before_wall(0.7)
    mask = grown(inside, 6)
    cloud, counts = object_cloud(frame_of(smeared(truth)[0].astype(np.float32)), mask, OFF)
    assert counts.kept == counts.measured == mask.area == len(cloud)


def test_small_holes_are_filled_only_when_asked():
    table = table_pose(0.7, 45.0)
    truth, _ = cast([Table(table)])
    holed = truth.astype(np.float32)
    holed[240:248, 320:330] = 0  # 80 px: to be filled
    holed[200:220, 300:320] = 0  # 400 px: too large
    frame = frame_of(holed)
    mask = Mask.from_array(np.pad(np.ones((120, 160), bool), ((170, 190), (240, 240))))
    filled, counts = object_cloud(frame, mask, dataclasses.replace(OFF, fill_hole_px=100))
    assert counts.filled == 80
    crop, wanted = filled.depth_crop(), truth[mask.rows, mask.columns]
    assert np.abs(crop[70:78, 80:90] - wanted[70:78, 80:90]).max() < 1e-5
    assert np.isnan(crop[30:50, 60:80]).all()
    assert filled.frame is frame
    assert object_cloud(frame, mask, OFF)[1].filled == 0


def test_a_hole_over_a_jump_in_depth_is_not_filled():
    truth, inside = box_before_wall(0.7)
    truth = truth.astype(np.float32)
    v, u = np.argwhere(inside)[0]
    truth[v - 3 : v + 3, u - 3 : u + 3] = 0
    mask = Mask.from_array(np.ones((480, 640), bool))
    cloud = deproject_mask(frame_of(truth), mask)
    assert len(fill_holes(cloud, dataclasses.replace(OFF, fill_hole_px=100))) == len(cloud)


def test_a_hole_in_the_mask_is_not_filled():
    """The gap of a mug's handle: no depth there, and not the object's either."""
    depth = np.full((480, 640), 0.7, np.float32)
    depth[240:248, 320:328] = 0
    array = np.pad(np.ones((120, 160), bool), ((170, 190), (240, 240)))
    array[240:248, 320:328] = False
    cloud = deproject_mask(frame_of(depth), Mask.from_array(array))
    assert len(fill_holes(cloud, dataclasses.replace(OFF, fill_hole_px=100))) == len(cloud)


def test_an_empty_cloud_stays_empty():
    frame = frame_of(np.zeros((480, 640), np.uint16))
    for array in (np.ones((480, 640), bool), np.zeros((480, 640), bool)):
        cloud, counts = object_cloud(frame, Mask.from_array(array), CloudCleaning(fill_hole_px=50))
        assert cloud.is_empty
        assert counts.kept == counts.measured == 0
        assert counts.mask == np.count_nonzero(array)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steepest_surface_deg", 90),
        ("steepest_surface_deg", 0),
        ("min_neighbours", -1),
        ("outlier_density", np.nan),
        ("cluster_gap_m", np.inf),
        ("fill_hole_px", -5),
        ("noise_per_m", 0),
    ],
)
def test_impossible_parameters_are_named(field, value):
    with pytest.raises(InvalidInputError, match=f"CloudCleaning.{field}"):
        CloudCleaning(**{field: value})


def test_the_camera_of_these_tests_is_a_d435():
    assert depth_noise_m(1.0) == pytest.approx(0.08 / (D435.fx * 0.05), rel=0.6)
