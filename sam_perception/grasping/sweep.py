"""What a gripper runs into on its straight way to a grasp, while it closes, and when it lifts."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from sam_perception.geometry.noise import depth_noise_m
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene

LIFT_M = (0.02, 0.05, 0.10)  # heights at which the lifted gripper is checked
PLANE_MARGIN_M = 0.0015
OBSTACLE_MARGIN_M = 0.005
OWN_MARGIN_M = 0.001
_PALM_FRONT_M = 0.01
_BACK_M = (0.0, 0.05, 0.1)  # along the approach, where it is asked what is hidden


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
    for kind, hits in (
        (Collision.OBSTACLE, _touches_obstacles(poses, openings_m, scene.obstacles, gripper, pregrasp_m)),
        (Collision.OBJECT, touches_own(poses, openings_m, scene.cloud if own is None else own, gripper)),
        (Collision.LIFT, _touches_when_lifted(poses, openings_m, scene, gripper)),
    ):
        result[hits & (result == Collision.NONE)] = kind
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
    depth = float(np.median(scene.cloud[:, 2])) if len(scene.cloud) else 0.0
    return PLANE_MARGIN_M + 0.5 * depth_noise_m(depth)


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


def in_frames(poses: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float32]:
    """(3, K, N) float32 x, y and z of (N, 3) points in the frames of (K, 4, 4) poses, by one matrix product."""
    rotations = poses[:, :3, :3]
    origins = np.einsum("kij,ki->jk", rotations, poses[:, :3, 3])
    axes = rotations.transpose(2, 0, 1).reshape(-1, 3).astype(np.float32)
    center = points.mean(axis=0, dtype=np.float64) if len(points) else np.zeros(3)  # float32 keeps micrometres near 0
    local = (axes @ (points - center).astype(np.float32).T).reshape(3, len(poses), len(points))
    shift = origins - np.einsum("kij,i->jk", rotations, center)
    local -= shift.astype(np.float32)[:, :, None]
    return local


def unknown_share(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.float64]:
    """(K,) how much of the gripper would be where nothing is known, by the corners of palm and fingers.

    That is behind other things, at the grasp or on the way to it whichever is more, and at the grasp out of the image.
    What the object itself hides is taken for what its completion says, unless the image cuts the object off.
    """
    if scene.view is None or not len(poses):
        return np.zeros(len(poses))
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    centers, halves = gripper.boxes(0.0)
    corners = centers[:, None] + signs * halves[:, None]
    corners[0, :, 2] = np.maximum(corners[0, :, 2], corners[0, :, 2].max() - _PALM_FRONT_M)
    of_all = np.tile(corners, (len(poses), 1, 1, 1))
    of_all[:, 1, :, 1] += openings_m[:, None] / 2
    of_all[:, 2, :, 1] -= openings_m[:, None] / 2
    points = of_all.reshape(len(poses), -1, 3) @ poses[:, :3, :3].transpose(0, 2, 1) + poses[:, None, :3, 3]
    shares = []
    for back_m in _BACK_M:
        there = (points - back_m * poses[:, None, :3, 2]).reshape(-1, 3)
        unknown = scene.view.is_hidden_by_others(there)
        if back_m == 0:
            unknown |= scene.view.is_outside(there)
            if scene.view.cuts_object_off:
                unknown |= scene.view.is_hidden(there)
        shares.append(unknown.reshape(len(poses), -1).mean(axis=1))
    return np.max(shares, axis=0)


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
    margin = OBSTACLE_MARGIN_M
    aside = (openings_m / 2 + gripper.finger_thickness_m + margin).astype(np.float32)[:, None]
    x, y = np.abs(x), np.abs(y)
    start = gripper.tip_m - gripper.finger_length_m - gripper.palm_size_m[2] - pregrasp_m - margin
    swept = (x < gripper.finger_width_m / 2 + margin) & (y < aside) & (z < gripper.tip_m + margin)
    palm = (x < gripper.palm_size_m[0] / 2 + margin) & (y < gripper.palm_size_m[1] / 2 + margin)
    palm &= z < gripper.tip_m - gripper.finger_length_m + margin
    swept |= palm
    swept &= z > start
    return swept.any(axis=1)


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


def palm_hits(
    x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32], gripper: Gripper
) -> NDArray[np.bool_]:
    """(K, N) bool: which points, given in the grippers' frames, the palm meets."""
    hits = z < gripper.tip_m - gripper.finger_length_m + OWN_MARGIN_M
    hits &= np.abs(x) < gripper.palm_size_m[0] / 2 + OWN_MARGIN_M
    hits &= np.abs(y) < gripper.palm_size_m[1] / 2 + OWN_MARGIN_M
    return hits


def _touches_when_lifted(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.bool_]:
    """(K,) bool: an obstacle is in the gripper's way while it lifts."""
    hits = np.zeros(len(poses), dtype=np.bool_)
    if not len(scene.obstacles) or not len(poses):
        return hits
    for height in LIFT_M:
        lifted = poses.copy()
        lifted[:, :3, 3] += height * scene.lift
        hits |= _touches_obstacles(lifted, openings_m, scene.obstacles, gripper, 0.0)
    return hits
