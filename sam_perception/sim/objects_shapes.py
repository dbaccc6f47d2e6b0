"""Object families of plain and odd shapes: blocks, bricks, polyhedra, extrusions, turned parts, toys, flat things."""

from __future__ import annotations

import itertools

import numpy as np

from sam_perception.sim.meshes import Mesh, box, chain, extrude, hull, lathe, rotation_about, tube
from sam_perception.sim.objects_parts import (
    Collider,
    Draw,
    Part,
    Role,
    Shape,
    box_collider,
    cylinder_collider,
    hull_collider,
    mesh_collider,
    path_colliders,
    plate_collider,
    turned_colliders,
)


def block(draw: Draw) -> Shape:
    """A plain block or cube."""
    x = draw.size(0.02, 0.1)
    size = (x, x * draw.size(0.4, 1.0), x * draw.size(0.3, 1.1)) if draw.chance(0.7) else (x, x, x)
    part = Part(box(size, draw.size(0.0, 0.004)), Role.BODY, texture="wood" if draw.chance(0.25) else None)
    return Shape("block", (part,), (box_collider(size),), 500.0, 0.6)


def brick(draw: Draw) -> Shape:
    """A toy brick with studs."""
    columns, rows = draw.count(1, 4), draw.count(1, 2)
    pitch = draw.size(0.016, 0.045)
    tall = pitch * draw.size(0.5, 1.2)
    size = (columns * pitch, rows * pitch, tall)
    radius, stud = pitch * draw.size(0.26, 0.4), pitch * draw.size(0.15, 0.32)
    cap = _round_cap(radius, stud, draw.chance(0.4))
    places = [
        ((c - (columns - 1) / 2) * pitch, (r - (rows - 1) / 2) * pitch) for c in range(columns) for r in range(rows)
    ]
    parts = [Part(box(size, 0.002), Role.BODY)]
    parts += [Part(cap.moved((x, y, tall / 2)), Role.BODY) for x, y in places]
    colliders = [box_collider(size), *(mesh_collider(part.mesh) for part in parts[1:])]
    return Shape("brick", tuple(parts), tuple(colliders), 300.0, 0.7)


def polyhedron(draw: Draw) -> Shape:
    """A random convex stone-like body."""
    count = draw.count(6, 13)
    points = draw.rng.standard_normal((count, 3))
    points *= (draw.rng.uniform(0.75, 1.0, (count, 1))) / np.linalg.norm(points, axis=1, keepdims=True)
    points = points * np.array([draw.size(0.015, 0.06) for _ in range(3)])
    return Shape("polyhedron", (Part(hull(points), Role.BODY),), (hull_collider(points),), 600.0, 0.4)


def extrusion(draw: Draw) -> Shape:
    """A flat part of concave outline: L, T, U, plus, star, gear, arrow, washer, frame."""
    kind = draw.count(0, 8)
    scale, height = draw.size(0.02, 0.07), draw.size(0.006, 0.04)
    arm = draw.size(0.25, 0.6)
    makers = [_letter_l, _letter_t, _letter_u, _plus, _star, _gear, _arrow, _washer, _frame]
    outline, hole, pieces = makers[kind](draw, arm)
    mesh = extrude(outline * scale, height, None if hole is None else hole * scale)
    colliders = [plate_collider(piece * scale, height) for piece in pieces]
    part = Part(mesh, Role.METAL if draw.chance(0.15) else Role.BODY, texture="wood" if draw.chance(0.15) else None)
    return Shape("extrusion", (part,), tuple(colliders), 500.0, 0.75)


def turned(draw: Draw) -> Shape:
    """A chess-piece-like body of random profile."""
    tall, radius = draw.size(0.03, 0.16), draw.size(0.012, 0.04)
    count = draw.count(3, 6)
    knots = np.array([draw.size(0.25, 1.0) for _ in range(count)]) * radius
    knots[0] = radius * draw.size(0.7, 1.0)
    z = np.linspace(0, tall, 26)
    r = np.interp(z, np.linspace(0, tall, count), knots)
    if draw.chance(0.6):
        kernel = np.array([1, 2, 3, 2, 1]) / 9
        r = np.convolve(np.pad(r, 2, mode="edge"), kernel, mode="valid")
    mesh = lathe([[(0, 0), (r[0], 0)], list(zip(r, z, strict=True)), [(r[-1], tall), (0, tall)]])
    colliders = turned_colliders(list(zip(r, z, strict=True)))
    return Shape(
        "turned", (Part(mesh, Role.BODY, texture="wood" if draw.chance(0.3) else None),), tuple(colliders), 600.0, 0.7
    )


