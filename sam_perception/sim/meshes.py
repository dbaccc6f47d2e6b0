"""Triangle meshes of the shapes that objects and furniture are made of, in metres."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

Panel = tuple[float, float, float, float]
Vector = Sequence[float] | np.ndarray
_WHOLE: Panel = (0.0, 0.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A surface with one normal and one texture coordinate per vertex.

    Attributes:
        vertices: (V, 3) metres.
        normals: (V, 3), unit, outward.
        uv: (V, 2), v = 0 at the bottom row of the texture.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    faces: np.ndarray

    def moved(self, translation: Vector, rotation: np.ndarray | None = None) -> Mesh:
        """This mesh, turned by a (3, 3) rotation, then shifted."""
        turn = np.eye(3) if rotation is None else rotation
        return dataclasses.replace(
            self, vertices=self.vertices @ turn.T + np.asarray(translation), normals=self.normals @ turn.T
        )

    def scaled(self, factors: Vector) -> Mesh:
        """This mesh with each axis stretched by its own positive factor."""
        factor = np.asarray(factors, dtype=float)
        return dataclasses.replace(self, vertices=self.vertices * factor, normals=_unit(self.normals / factor))


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh out of several."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
    )


def rotation_about(axis: str, angle_rad: float) -> np.ndarray:
    """(3, 3) rotation about the axis "x", "y" or "z"."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = c
    rotation[second, first], rotation[first, second] = s, -s
    return rotation


def chain(*corners: Vector) -> list:
    """The straight pieces between corners, each its own polyline: all corners are creases."""
    return [[start, end] for start, end in itertools.pairwise(corners)]


def arc(r: float, z: float, radius: float, start_deg: float, end_deg: float, steps: int = 6) -> list:
    """A piece of a circle around (r, z) as a polyline of `steps` pieces."""
    angle = np.deg2rad(np.linspace(start_deg, end_deg, steps + 1))
    return [(r + radius * np.cos(t), z + radius * np.sin(t)) for t in angle]


def lathe(profile: Sequence, segments: int = 36) -> Mesh:
    """Turns a profile about z.

    Args:
        profile: polylines of (r, z), metres, from the bottom of the axis outwards and up (and, for something
            open, back in). Each polyline is shaded smooth; where one ends and the next begins is a crease.
        segments: number of steps around.
    """
    return joined([_turned(np.asarray(polyline, dtype=float), segments) for polyline in profile])


def box(size: Vector, bevel: float = 0.0, panels: dict[str, Panel] | None = None, steps: int = 3) -> Mesh:
    """A box around the origin with rounded edges.

    Args:
        size: extent along x, y and z, metres.
        bevel: radius of the edges, metres; 0 leaves them sharp.
        panels: part of the texture (u0, v0, u1, v1) on its "front" (-y, +y), "side" (-x, +x) and "top" (-z, +z).
        steps: number of strips that a face is cut into.
    """
    panels = panels or {}
    x, y, z = np.eye(3)
    faces = [
        (x, z, -y, "front"),
        (-x, z, y, "front"),
        (y, z, x, "side"),
        (-y, z, -x, "side"),
        (x, y, z, "top"),
        (-x, y, -z, "top"),
    ]
    half = np.asarray(size, dtype=float) / 2
    bevel = float(min(bevel, 0.98 * half.min()))
    return joined([_rounded_face(half, bevel, face, panels.get(name, _WHOLE), steps) for *face, name in faces])


def plane(size: tuple[float, float], steps: tuple[int, int], tiles: tuple[float, float] = (1.0, 1.0)) -> Mesh:
    """A rectangle in the xy plane that faces +z, cut into steps so that lamps light it evenly."""
    t, s = np.meshgrid(np.linspace(0, 1, steps[1] + 1), np.linspace(0, 1, steps[0] + 1), indexing="ij")
    points = np.dstack([(s - 0.5) * size[0], (t - 0.5) * size[1], np.zeros_like(s)])
    return _grid(points, np.broadcast_to([0.0, 0.0, 1.0], points.shape), np.dstack([s * tiles[0], t * tiles[1]]))


