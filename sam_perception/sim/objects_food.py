"""Object families that are round or soft: fruit, balls, bags, rings, computer mice."""

from __future__ import annotations

import dataclasses

import numpy as np

from sam_perception.sim.meshes import Mesh, ball, extrude, grid_normals, joined, lathe, tube
from sam_perception.sim.objects_parts import (
    Draw,
    Part,
    Role,
    Shape,
    ellipsoid_collider,
    mesh_collider,
    path_colliders,
    plate_collider,
    tube_colliders,
    turned_colliders,
)

_ROUND_FRUIT = {
    "apple": ((0.78, 0.12, 0.10), 0.94, 0.008, (0.033, 0.045)),
    "green apple": ((0.55, 0.72, 0.18), 0.94, 0.008, (0.033, 0.045)),
    "orange": ((0.95, 0.50, 0.08), 0.96, 0.003, (0.032, 0.046)),
    "lime": ((0.30, 0.55, 0.15), 1.2, 0.0, (0.022, 0.028)),
    "lemon": ((0.95, 0.83, 0.20), 1.3, -0.004, (0.024, 0.031)),
    "plum": ((0.32, 0.10, 0.25), 1.05, 0.002, (0.02, 0.03)),
    "peach": ((0.92, 0.58, 0.35), 0.95, 0.004, (0.03, 0.038)),
    "tomato": ((0.82, 0.14, 0.08), 0.8, 0.004, (0.025, 0.04)),
    "onion": ((0.75, 0.5, 0.25), 0.95, -0.006, (0.025, 0.04)),
    "egg": ((0.93, 0.82, 0.70), 1.3, 0.0, (0.02, 0.024)),
}


def fruit(draw: Draw) -> Shape:
    """A round fruit with a dimple or a tip, some with a stem."""
    name = str(draw.rng.choice(list(_ROUND_FRUIT)))
    color, aspect, dimple, radii = _ROUND_FRUIT[name]
    radius = draw.size(*radii)
    tall = radius * aspect
    angle = np.linspace(-np.pi / 2, np.pi / 2, 34)
    pole = np.exp(-(((np.pi / 2 - np.abs(angle)) / 0.25) ** 2)) * np.sign(angle)
    z = tall * np.sin(angle) - dimple * pole
    r = radius * np.cos(angle) * (1 + draw.size(-0.06, 0.1) * np.sin(angle))
    parts = [Part(lathe([list(zip(r, z, strict=True))]), Role.BODY, color)]
    if name in ("apple", "green apple", "plum", "tomato"):
        stem = np.array([[0, 0, tall - dimple - 0.004], [0.001, 0, tall + 0.004], [0.004, 0, tall + 0.01]])
        parts.append(Part(tube(stem, 0.0016, 8), Role.DARK, (0.28, 0.2, 0.1)))
    return Shape("fruit", tuple(parts), tuple(mesh_collider(part.mesh) for part in parts), 800.0, 0.6)


def banana(draw: Draw) -> Shape:
    """A banana, chilli, bean or sausage: a bent tube that thins at its ends; or two bananas in a bunch."""
    length, radius = draw.size(0.11, 0.21), draw.size(0.011, 0.02)
    bend = draw.size(0.5, 1.7)
    t = np.linspace(-1, 1, 22)
    heading = bend * t / 2
    path = np.zeros((22, 3))
    path[:, 0], path[:, 1] = np.cumsum(np.cos(heading)) * length / 22, np.cumsum(np.sin(heading)) * length / 22
    radii = radius * np.maximum((1 - np.abs(t) ** draw.size(2.5, 6.0)) ** 0.5, 0.22)
    mesh = tube(path, radii, draw.count(5, 12))
    color = ((0.93, 0.80, 0.18), (0.93, 0.80, 0.18), (0.70, 0.72, 0.22), (0.75, 0.15, 0.10), (0.62, 0.35, 0.2))[
        draw.count(0, 4)
    ]
    parts, colliders = [Part(mesh, Role.BODY, color)], tube_colliders(mesh, path, 6)
    if draw.chance(0.2):
        shift = np.array([0.004, 1.7 * radius, 0.0])
        parts.append(Part(mesh.moved(shift), Role.BODY, color))
        colliders += tube_colliders(parts[-1].mesh, path + shift, 6)
    return Shape("banana", tuple(parts), tuple(colliders), 700.0, 1.0)


