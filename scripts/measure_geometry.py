#!/usr/bin/env python3
"""Measures centroids, boxes and completed clouds on simulated D435 views, against the simulator's truth.

scripts/measure_geometry.py [--objects 200] [--distance 0.6] [--seed 0] [--csv FILE]

Objects of held-out worlds stand or lie alone on a table, each seen once with a virtual D435 under the conditions that
a data set draws, from 32 to 70 degrees above the table. Masks are the true ones. "Without depth" is the same frame with
no depth at all in the mask, as of glass. Prints the tables that docs/accuracy.md holds.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from sam_perception.frames import RgbdFrame  # noqa: E402
from sam_perception.geometry.boxes import OrientedBox  # noqa: E402
from sam_perception.geometry.completion import complete  # noqa: E402
from sam_perception.geometry.objects import ObjectGeometry, measure_object  # noqa: E402
from sam_perception.geometry.rays import deproject_pixels  # noqa: E402
from sam_perception.masks import Mask  # noqa: E402
from sam_perception.sim.camera_poses import draw_intrinsics, orbit_pose  # noqa: E402
from sam_perception.sim.rendering import SceneRenderer  # noqa: E402
from sam_perception.sim.scene import Scene, Split, arrange_these, build_world  # noqa: E402
from sam_perception.sim.virtual_d435 import VirtualD435  # noqa: E402

LOWEST_DEG, HIGHEST_DEG = 32.0, 70.0
SMALLEST_PX = 150  # fewer pixels than that are no view of an object
SURFACE_POINTS = 4000
NEAR_M = 0.01
CHUNK = 500
MILLIMETRES = (
    "centroid", "longer side", "shorter side", "height", "box centre",
    "visible centroid to mass", "box centre to mass", "completed centre to mass", "guessed off",
    "without depth: place", "without depth: height",
)  # fmt: skip
SIDES = ("longer side", "shorter side", "height")


@dataclasses.dataclass(frozen=True, eq=False)
class LoneObject:
    """One object alone on a table, and what is true of it; all in the camera's optical frame.

    Attributes:
        family: what kind of object it is.
        frame: what the camera delivers.
        mask: the true one.
        visible_centroid_m: mean of the visible surface before any noise, one point for each pixel.
        mass_center_m: of its colliders, of one density.
        surface_m: (N, 3) points spread evenly over all of its surface.
        up: (3,) the table's normal.
        size_m: (3,) longer and shorter side of the rectangle of least area around its footprint, and its height.
        middle_m: (3,) middle of the box on that rectangle.
    """

    family: str
    frame: RgbdFrame
    mask: Mask
    visible_centroid_m: np.ndarray
    mass_center_m: np.ndarray
    surface_m: np.ndarray
    up: np.ndarray
    size_m: np.ndarray
    middle_m: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=200, help="how many (200)")
    parser.add_argument("--distance", type=float, default=0.6, help="metres from the camera to the object (0.6)")
    parser.add_argument("--seed", type=int, default=0, help="of worlds, poses and the sensor (0)")
    parser.add_argument("--csv", type=Path, help="also write one line for each object here")
    args = parser.parse_args()
    rows = [measured(thing) for thing in itertools.islice(lone_objects(args.seed, args.distance), args.objects)]
    print_table(rows)
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def lone_objects(seed: int, distance_m: float) -> Iterator[LoneObject]:
    """Objects of one world after the other, without end."""
    for number in itertools.count(seed):
        world = build_world(Split.HELD_OUT, number)
        with SceneRenderer(world, 640, 480) as renderer:
            for index, thing in enumerate(world.objects):
                scene = arrange_these(world, index, [thing])
                if len(scene.objects) != 1:
                    continue
                found = _lone_object(scene, renderer, np.random.default_rng((number, index)), distance_m)
                if found is not None:
                    yield found


def _lone_object(
    scene: Scene, renderer: SceneRenderer, rng: np.random.Generator, distance_m: float
) -> LoneObject | None:
    table_T_object = scene.table_T_object(1)
    azimuth, elevation = rng.uniform(-180, 180), rng.uniform(LOWEST_DEG, HIGHEST_DEG)
    pose = orbit_pose(table_T_object[:3, 3], distance_m, azimuth, elevation, rng.normal(0, 5))
    camera = draw_intrinsics(rng)
    view = renderer.render(scene, camera, pose)
    mask = Mask.from_array(view.labels == 1, object_id=1)
    if mask.area < SMALLEST_PX:
        return None
    frame = VirtualD435(camera, int(rng.integers(1 << 31))).capture(view)
    v, u = np.nonzero(view.labels == 1)
    visible = deproject_pixels(np.stack([u, v], axis=1), view.depth_m[v, u], camera)
    camera_T_table = np.linalg.inv(pose)
    thing = scene.thing(1)
    vertices = np.concatenate([part.mesh.vertices for part in thing.shape.parts])
    size, middle = _footprint_box(vertices @ table_T_object[:3, :3].T + table_T_object[:3, 3])
    triangles = np.concatenate([part.mesh.vertices[part.mesh.faces] for part in thing.shape.parts])
    return LoneObject(
        family=thing.family,
        frame=frame,
        mask=mask,
        visible_centroid_m=visible.mean(axis=0),
        mass_center_m=moved(camera_T_table, scene.data.xipos[thing.body_id]),
        surface_m=moved(camera_T_table @ table_T_object, _spread(triangles, rng)),
        up=camera_T_table[:3, 2],
        size_m=size,
        middle_m=moved(camera_T_table, middle),
    )


def moved(target_T_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ target_T_source[:3, :3].T + target_T_source[:3, 3]


def _footprint_box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Size and middle of the upright box on the rectangle of least area around points on the table."""
    around = points[:, :2].mean(axis=0)
    (x, y), sides, _ = cv2.minAreaRect((points[:, :2] - around).astype(np.float32))
    top = float(points[:, 2].max())
    return np.array([max(sides), min(sides), top]), np.array([x + around[0], y + around[1], top / 2])