def book(draw: Draw) -> Shape:
    """A book: cover, white pages set back."""
    wide, deep, tall = draw.size(0.09, 0.19), draw.size(0.12, 0.25), draw.size(0.008, 0.04)
    cover = 0.002
    pages = box((wide - 0.006, deep - 0.008, tall - 2 * cover)).moved((0.003, 0, 0))
    plates = [box((wide, deep, cover)).moved((0, 0, s * (tall - cover) / 2)) for s in (-1, 1)]
    spine = box((cover, deep, tall)).moved((-(wide - cover) / 2, 0, 0))
    parts = [Part(mesh, Role.LABEL) for mesh in plates] + [Part(spine, Role.LABEL), Part(pages, Role.LIGHT)]
    return Shape("book", tuple(parts), (box_collider((wide, deep, tall)),), 600.0, 0.95)


def device(draw: Draw) -> Shape:
    """A phone, remote control, calculator or hard disk."""
    deep = draw.size(0.07, 0.2)
    wide, tall = deep * draw.size(0.24, 0.62), draw.size(0.007, 0.024)
    body = box((wide, deep, tall), tall * 0.3)
    parts = [Part(body, Role.DARK if draw.chance(0.5) else Role.BODY)]
    if draw.chance(0.45):
        screen = box((wide * 0.9, deep * 0.86, 0.001)).moved((0, 0, tall / 2))
        parts.append(Part(screen, Role.LABEL if draw.chance(0.3) else Role.DARK))
    else:
        columns, rows = draw.count(2, 4), draw.count(3, 8)
        key = min(wide / columns, deep / rows) * 0.55
        cap = box((key, key * 0.8, 0.003), 0.001)
        for c in range(columns):
            for r in range(rows):
                place = ((c + 0.5) / columns - 0.5) * wide * 0.85, ((r + 0.5) / rows - 0.5) * deep * 0.85
                parts.append(Part(cap.moved((*place, tall / 2 + 0.0008)), Role.ACCENT))
    return Shape("device", tuple(parts), (mesh_collider(body),), 900.0, 0.95)


def card(draw: Draw) -> Shape:
    """A thin card, coaster, slip or tile."""
    if draw.chance(0.3):
        radius, tall = draw.size(0.035, 0.055), draw.size(0.001, 0.006)
        mesh = lathe(chain((0, -tall / 2), (radius, -tall / 2), (radius, tall / 2), (0, tall / 2)))
        return Shape("card", (Part(mesh, Role.LABEL),), (cylinder_collider(radius, -tall / 2, tall / 2),), 700.0, 1.0)
    size = (draw.size(0.045, 0.12), draw.size(0.06, 0.17), draw.size(0.001, 0.005))
    return Shape("card", (Part(box(size), Role.LABEL),), (box_collider((*size[:2], max(size[2], 0.002))),), 700.0, 1.0)


def small(draw: Draw) -> Shape:
    """A thing of 1 to 3 cm: die, nut, bolt, coin, cap, battery."""
    kind = draw.count(0, 5)
    if kind == 0:
        edge = draw.size(0.011, 0.024)
        return Shape("small", (Part(box((edge,) * 3, edge * 0.12), Role.BODY),), (box_collider((edge,) * 3),), 800.0)
    if kind == 1:
        radius, tall = draw.size(0.007, 0.017), draw.size(0.004, 0.012)
        angle = np.arange(6) * np.pi / 3
        hexagon = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        bore = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        hole = 0.55 * radius * np.stack([np.cos(bore), np.sin(bore)], axis=1)
        mesh = extrude(hexagon, tall, hole)
        return Shape(
            "small", (Part(mesh, Role.METAL),), (cylinder_collider(radius * 0.9, -tall / 2, tall / 2),), 3000.0
        )
    if kind == 2:
        radius, length = draw.size(0.003, 0.006), draw.size(0.02, 0.055)
        head, tall = radius * draw.size(1.6, 2.2), radius * draw.size(0.9, 1.5)
        mesh = lathe(
            chain((0, 0), (radius, 0), (radius, length), (head, length), (head, length + tall), (0, length + tall)), 20
        )
        colliders = (cylinder_collider(radius, 0, length), cylinder_collider(head, length, length + tall))
        return Shape("small", (Part(mesh, Role.METAL),), colliders, 3000.0, 0.15)
    radius = draw.size(0.008, 0.02)
    tall = {3: draw.size(0.0015, 0.004), 4: draw.size(0.008, 0.018), 5: draw.size(0.03, 0.05)}[kind]
    mesh = lathe(chain((0, 0), (radius, 0), (radius, tall), (0, tall)), 28)
    role = Role.METAL if kind == 3 else Role.LABEL if kind == 5 else Role.BODY
    return Shape("small", (Part(mesh, role),), (cylinder_collider(radius, 0, tall),), 1500.0, 0.7)