def tube(path: np.ndarray, radius: float | np.ndarray, segments: int = 14, aspect: float = 1.0) -> Mesh:
    """A closed-off tube along a path.

    Args:
        path: (N, 3) points of its middle line, metres.
        radius: one, or (N,) of them, metres.
        segments: number of steps around.
        aspect: width across divided by width along the normal of the first bend; 1 is round.
    """
    path = np.asarray(path, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(path))
    tangent = _unit(np.gradient(path, axis=0))
    normal = _carried_normals(tangent)
    binormal = np.cross(tangent, normal)
    ring = np.linspace(0, 2 * np.pi, segments + 1)
    around = np.cos(ring)[None, :, None] * normal[:, None] + aspect * np.sin(ring)[None, :, None] * binormal[:, None]
    points = path[:, None] + radii[:, None, None] * around
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    v, u = np.meshgrid(length / length[-1], ring / (2 * np.pi), indexing="ij")
    side = _grid(points, grid_normals(points, wraps=True), np.dstack([u, v]))
    ends = [_fan(points[0][::-1], -tangent[0]), _fan(points[-1], tangent[-1])]
    return joined([side, *ends])


def extrude(outline: np.ndarray, height: float, hole: np.ndarray | None = None, smooth_deg: float = 40.0) -> Mesh:
    """A flat shape of any outline, around z = 0.

    Args:
        outline: (N, 2) corners, counter-clockwise, metres, may be concave, must not cross itself.
        height: extent along z, metres.
        hole: (M, 2) corners, counter-clockwise, of a hole inside the outline.
        smooth_deg: corners with less turn than this are shaded smooth.
    """
    outline = np.asarray(outline, dtype=float)
    ring = outline if hole is None else _bridged(outline, np.asarray(hole, dtype=float))
    triangles = triangulate(ring)
    low, extent = ring.min(axis=0), float(np.ptp(ring, axis=0).max())
    uv = (ring - low) / extent
    caps = []
    for sign in (1.0, -1.0):
        vertices = np.column_stack([ring, np.full(len(ring), sign * height / 2)])
        faces = triangles if sign > 0 else triangles[:, ::-1]
        caps.append(Mesh(vertices, np.tile([0.0, 0.0, sign], (len(ring), 1)), uv, faces))
    walls = [_wall(outline, height, smooth_deg)]
    if hole is not None:
        walls.append(_wall(np.asarray(hole, dtype=float)[::-1], height, smooth_deg))
    return joined([*caps, *walls])


def triangulate(ring: np.ndarray) -> np.ndarray:
    """(T, 3) triangles of a simple polygon (N, 2), counter-clockwise, by cutting off ears."""
    left = list(range(len(ring)))
    triangles = []
    while len(left) > 3:
        ear = next((k for k in range(len(left)) if _is_ear(ring, left, k)), None)
        if ear is None:  # what is left has no area, for instance along a bridge to a hole
            break
        triangles.append((left[ear - 1], left[ear], left[(ear + 1) % len(left)]))
        del left[ear]
    if len(left) == 3:
        triangles.append((left[0], left[1], left[2]))
    return np.array(triangles)


def hull(points: np.ndarray) -> Mesh:
    """The convex hull of a few points (N, 3) in general position, flat shaded; tries all triples, so keep N small."""
    points = np.asarray(points, dtype=float)
    triples = np.array(list(itertools.combinations(range(len(points)), 3)))
    a, b, c = (points[triples[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    keep = length > 1e-12
    triples, a, normal = triples[keep], a[keep], normal[keep] / length[keep, None]
    side = normal @ points.T - np.sum(normal * a, axis=1)[:, None]
    outside, inside = (side < 1e-9).all(axis=1), (side > -1e-9).all(axis=1)
    faces = np.concatenate([triples[outside], triples[inside][:, ::-1]])
    normals = np.concatenate([normal[outside], -normal[inside]])
    return _flat(points, faces, normals)


def ball(radii: Vector, displacement: np.ndarray | None = None, rows: int = 22, columns: int = 32) -> Mesh:
    """An ellipsoid around the origin.

    Args:
        radii: along x, y and z, metres.
        displacement: (rows + 1, columns + 1) factors on the radius, latitude by longitude; equal along the two
            poles and in the first and last column.
        rows: steps from pole to pole.
        columns: steps around.
    """
    latitude, longitude = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rows + 1), np.linspace(0, 2 * np.pi, columns + 1), indexing="ij"
    )
    unit = np.dstack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])
    points = unit * np.asarray(radii)
    if displacement is not None:
        points = points * displacement[..., None]
    uv = np.dstack([longitude / (2 * np.pi), latitude / np.pi + 0.5])
    return _grid(points, grid_normals(points, wraps=True), uv)


