"""Meshes against closed forms: volume, area, normals and texture coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from sam_perception.sim.meshes import (
    Mesh,
    ball,
    box,
    chain,
    extrude,
    hull,
    joined,
    lathe,
    rotation_about,
    triangulate,
    tube,
)


def _volume(mesh: Mesh) -> float:
    """By the divergence theorem; right only when the mesh is closed and all its faces look outwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return float(np.sum(a * np.cross(b, c)) / 6)


def _area(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _polygon_area(outline: np.ndarray) -> float:
    x, y = outline.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def test_a_sharp_box_has_the_volume_and_area_of_a_box():
    mesh = box((0.2, 0.1, 0.05))
    assert _volume(mesh) == pytest.approx(0.2 * 0.1 * 0.05)
    assert _area(mesh) == pytest.approx(2 * (0.2 * 0.1 + 0.1 * 0.05 + 0.2 * 0.05))


def test_a_rounded_box_loses_the_volume_of_its_edges():
    x, y, z, r = 0.2, 0.1, 0.05, 0.01
    a, b, c = x - 2 * r, y - 2 * r, z - 2 * r
    exact = a * b * c + 2 * r * (a * b + b * c + a * c) + np.pi * r**2 * (a + b + c) + 4 / 3 * np.pi * r**3
    assert _volume(box((x, y, z), r)) == pytest.approx(exact, rel=2e-3)


def test_a_box_prints_each_panel_on_its_own_faces():
    mesh = box((0.2, 0.1, 0.05), panels={"top": (0.5, 0.5, 1.0, 1.0), "front": (0.0, 0.0, 0.4, 0.4)})
    on_top = np.abs(mesh.normals[:, 2]) > 0.99
    assert mesh.uv[on_top].min() == pytest.approx(0.5)
    on_front = np.abs(mesh.normals[:, 1]) > 0.99
    assert mesh.uv[on_front].max() == pytest.approx(0.4)


def test_print_is_not_mirrored():
    """Seen from outside with v up, u grows to the right."""
    mesh = box((0.2, 0.1, 0.05))
    p, q, r = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    s, t, o = (mesh.uv[mesh.faces[:, k]] for k in range(3))
    on_surface = np.sum(np.cross(q - p, r - p) * mesh.normals[mesh.faces[:, 0]], axis=1)
    on_texture = (t - s)[:, 0] * (o - s)[:, 1] - (t - s)[:, 1] * (o - s)[:, 0]
    assert (on_surface * on_texture > 0).all()


def test_a_turned_cylinder_has_the_volume_of_a_cylinder():
    mesh = lathe(chain((0, 0), (0.03, 0), (0.03, 0.1), (0, 0.1)), segments=256)
    assert _volume(mesh) == pytest.approx(np.pi * 0.03**2 * 0.1, rel=1e-3)


def test_a_tube_around_a_circle_has_the_volume_of_a_torus():
    angle = np.linspace(0, 2 * np.pi, 200)
    path = 0.05 * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    assert _volume(tube(path, 0.01, segments=64)) == pytest.approx(2 * np.pi**2 * 0.05 * 0.01**2, rel=5e-3)


def test_a_concave_outline_keeps_its_area():
    star = np.array(
        [[np.cos(a) * r, np.sin(a) * r] for a, r in zip(np.arange(10) * np.pi / 5, [1, 0.4] * 5, strict=True)]
    )
    mesh = extrude(star * 0.05, 0.02)
    assert _volume(mesh) == pytest.approx(_polygon_area(star * 0.05) * 0.02)


def test_a_hole_is_open():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    mesh = extrude(circle * 0.05, 0.01, circle * 0.03)
    assert _volume(mesh) == pytest.approx((_polygon_area(circle * 0.05) - _polygon_area(circle * 0.03)) * 0.01)
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    assert np.linalg.norm(middle[:, :2], axis=1).min() > 0.029


def test_triangles_of_a_comb_cover_it_once():
    comb = np.array(
        [[0, 0], [5, 0], [5, 3], [4, 3], [4, 1], [3, 1], [3, 3], [2, 3], [2, 1], [1, 1], [1, 3], [0, 3]], float
    )
    triangles = comb[triangulate(comb)]
    areas = [_polygon_area(triangle) for triangle in triangles]
    assert min(areas) > 0
    assert sum(areas) == pytest.approx(_polygon_area(comb))


def test_the_hull_of_a_cube_with_points_inside_is_the_cube():
    rng = np.random.default_rng(3)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    turned = corners + rng.normal(0, 1e-4, corners.shape)  # in general position
    mesh = hull(np.concatenate([turned, rng.uniform(0.2, 0.8, (6, 3))]))
    assert _volume(mesh) == pytest.approx(1.0, abs=2e-3)


def test_a_ball_has_the_volume_of_an_ellipsoid():
    assert _volume(ball((0.03, 0.04, 0.05), rows=80, columns=160)) == pytest.approx(
        4 / 3 * np.pi * 0.03 * 0.04 * 0.05, rel=3e-3
    )


def test_stretching_keeps_normals_at_right_angles():
    mesh = ball((0.05, 0.05, 0.05), rows=60, columns=120).scaled((1.0, 0.5, 2.0))
    exact = mesh.vertices / np.array([0.05, 0.025, 0.1]) ** 2
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    away_from_poles = np.abs(mesh.vertices[:, 2]) < 0.09
    assert np.sum(exact * mesh.normals, axis=1)[away_from_poles].min() > 0.995


def test_moving_turns_first_and_then_shifts():
    mesh = box((0.2, 0.1, 0.05)).moved((1.0, 0.0, 0.0), rotation_about("z", np.pi / 2))
    assert np.allclose(np.ptp(mesh.vertices, axis=0), (0.1, 0.2, 0.05))
    assert np.allclose((mesh.vertices.max(axis=0) + mesh.vertices.min(axis=0)) / 2, (1.0, 0.0, 0.0))


def test_joined_meshes_keep_their_faces_apart():
    both = joined([box((0.1, 0.1, 0.1)), box((0.2, 0.2, 0.2)).moved((1, 0, 0))])
    assert _volume(both) == pytest.approx(0.1**3 + 0.2**3)
