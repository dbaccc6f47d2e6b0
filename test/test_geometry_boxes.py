"""Oriented boxes against the boxes that the points were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from test_geometry_scenes import angle_deg, on_table, table_pose

from sam_perception.errors import InvalidInputError
from sam_perception.geometry.boxes import OrientedBox, oriented_box, transform_box
from sam_perception.geometry.planes import Plane

SIZE = np.array([0.16, 0.06, 0.21])


def surface(pose: np.ndarray, size: np.ndarray, seed: int = 0, count: int = 6000) -> np.ndarray:
    """Points all over a box's faces, in the camera's frame."""
    rng = np.random.default_rng(seed)
    local = rng.uniform(-0.5, 0.5, (count, 3))
    face = rng.integers(3, size=count)
    local[np.arange(count), face] = rng.choice([-0.5, 0.5], count)
    return (local * size) @ pose[:3, :3].T + pose[:3, 3]


def random_rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def rigid(seed: int) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = random_rotation(seed)
    transform[:3, 3] = np.random.default_rng(seed).uniform(-1, 1, 3)
    return transform


@pytest.mark.parametrize("seed", range(8))
def test_a_box_on_a_plane_is_recovered(seed):
    rng = np.random.default_rng(seed)
    table = table_pose(0.8, rng.uniform(0, 70), rng.uniform(-30, 30))
    pose = on_table(table, *rng.uniform(-0.1, 0.1, 2), SIZE[2] / 2, rng.uniform(0, 180))
    box = oriented_box(surface(pose, SIZE, seed), Plane.through(table[:3, 3], table[:3, 2]))
    assert box.size == pytest.approx(SIZE, abs=0.003)
    assert box.center == pytest.approx(pose[:3, 3], abs=0.002)
    assert angle_deg(box.rotation[:, 2], table[:3, 2]) < 1e-3
    assert min(angle_deg(box.rotation[:, 0], sign * pose[:3, 0]) for sign in (1, -1)) < 1.0
    assert np.linalg.det(box.rotation) == pytest.approx(1)
    assert box.rotation[0, 0] > 0


@pytest.mark.parametrize("seed", range(5))
def test_without_a_plane_the_box_follows_the_principal_axes(seed):
    pose = np.eye(4)
    pose[:3, :3] = random_rotation(seed)
    pose[:3, 3] = [0.1, -0.1, 0.8]
    box = oriented_box(surface(pose, SIZE, seed))
    assert box.size == pytest.approx([0.21, 0.16, 0.06], abs=0.008)
    assert box.center == pytest.approx(pose[:3, 3], abs=0.004)
    for found, true in ((0, 2), (1, 0), (2, 1)):
        assert min(angle_deg(box.rotation[:, found], sign * pose[:3, true]) for sign in (1, -1)) < 4.0
    assert np.linalg.det(box.rotation) == pytest.approx(1)
    assert box.rotation[:, 2] @ box.center < 0  # towards the camera
    assert box.rotation[0, 0] > 0


def test_what_is_hidden_between_the_surface_and_the_plane_is_object():
    """Only the lid is seen, 0.1 m above the plane."""
    table = table_pose(0.8, 20.0)
    lid = on_table(table, 0, 0, 0.0995, 30)
    box = oriented_box(surface(lid, np.array([0.1, 0.07, 0.001])), Plane.through(table[:3, 3], table[:3, 2]))
    assert box.size == pytest.approx([0.1, 0.07, 0.1], abs=0.002)
    heights = Plane.through(table[:3, 3], table[:3, 2]).heights_m(box.corners())
    assert sorted(heights) == pytest.approx([0] * 4 + [0.1] * 4, abs=0.001)


def test_table_under_the_masks_edge_does_not_widen_the_box():
    table = table_pose(0.8, 20.0)
    plane = Plane.through(table[:3, 3], table[:3, 2])
    thing = surface(on_table(table, 0, 0, 0.05), np.array([0.1, 0.07, 0.1]))
    rim = surface(on_table(table, 0, 0, 0.0), np.array([0.14, 0.11, 0.002]), count=1500)
    assert oriented_box(np.vstack([thing, rim]), plane).size[:2] == pytest.approx([0.1, 0.07], abs=0.003)


def test_something_flat_still_has_its_footprint():
    table = table_pose(0.8, 20.0)
    card = surface(on_table(table, 0, 0, 0.0005, 25), np.array([0.086, 0.054, 0.001]))
    box = oriented_box(card, Plane.through(table[:3, 3], table[:3, 2]))
    assert box.size == pytest.approx([0.086, 0.054, 0.001], abs=0.002)


def test_a_few_stray_points_do_not_decide_the_box():
    table = table_pose(0.8, 30.0)
    points = surface(on_table(table, 0, 0, SIZE[2] / 2, 40), SIZE)
    stray = points[:15] + np.random.default_rng(0).uniform(-0.2, 0.2, (15, 3))
    box = oriented_box(np.vstack([points, stray]), Plane.through(table[:3, 3], table[:3, 2]))
    assert box.size == pytest.approx(SIZE, abs=0.006)


@pytest.mark.parametrize("seed", range(4))
def test_a_box_in_another_frame_is_the_same_box(seed):
    """The classic fault multiplies the size by |R|, which grows every turned box."""
    box = OrientedBox(np.array([0.1, 0.2, 0.7]), SIZE, random_rotation(seed + 10))
    transform = rigid(seed)
    moved = transform_box(box, transform)
    assert np.array_equal(moved.size, box.size)
    expected = box.corners() @ transform[:3, :3].T + transform[:3, 3]
    assert moved.corners() == pytest.approx(expected, abs=1e-12)
    back = transform_box(moved, np.linalg.inv(transform))
    assert back.corners() == pytest.approx(box.corners(), abs=1e-12)


def test_corners_and_contents():
    box = OrientedBox(np.array([1.0, 2, 3]), np.array([0.2, 0.4, 0.6]), np.eye(3))
    corners = box.corners()
    assert corners[0] == pytest.approx([0.9, 1.8, 2.7])
    assert corners[1] == pytest.approx([1.1, 1.8, 2.7])
    assert corners[6] == pytest.approx([0.9, 2.2, 3.3])
    assert box.corners(0.1)[6] == pytest.approx([0.8, 2.3, 3.4])
    assert box.volume_m3 == pytest.approx(0.048)
    points = np.array([[1, 2, 3], [1.11, 2, 3], [1, 2, 3.29]])
    assert box.contains(points).tolist() == [True, False, True]
    assert box.contains(points, margin_m=0.02).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: oriented_box(np.zeros((2, 3))), "points"),
        (lambda: oriented_box(np.zeros((5, 2))), "points"),
        (lambda: OrientedBox(np.zeros(3), -np.ones(3), np.eye(3)), "OrientedBox.size"),
        (lambda: OrientedBox(np.full(3, np.nan), np.ones(3), np.eye(3)), "OrientedBox.center"),
        (lambda: OrientedBox(np.zeros(3), np.ones(3), np.diag([1.0, 1, -1])), "OrientedBox.rotation"),
        (lambda: OrientedBox(np.zeros(3), np.ones(3), 2 * np.eye(3)), "OrientedBox.rotation"),
        (lambda: transform_box(OrientedBox(np.zeros(3), np.ones(3), np.eye(3)), np.eye(3)), "target_T_source"),
        (
            lambda: transform_box(OrientedBox(np.zeros(3), np.ones(3), np.eye(3)), np.diag([2.0, 2, 2, 1])),
            "target_T_source",
        ),
    ],
)
def test_what_is_no_box_is_refused(call, field):
    with pytest.raises(InvalidInputError, match=field):
        call()


def test_points_in_a_line_or_in_one_place_still_have_a_box():
    line = np.linspace([0, 0, 0.5], [0.1, 0, 0.5], 50)
    table = Plane.through([0, 0, 0.6], [0, 0, -1])
    for plane in (None, table):
        assert oriented_box(line, plane).size[0] == pytest.approx(0.1, abs=0.002)
        assert np.isfinite(oriented_box(np.tile(line[:1], (10, 1)), plane).corners()).all()
