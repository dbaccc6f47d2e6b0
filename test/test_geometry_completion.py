"""Completed clouds of shapes whose far side is known in closed form, rendered with a D435's faults."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from test_geometry_scenes import (
    D435,
    Box,
    Cylinder,
    Sphere,
    Table,
    as_d435,
    cast,
    frame_of,
    grown,
    on_table,
    table_pose,
)

from sam_perception.frames import RgbdFrame
from sam_perception.geometry.boxes import oriented_box
from sam_perception.geometry.cleaning import object_cloud
from sam_perception.geometry.completion import CompletedCloud, complete
from sam_perception.geometry.planes import Plane
from sam_perception.masks import Mask


def completed(shapes, own: tuple[int, ...], seed: int = 0) -> tuple[CompletedCloud, Plane, RgbdFrame, Mask]:
    """The completed cloud of those shapes, which are one object on the table that is the first shape."""
    depth, seen = cast(shapes)
    frame, mask = frame_of(as_d435(depth, seed)), grown(np.isin(seen, own), 1)
    table = shapes[0].pose
    plane = Plane.through(table[:3, 3], table[:3, 2])
    cloud, _ = object_cloud(frame, mask)
    return complete(cloud.select(plane.heights_m(cloud.points) > 0.005), plane), plane, frame, mask


def off_edges_m(beyond: np.ndarray) -> np.ndarray:
    """(N,) distance from a convex surface, by how far (N, D) points are beyond it along each axis."""
    return np.abs(np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0))


def off_box_m(points: np.ndarray, pose: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(N,) distance of points from the surface of a box."""
    q = np.abs((points - pose[:3, 3]) @ pose[:3, :3]) - size / 2
    return off_edges_m(q)


