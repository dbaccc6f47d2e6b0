"""Where a depth camera stands over a table: on a wrist, overhead, at the side, or moving smoothly."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.frames import CameraIntrinsics
from sam_perception.sim.library import import_mujoco

if TYPE_CHECKING:
    from sam_perception.sim.scene import Scene

# Focal length over image width of a D435's colour camera: HFOV 69 degrees at 16:9; 4:3 crops the sides.
FOCAL_PER_WIDTH = {"16:9": 0.7175, "4:3": 0.96}
_FOCAL_SPREAD = 0.025
_CENTRE_SPREAD = 0.012
_TRIES = 12
_CLEARANCE_M = 0.2
_SEEN_GROUPS = np.array([1, 1, 1, 0, 0, 0], np.uint8)

Array = NDArray[np.float64]


def draw_intrinsics(rng: np.random.Generator, width: int = 640, height: int = 480) -> CameraIntrinsics:
    """Intrinsics of one of many D435 colour cameras; its image is published rectified, so the distortion is zero.

    At 640x480 the focal length is 600 to 630 px, as the calibrations of real devices have it, and the principal point
    is off the centre by about 1 % of the width.
    """
    shape = "16:9" if width / height > 1.5 else "4:3"
    focal = FOCAL_PER_WIDTH[shape] * width * (1 + _FOCAL_SPREAD * rng.uniform(-1, 1))
    off_x, off_y = _CENTRE_SPREAD * width * rng.standard_normal(2).clip(-2, 2)
    return CameraIntrinsics(
        width,
        height,
        round(focal, 3),
        round(focal * (1 + 0.001 * rng.uniform(-1, 1)), 3),
        round((width - 1) / 2 + off_x, 3),
        round((height - 1) / 2 + off_y, 3),
        "plumb_bob",
        (0.0, 0.0, 0.0, 0.0, 0.0),
    )


def draw_pose(rng: np.random.Generator, scene: Scene) -> Array:
    """(4, 4) table_T_camera of a camera on a wrist, overhead or at the side of the table.

    A pose from which furniture hides the objects is drawn again, a few times at most.
    """
    for _ in range(_TRIES):
        mount = rng.choice(3, p=[0.45, 0.15, 0.4])
        pose = (wrist_pose, overhead_pose, side_pose)[mount](rng, scene)
        if _looks_at_objects(scene, pose):
            return pose
    return overhead_pose(rng, scene)


def wrist_pose(rng: np.random.Generator, scene: Scene) -> Array:
    """(4, 4) table_T_camera of a camera that an arm carries: 0.35 to 0.9 m away, any side, tilted at random."""
    roll = rng.normal(0, 8) if rng.random() < 0.75 else rng.uniform(-180, 180)
    return orbit_pose(
        _somewhere_among(rng, scene, spread_m=0.05),
        distance_m=rng.uniform(0.35, 0.9),
        azimuth_deg=rng.uniform(-180, 180),
        elevation_deg=rng.uniform(32, 88),
        roll_deg=roll,
    )


def overhead_pose(rng: np.random.Generator, scene: Scene) -> Array:
    """(4, 4) table_T_camera of a camera mounted above the table, 0.6 to 1.3 m away, looking down."""
    return orbit_pose(
        _somewhere_among(rng, scene, spread_m=0.07),
        distance_m=rng.uniform(0.6, 1.3),
        azimuth_deg=90 * rng.integers(4) + rng.normal(0, 5),
        elevation_deg=90 - abs(rng.normal(0, 7)),
        roll_deg=rng.normal(0, 4),
    )


def side_pose(rng: np.random.Generator, scene: Scene) -> Array:
    """(4, 4) table_T_camera of a camera on a stand beside the table or held by a person: 20 to 50 degrees above it."""
    return orbit_pose(
        _somewhere_among(rng, scene, spread_m=0.07),
        distance_m=rng.uniform(0.5, 1.3),
        azimuth_deg=rng.uniform(-180, 180),
        elevation_deg=rng.uniform(20, 50),
        roll_deg=rng.normal(0, 5),
    )


def orbit_pose(
    target: ArrayLike, distance_m: float, azimuth_deg: float, elevation_deg: float, roll_deg: float = 0.0
) -> Array:
    """The pose of a camera that looks at a point.

    Args:
        target: (3,) the point, metres, in the table frame.
        distance_m: from the camera to the point.
        azimuth_deg: where the camera stands around the point, counter-clockwise from the table's +x.
        elevation_deg: how high above the horizon, seen from the point; 90 looks straight down.
        roll_deg: turn about the optical axis, clockwise in the image's sense.

    Returns:
        (4, 4) table_T_camera; at roll 0 the table's up is up in the image.
    """
    azimuth, elevation, roll = np.deg2rad([azimuth_deg, elevation_deg, roll_deg])
    outward = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    down = np.cross(-outward, right)
    pose = np.eye(4)
    pose[:3, 0] = math.cos(roll) * right + math.sin(roll) * down
    pose[:3, 1] = math.cos(roll) * down - math.sin(roll) * right
    pose[:3, 2] = -outward
    pose[:3, 3] = np.asarray(target, np.float64) + distance_m * outward
    return pose


@dataclasses.dataclass(frozen=True, eq=False)
class SmoothPath:
    """A camera that sways around a point for ever; every derivative of its motion is continuous.

    Attributes:
        target: (3,) point that it looks at, metres, table frame.
        middle: (4,) distance in metres, azimuth, elevation, roll in degrees, about which it sways.
        sway: (4,) amplitudes of the same.
        periods_s: (4, 2) periods of the two sines that make up each.
        phases: (4, 2) their phases, radians.
    """

    target: Array
    middle: Array
    sway: Array
    periods_s: Array
    phases: Array

    def pose_at(self, seconds: float) -> Array:
        """(4, 4) table_T_camera at a time."""
        waves = np.sin(2 * np.pi * seconds / self.periods_s + self.phases).mean(axis=1)
        distance, azimuth, elevation, roll = self.middle + self.sway * waves
        return orbit_pose(self.target, distance, azimuth, elevation, roll)


def smooth_path(rng: np.random.Generator, scene: Scene, sway: float = 1.0) -> SmoothPath:
    """A slow path around the objects of a scene; ``sway`` 0 stands still, 1 moves by decimetres in seconds.

    A path that begins where furniture hides the objects is drawn again, a few times at most.
    """
    path = _some_path(rng, scene, sway)
    for _ in range(_TRIES - 1):
        if _looks_at_objects(scene, path.pose_at(0)):
            break
        path = _some_path(rng, scene, sway)
    return path


def _some_path(rng: np.random.Generator, scene: Scene, sway: float) -> SmoothPath:
    middle = np.array([rng.uniform(0.6, 0.85), rng.uniform(-180, 180), rng.uniform(42, 58), 0.0])
    return SmoothPath(
        target=_centre(scene),
        middle=middle,
        sway=sway * np.array([0.12, 25.0, 9.0, 4.0]),
        periods_s=rng.uniform(9, 23, (4, 2)),
        phases=rng.uniform(0, 2 * np.pi, (4, 2)),
    )


def _centre(scene: Scene) -> Array:
    """Middle of the objects' positions; of the table top when there are none."""
    positions = _positions(scene)
    return positions.mean(axis=0) if len(positions) else np.zeros(3)


