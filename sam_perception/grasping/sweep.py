"""What a gripper runs into on its straight way to a grasp, while it closes, and when it lifts."""

from __future__ import annotations

import enum
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sam_perception.geometry.noise import depth_noise_m
from sam_perception.grasping.arrays import Array, in_frames
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene

Poses = NDArray[np.float64]
Openings = NDArray[np.float64]

LIFT_M = (0.02, 0.05, 0.10)  # heights at which the lifted gripper is checked
PLANE_MARGIN_M = 0.0015
OBSTACLE_MARGIN_M = 0.005
OWN_MARGIN_M = 0.001
_FLAT_MARGIN_M = 0.0005  # its height is a mean of many pixels


class Collision(enum.IntEnum):
    """What a grasp collides with first."""

    NONE = 0
    PLANE = 1
    OBSTACLE = 2
    OBJECT = 3
    LIFT = 4

    @property
    def words(self) -> str:
        """For a sentence that counts them."""
        return {
            Collision.NONE: "free",
            Collision.PLANE: "would touch the table",
            Collision.OBSTACLE: "would touch something near",
            Collision.OBJECT: "would push the object before closing",
            Collision.LIFT: "would touch something when lifting",
        }[self]


def first_collisions(
    poses: NDArray[np.float64],
    openings_m: NDArray[np.float64],
    scene: GraspScene,
    gripper: Gripper,
    pregrasp_m: float,
    own: NDArray[np.floating] | None = None,
) -> NDArray[np.int64]:
    """(K,) Collision of each of K grasps.

    The approach is straight, so that what the gripper sweeps is its cross-section, from the pre-grasp on. Between the
    fingers there may be the object, and nothing else, since there they close.

    Args:
        poses: (K, 4, 4) camera_T_tcp.
        openings_m: (K,) during the approach.
        scene: the object and its surroundings.
        gripper: that comes.
        pregrasp_m: length of the approach.
        own: (N, 3) points of the object, completed perhaps; None: the visible ones.
    """
    result = np.zeros(len(poses), np.int64)
    result[_touches_plane(poses, openings_m, scene, gripper)] = Collision.PLANE
    cloud = scene.cloud if own is None else own
    checks: tuple[tuple[Collision, Callable[[Poses, Openings], NDArray[np.bool_]]], ...] = (
        (Collision.OBSTACLE, lambda at, wide: _touches_obstacles(at, wide, scene.obstacles, gripper, pregrasp_m)),
        (Collision.OBSTACLE, lambda at, wide: _touches_flat(at, wide, scene, gripper)),
        (Collision.OBJECT, lambda at, wide: touches_own(at, wide, cloud, gripper)),
        (Collision.LIFT, lambda at, wide: _touches_when_lifted(at, wide, scene, gripper)),
    )
    for kind, touches in checks:
        left = np.flatnonzero(result == Collision.NONE)
        result[left[touches(poses[left], openings_m[left])]] = kind
    return result


def _touches_plane(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.bool_]:
    """(K,) bool: a corner of the palm or a finger lies in the plane or nearer to it than the margin."""
    if scene.plane is None:
        return np.zeros(len(poses), dtype=np.bool_)
    return lowest_m(poses, openings_m, scene, gripper) < plane_margin_m(scene) - 1e-6


def plane_margin_m(scene: GraspScene) -> float:
    """How far a gripper stays from the plane."""
    return PLANE_MARGIN_M + 0.5 * depth_noise_m(scene.distance_m)


def lowest_m(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.float64]:
    """(K,) height of each open gripper's lowest corner over the scene's plane."""
    assert scene.plane is not None  # the caller has seen to it
    normal = scene.plane.normal
    along = np.einsum("kij,i->kj", poses[:, :3, :3], normal)  # the normal in each gripper's frame
    origin = poses[:, :3, 3] @ normal + scene.plane.offset
    palm_x, palm_y, palm_z = gripper.palm_size_m
    palm_end = gripper.tip_m - gripper.finger_length_m
    aside = openings_m / 2 + gripper.finger_thickness_m
    fingers = (
        -np.abs(along[:, 0]) * gripper.finger_width_m / 2
        - np.abs(along[:, 1]) * aside
        + np.minimum(along[:, 2] * gripper.tip_m, along[:, 2] * palm_end)
    )
    palm = (
        -np.abs(along[:, 0]) * palm_x / 2
        - np.abs(along[:, 1]) * palm_y / 2
        + np.minimum(along[:, 2] * palm_end, along[:, 2] * (palm_end - palm_z))
    )
    return origin + np.minimum(fingers, palm)


def _touches_obstacles(
    poses: NDArray[np.float64],
    openings_m: NDArray[np.float64],
    obstacles: NDArray[np.floating],
    gripper: Gripper,
    pregrasp_m: float,
) -> NDArray[np.bool_]:
    """(K,) bool: an obstacle is in the swept cross-section of palm or fingers, or between the fingers."""
    if not len(obstacles) or not len(poses):
        return np.zeros(len(poses), dtype=np.bool_)
    x, y, z = in_frames(poses, obstacles)
    return _obstacles_met(x, y, z, openings_m, gripper, pregrasp_m)


