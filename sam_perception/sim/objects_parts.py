"""What an object is made of: visible parts, colliders, and the draw that decides its proportions."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from sam_perception.sim.meshes import Mesh, Vector, rotation_about

RGB = tuple[float, float, float]


class Split(str, enum.Enum):
    """Which half of all objects, textures and layouts a world is made of; the halves have nothing in common."""

    TRAIN = "train"
    HELD_OUT = "held-out"


class Role(str, enum.Enum):
    """What a visible part stands for; decides how a scene may colour it."""

    LABEL = "label"  # printed: a label texture, sometimes a pattern or plain
    BODY = "body"  # the main colour
    ACCENT = "accent"  # a second colour
    METAL = "metal"
    DARK = "dark"  # black plastic or rubber
    LIGHT = "light"  # white or translucent plastic


class ColliderKind(str, enum.Enum):
    """The convex shapes that the physics knows."""

    BOX = "box"
    CYLINDER = "cylinder"
    CAPSULE = "capsule"
    ELLIPSOID = "ellipsoid"
    HULL = "hull"


@dataclasses.dataclass(frozen=True)
class Part:
    """A visible part of an object.

    Attributes:
        mesh: in the frame of the object.
        role: what it stands for.
        color: its usual colour, 0..1, or None when any will do.
        texture: kind of texture that it usually has ("wood", "cloth", ...), or None when its role decides.
    """

    mesh: Mesh
    role: Role
    color: RGB | None = None
    texture: str | None = None


@dataclasses.dataclass(frozen=True)
class Collider:
    """A convex piece of an object, for the physics only.

    Attributes:
        kind: the shape.
        size: half extents along x, y, z (box, ellipsoid), or radius and half length along z (cylinder, capsule; a
            capsule's length is without its caps); empty for a hull.
        position: of its middle in the frame of the object, metres.
        rotation: (3, 3), its axes in the frame of the object.
        points: (N, 3) corners of a hull from its position and along its axes, else None.
    """

    kind: ColliderKind
    size: tuple[float, ...]
    position: np.ndarray
    rotation: np.ndarray
    points: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Shape:
    """An object before it has a colour.

    Attributes:
        family: which kind of object it is.
        parts: what is seen.
        colliders: what collides.
        density: of the colliders, kg/m^3.
        upright: share of the scenes in which it is set down as modelled, with z up.
        lies_along: the body axis ("x", "y" or "z") that it rolls or tips about when it is not set down upright.
    """

    family: str
    parts: tuple[Part, ...]
    colliders: tuple[Collider, ...]
    density: float = 400.0
    upright: float = 0.8
    lies_along: str = "x"

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner of all that is seen, metres."""
        vertices = np.concatenate([part.mesh.vertices for part in self.parts])
        return vertices.min(axis=0), vertices.max(axis=0)

    def centered(self) -> Shape:
        """The same object with its frame in the middle of its bounding box."""
        low, high = self.bounds()
        shift = -(low + high) / 2
        parts = tuple(dataclasses.replace(part, mesh=part.mesh.moved(shift)) for part in self.parts)
        colliders = tuple(dataclasses.replace(c, position=c.position + shift) for c in self.colliders)
        return dataclasses.replace(self, parts=parts, colliders=colliders)


class Draw:
    """Draws the proportions of objects, such that no held-out object can equal one that is trained on.

    A range is cut into cells; the lower part of each belongs to the training split, the upper part, after a gap, to
    the held-out split. Both splits so cover the whole range without sharing a value.
    """

    _CELLS = 6

    def __init__(self, split: Split, rng: np.random.Generator):
        self.split = split
        self.rng = rng
        self._share = (0.0, 0.72) if split is Split.TRAIN else (0.78, 0.98)

    def size(self, low: float, high: float) -> float:
        """A length or proportion from low..high."""
        cell = (self.rng.integers(self._CELLS) + self.rng.uniform(*self._share)) / self._CELLS
        return float(low + (high - low) * cell)

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def count(self, low: int, high: int) -> int:
        """A whole number from low..high, both included."""
        return int(self.rng.integers(low, high + 1))

    def color(self) -> RGB:
        """A bright or muted colour."""
        return vivid_color(self.rng)


def vivid_color(rng: np.random.Generator) -> RGB:
    """A colour of any hue, mostly saturated, 0..1."""
    hue, saturation, value = rng.random(), rng.uniform(0.15, 1.0) ** 0.6, rng.uniform(0.25, 1.0) ** 0.7
    channels = np.clip(np.abs((hue * 6.0 + np.array([0.0, 4.0, 2.0])) % 6.0 - 3.0) - 1.0, 0.0, 1.0)
    red, green, blue = value * (1.0 - saturation * (1.0 - channels))
    return float(red), float(green), float(blue)


def box_collider(size: Vector, position: Vector = (0.0, 0.0, 0.0), rotation: np.ndarray | None = None) -> Collider:
    """A box from its full extents."""
    x, y, z = (float(extent) / 2 for extent in size)
    return _collider(ColliderKind.BOX, (x, y, z), position, rotation)


def cylinder_collider(radius: float, low: float, high: float, x: float = 0.0, y: float = 0.0) -> Collider:
    """A cylinder about z between two heights."""
    return _collider(ColliderKind.CYLINDER, (radius, (high - low) / 2), (x, y, (low + high) / 2), None)


def capsule_collider(start: Vector, end: Vector, radius: float) -> Collider:
    """A capsule whose caps are around two points."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    length = float(np.linalg.norm(b - a))
    z = (b - a) / length
    x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
    x /= np.linalg.norm(x)
    rotation = np.column_stack([x, np.cross(z, x), z])
    return _collider(ColliderKind.CAPSULE, (radius, length / 2), (a + b) / 2, rotation)


def ellipsoid_collider(radii: Vector, position: Vector = (0.0, 0.0, 0.0)) -> Collider:
    """An ellipsoid from its radii."""
    x, y, z = (float(radius) for radius in radii)
    return _collider(ColliderKind.ELLIPSOID, (x, y, z), position, None)


def hull_collider(points: np.ndarray) -> Collider:
    """The convex hull of points."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return dataclasses.replace(_collider(ColliderKind.HULL, (), middle, None), points=points - middle)


def mesh_collider(mesh: Mesh) -> Collider:
    """The convex hull of what is seen, for a rounded box or another convex part."""
    return hull_collider(np.unique(mesh.vertices.round(6), axis=0))


def plate_collider(outline: np.ndarray, height: float, z: float = 0.0) -> Collider:
    """A convex outline (N, 2) in the xy plane, extruded to a height about z."""
    flat = np.asarray(outline, dtype=float)
    faces = [np.column_stack([flat, np.full(len(flat), z + side * height / 2)]) for side in (-1, 1)]
    return hull_collider(np.concatenate(faces))


def turned_colliders(outside: Sequence, scale: Vector = (1.0, 1.0, 1.0), slack: float = 0.001) -> list[Collider]:
    """Convex slices of a body that is turned about z; as few as stay within ``slack`` of it where it is waisted.

    Args:
        outside: (r, z) of the outside from the bottom up; z never falls, metres.
        scale: by which the turned body is stretched along x, y, z.
        slack: how far a slice may stand out, metres.
    """
    points = np.maximum(np.asarray(outside, dtype=float), (2e-4, -np.inf))  # a tip of no width is no hull
    angle = np.arange(24) * np.pi / 12
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    slices, start = [], 0
    while start < len(points) - 1:
        stop = start + 1
        while stop + 1 < len(points) and _dent(points[start : stop + 2]) <= slack:
            stop += 1
        rings = [np.column_stack([r * ring, np.full(len(ring), z)]) for r, z in points[start : stop + 1]]
        if points[stop, 1] > points[start, 1]:
            slices.append(hull_collider(np.unique(np.concatenate(rings), axis=0) * np.asarray(scale)))
        start = stop
    return slices


def tube_colliders(mesh: Mesh, path: np.ndarray, pieces: int) -> list[Collider]:
    """The convex hulls of the pieces of a tube along a path (N, 3), which may taper and bend a little."""
    nearest = np.linalg.norm(mesh.vertices[:, None] - path[None], axis=2).argmin(axis=1)
    ends = np.linspace(0, len(path) - 1, pieces + 1).round()
    return [
        hull_collider(np.unique(mesh.vertices[(nearest >= first) & (nearest <= last)].round(6), axis=0))
        for first, last in itertools.pairwise(ends)
    ]


def path_colliders(path: np.ndarray, radius: float, pieces: int) -> list[Collider]:
    """Capsules along a path (N, 3), whose caps end where the path does."""
    corners = path[np.linspace(0, len(path) - 1, pieces + 1).round().astype(int)].astype(float)
    for end, inner in ((0, 1), (-1, -2)):
        way = corners[inner] - corners[end]
        length = float(np.linalg.norm(way))
        corners[end] += way * min(radius / length, 0.45)
    return [capsule_collider(start, stop, radius) for start, stop in itertools.pairwise(corners)]


def shell_colliders(wall: Sequence[Sequence[float]], thickness: float, pieces: int = 10) -> list[Collider]:
    """Hulls that stand around z like the staves of a barrel, so that things can lie inside.

    Args:
        wall: (r, z) from the bottom up, the middle of the wall, metres.
        thickness: of the wall, metres.
        pieces: number of staves.
    """
    half_turn = np.pi / pieces
    corner = 2 / (1 + np.cos(half_turn))  # the staves' corners stand out of the wall as far as their middles stand in
    staves = []
    for (r0, z0), (r1, z1) in itertools.pairwise(wall):
        tilt = np.arctan2(r1 - r0, z1 - z0)
        across = thickness / 2 * np.array([np.cos(tilt), -np.sin(tilt)])
        edges = np.array([np.add((r, z), side * across) for r, z in ((r0, z0), (r1, z1)) for side in (-1, 1)])
        r, z = np.maximum(edges[:, 0], 0) * corner, edges[:, 1]
        middle = np.array([(r0 + r1) / 2, 0.0, (z0 + z1) / 2])
        sides = [np.column_stack([r * np.cos(half_turn), side * r * np.sin(half_turn), z]) for side in (-1, 1)]
        for turn in np.arange(pieces) * 2 * half_turn:
            rotation = rotation_about("z", turn)
            stave = _collider(ColliderKind.HULL, (), rotation @ middle, rotation)
            staves.append(dataclasses.replace(stave, points=np.concatenate(sides) - middle))
    return staves


def _dent(outside: np.ndarray) -> float:
    """How far the farthest of (N, 2) points (r, z) lies inside the convex body that is turned from them."""
    low, high = outside[0, 1], outside[-1, 1]
    around = cv2.convexHull(np.array([*outside, (-1.0, high), (-1.0, low)], np.float32) * 1e3)
    depths_mm = (cv2.pointPolygonTest(around, (float(r), float(z)), measureDist=True) for r, z in outside * 1e3)
    return max(depths_mm) / 1e3


def _collider(kind: ColliderKind, size: tuple[float, ...], position: Vector, rotation: np.ndarray | None) -> Collider:
    return Collider(
        kind, size, np.asarray(position, dtype=float), np.eye(3) if rotation is None else np.asarray(rotation)
    )