def grid_normals(points: np.ndarray, wraps: bool = False) -> np.ndarray:
    """(rows, columns, 3) unit normals of a grid of points, columns to the right and rows up seen from outside.

    Args:
        points: (rows, columns, 3).
        wraps: the last column stands on the first one.
    """
    along_v = np.gradient(points, axis=0)
    if wraps:
        padded = np.concatenate([points[:, -2:-1], points, points[:, 1:2]], axis=1)
        along_u = (padded[:, 2:] - padded[:, :-2]) / 2
    else:
        along_u = np.gradient(points, axis=1)
    normal = np.cross(along_u, along_v)
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    outward = _unit(points - points.mean(axis=(0, 1)))
    return np.where(length > 1e-15, normal / np.maximum(length, 1e-15), outward)


def _turned(polyline: np.ndarray, segments: int) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    tangent = np.gradient(polyline, axis=0)
    normal = _unit(np.stack([tangent[:, 1], -tangent[:, 0]], axis=1))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(polyline, axis=0), axis=1))])
    v, u = np.meshgrid(length / max(length[-1], 1e-12), angle / (2 * np.pi), indexing="ij")

    def around(radial_and_z: np.ndarray) -> np.ndarray:
        radial, z = radial_and_z[:, :1], radial_and_z[:, 1:]
        return np.dstack([radial * np.cos(angle), radial * np.sin(angle), z * np.ones_like(angle)])

    return _grid(around(polyline), around(normal), np.dstack([u, v]))


def _rounded_face(half: np.ndarray, bevel: float, axes: Sequence[np.ndarray], panel: Panel, steps: int) -> Mesh:
    right, up, out = axes
    s = _face_stops(float(half @ np.abs(right)), bevel, steps)
    t = _face_stops(float(half @ np.abs(up)), bevel, steps)
    t_grid, s_grid = np.meshgrid(t, s, indexing="ij")
    flat = s_grid[..., None] * right + t_grid[..., None] * up + out * half
    core = np.clip(flat, -(half - bevel), half - bevel)
    normals = _unit(flat - core) if bevel > 0 else np.broadcast_to(out, flat.shape)
    u = panel[0] + (s_grid - s[0]) / (s[-1] - s[0]) * (panel[2] - panel[0])
    v = panel[1] + (t_grid - t[0]) / (t[-1] - t[0]) * (panel[3] - panel[1])
    return _grid(core + bevel * normals, normals, np.dstack([u, v]))


def _face_stops(half: float, bevel: float, steps: int) -> np.ndarray:
    middle = np.linspace(-(half - bevel), half - bevel, steps + 1)
    if bevel <= 0:
        return middle
    lip = half - bevel + bevel * np.tan(np.linspace(0, np.pi / 4, 4))[1:]
    return np.concatenate([-lip[::-1], middle, lip])


def _carried_normals(tangent: np.ndarray) -> np.ndarray:
    """(N, 3) normals along a path that turn as little as they can."""
    bend = tangent[-1] - tangent[0]
    start = bend if np.linalg.norm(np.cross(bend, tangent[0])) > 1e-6 else np.eye(3)[np.argmin(np.abs(tangent[0]))]
    normals = []
    for direction in tangent:
        start = start - (start @ direction) * direction
        start = start / np.linalg.norm(start)
        normals.append(start)
    return np.array(normals)


def _fan(ring: np.ndarray, normal: np.ndarray) -> Mesh:
    """A flat cap over a closed ring (N, 3) whose last point is its first one."""
    vertices = np.concatenate([ring.mean(axis=0, keepdims=True), ring])
    index = np.arange(1, len(ring))
    faces = np.stack([np.zeros_like(index), index, index + 1], axis=1)
    angle = np.linspace(0, 2 * np.pi, len(ring))
    uv = np.concatenate([[[0.5, 0.5]], 0.5 + 0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)])
    return Mesh(vertices, np.tile(normal, (len(vertices), 1)), uv, faces)