def pear(draw: Draw) -> Shape:
    """A pear, aubergine, light bulb or bowling pin: a turned body with a thick and a thin end."""
    radius, tall = draw.size(0.02, 0.04), draw.size(0.07, 0.15)
    neck, belly = draw.size(0.3, 0.65), draw.size(0.25, 0.4)
    t = np.linspace(0, 1, 30)
    cap = np.sqrt(np.clip(1 - (2 * t - 1) ** 2, 0, 1)) ** 0.8
    r = radius * cap * (neck + (1 - neck) * np.exp(-(((t - belly) / 0.3) ** 2)))
    color = ((0.72, 0.74, 0.25), (0.28, 0.1, 0.3), (0.9, 0.88, 0.8), (0.85, 0.45, 0.15))[draw.count(0, 3)]
    outside = list(zip(r, t * tall, strict=True))
    parts = [Part(lathe([outside]), Role.BODY, color)]
    if draw.chance(0.6):
        parts.append(
            Part(
                tube(np.array([[0, 0, tall - 0.004], [0.001, 0, tall + 0.012]]), 0.002, 8), Role.DARK, (0.3, 0.22, 0.1)
            )
        )
    return Shape(
        "fruit",
        tuple(parts),
        (*turned_colliders(outside), *(mesh_collider(part.mesh) for part in parts[1:])),
        700.0,
        0.3,
    )


def carrot(draw: Draw) -> Shape:
    """A carrot, parsnip or cone, along x."""
    length, radius = draw.size(0.08, 0.19), draw.size(0.01, 0.022)
    t = np.linspace(0, 1, 16)
    radii = radius * np.maximum(1 - t ** draw.size(1.0, 2.5), 0.08)
    wobble = draw.size(0.0, 0.006) * np.sin(t * draw.size(3, 8))
    path = np.stack([t * length, wobble, np.zeros(16)], axis=1)
    color = ((0.93, 0.45, 0.10), (0.93, 0.87, 0.72), (0.45, 0.6, 0.2))[draw.count(0, 2)]
    parts = [Part(tube(path, radii, 18), Role.BODY, color)]
    if draw.chance(0.5):
        for _ in range(4):
            tip = np.array([-draw.size(0.02, 0.06), *draw.rng.uniform(-0.012, 0.012, 2)])
            parts.append(Part(tube(np.linspace([0, 0, 0], tip, 3), 0.0022, 6), Role.ACCENT, (0.25, 0.5, 0.15)))
    return Shape("carrot", tuple(parts), tuple(tube_colliders(parts[0].mesh, path, 3)), 700.0, 1.0)


def sphere(draw: Draw) -> Shape:
    """A ball: plain, printed or patterned."""
    radius = draw.size(0.015, 0.05)
    role = Role.LABEL if draw.chance(0.35) else Role.BODY
    return Shape("ball", (Part(ball((radius,) * 3), role),), (ellipsoid_collider((radius,) * 3),), 300.0, 0.0)


def lump(draw: Draw) -> Shape:
    """A potato, bread roll, stone, sponge or soft toy: a bumpy ellipsoid."""
    radii = np.array([draw.size(0.018, 0.065), draw.size(0.018, 0.05), draw.size(0.014, 0.04)])
    mesh = ball(radii, _bumps(draw, draw.size(0.03, 0.25)))
    color = ((0.72, 0.55, 0.32), (0.8, 0.62, 0.38), (0.5, 0.5, 0.48), None, None)[draw.count(0, 4)]
    return Shape("lump", (Part(mesh, Role.BODY, color),), (mesh_collider(mesh),), 500.0, 0.7)


def bag(draw: Draw) -> Shape:
    """A pillow bag of crisps, coffee or sweets, or a sachet: two printed sheets, swollen and wrinkled."""
    size = (draw.size(0.06, 0.18), draw.size(0.05, 0.2), draw.size(0.012, 0.06))
    mesh = _pillow(draw, size)
    return Shape("bag", (Part(mesh, Role.LABEL),), (mesh_collider(mesh),), 200.0, 0.85)


