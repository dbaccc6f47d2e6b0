"""The tables of a world, its floor and walls, and the furniture around."""

from __future__ import annotations

import dataclasses

import numpy as np

from sam_perception.sim.meshes import Mesh, box, lathe, plane, tube
from sam_perception.sim.objects_parts import Collider, Part, Role, box_collider, cylinder_collider

FLOOR_SIZE_M = 9.0
WALL_HEIGHT_M = 2.6


@dataclasses.dataclass(frozen=True)
class Furniture:
    """Something that stands still in a scene.

    Attributes:
        kind: "table", "round table", "floor", "wall", "mat" or "furniture".
        parts: what is seen; a table's top comes first.
        colliders: what objects rest on; empty for all but tables.
        size_m: (x, y) of a table top or mat; (0, 0) otherwise.
    """

    kind: str
    parts: tuple[Part, ...]
    colliders: tuple[Collider, ...] = ()
    size_m: tuple[float, float] = (0.0, 0.0)

    @property
    def height_m(self) -> float:
        """Of its highest point in its own frame."""
        return max(float(part.mesh.vertices[:, 2].max()) for part in self.parts)


def make_tables(rng: np.random.Generator) -> list[Furniture]:
    """Two rectangular tables, a bench or desk and a round one, all with their top at z = 0."""
    small = _table(rng, rng.uniform(0.55, 0.9), rng.uniform(0.45, 0.7))
    middle = _table(rng, rng.uniform(0.9, 1.4), rng.uniform(0.6, 0.9))
    wide = _table(rng, rng.uniform(1.5, 2.4), rng.uniform(0.8, 1.3))
    return [small, middle, wide, _round_table(rng, rng.uniform(0.3, 0.6))]


def make_furniture(rng: np.random.Generator) -> list[Furniture]:
    """The floor, four walls, a mat to lie on the table, then pieces that stand around."""
    floor = plane((FLOOR_SIZE_M, FLOOR_SIZE_M), (40, 40), (6.0, 6.0))
    wall = plane((FLOOR_SIZE_M, WALL_HEIGHT_M), (40, 12), (4.0, 1.2))
    pieces = [Furniture("floor", (Part(floor, Role.BODY),))]
    pieces += [Furniture("wall", (Part(wall, Role.BODY),)) for _ in range(4)]
    mat = (rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.4))
    pieces.append(Furniture("mat", (Part(plane(mat, (16, 12)), Role.BODY),), size_m=mat))
    makers = (_chair, _shelf, _boxes, _bin, _monitor, _chair, _stool, _boxes)
    return pieces + [Furniture("furniture", tuple(maker(rng))) for maker in makers]


