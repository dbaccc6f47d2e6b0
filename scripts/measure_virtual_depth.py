#!/usr/bin/env python3
"""Compares the virtual D435's depth with that of real frames: how flat planes are, how much is lost, how edges look.

scripts/measure_virtual_depth.py FOLDER [--scenes 20] [--views 4] [--seed 0]

FOLDER holds real frames as NN-color.png, NN-depth.png (uint16 mm, aligned), NN-labels.png (drawn by hand) and
camera.json. The virtual frames are held-out scenes under the conditions that a data set draws. Prints one table, real
beside virtual, which docs/simulation.md holds.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from sam_perception.frames import CameraIntrinsics  # noqa: E402
from sam_perception.geometry.planes import PlaneSearch, fit_plane_ransac  # noqa: E402
from sam_perception.geometry.rays import ray_table  # noqa: E402
from sam_perception.sim.camera_poses import draw_intrinsics, draw_pose  # noqa: E402
from sam_perception.sim.rendering import SceneRenderer  # noqa: E402
from sam_perception.sim.scene import Split, arrange, build_world  # noqa: E402
from sam_perception.sim.virtual_d435 import VirtualD435  # noqa: E402

SCENES_PER_WORLD = 4
TILE_PX = 32
DISTANCES_M = (0.4, 0.6, 0.8, 1.0, 1.3)
CLEARANCE_PX = 12  # tiles keep away from objects by this much
INSIDE_PX, OUTSIDE_PX = 8, 40  # how far an outline is followed to either side
SMALLEST_STEP = 0.06  # of the near depth: what counts as a depth edge


@dataclasses.dataclass(frozen=True)
class DepthView:
    """One depth image with the outlines of the objects in it.

    Attributes:
        depth_m: (H, W) float32, 0 = no data.
        labels: (H, W) uint8, 0 = not an object.
        camera: of both.
    """

    depth_m: np.ndarray
    labels: np.ndarray
    camera: CameraIntrinsics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="real frames")
    parser.add_argument("--scenes", type=int, default=20, help="virtual scenes (20)")
    parser.add_argument("--views", type=int, default=4, help="captures of each (4)")
    parser.add_argument("--seed", type=int, default=0, help="of the virtual scenes (0)")
    args = parser.parse_args()
    columns = {
        "real": measured(real_views(args.folder)),
        "virtual": measured(virtual_views(args.scenes, args.views, args.seed)),
    }
    width = max(map(len, columns["real"]))
    print(f"| {'':{width}} | {' | '.join(columns)} |")
    print(f"|{'-' * (width + 2)}|{'---:|' * len(columns)}")
    for row in columns["real"]:
        print(f"| {row:{width}} | {' | '.join(column[row] for column in columns.values())} |")


def real_views(folder: Path) -> Iterator[DepthView]:
    """The frames of a folder."""
    camera = json.loads((folder / "camera.json").read_text())
    names = ("width", "height", "fx", "fy", "cx", "cy", "distortion_model")
    intrinsics = CameraIntrinsics(*(camera[name] for name in names), tuple(camera["distortion"]))
    for path in sorted(folder.glob("*-depth.png")):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        labels = cv2.imread(str(path).replace("-depth", "-labels"), cv2.IMREAD_UNCHANGED)
        yield DepthView(depth * np.float32(camera["depth_scale_m"]), labels, intrinsics)


def virtual_views(scenes: int, views: int, seed: int) -> Iterator[DepthView]:
    """Captures of held-out scenes, a few of each world."""
    for first in range(0, scenes, SCENES_PER_WORLD):
        world = build_world(Split.HELD_OUT, seed + first)
        with SceneRenderer(world, 640, 480) as renderer:
            for number in range(first, min(scenes, first + SCENES_PER_WORLD)):
                scene = arrange(world, number)
                for view in range(views):
                    rng = np.random.default_rng((seed, number, view))
                    camera, pose = draw_intrinsics(rng), draw_pose(rng, scene)
                    rendered = renderer.render(scene, camera, pose)
                    frame = VirtualD435(camera, (seed, number, view)).capture(rendered)
                    yield DepthView(frame.depth_m, rendered.labels, camera)


def measured(views: Iterator[DepthView]) -> dict[str, str]:
    """What the table says about some frames: row -> text."""
    tiles: list[tuple[float, float, float]] = []
    holes: list[tuple[float, float, float]] = []
    crossings: dict[str, list[tuple[float, float, float]]] = {"left": [], "right": []}
    for view in views:
        tiles += plane_tiles(view)
        holes.append(hole_shares(view))
        for side, found in outline_crossings(view).items():
            crossings[side] += found
    rows: dict[str, str] = {"frames": str(len(holes))}
    rows |= _residual_rows(np.array(tiles).reshape(-1, 3))
    for name, column in zip(("of the image", "on the table", "on objects"), np.array(holes).T, strict=True):
        rows[f"holes {name}, %, median (10th to 90th percentile)"] = _spread(100 * column)
    for side, found in crossings.items():
        width, outward, hole = np.array(found).reshape(-1, 3).T
        rows[f"edge width, {side} outlines, px"] = _spread(width[np.isfinite(width)])
        rows[f"depth edge outside the outline, {side}, px"] = _spread(outward[np.isfinite(outward)])
        rows[f"no data beside the outline, {side}, px"] = _spread(hole)
    return rows


def plane_tiles(view: DepthView) -> list[tuple[float, float, float]]:
    """(distance m, residual mm within the tile, offset mm of the tile from the table) of each tile of bare table.

    The residual is the standard deviation about the tile's own plane (1/z is linear in the pixel on a plane), the
    offset the mean distance along the ray to the plane fitted to the whole table.
    """
    table, on_table = table_plane(view)
    if table is None:
        return []
    found = []
    height, width = view.depth_m.shape
    for top in range(0, height - TILE_PX + 1, TILE_PX):
        for left in range(0, width - TILE_PX + 1, TILE_PX):
            window = np.s_[top : top + TILE_PX, left : left + TILE_PX]
            if on_table[window].mean() > 0.995:
                z = view.depth_m[window][on_table[window]]
                found.append((float(z.mean()), *_residuals_mm(window, view.depth_m, on_table, table)))
    return found


def table_plane(view: DepthView) -> tuple[np.ndarray | None, np.ndarray]:
    """(H, W) depth of the plane that most of the bare pixels lie on, None without one, and who lies on it."""
    covered = cv2.dilate((view.labels > 0).astype(np.uint8), np.ones((2 * CLEARANCE_PX + 1,) * 2)) > 0
    bare = (view.depth_m > 0.2) & (view.depth_m < 1.6) & ~covered
    rays = ray_table(view.camera)
    points = np.dstack([rays, np.ones(view.depth_m.shape)]) * view.depth_m[..., None]
    found = fit_plane_ransac(points[bare], PlaneSearch(threshold_m=0.008))
    if found is None:
        return None, np.zeros_like(bare)
    plane, _ = found
    depth = -plane.offset / (np.dstack([rays, np.ones(view.depth_m.shape)]) @ plane.normal)
    near = np.abs(view.depth_m - depth) < 0.008 + 0.02 * depth**2
    return depth, bare & near


def hole_shares(view: DepthView) -> tuple[float, float, float]:
    """Share of pixels without data of the image, of the table's part of it, of the objects."""
    table, on_table = table_plane(view)
    hull = np.zeros(view.labels.shape, np.uint8)
    if table is not None:
        cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(on_table.astype(np.uint8))), 1)
    lost = view.depth_m <= 0
    beside = (hull > 0) & (view.labels == 0)
    return tuple(
        float(lost[where].mean()) if where.any() else np.nan for where in (np.ones_like(lost), beside, view.labels > 0)
    )