def _somewhere_among(rng: np.random.Generator, scene: Scene, spread_m: float) -> Array:
    """A point to look at: between the middle of the objects and one of them, jittered."""
    positions = _positions(scene)
    jitter = spread_m * rng.standard_normal(3).clip(-2, 2) * (1, 1, 0.3)
    if not len(positions):
        return jitter
    one = positions[rng.integers(len(positions))]
    return positions.mean(axis=0) + rng.uniform(0, 0.7) * (one - positions.mean(axis=0)) + jitter


def _looks_at_objects(scene: Scene, table_T_camera: Array) -> bool:
    """Whether most lines of sight from a camera to the objects meet objects first, and nothing right before it."""
    mujoco = import_mujoco()
    camera, seen = table_T_camera[:3, 3], 0
    geom = np.zeros(1, np.int32)
    for target in _positions(scene):
        way = target - camera
        way /= np.linalg.norm(way)
        distance = mujoco.mj_ray(scene.world.model, scene.data, camera, way, _SEEN_GROUPS, True, -1, geom)
        seen += distance > _CLEARANCE_M and scene.geom_labels[geom[0]] > 0
    return seen >= 0.6 * len(scene.objects)


def _positions(scene: Scene) -> Array:
    """(N, 3) origins of the objects, metres, table frame."""
    return np.array([scene.table_T_object(item.label)[:3, 3] for item in scene.objects], np.float64).reshape(-1, 3)