def _table(rng: np.random.Generator, x: float, y: float) -> Furniture:
    thick, leg, height = rng.uniform(0.015, 0.05), rng.uniform(0.03, 0.08), 1.2
    top = plane((x, y), (max(8, int(20 * x)), max(8, int(20 * y))))
    slab = box((x, y, thick), rng.uniform(0.0, 0.004), steps=8).moved((0, 0, -thick / 2 - 0.0008))
    post = box((leg, leg, height), 0.004)
    inset = rng.uniform(0.02, 0.12)
    places = [
        (sx * (x / 2 - leg / 2 - inset), sy * (y / 2 - leg / 2 - inset), -thick - height / 2)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    parts = [Part(top, Role.BODY), Part(slab, Role.BODY)] + [Part(post.moved(place), Role.ACCENT) for place in places]
    if rng.random() < 0.5:
        apron = box((x * 0.9, y * 0.85, 0.07)).moved((0, 0, -thick - 0.035))
        parts.append(Part(apron, Role.ACCENT))
    return Furniture("table", tuple(parts), (box_collider((x, y, 0.2), (0, 0, -0.1)),), (x, y))


def _round_table(rng: np.random.Generator, radius: float) -> Furniture:
    thick = rng.uniform(0.015, 0.045)
    rings = [(radius * s, 0.0) for s in np.linspace(1, 0, 12)]
    top = lathe([rings], 64)
    top = dataclasses.replace(top, uv=top.vertices[:, :2] / (2 * radius) + 0.5)
    edge = lathe([[(0, -thick), (radius, -thick)], [(radius, -thick), (radius, 0)]], 64)
    foot = lathe([[(0.03, -1.3), (0.03, -thick)]], 20)
    parts = (Part(top, Role.BODY), Part(edge, Role.BODY), Part(foot, Role.ACCENT))
    return Furniture("round table", parts, (cylinder_collider(radius, -0.2, 0.0),), (2 * radius, 2 * radius))


# Furniture stands on z = 0 of its own frame.


def _chair(rng: np.random.Generator) -> list[Part]:
    seat, back = rng.uniform(0.4, 0.5), rng.uniform(0.35, 0.55)
    parts = [Part(box((seat, seat, 0.06), 0.025).moved((0, 0, 0.45)), Role.BODY)]
    parts.append(Part(box((seat, 0.05, back), 0.02).moved((0, seat / 2, 0.5 + back / 2)), Role.BODY))
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot = np.array([sx * seat * 0.5, sy * seat * 0.5, 0.0])
            top = np.array([sx * seat * 0.35, sy * seat * 0.35, 0.44])
            parts.append(Part(tube(np.linspace(foot, top, 4), 0.014, 8), Role.METAL))
    return parts


def _shelf(rng: np.random.Generator) -> list[Part]:
    wide, tall = rng.uniform(0.6, 1.3), rng.uniform(0.9, 1.8)
    sides = [box((0.02, 0.3, tall)).moved((s * wide / 2, 0, tall / 2)) for s in (-1, 1)]
    levels = np.linspace(0.05, tall, int(rng.integers(3, 6)))
    parts = [Part(mesh, Role.BODY) for mesh in sides]
    parts += [Part(box((wide, 0.3, 0.02)).moved((0, 0, z)), Role.BODY) for z in levels]
    for z in levels[:-1]:
        for x in rng.uniform(-0.4, 0.4, 3) * wide:
            size = rng.uniform(0.06, 0.22, 3)
            parts.append(Part(box(size).moved((x, 0, z + 0.01 + size[2] / 2)), Role.LABEL))
    return parts


def _boxes(rng: np.random.Generator) -> list[Part]:
    parts, top = [], 0.0
    for _ in range(int(rng.integers(1, 4))):
        size = rng.uniform(0.2, 0.55, 3)
        parts.append(Part(box(size, 0.005).moved((*rng.uniform(-0.05, 0.05, 2), top + size[2] / 2)), Role.LABEL))
        top += size[2]
    return parts


def _bin(rng: np.random.Generator) -> list[Part]:
    low, high, tall = rng.uniform(0.1, 0.2), rng.uniform(0.15, 0.25), rng.uniform(0.3, 0.6)
    shell: Mesh = lathe(
        [
            [(0, 0), (low, 0)],
            [(low, 0), (high, tall)],
            [(high, tall), (high - 0.01, tall)],
            [(high - 0.01, tall), (low, 0.02)],
        ]
    )
    return [Part(shell, Role.BODY)]


def _monitor(rng: np.random.Generator) -> list[Part]:
    wide = rng.uniform(0.45, 0.7)
    desk = Part(box((1.4, 0.7, 0.03)).moved((0, 0, 0.72)), Role.BODY)
    legs = [Part(box((0.05, 0.6, 0.7)).moved((s * 0.6, 0, 0.35)), Role.ACCENT) for s in (-1, 1)]
    screen = Part(box((wide, 0.03, wide * 0.6), 0.004).moved((0, 0, 0.9 + wide * 0.3)), Role.DARK)
    stand = Part(box((0.06, 0.05, 0.2)).moved((0, 0.03, 0.83)), Role.DARK)
    return [desk, *legs, screen, stand]


def _stool(rng: np.random.Generator) -> list[Part]:
    radius, tall = rng.uniform(0.15, 0.22), rng.uniform(0.4, 0.65)
    seat = lathe(
        [
            [(0, tall - 0.05), (radius, tall - 0.05)],
            [(radius, tall - 0.05), (radius, tall)],
            [(radius, tall), (0, tall)],
        ]
    )
    legs = [
        tube(
            np.linspace(
                [radius * np.cos(a), radius * np.sin(a), 0.0],
                [0.6 * radius * np.cos(a), 0.6 * radius * np.sin(a), tall - 0.05],
                3,
            ),
            0.015,
            8,
        )
        for a in (0.3, 2.4, 4.5)
    ]
    return [Part(seat, Role.BODY)] + [Part(mesh, Role.METAL) for mesh in legs]