def outline_crossings(view: DepthView) -> dict[str, list[tuple[float, float, float]]]:
    """Where image rows leave an object over a depth edge: (edge width, depth edge outside the outline, no data), px.

    Near is the median of the object's last INSIDE_PX pixels but three, far the median of the last 15 of the OUTSIDE_PX
    pixels beyond it, which must show no other object. The edge's width is the number of pixels whose depth is between
    15 and 85 % of the way from near to far; the depth edge is where the first pixel is beyond 50 %, or has no data.
    """
    sides: dict[str, list[tuple[float, float, float]]] = {"left": [], "right": []}
    for side, depth, labels in (
        ("right", view.depth_m, view.labels),
        ("left", view.depth_m[:, ::-1], view.labels[:, ::-1]),
    ):
        rows, columns = np.nonzero((labels[:, :-1] > 0) & (labels[:, 1:] == 0))
        fits = (columns >= INSIDE_PX) & (columns + OUTSIDE_PX < labels.shape[1])
        for row, column in zip(rows[fits][::3], columns[fits][::3], strict=True):
            inside = np.s_[column - INSIDE_PX + 1 : column + 1]
            outside = np.s_[column + 1 : column + 1 + OUTSIDE_PX]
            if (labels[row, inside] == labels[row, column]).all() and not labels[row, outside].any():
                crossing = _crossing(depth[row, inside], depth[row, outside])
                if crossing is not None:
                    sides[side].append(crossing)
    return sides


def _crossing(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float, float] | None:
    near_values, far_values = inside[:-3][inside[:-3] > 0], outside[-15:][outside[-15:] > 0]
    if len(near_values) < 3 or len(far_values) < 8:
        return None
    near, far = np.median(near_values), np.median(far_values)
    if far - near < SMALLEST_STEP * near:
        return None
    profile = np.concatenate([inside[-4:], outside[:-15]])
    way = (profile - near) / (far - near)
    valid = profile > 0
    width = float(np.count_nonzero(valid & (way > 0.15) & (way < 0.85)))
    beyond = np.flatnonzero(~valid | (way > 0.5))
    edge = float(beyond[0] - 4) if len(beyond) else np.nan
    return width, edge, float(np.count_nonzero(~valid))


def _residuals_mm(window: tuple, depth_m: np.ndarray, on_table: np.ndarray, table_m: np.ndarray) -> tuple[float, float]:
    v, u = np.nonzero(on_table[window])
    z = depth_m[window][v, u].astype(np.float64)
    terms = np.column_stack([u, v, np.ones(len(u))])
    own = 1 / (terms @ np.linalg.lstsq(terms, 1 / z, rcond=None)[0])
    return 1e3 * float(np.std(z - own)), 1e3 * float(np.mean(z - table_m[window][v, u]))


def _residual_rows(tiles: np.ndarray) -> dict[str, str]:
    rows = {}
    for low, high in itertools.pairwise(DISTANCES_M):
        here = tiles[(tiles[:, 0] >= low) & (tiles[:, 0] < high)]
        rows[f"plane residual in tiles, {low} to {high} m, mm"] = _spread(here[:, 1], digits=2)
        rows[f"offset of tiles from the table's plane, {low} to {high} m, mm"] = _spread(np.abs(here[:, 2]))
    return rows


def _spread(values: np.ndarray, digits: int = 1) -> str:
    """Median and the 10th and 90th percentile."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return "none"
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
