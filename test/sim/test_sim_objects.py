"""Every family of objects: real sizes, sound meshes, colliders that stand for what is seen, disjoint splits."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest

from sam_perception.sim import objects_containers, objects_food, objects_shapes, objects_tools
from sam_perception.sim.objects import make_objects
from sam_perception.sim.objects_parts import (
    Collider,
    ColliderKind,
    Draw,
    Shape,
    Split,
    shell_colliders,
    turned_colliders,
)

BUILDERS = [
    builder
    for module in (objects_containers, objects_food, objects_shapes, objects_tools)
    for name, builder in inspect.getmembers(module, inspect.isfunction)
    if builder.__module__ == module.__name__ and not name.startswith("_")
]
EXAMPLES = 4


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda builder: builder.__name__)
def shapes(request) -> list[Shape]:
    """Some objects of one builder, of both splits."""
    return [
        request.param(Draw(split, np.random.default_rng(seed))).centered()
        for split in Split
        for seed in range(EXAMPLES)
    ]


def test_sizes_are_those_of_things_on_a_table(shapes):
    for shape in shapes:
        low, high = shape.bounds()
        assert 0.01 <= (high - low).max() <= 0.43
        assert np.allclose(low + high, 0, atol=1e-9)


def test_faces_look_outwards_and_numbers_are_finite(shapes):
    for part in (part for shape in shapes for part in shape.parts):
        mesh = part.mesh
        assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.uv).all()
        assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-6)
        a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
        facing = np.cross(b - a, c - a)
        against = np.sum(facing * mesh.normals[mesh.faces].mean(axis=1), axis=1) < 0
        assert np.linalg.norm(facing[against], axis=1).sum() <= 0.001 * np.linalg.norm(facing, axis=1).sum()


def test_what_collides_fills_what_is_seen(shapes):
    """Along the thinnest axis, on which things mostly rest: nothing sinks in or floats by more than a few millimetres.

    Stems and leaves on top may reach beyond what collides.
    """
    for shape in shapes:
        low, high = shape.bounds()
        reach = [_extent(collider) for collider in shape.colliders]
        felt_low, felt_high = np.min([r[0] for r in reach], axis=0), np.max([r[1] for r in reach], axis=0)
        axis = int(np.argmin(high - low))
        slack = max(0.005, 0.12 * (high - low)[axis])
        assert abs(felt_low - low)[axis] < slack
        assert (felt_high - high)[axis] < slack


def test_nothing_collides_where_nothing_is_seen(shapes):
    """No piece reaches farther than what is seen in any direction, but for facets and small round edges."""
    directions = np.random.default_rng(0).normal(size=(400, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for shape in shapes:
        seen = np.max([(part.mesh.vertices @ directions.T).max(axis=0) for part in shape.parts], axis=0)
        felt = np.max([_reach(collider, directions) for collider in shape.colliders], axis=0)
        assert (felt - seen).max() < 0.004


def test_slices_of_a_turned_body_follow_its_waist():
    """An hourglass of two cones: a convex slice for each, and none that fills the waist."""
    slices = turned_colliders([(0.03, 0.0), (0.02, 0.02), (0.01, 0.04), (0.02, 0.06), (0.03, 0.08)])
    assert len(slices) == 2
    assert any(_contains(piece, np.array([0.0, 0.008, 0.041])) for piece in slices)
    assert not any(_contains(piece, np.array([0.0, 0.013, 0.041])) for piece in slices)
    assert not any(_contains(piece, np.array([0.0, 0.023, 0.065])) for piece in slices)
    assert any(_contains(piece, np.array([0.0, 0.021, 0.065])) for piece in slices)


def test_a_cylinder_with_a_shoulder_is_one_piece():
    assert len(turned_colliders([(0.03, 0.0), (0.03, 0.1), (0.02, 0.13), (0.0, 0.14)])) == 1


def test_a_mug_and_a_bowl_are_open():
    for builder in (objects_containers.mug, objects_containers.bowl, objects_containers.cup):
        shape = builder(Draw(Split.TRAIN, np.random.default_rng(1))).centered()
        _low, high = shape.bounds()
        inside = np.array([0.0, 0.0, 0.2 * high[2]])
        assert not any(_contains(collider, inside) for collider in shape.colliders)


def test_the_handle_of_a_mug_leaves_a_hole():
    shape = objects_containers.mug(Draw(Split.TRAIN, np.random.default_rng(2)))
    body = np.linalg.norm(shape.parts[0].mesh.vertices[:, :2], axis=1).max()
    handle = shape.parts[-1].mesh.vertices
    inner_edge = handle[np.abs(handle[:, 2] - np.median(handle[:, 2])) < 0.006]
    farther_out = inner_edge[inner_edge[:, 0] > body][:, 0].min()
    assert farther_out - body > 0.005


def test_held_out_proportions_are_never_trained_on():
    rng = np.random.default_rng(5)
    trained = np.array([Draw(Split.TRAIN, rng).size(0.0, 1.0) for _ in range(4000)])
    held_out = np.array([Draw(Split.HELD_OUT, rng).size(0.0, 1.0) for _ in range(4000)])
    assert np.abs(trained[:, None] - held_out[None]).min() > 0.003
    for drawn in (trained, held_out):  # and both reach from end to end
        assert drawn.min() < 0.2 and drawn.max() > 0.8


def test_a_world_of_objects_has_many_families():
    shapes = make_objects(Draw(Split.TRAIN, np.random.default_rng(0)), 24)
    assert len(shapes) == 24
    assert len({shape.family for shape in shapes}) >= 12


def test_staves_stand_around_the_axis():
    staves = shell_colliders([(0.05, 0.0), (0.05, 0.1)], 0.004, pieces=8)
    for stave in staves:
        assert np.hypot(*stave.position[:2]) == pytest.approx(0.05)
        assert stave.position[2] == pytest.approx(0.05)
        assert abs(stave.rotation[:, 0] @ stave.position) == pytest.approx(0.05)  # thin along the radius


def _extent(collider: Collider) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of a collider in the frame of its object."""
    turn, size = collider.rotation, np.array(collider.size)
    if collider.kind is ColliderKind.HULL:
        points = collider.points + collider.position
        return points.min(axis=0), points.max(axis=0)
    if collider.kind is ColliderKind.BOX:
        half = np.abs(turn) @ size
    elif collider.kind is ColliderKind.ELLIPSOID:
        half = np.sqrt(turn**2 @ size**2)
    elif collider.kind is ColliderKind.CYLINDER:
        half = size[0] * np.sqrt(np.maximum(1 - turn[:, 2] ** 2, 0)) + np.abs(turn[:, 2]) * size[1]
    else:
        half = np.abs(turn[:, 2]) * size[1] + size[0]
    return collider.position - half, collider.position + half


