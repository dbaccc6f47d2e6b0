"""Planes in noisy clouds and under rendered objects."""

from __future__ import annotations

import numpy as np
import pytest
from test_geometry_scenes import D435, Box, Sphere, Table, angle_deg, as_d435, cast, frame_of, on_table, table_pose

from sam_perception.errors import InvalidInputError
from sam_perception.geometry.clouds import deproject_mask
from sam_perception.geometry.planes import Plane, PlaneSearch, SupportSearch, fit_plane_ransac, supporting_plane
from sam_perception.masks import Mask

WHOLE = Mask.from_array(np.ones((480, 640), bool))


def plane_of(pose: np.ndarray) -> Plane:
    return Plane.through(pose[:3, 3], pose[:3, 2])


def scene(shapes, seed: int = 0):
    """A D435's frame of the shapes and the masks of all but the first."""
    depth, seen = cast(shapes)
    return frame_of(as_d435(depth, seed)), [Mask.from_array(seen == i) for i in range(1, len(shapes))]


def assert_same_plane(found: Plane | None, pose: np.ndarray, degrees: float = 1.0, metres: float = 0.003) -> None:
    assert found is not None
    assert angle_deg(found.normal, pose[:3, 2]) < degrees
    assert abs(float(found.heights_m(pose[None, :3, 3])[0])) < metres


def test_a_plane_is_turned_towards_the_camera():
    for normal in ([0.0, 0.3, 2.0], [0.0, -0.3, -2.0]):
        plane = Plane.through([0.1, 0.0, 0.8], normal)
        assert plane.offset > 0
        assert np.linalg.norm(plane.normal) == pytest.approx(1)
        assert plane.heights_m(np.array([[0.1, 0.0, 0.8], [0, 0, 0]])) == pytest.approx([0, plane.offset])


@pytest.mark.parametrize("tilt_deg", [0, 30, 60, 75])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_noisy_table_is_found_within_a_fraction_of_a_degree(tilt_deg, seed):
    pose = table_pose(0.8, tilt_deg, 20.0 * seed)
    depth, _ = cast([Table(pose)])
    depth[depth > 3] = 0
    points = deproject_mask(frame_of(as_d435(depth, seed)), WHOLE).points
    found = fit_plane_ransac(points, seed=seed)
    assert found is not None
    plane, inliers = found
    assert angle_deg(plane.normal, pose[:3, 2]) < 0.1
    assert abs(float(plane.heights_m(pose[None, :3, 3])[0])) < 0.001
    assert np.count_nonzero(inliers) > 0.9 * len(points)


def test_the_inliers_are_the_planes_own_points():
    rng = np.random.default_rng(0)
    pose = table_pose(0.8, 40.0)
    flat = np.column_stack([rng.uniform(-0.2, 0.2, (2000, 2)), np.zeros(2000), np.ones(2000)])
    clutter = np.column_stack([rng.uniform(-0.2, 0.2, (2000, 2)), rng.uniform(0.05, 0.3, 2000), np.ones(2000)])
    points = (np.vstack([flat, clutter]) @ pose.T)[:, :3]
    plane, inliers = fit_plane_ransac(points)
    assert inliers.tolist() == [True] * 2000 + [False] * 2000
    assert angle_deg(plane.normal, pose[:3, 2]) < 1e-3


def test_the_tolerance_grows_with_the_square_of_the_depth():
    search = PlaneSearch(threshold_m=0.003, noise_sigmas=2, noise_per_m=0.004)
    assert search.tolerance_m(np.array([0.0, 1.0, 3.0])) == pytest.approx([0.003, 0.011, 0.075])


def test_one_seed_one_plane():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3)) * [0.1, 0.1, 0.004] + [0, 0, 0.7]
    planes = [fit_plane_ransac(points, seed=seed)[0] for seed in (3, 3)]
    assert np.array_equal(planes[0].normal, planes[1].normal)
    assert planes[0].offset == planes[1].offset


def test_no_plane_is_none():
    rng = np.random.default_rng(0)
    assert fit_plane_ransac(rng.uniform([-0.3, -0.3, 0.4], [0.3, 0.3, 1.0], (3000, 3))) is None
    assert fit_plane_ransac(np.zeros((0, 3))) is None
    assert fit_plane_ransac(np.tile([[0.1, 0.2, 0.5]], (300, 1))) is None
    with pytest.raises(InvalidInputError, match="points"):
        fit_plane_ransac(np.zeros((10, 2)))


@pytest.mark.parametrize("seed", range(6))
def test_the_table_under_an_object_is_found(seed):
    rng = np.random.default_rng(seed)
    pose = table_pose(rng.uniform(0.5, 1.1), rng.uniform(20, 65), rng.uniform(-20, 20))
    size = rng.uniform(0.05, 0.12, 3)
    place = on_table(pose, *rng.uniform(-0.05, 0.05, 2), size[2] / 2, rng.uniform(0, 90))
    frame, (mask,) = scene([Table(pose), Box(place, size)], seed)
    assert_same_plane(supporting_plane(frame, mask, seed=seed), pose)