def _wall(outline: np.ndarray, height: float, smooth_deg: float) -> Mesh:
    edge = np.roll(outline, -1, axis=0) - outline
    length = np.linalg.norm(edge, axis=1)
    out = np.stack([edge[:, 1], -edge[:, 0]], axis=1) / np.maximum(length, 1e-12)[:, None]
    before = np.roll(out, 1, axis=0)
    smooth = np.sum(out * before, axis=1) > np.cos(np.deg2rad(smooth_deg))
    at_corner = _unit(out + before + 1e-12)
    first = np.where(smooth[:, None], at_corner, out)
    second = np.where(np.roll(smooth, -1)[:, None], np.roll(at_corner, -1, axis=0), out)
    ends = np.concatenate([[0.0], np.cumsum(length)]) / length.sum()
    count = len(outline)
    vertices, normals, uv = np.zeros((4 * count, 3)), np.zeros((4 * count, 3)), np.zeros((4 * count, 2))
    following = np.roll(outline, -1, axis=0)
    corners = [(outline, first, ends[:-1], 0.0), (following, second, ends[1:], 0.0)]
    corners += [(following, second, ends[1:], 1.0), (outline, first, ends[:-1], 1.0)]
    for k, (place, normal, u, v) in enumerate(corners):
        vertices[k::4] = np.column_stack([place, np.full(count, (v - 0.5) * height)])
        normals[k::4, :2] = normal
        uv[k::4] = np.column_stack([u, np.full(count, v)])
    base = 4 * np.arange(count)[:, None]
    faces = np.concatenate([base + np.array([0, 1, 2]), base + np.array([0, 2, 3])])
    return Mesh(vertices, normals, uv, faces)


def _bridged(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One ring that runs along the outline, over to the hole, backwards around it, and back over."""
    distance = np.linalg.norm(outline[:, None] - hole[None], axis=2)
    start, entry = np.unravel_index(np.argmin(distance), distance.shape)
    around = np.roll(outline, -int(start), axis=0)
    inner = np.roll(hole, -int(entry), axis=0)[::-1]
    inner = np.roll(inner, 1, axis=0)
    return np.concatenate([around, around[:1], inner, inner[:1]])


def _is_ear(ring: np.ndarray, left: list[int], k: int) -> bool:
    before, tip, after = left[k - 1], left[k], left[(k + 1) % len(left)]
    a, b, c = ring[before], ring[tip], ring[after]
    if _cross(b - a, c - b) <= 1e-14:
        return False
    others = ring[[n for n in left if n not in (before, tip, after)]]
    inside = (
        (_cross(b - a, others - a) > 1e-14) & (_cross(c - b, others - b) > 1e-14) & (_cross(a - c, others - c) > 1e-14)
    )
    return not bool(inside.any())


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _flat(points: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> Mesh:
    """A mesh whose faces share no vertex; textured by the two axes that each face is seen best along."""
    vertices = points[faces].reshape(-1, 3)
    dominant = np.abs(normals).argmax(axis=1)
    axes = np.array([[1, 2], [0, 2], [0, 1]])[dominant].repeat(3, axis=0)
    extent = np.maximum(np.ptp(points, axis=0), 1e-9)
    relative = (vertices - points.min(axis=0)) / extent
    uv = np.take_along_axis(relative, axes, axis=1)
    return Mesh(vertices, normals.repeat(3, axis=0), uv, np.arange(len(vertices)).reshape(-1, 3))


def _grid(points: np.ndarray, normals: np.ndarray, uv: np.ndarray) -> Mesh:
    """Joins a (rows, columns, 3) grid of points, columns to the right and rows up seen from outside."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    flat = points.reshape(-1, 3)
    p, q, r = (flat[faces[:, k]] for k in range(3))
    has_area = np.linalg.norm(np.cross(q - p, r - p), axis=1) > 1e-12
    return Mesh(flat, np.array(normals).reshape(-1, 3), uv.reshape(-1, 2), faces[has_area])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-15)