def vehicle(draw: Draw) -> Shape:
    """A toy car, lorry or train."""
    length, wide = draw.size(0.06, 0.16), draw.size(0.03, 0.065)
    tall = wide * draw.size(0.4, 0.7)
    radius = wide * draw.size(0.16, 0.26)
    base = box((length, wide, tall), 0.15 * tall).moved((0, 0, radius + tall / 2))
    cab_length = length * draw.size(0.25, 0.6)
    cab_tall = tall * draw.size(0.6, 1.3)
    shift = (length - cab_length) * draw.size(-0.45, 0.45)
    cab = box((cab_length, wide * 0.9, cab_tall), 0.2 * tall).moved((shift, 0, radius + tall + cab_tall * 0.45))
    tyre = lathe(chain((0, -0.004), (radius, -0.004), (radius, 0.004), (0, 0.004)), 20)
    wheels = [
        tyre.moved((sx * length * 0.33, sy * wide * 0.5, radius), rotation_about("x", np.pi / 2))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    parts = [Part(base, Role.BODY), Part(cab, Role.ACCENT)] + [Part(wheel, Role.DARK) for wheel in wheels]
    colliders = [
        mesh_collider(base),
        mesh_collider(cab),
        *(mesh_collider(wheel) for wheel in wheels),
    ]
    return Shape("toy", tuple(parts), tuple(colliders), 400.0, 0.85)


def creature(draw: Draw) -> Shape:
    """A toy of random boxes, balls and rods stuck together: figures, planes, abstract pieces."""
    parts: list[Part] = []
    colliders: list[Collider] = []
    size = np.array([draw.size(0.03, 0.08), draw.size(0.02, 0.05), draw.size(0.02, 0.05)])
    parts.append(Part(box(size, 0.3 * float(size.min())), Role.BODY))
    colliders.append(mesh_collider(parts[0].mesh))
    for _ in range(draw.count(2, 5)):
        axis = draw.count(0, 2)
        place = draw.rng.uniform(-0.4, 0.4, 3) * size
        side = 1.0 if draw.chance(0.5) else -1.0
        place[axis] = side * size[axis] / 2
        grown = np.array([draw.size(0.01, 0.04) for _ in range(3)])
        role = Role.ACCENT if draw.chance(0.6) else Role.BODY
        if draw.chance(0.5):
            parts.append(Part(box(grown, 0.25 * float(grown.min())).moved(place), role))
            colliders.append(mesh_collider(parts[-1].mesh))
        else:
            tip = place.copy()
            tip[axis] += side * draw.size(0.015, 0.06)
            radius = draw.size(0.004, 0.012)
            parts.append(Part(tube(np.linspace(place, tip, 4), radius), role))
            colliders.append(mesh_collider(parts[-1].mesh))
    return Shape("toy", tuple(parts), tuple(colliders), 300.0, 0.6)


def cable(draw: Draw) -> Shape:
    """A stiff piece of cable or a hose that winds on the table."""
    radius, length = draw.size(0.0025, 0.006), draw.size(0.15, 0.45)
    steps = 48
    bends = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, 6), draw.rng.uniform(-1, 1, 6) * draw.size(5.0, 22.0))
    heading = np.cumsum(bends) * length / steps
    path = np.zeros((steps, 3))
    path[:, 0], path[:, 1] = np.cumsum(np.cos(heading)) * length / steps, np.cumsum(np.sin(heading)) * length / steps
    role = Role.DARK if draw.chance(0.4) else Role.BODY
    return Shape("cable", (Part(tube(path, radius, 8), role),), tuple(path_colliders(path, radius, 10)), 500.0, 1.0)


def _round_cap(radius: float, tall: float, domed: bool) -> Mesh:
    if not domed:
        return lathe(chain((radius, 0), (radius, tall), (0, tall)), 20)
    angle = np.linspace(0, np.pi / 2, 7)
    return lathe([[(radius * np.cos(a), tall * np.sin(a)) for a in angle]], 20)


# Each returns an outline of about unit radius (N, 2), a hole or None, and the convex pieces (M, 2) that it is made of.