def sides(pose: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(N, 3) points spread evenly over the upright faces of a box."""
    rng = np.random.default_rng(0)
    local = rng.uniform(-0.5, 0.5, (4000, 3))
    axis = rng.integers(2, size=len(local))
    local[np.arange(len(local)), axis] = np.sign(local[np.arange(len(local)), axis]) / 2
    return local * size @ pose[:3, :3].T + pose[:3, 3]


def reached(points: np.ndarray, by: np.ndarray, within_m: float) -> float:
    """Share of points that have one of others nearby."""
    nearest = [np.linalg.norm(by - point, axis=1).min() for point in points[::10]]
    return float(np.mean(np.array(nearest) < within_m))


@pytest.mark.parametrize("seed", range(4))
def test_the_far_sides_of_a_box_are_added_where_they_are(seed):
    rng = np.random.default_rng(seed)
    table = table_pose(rng.uniform(0.5, 0.7), rng.uniform(30, 60), rng.uniform(-15, 15))
    size = np.array([rng.uniform(0.07, 0.14), rng.uniform(0.05, 0.09), rng.uniform(0.05, 0.15)])
    pose = on_table(table, *rng.uniform(-0.05, 0.05, 2), size[2] / 2, rng.uniform(0, 180))
    found, _, _, _ = completed([Table(table), Box(pose, size)], (1,), seed)
    assert found.method == "symmetry"
    observed, guessed = found.points[found.is_observed], found.points[~found.is_observed]
    assert np.percentile(off_box_m(guessed, pose, size), 95) < 0.008
    truth = sides(pose, size)
    assert reached(truth, observed, 0.01) < 0.75
    assert reached(truth, found.points, 0.01) > 0.85
    assert found.center_m == pytest.approx(pose[:3, 3], abs=0.008)
    assert np.linalg.norm(observed.mean(axis=0) - pose[:3, 3]) > 0.012  # what it would be without completion


@pytest.mark.parametrize("tilt_deg", [35.0, 50.0])
def test_a_ball_is_as_deep_as_it_is_wide(tilt_deg):
    table, radius = table_pose(0.6, tilt_deg), 0.04
    center = (table @ [0.01, 0.02, radius, 1])[:3]
    found, plane, _, _ = completed([Table(table), Sphere(center, radius)], (1,))
    assert oriented_box(found.points[found.is_observed], plane).size[1] < 2 * radius - 0.012
    box = oriented_box(found.points, plane)
    assert box.size == pytest.approx([2 * radius] * 3, abs=0.008)
    assert box.center == pytest.approx(center, abs=0.005)


def off_cylinder_m(points: np.ndarray, body: Cylinder) -> np.ndarray:
    """(N,) distance of points from the surface of a cylinder."""
    local = (points - body.pose[:3, 3]) @ body.pose[:3, :3]
    q = np.stack([np.hypot(local[:, 0], local[:, 1]) - body.radius, np.abs(local[:, 2]) - body.height / 2], axis=1)
    return off_edges_m(q)


@pytest.mark.parametrize("tilt_deg", [35.0, 50.0, 60.0])
@pytest.mark.parametrize("radius", [0.02, 0.045])
def test_a_bottle_whose_neck_hides_its_shoulder_is_as_deep_as_it_is_wide(tilt_deg, radius):
    """Half a turn meets next to nothing that was seen of it."""
    table = table_pose(0.6, tilt_deg)
    body = Cylinder(on_table(table, 0, 0, 0.07), radius, 0.14)
    neck = Cylinder(on_table(table, 0, 0, 0.165), 0.5 * radius, 0.05)
    found, plane, _, _ = completed([Table(table), body, neck], (1, 2))
    assert oriented_box(found.points[found.is_observed], plane).size[1] < 1.9 * radius
    box = oriented_box(found.points, plane)
    assert box.size[:2] == pytest.approx([2 * radius] * 2, abs=0.008)
    assert box.center == pytest.approx(on_table(table, 0, 0, 0.095)[:3, 3], abs=0.005)
    guessed = found.points[~found.is_observed]
    off = np.minimum(off_cylinder_m(guessed, body), off_cylinder_m(guessed, neck))
    assert np.percentile(off, 95) < 0.008
    assert len(guessed) < 5 * np.count_nonzero(found.is_observed)


def test_a_handle_is_not_turned_all_around():
    table = table_pose(0.6, 55.0)
    body = Cylinder(on_table(table, 0, 0, 0.05), 0.025, 0.16)
    handle = Box(on_table(table, 0.035, 0.0, 0.06), np.array([0.03, 0.008, 0.05]))
    found, _, _, _ = completed([Table(table), body, handle], (1, 2))
    guessed = found.points[~found.is_observed]
    off = np.minimum(off_cylinder_m(guessed, body), off_box_m(guessed, handle.pose, handle.size))
    assert np.percentile(off, 95) < 0.008


@pytest.mark.parametrize("yaw_deg", [0.0, 20.0, 45.0])
def test_a_tall_pillar_is_turned_by_half_though_it_hides_its_back(yaw_deg):
    """Next to nothing of its back was seen to speak for half a turn, and nothing against it; and it is not round."""
    table, size = table_pose(0.6, 60.0), np.array([0.05, 0.04, 0.2])
    pose = on_table(table, 0.0, 0.0, 0.1, yaw_deg)
    found, plane, _, _ = completed([Table(table), Box(pose, size)], (1,))
    guessed = found.points[~found.is_observed]
    assert np.percentile(off_box_m(guessed, pose, size), 90) < 0.008
    assert oriented_box(found.points, plane).center == pytest.approx(pose[:3, 3], abs=0.005)


def test_seen_from_straight_above_the_walls_go_down_to_the_table():
    table, size = table_pose(0.6, 0.0), np.array([0.09, 0.06, 0.08])
    pose = on_table(table, 0.0, 0.0, 0.04, 20)
    found, plane, _, _ = completed([Table(table), Box(pose, size)], (1,))
    guessed = found.points[~found.is_observed]
    assert np.percentile(off_box_m(guessed, pose, size), 95) < 0.006
    assert plane.heights_m(guessed).min() < 0.01
    assert reached(sides(pose, size), found.points, 0.01) > 0.9


def test_an_angle_gets_no_leg_that_it_was_not_seen_to_have():
    """Half a turn would give an L a second corner, where the camera sees the table."""
    table = table_pose(0.6, 40.0)
    long, short = np.array([0.15, 0.03, 0.05]), np.array([0.03, 0.08, 0.05])
    shapes = [Table(table), Box(on_table(table, 0, 0, 0.025), long), Box(on_table(table, -0.06, -0.055, 0.025), short)]
    found, _, _, _ = completed(shapes, (1, 2))
    guessed = found.points[~found.is_observed]
    off = np.minimum(off_box_m(guessed, shapes[1].pose, long), off_box_m(guessed, shapes[2].pose, short))
    assert np.mean(off < 0.01) > 0.85


@pytest.mark.parametrize("yaw_deg", [0.0, 25.0, 70.0])
def test_nothing_is_added_where_the_camera_saw_something_farther(yaw_deg):
    table = table_pose(0.6, 45.0)
    shapes = [
        Table(table),
        Box(on_table(table, 0, 0, 0.02, yaw_deg), np.array([0.12, 0.04, 0.04])),
        Box(on_table(table, 0.02, 0.03, 0.06, yaw_deg + 10), np.array([0.03, 0.05, 0.12])),
    ]
    found, _, frame, mask = completed(shapes, (1, 2))
    guessed = found.points[~found.is_observed].astype(np.float64)
    assert len(guessed) > 50
    u, v = np.rint(guessed[:, :2] / guessed[:, 2:] * [D435.fx, D435.fy] + [D435.cx, D435.cy]).astype(int).T
    outside = ~grown(mask.to_array(), 3).to_array()[v, u] & (frame.depth_m[v, u] > 0)
    assert (guessed[outside, 2] > frame.depth_m[v, u][outside]).all()
    nearest = cv2.erode(np.where(frame.depth_m > 0, frame.depth_m, np.inf), np.ones((5, 5)))[v, u]
    assert np.mean(guessed[:, 2] > nearest - 0.015) > 0.97


def test_it_goes_on_behind_what_stands_before_it():
    table, size = table_pose(0.6, 35.0), np.array([0.14, 0.06, 0.08])
    pose = on_table(table, 0.0, 0.0, 0.04)
    in_front = Box(on_table(table, 0.05, 0.09, 0.04), np.array([0.05, 0.05, 0.08]))
    found, _, _, _ = completed([Table(table), Box(pose, size), in_front], (1,))
    assert reached(sides(pose, size), found.points, 0.012) > 0.8


def test_without_a_plane_or_points_nothing_is_added():
    table = table_pose(0.6, 45.0)
    depth, seen = cast([Table(table), Box(on_table(table, 0, 0, 0.04), np.array([0.1, 0.06, 0.08]))])
    frame, mask = frame_of(as_d435(depth, 0)), grown(seen == 1, 0)
    cloud, _ = object_cloud(frame, mask)
    alone = complete(cloud, None)
    assert (alone.method, bool(alone.is_observed.all())) == ("none", True)
    assert alone.center_m == pytest.approx(cloud.points.mean(axis=0), abs=0.01)
    empty = complete(cloud.select(np.zeros(len(cloud), bool)), Plane.through(table[:3, 3], table[:3, 2]))
    assert (len(empty.points), empty.method, empty.center_m) == (0, "none", None)


def test_a_few_points_and_the_images_corner_are_no_trouble():
    table = table_pose(0.6, 45.0)
    shapes = [Table(table), Box(on_table(table, -0.27, -0.22, 0.04), np.array([0.1, 0.06, 0.08]))]
    depth, seen = cast(shapes)
    frame, mask = frame_of(as_d435(depth, 0)), grown(seen == 1, 0)
    assert 0 in mask.box[:2] and mask.area > 500
    cloud, _ = object_cloud(frame, mask)
    plane = Plane.through(table[:3, 3], table[:3, 2])
    assert np.isfinite(complete(cloud, plane).points).all()
    for count in (3, 5):
        few = complete(cloud.select(np.arange(len(cloud)) < count), plane)
        assert np.isfinite(few.points).all() and np.isfinite(few.center_m).all()


def test_the_same_cloud_is_completed_the_same_way():
    table = table_pose(0.6, 45.0)
    shapes = [Table(table), Box(on_table(table, 0, 0, 0.04, 30), np.array([0.1, 0.06, 0.08]))]
    first, second = (completed(shapes, (1,))[0] for _ in range(2))
    assert np.array_equal(first.points, second.points)
    assert not np.diff(first.is_observed.astype(int)).max() > 0  # the observed ones come first