def _reach(collider: Collider, directions: np.ndarray) -> np.ndarray:
    """How far a collider reaches along (N, 3) directions in the frame of its object."""
    local, size = directions @ collider.rotation, np.array(collider.size)
    if collider.kind is ColliderKind.HULL:
        own = (local @ collider.points.T).max(axis=1)
    elif collider.kind is ColliderKind.BOX:
        own = np.abs(local) @ size
    elif collider.kind is ColliderKind.ELLIPSOID:
        own = np.linalg.norm(local * size, axis=1)
    elif collider.kind is ColliderKind.CYLINDER:
        own = size[0] * np.hypot(local[:, 0], local[:, 1]) + size[1] * np.abs(local[:, 2])
    else:
        own = size[0] + size[1] * np.abs(local[:, 2])
    return own + directions @ collider.position


def _sides(points: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Outward normals of the planes of a convex hull, and their offsets; tries all triples."""
    a, b, c = (points[list(index)] for index in zip(*itertools.combinations(range(len(points)), 3), strict=True))
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    normals, a = normals[lengths > 1e-12] / lengths[lengths > 1e-12, None], a[lengths > 1e-12]
    normals, offsets = (
        np.concatenate([normals, -normals]),
        np.concatenate([np.sum(normals * a, 1), -np.sum(normals * a, 1)]),
    )
    outer = (normals @ points.T - offsets[:, None]).max(axis=1) < 1e-9
    return list(zip(normals[outer], offsets[outer], strict=True))


def _contains(collider: Collider, point: np.ndarray) -> bool:
    local = collider.rotation.T @ (point - collider.position)
    if collider.kind is ColliderKind.HULL:
        return all(normal @ local <= offset + 1e-9 for normal, offset in _sides(collider.points))
    if collider.kind is ColliderKind.BOX:
        return bool(np.all(np.abs(local) < collider.size))
    radius, half = collider.size
    if collider.kind is ColliderKind.CAPSULE:
        local[2] = max(abs(local[2]) - half, 0.0)
        return bool(np.linalg.norm(local) < radius)
    return bool(np.hypot(*local[:2]) < radius and abs(local[2]) < half)