def _touches_flat(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.bool_]:
    """(K,) bool: the finger tips come down on what lies flat beside the object."""
    if not len(scene.flat) or not len(poses):
        return np.zeros(len(poses), dtype=np.bool_)
    x, y, z = in_frames(poses, scene.flat)
    aside = (openings_m / 2 + gripper.finger_thickness_m + PLANE_MARGIN_M).astype(np.float32)[:, None]
    below = (np.abs(x) < gripper.finger_width_m / 2 + PLANE_MARGIN_M) & (np.abs(y) < aside)
    return np.asarray((below & (z < gripper.tip_m + _FLAT_MARGIN_M)).any(axis=1))


def _obstacles_met(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    z: NDArray[np.float32],
    openings_m: NDArray[np.float64],
    gripper: Gripper,
    pregrasp_m: float,
) -> NDArray[np.bool_]:
    """(K,) bool: the same of (K, N) obstacles given in the grippers' frames."""
    margin = OBSTACLE_MARGIN_M
    aside = (openings_m / 2 + gripper.finger_thickness_m + margin).astype(np.float32)[:, None]
    x, y = np.abs(x), np.abs(y)
    start = gripper.tip_m - gripper.finger_length_m - gripper.palm_size_m[2] - pregrasp_m - margin
    swept = (x < gripper.finger_width_m / 2 + margin) & (y < aside) & (z < gripper.tip_m + margin) & (z > start)
    swept |= palm_sweeps(x, y, z, gripper, pregrasp_m, margin)
    return np.asarray(swept.any(axis=1))


def palm_sweeps(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    z: NDArray[np.float32],
    gripper: Gripper,
    pregrasp_m: float,
    margin_m: float,
) -> NDArray[np.bool_]:
    """(K, N) bool: which points, given in the grippers' frames, x and y as amounts, the palm comes near on its way."""
    front = gripper.tip_m - gripper.finger_length_m
    swept = (x < gripper.palm_size_m[0] / 2 + margin_m) & (y < gripper.palm_size_m[1] / 2 + margin_m)
    swept &= z < front + margin_m
    swept &= z > front - gripper.palm_size_m[2] - pregrasp_m - margin_m
    return swept


def touches_own(
    poses: NDArray[np.float64],
    openings_m: NDArray[np.float64],
    points: NDArray[np.floating],
    gripper: Gripper,
) -> NDArray[np.bool_]:
    """(K,) bool: a point of the object is in what the fingers or the palm sweep until they stand at the grasp."""
    if not len(points) or not len(poses):
        return np.zeros(len(poses), dtype=np.bool_)
    x, y, z = in_frames(poses, points)
    return np.asarray(own_hits(x, y, z, openings_m, gripper).any(axis=1))


def own_hits(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    z: NDArray[np.float32],
    openings_m: NDArray[np.float64],
    gripper: Gripper,
) -> NDArray[np.bool_]:
    """(K, N) bool: which points, given in the grippers' frames, the fingers or the palm meet."""
    x, y = np.abs(x), np.abs(y)
    inner = (openings_m / 2 - OWN_MARGIN_M).astype(np.float32)[:, None]
    outer = inner + np.float32(gripper.finger_thickness_m + 2 * OWN_MARGIN_M)
    fingers = (x < gripper.finger_width_m / 2 + OWN_MARGIN_M) & (y > inner) & (y < outer)
    fingers &= z < gripper.tip_m + OWN_MARGIN_M
    return fingers | palm_hits(x, y, z, gripper)


def palm_hits(x: Array, y: Array, z: Array, gripper: Gripper) -> Array:
    """(K, N) bool: which points, given in the grippers' frames, the palm meets."""
    hits = z < gripper.tip_m - gripper.finger_length_m + OWN_MARGIN_M
    hits &= abs(x) < gripper.palm_size_m[0] / 2 + OWN_MARGIN_M
    hits &= abs(y) < gripper.palm_size_m[1] / 2 + OWN_MARGIN_M
    return hits


def _touches_when_lifted(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.bool_]:
    """(K,) bool: an obstacle is in the gripper's way while it lifts."""
    hits = np.zeros(len(poses), dtype=np.bool_)
    if not len(scene.obstacles) or not len(poses):
        return hits
    x, y, z = in_frames(poses, scene.obstacles)
    lift = np.einsum("kij,i->jk", poses[:, :3, :3], scene.lift).astype(np.float32)[:, :, None]
    for height in LIFT_M:
        down = np.float32(height) * lift  # as the gripper sees it, the obstacles go down
        hits |= _obstacles_met(x - down[0], y - down[1], z - down[2], openings_m, gripper, 0.0)
    return hits