def ring(draw: Draw) -> Shape:
    """A doughnut, hair tie, bracelet or rubber ring."""
    radius = draw.size(0.015, 0.045)
    thick = radius * draw.size(0.12, 0.48)
    angle = np.linspace(0, 2 * np.pi, 33)
    path = radius * np.stack([np.cos(angle), np.sin(angle), np.zeros(33)], axis=1)
    color = (0.72, 0.48, 0.25) if draw.chance(0.25) else None
    return Shape(
        "ring", (Part(tube(path, thick, 14), Role.BODY, color),), tuple(path_colliders(path, thick, 8)), 500.0, 0.95
    )


def pointer(draw: Draw) -> Shape:
    """A computer mouse, soap bar or pebble: the upper half of a smooth body."""
    size = np.array([draw.size(0.04, 0.065), draw.size(0.026, 0.038), draw.size(0.018, 0.036)])
    lift = 0.35
    rows, columns = 22, 32
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    flattened = np.where(latitude < 0, lift, 1.0)[:, None] * np.ones((1, columns + 1))
    mesh = ball(size)
    vertices = mesh.vertices * np.stack([np.ones(flattened.size), np.ones(flattened.size), flattened.ravel()], axis=1)
    mesh = dataclasses.replace(mesh, vertices=vertices)
    parts = [Part(mesh, Role.DARK if draw.chance(0.4) else Role.BODY)]
    if draw.chance(0.5):
        wheel = ball((0.007, 0.0035, 0.006), rows=8, columns=12).moved((size[0] * 0.5, 0, size[2] * 0.84))
        parts.append(Part(wheel, Role.ACCENT))
    return Shape("lump", tuple(parts), (mesh_collider(mesh),), 500.0, 1.0)


def puzzle(draw: Draw) -> Shape:
    """A cookie-cutter shape of smooth random outline: biscuits, foam letters, puzzle pieces."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = 1.0 + sum(draw.size(0.0, 0.45) / k * np.cos(k * angle + draw.rng.uniform(0, 6.28)) for k in (2, 3, 4, 5))
    outline = (
        draw.size(0.02, 0.055) * np.maximum(radius, 0.3)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    )
    height = draw.size(0.004, 0.022)
    wedges = [np.array([(0.0, 0.0), *outline[np.arange(k, k + 5) % 48]]) for k in range(0, 48, 4)]
    colliders = tuple(plate_collider(wedge, height) for wedge in wedges)
    return Shape("cookie", (Part(extrude(outline, height), Role.BODY),), colliders, 500.0, 0.95)


def _bumps(draw: Draw, strength: float, rows: int = 22, columns: int = 32) -> np.ndarray:
    """(rows + 1, columns + 1) smooth factors around 1 for a ball."""
    latitude, longitude = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rows + 1), np.linspace(0, 2 * np.pi, columns + 1), indexing="ij"
    )
    total = np.zeros_like(latitude)
    for k in range(1, 4):
        phase, tilt = draw.rng.uniform(0, 2 * np.pi, 2)
        total += np.cos(latitude) ** k * np.cos(k * longitude + phase) / k + 0.5 * np.sin(k * latitude + tilt) / k
    return 1.0 + strength * total / 2


def _pillow(draw: Draw, size: tuple[float, float, float], steps: int = 16) -> Mesh:
    t, s = np.meshgrid(np.linspace(-1, 1, steps + 1), np.linspace(-1, 1, steps + 1), indexing="ij")
    swell = np.sqrt(np.clip((1 - np.abs(s) ** 3.5) * (1 - np.abs(t) ** 3.5), 0, 1))
    wrinkles = sum(
        np.sin(draw.rng.uniform(3, 14) * s + draw.rng.uniform(3, 14) * t + draw.rng.uniform(0, 6.28)) for _ in range(4)
    )
    sheets = []
    for sign in (1.0, -1.0):
        z = sign * size[2] / 2 * swell * (1 + 0.06 * sign * wrinkles) + 0.0004 * sign
        waist = 1 - 0.06 * np.cos(np.pi * t / 2)
        points = np.dstack([s * size[0] / 2 * waist * sign, t * size[1] / 2, z])
        uv = np.dstack([(s + 1) / 2, (t + 1) / 2])
        sheets.append(_sheet(points, uv))
    return joined(sheets)


def _sheet(points: np.ndarray, uv: np.ndarray) -> Mesh:
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (corner.ravel() for corner in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return Mesh(points.reshape(-1, 3), grid_normals(points).reshape(-1, 3), uv.reshape(-1, 2), faces)
