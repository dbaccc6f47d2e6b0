"""A small ray caster with a D435's faults, as ground truth for the geometry tests, and the tests of the caster."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.masks import Mask

D435 = CameraIntrinsics(640, 480, 615.17, 615.42, 323.46, 244.71)
SMALL = CameraIntrinsics(320, 240, 307.6, 307.7, 161.7, 122.4)
BASELINE_M = 0.05
SUBPIXEL = 0.08


@dataclasses.dataclass
class Box:
    """A box: ``pose`` (4, 4) takes its own coordinates, whose origin is its middle, to the camera's."""

    pose: np.ndarray
    size: np.ndarray

    def depth(self, rays: np.ndarray) -> np.ndarray:
        rotation, center = self.pose[:3, :3], self.pose[:3, 3]
        origin, direction = -rotation.T @ center, rays @ rotation
        with np.errstate(divide="ignore", invalid="ignore"):
            near = (-np.sign(direction) * np.asarray(self.size) / 2 - origin) / direction
            far = (np.sign(direction) * np.asarray(self.size) / 2 - origin) / direction
        enter, leave = near.max(axis=-1), far.min(axis=-1)
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)


@dataclasses.dataclass
class Sphere:
    center: np.ndarray
    radius: float

    def depth(self, rays: np.ndarray) -> np.ndarray:
        a, b = (rays**2).sum(axis=-1), rays @ self.center
        discriminant = b**2 - a * (self.center @ self.center - self.radius**2)
        return np.where(discriminant >= 0, (b - np.sqrt(np.maximum(discriminant, 0))) / a, np.inf)


@dataclasses.dataclass
class Cylinder:
    """An upright cylinder: ``pose`` has its origin in the middle and z along the axis."""

    pose: np.ndarray
    radius: float
    height: float

    def depth(self, rays: np.ndarray) -> np.ndarray:
        origin, direction = -self.pose[:3, :3].T @ self.pose[:3, 3], rays @ self.pose[:3, :3]
        a = (direction[..., :2] ** 2).sum(axis=-1)
        b, c = direction[..., :2] @ origin[:2], origin[:2] @ origin[:2] - self.radius**2
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(b**2 - a * c)
            caps = np.stack([(side * self.height / 2 - origin[2]) / direction[..., 2] for side in (-1, 1)])
            enter = np.maximum((-b - root) / a, caps.min(axis=0))
            leave = np.minimum((-b + root) / a, caps.max(axis=0))
            return np.where((enter <= leave) & (enter > 0), enter, np.inf)


@dataclasses.dataclass
class Table:
    """An endless plane; ``pose`` has its origin on the plane and z along the normal."""

    pose: np.ndarray

    def depth(self, rays: np.ndarray) -> np.ndarray:
        normal, point = self.pose[:3, 2], self.pose[:3, 3]
        with np.errstate(divide="ignore"):
            depth = (normal @ point) / (rays @ normal)
        return np.where(depth > 0, depth, np.inf)


def table_pose(distance_m: float, tilt_deg: float, roll_deg: float = 0.0) -> np.ndarray:
    """camera_T_table: origin on the optical axis, ``tilt_deg`` between the axis and the normal."""
    tilt, roll = np.radians(tilt_deg), np.radians(roll_deg)
    z = np.array([np.sin(roll) * np.sin(tilt), -np.cos(roll) * np.sin(tilt), -np.cos(tilt)])
    x = np.array([1.0, 0, 0]) - z[0] * z
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3] = np.column_stack([x, np.cross(z, x), z, [0, 0, distance_m]])
    return pose