def _letter_l(draw: Draw, arm: float) -> tuple:
    outline = np.array([[-1, -1], [1, -1], [1, -1 + arm], [-1 + arm, -1 + arm], [-1 + arm, 1], [-1, 1]])
    return outline, None, [_rectangle(0, -1 + arm / 2, 2, arm), _rectangle(-1 + arm / 2, 0, arm, 2)]


def _letter_t(draw: Draw, arm: float) -> tuple:
    h = arm / 2
    outline = np.array([[-h, -1], [h, -1], [h, 1 - arm], [1, 1 - arm], [1, 1], [-1, 1], [-1, 1 - arm], [-h, 1 - arm]])
    return outline, None, [_rectangle(0, 0, arm, 2), _rectangle(0, 1 - arm / 2, 2, arm)]


def _letter_u(draw: Draw, arm: float) -> tuple:
    a = arm * 0.8
    outline = np.array([[-1, -1], [1, -1], [1, 1], [1 - a, 1], [1 - a, -1 + a], [-1 + a, -1 + a], [-1 + a, 1], [-1, 1]])
    sides = [_rectangle(s * (1 - a / 2), 0, a, 2) for s in (-1, 1)]
    return outline, None, [_rectangle(0, -1 + a / 2, 2, a), *sides]


def _plus(draw: Draw, arm: float) -> tuple:
    h = arm * 0.6
    corners = [
        [h, -1],
        [h, -h],
        [1, -h],
        [1, h],
        [h, h],
        [h, 1],
        [-h, 1],
        [-h, h],
        [-1, h],
        [-1, -h],
        [-h, -h],
        [-h, -1],
    ]
    return np.array(corners), None, [_rectangle(0, 0, 2 * h, 2), _rectangle(0, 0, 2, 2 * h)]


def _star(draw: Draw, arm: float) -> tuple:
    points = draw.count(4, 8)
    angle = np.arange(2 * points) * np.pi / points
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, 0.3 + arm * 0.6)
    outline = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    spikes = [outline[[k - 1, k, (k + 1) % len(outline)]] for k in range(0, len(outline), 2)]
    return outline, None, [outline[1::2], *spikes]


def _gear(draw: Draw, arm: float) -> tuple:
    teeth = draw.count(8, 16)
    step = np.pi / teeth
    angle = np.repeat(np.arange(2 * teeth) * step, 2) + np.tile([0.2, 0.8], 2 * teeth) * step
    radius = np.repeat(np.where(np.arange(2 * teeth) % 2 == 0, 1.0, 0.82), 2)
    outline = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return outline, _circle(0.2 + 0.5 * arm), _ring_pieces(0.2 + 0.5 * arm, 0.95)


def _arrow(draw: Draw, arm: float) -> tuple:
    h = arm / 2
    outline = np.array([[-1, -h], [0.1, -h], [0.1, -0.8], [1, 0], [0.1, 0.8], [0.1, h], [-1, h]])
    return outline, None, [_rectangle(-0.45, 0, 1.1, arm), outline[2:5]]


def _washer(draw: Draw, arm: float) -> tuple:
    return _circle(1.0), _circle(1.0 - arm * 0.7), _ring_pieces(1.0 - arm * 0.7, 1.0)


def _frame(draw: Draw, arm: float) -> tuple:
    y, a = draw.size(0.5, 1.0), arm * 0.5
    outline = np.array([[-1, -y], [1, -y], [1, y], [-1, y]])
    hole = np.array([[-1 + a, -y + a], [1 - a, -y + a], [1 - a, y - a], [-1 + a, y - a]])
    long = [_rectangle(0, s * (y - a / 2), 2, a) for s in (-1, 1)]
    return outline, hole, long + [_rectangle(s * (1 - a / 2), 0, a, 2 * y) for s in (-1, 1)]


def _circle(radius: float, steps: int = 40) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _rectangle(x: float, y: float, width: float, depth: float) -> np.ndarray:
    return np.array([(x + i * width / 2, y + j * depth / 2) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


def _ring_pieces(inner: float, outer: float, count: int = 12) -> list[np.ndarray]:
    ends = np.arange(count + 1) * 2 * np.pi / count
    rays = np.stack([np.cos(ends), np.sin(ends)], axis=1)
    return [
        np.concatenate([inner * rays[k : k + 2], outer * np.stack([np.cos(t), np.sin(t)], axis=1)])
        for k, t in enumerate(np.linspace(a, b, 4) for a, b in itertools.pairwise(ends))
    ]