@pytest.mark.parametrize("seed", range(3))
def test_the_plane_is_as_level_as_the_table_and_as_high_as_it_is_under_the_object(seed):
    """Real depth is wavy (a patch is tilted) and bowl-shaped towards the image's sides (the whole is off)."""
    rng = np.random.default_rng(seed)
    pose, place = table_pose(0.8, 45.0, 5.0), [0.12, *rng.uniform(-0.1, 0.1, 1)]
    depth, seen = cast([Table(pose), Box(on_table(pose, *place, 0.04, 20), np.array([0.06, 0.06, 0.08]))])
    mask = Mask.from_array(seen == 1)
    v, u = np.mgrid[0:480, 0:640]
    phase = rng.uniform(0, 6, 2)
    wavy = depth + 0.003 * np.sin(2 * np.pi * u / 200 + phase[0]) * np.cos(2 * np.pi * v / 200 + phase[1])
    assert angle_deg(supporting_plane(frame_of(as_d435(wavy, seed)), mask).normal, pose[:3, 2]) < 0.15

    def bowl(x):
        return 1 + 0.02 * ((x - 320) / 320) ** 2

    foot = on_table(pose, *place, 0.0)[:3, 3]
    foot = foot * bowl(foot[0] / foot[2] * D435.fx + D435.cx)
    plane = supporting_plane(frame_of(as_d435(depth * bowl(u), seed)), mask)
    assert abs(float(plane.heights_m(foot[None])[0])) < 0.0006


def test_a_large_neighbour_is_not_what_the_object_stands_on():
    """A mug ringed by a tray's rim that is higher than the table: the tray is another object."""
    pose = table_pose(0.7, 30.0)
    blocks = [
        Box(on_table(pose, x, y, 0.02), np.array([0.13, 0.13, 0.04]))
        for x in (-0.14, 0, 0.14)
        for y in (-0.14, 0, 0.14)
        if (x, y) != (0, 0)
    ]
    frame, (mask, *others) = scene([Table(pose), Box(on_table(pose, 0, 0, 0.05), np.array([0.06, 0.06, 0.1])), *blocks])
    assert_same_plane(supporting_plane(frame, mask, others), pose)


def test_an_object_in_the_air_stands_on_nothing():
    pose = table_pose(0.9, 50.0)
    frame, (mask,) = scene([Table(pose), Sphere((pose @ [0, 0, 0.2, 1])[:3], 0.04)])
    assert supporting_plane(frame, mask) is None


@pytest.mark.parametrize("others_known", [False, True])
def test_what_stands_on_another_object_does_not_stand_on_the_table(others_known):
    pose = table_pose(0.8, 60.0)
    lower = Box(on_table(pose, 0, 0, 0.05), np.array([0.09, 0.07, 0.1]))
    upper = Box(on_table(pose, 0, 0, 0.145), np.array([0.07, 0.07, 0.09]))
    frame, (other, mask) = scene([Table(pose), lower, upper])
    assert supporting_plane(frame, mask, [other] if others_known else []) is None


def test_a_wall_behind_an_object_does_not_support_it():
    frame, (mask,) = scene([Table(table_pose(1.2, 0.0)), Sphere(np.array([0.0, 0.0, 0.8]), 0.05)])
    assert supporting_plane(frame, mask) is None


def test_a_floor_beyond_the_tables_edge_has_no_say():
    """A small table, of which the ring around the object shows less than the floor far below it."""
    table, floor = table_pose(0.7, 45.0), table_pose(1.5, 45.0)
    top = Box(on_table(table, 0, 0, -0.01), np.array([0.22, 0.16, 0.02]))
    thing = Box(on_table(table, -0.02, 0.01, 0.04, 20.0), np.array([0.06, 0.05, 0.08]))
    frame, (_, mask) = scene([Table(floor), top, thing])
    assert_same_plane(supporting_plane(frame, mask), table)


def test_a_table_hidden_by_what_stands_in_front_still_supports():
    """Only the upper half of the object shows above a nearer box; the table shows at its sides."""
    pose = table_pose(0.9, 60.0)
    behind = Box(on_table(pose, 0, 0.1, 0.08), np.array([0.06, 0.06, 0.16]))
    front = Box(on_table(pose, 0, 0.0, 0.045), np.array([0.09, 0.05, 0.09]))
    frame, (mask, other) = scene([Table(pose), behind, front])
    heights = plane_of(pose).heights_m(deproject_mask(frame, mask).points)
    assert np.percentile(heights, 2) > SupportSearch().max_gap_m
    assert_same_plane(supporting_plane(frame, mask, [other]), pose)


def test_no_depth_around_an_object_is_no_plane():
    pose = table_pose(0.7, 45.0)
    depth, seen = cast([Table(pose), Box(on_table(pose, 0, 0, 0.05), np.array([0.08, 0.08, 0.1]))])
    depth[seen == 0] = 0
    assert supporting_plane(frame_of(as_d435(depth, 0)), Mask.from_array(seen == 1)) is None
    blind = frame_of(np.zeros((480, 640), np.uint16))
    assert supporting_plane(blind, Mask.from_array(seen == 1)) is None


def test_wrong_masks_and_limits_are_named():
    frame = frame_of(np.full((480, 640), 700, np.uint16))
    small = Mask.from_array(np.ones((10, 10), bool))
    with pytest.raises(InvalidInputError, match=r"Mask.image_size"):
        supporting_plane(frame, WHOLE, [small])
    with pytest.raises(InvalidInputError, match=r"PlaneSearch.threshold_m"):
        PlaneSearch(threshold_m=0)
    with pytest.raises(InvalidInputError, match="Plane"):
        Plane.through([0, 0, 1], [0, 0, 0])
    assert D435.size == frame.size