def _spread(triangles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(SURFACE_POINTS, 3) points spread evenly over (N, 3, 3) triangles."""
    a, b, c = triangles.transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(areas), SURFACE_POINTS, p=areas / areas.sum())
    s, t = np.sqrt(rng.random((SURFACE_POINTS, 1))), rng.random((SURFACE_POINTS, 1))
    return (1 - s) * a[chosen] + s * (1 - t) * b[chosen] + s * t * c[chosen]


def measured(thing: LoneObject) -> dict[str, object]:
    """How far off everything is, in mm; not a number where there is no answer."""
    start = time.perf_counter()
    geometry = measure_object(thing.frame, thing.mask)
    measured_at = time.perf_counter()
    complete(geometry.cloud, geometry.plane)
    completed_at = time.perf_counter()
    completed = geometry.completed
    assert completed is not None  # every one of these views has depth
    guessed = completed.points[~completed.is_observed]
    seen = completed.points[completed.is_observed]
    row: dict[str, object] = {
        "family": thing.family,
        "pixels": thing.mask.area,
        "centroid": _apart_mm(geometry.centroid_m, thing.visible_centroid_m),
        **_box_errors(geometry, thing),
        "method": completed.method,
        "guessed": len(guessed),
        "guessed off": 1e3 * float(np.median(_nearest(guessed, thing.surface_m))) if len(guessed) else np.nan,
        "surface near seen": float(np.mean(_nearest(thing.surface_m, seen) < NEAR_M)) if len(seen) else 0.0,
        "surface near completed": float(np.mean(_nearest(thing.surface_m, completed.points) < NEAR_M))
        if len(seen)
        else 0.0,
        "visible centroid to mass": _flat_mm(geometry.centroid_m, thing),
        "box centre to mass": _flat_mm(geometry.box.center if geometry.box else None, thing),
        "completed centre to mass": _flat_mm(completed.center_m, thing),
        **_without_depth(thing),
        "reasons": " | ".join(geometry.reasons),
        "measure ms": 1e3 * (measured_at - start),
        "complete ms": 1e3 * (completed_at - measured_at),
    }
    return row


def _without_depth(thing: LoneObject) -> dict[str, float]:
    depth = np.where(thing.mask.to_array(), 0, thing.frame.depth)
    box = measure_object(dataclasses.replace(thing.frame, depth=depth), thing.mask).box
    if box is None:
        return {"without depth: place": np.nan, "without depth: height": np.nan}
    off = box.center - thing.middle_m
    along = off - (off @ thing.up) * thing.up
    return {
        "without depth: place": 1e3 * float(np.linalg.norm(along)),
        "without depth: height": 1e3 * float(box.size[2] - thing.size_m[2]),
    }


def _box_errors(geometry: ObjectGeometry, thing: LoneObject) -> dict[str, float]:
    box: OrientedBox | None = geometry.box
    if box is None:
        return dict.fromkeys((*SIDES, "box centre"), np.nan)
    size = np.array([*sorted(box.size[:2], reverse=True), box.size[2]])
    errors = dict(zip(SIDES, 1e3 * (size - thing.size_m), strict=True))
    return {**errors, "box centre": _apart_mm(box.center, thing.middle_m)}


def _apart_mm(found: np.ndarray | None, truth: np.ndarray) -> float:
    return np.nan if found is None else 1e3 * float(np.linalg.norm(found - truth))


def _flat_mm(found: np.ndarray | None, thing: LoneObject) -> float:
    """How far a point is from the centre of mass along the table."""
    if found is None:
        return np.nan
    off = found - thing.mass_center_m
    return 1e3 * float(np.linalg.norm(off - (off @ thing.up) * thing.up))


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) distance of each point to the nearest of others."""
    others = others.astype(np.float32)
    found = []
    for chunk in np.array_split(points.astype(np.float32), max(1, len(points) // CHUNK)):
        squares = (chunk**2).sum(1)[:, None] + (others**2).sum(1) - 2 * chunk @ others.T
        found.append(np.sqrt(np.maximum(squares.min(axis=1), 0)))
    return np.concatenate(found)


def print_table(rows: Sequence[dict[str, object]]) -> None:
    print(f"{len(rows)} objects, {sum(not row['reasons'] for row in rows)} without a reservation; absolute errors\n")
    print("| mm | median | 75 % | 90 % | without |\n|---|---:|---:|---:|---:|")
    for name in MILLIMETRES:
        values = np.abs(np.array([row[name] for row in rows], dtype=float))
        quartiles = np.nanpercentile(values, [50, 75, 90])
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in quartiles)} | {np.isnan(values).sum()} |")
    sides = np.abs(np.array([[row[name] for name in SIDES] for row in rows]))
    print(f"| all sides of boxes | {' | '.join(f'{v:.1f}' for v in np.nanpercentile(sides, [50, 75, 90]))} | |\n")
    for name in ("surface near seen", "surface near completed"):
        print(
            f"- {name}: {100 * np.mean([row[name] for row in rows]):.0f} % of the surface within {1e3 * NEAR_M:.0f} mm"
        )
    methods = [row["method"] for row in rows]
    print("- methods: " + ", ".join(f"{name} {methods.count(name)}" for name in ("symmetry", "extrusion", "none")))
    for name in ("measure ms", "complete ms"):
        print(f"- {name}: median {np.median([row[name] for row in rows]):.1f}")


if __name__ == "__main__":
    main()