def on_table(table: np.ndarray, x: float, y: float, z: float, yaw_deg: float = 0.0) -> np.ndarray:
    """camera_T_object at a place above the table, turned about its normal."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    return table @ np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


def cast(shapes, camera: CameraIntrinsics = D435) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) true depth in metres, 0 where nothing is hit, and (H, W) the number of the shape seen, -1 for none."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    depths = np.stack([shape.depth(rays) for shape in shapes])
    seen, depth = depths.argmin(axis=0), depths.min(axis=0)
    return np.where(np.isfinite(depth), depth, 0), np.where(np.isfinite(depth), seen, -1)


def as_d435(depth: np.ndarray, seed: int, camera: CameraIntrinsics = D435, bleeding: bool = True) -> np.ndarray:
    """uint16 mm: noise of the disparity (hence z^2), depth smeared across edges, and holes beside them."""
    rng = np.random.default_rng(seed)
    smeared = depth.copy()
    edges = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0.02
    if bleeding:
        ramp = cv2.blur(depth, (3, 3))
        smeared = np.where(edges & (rng.random(depth.shape) < 0.6), ramp, depth)
    disparity = camera.fx * BASELINE_M / np.maximum(smeared, 1e-3)
    disparity += rng.normal(0, SUBPIXEL, depth.shape)
    noisy = np.where(depth > 0, camera.fx * BASELINE_M / disparity, 0)
    noisy[rng.random(depth.shape) < np.where(edges, 0.3, 0.002)] = 0
    return np.clip(np.rint(noisy * 1000), 0, 65535).astype(np.uint16)


def frame_of(depth: np.ndarray, camera: CameraIntrinsics = D435) -> RgbdFrame:
    """A frame whose colour names the pixel: red the row and green the column, both modulo 256."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    color = np.stack([v % 256, u % 256, np.full(u.shape, 77)], axis=-1).astype(np.uint8)
    return RgbdFrame(color, depth, camera)


def grown(mask: np.ndarray, pixels: int) -> Mask:
    """A mask drawn ``pixels`` too large."""
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return Mask.from_array(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def test_a_frontal_box_has_the_silhouette_of_its_front():
    box = Box(table_pose(1.0, 0.0), np.array([0.2, 0.1, 0.4]))
    depth, seen = cast([box])
    front = 0.8  # its middle is 1 m away
    ys, xs = np.nonzero(seen == 0)
    assert depth[seen == 0] == pytest.approx(front)
    assert np.ptp(xs) + 1 == pytest.approx(0.2 / front * D435.fx, abs=1)
    assert np.ptp(ys) + 1 == pytest.approx(0.1 / front * D435.fy, abs=1)


def test_sphere_and_table_fulfil_their_equations():
    pose = table_pose(0.8, 50.0, 5.0)
    sphere = Sphere((pose @ [0.02, 0.03, 0.05, 1])[:3], 0.05)
    depth, seen = cast([Table(pose), sphere])
    v, u = np.mgrid[0:480, 0:640]
    points = np.stack([(u - D435.cx) / D435.fx, (v - D435.cy) / D435.fy, np.ones(u.shape)], axis=-1) * depth[..., None]
    assert np.linalg.norm(points[seen == 1] - sphere.center, axis=1) == pytest.approx(0.05, abs=1e-9)
    assert (points[seen == 0] - pose[:3, 3]) @ pose[:3, 2] == pytest.approx(0, abs=1e-9)
    assert 3000 < np.count_nonzero(seen == 1) < 8000


def test_a_cylinder_has_a_round_wall_and_flat_ends():
    pose = table_pose(0.6, 40.0)
    pose[:3, 3] += 0.05 * pose[:3, 2]
    depth, seen = cast([Cylinder(pose, 0.03, 0.1)])
    v, u = np.nonzero(seen == 0)
    rays = np.stack([(u - D435.cx) / D435.fx, (v - D435.cy) / D435.fy, np.ones(len(u))], axis=-1)
    local = (rays * depth[v, u][:, None] - pose[:3, 3]) @ pose[:3, :3]
    radii = np.hypot(local[:, 0], local[:, 1])
    on_wall, on_end = np.abs(radii - 0.03) < 1e-9, np.abs(local[:, 2] - 0.05) < 1e-9  # of the ends the upper is seen
    assert (on_wall | on_end).all() and on_wall.sum() > 1000 and on_end.sum() > 1000
    assert radii.max() < 0.03 + 1e-9 and np.abs(local[:, 2]).max() < 0.05 + 1e-9


def test_noise_grows_with_the_square_of_the_distance():
    spread = []
    for distance_m in (0.5, 2.0):
        noisy = as_d435(np.full((480, 640), distance_m), 0)
        spread.append(np.std(noisy[noisy > 0] / 1000))
    assert spread[1] == pytest.approx(2.0**2 * SUBPIXEL / (D435.fx * BASELINE_M), rel=0.1)
    assert spread[1] / spread[0] == pytest.approx(16, rel=0.2)
