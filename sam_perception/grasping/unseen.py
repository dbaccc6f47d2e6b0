"""What of a gripper's way to a grasp the camera did not see, and whether something may stand there."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.arrays import in_frames
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.sweep import palm_sweeps

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
_SIDES = (0, 1, -1)  # of palm and fingers, along Y
_BACK_M = (0.0, 0.05, 0.1)  # along the approach, where it is asked what is hidden
_PALM_FRONT_M = 0.01
_SAMPLE_M = 0.04  # between the places of palm and fingers that are looked up, at most
_PALM_GAP_M = 0.003
_EVERY_CELL = 3  # the palm is so large that some of the cells do
# Fitted to 3,400 grasps in 54 cluttered scenes: most that MuJoCo found to collide are met, and few others.
_CELLS_IN_PALM, _CELLS_IN_FINGER = 2, 4  # from so many on; fewer come from the lattice and the noise of depth
_MOST_OF_FINGER = 0.1  # behind other things
_MOST_BEHIND_OBJECT = 0.6  # of a finger
_MOST_OUT_OF_SIGHT = 0.1  # of a finger
_BEHIND_M = 0.01
_BESIDE_M = 0.06  # what is seen of the object, a finger may be on its unseen side


def may_meet_unseen(
    poses: NDArray[np.float64],
    openings_m: NDArray[np.float64],
    scene: GraspScene,
    gripper: Gripper,
    pregrasp_m: float,
) -> NDArray[np.bool_]:
    """(K,) bool: palm or a finger would be, on the way or at the grasp, where something unseen may well stand.

    That is near things around the object, where these go on out of sight; behind them; and, of a finger, mostly behind
    the object. An object on its own hides next to nothing: where there is nothing around it, nothing is met.

    Args:
        poses: (K, 4, 4) camera_T_tcp.
        openings_m: (K,) during the approach.
        scene: the object and its surroundings.
        gripper: that comes.
        pregrasp_m: length of the approach.
    """
    if scene.view is None or not len(poses) or not len(scene.obstacles):
        return np.zeros(len(poses), dtype=np.bool_)
    meets = _palm_meets_cells(poses, scene, gripper, pregrasp_m)
    meets |= _fingers_meet_cells(poses, openings_m, scene, gripper)
    palm_there, *fingers_there = _in_camera(_lattices(gripper), poses, openings_m)
    for back_m in _BACK_M:
        back = back_m * poses[:, None, :3, 2]
        meets |= _of_each(scene.view.is_hidden_by_others, palm_there - back).any(axis=1)
        for there in fingers_there:
            behind_others = _of_each(scene.view.is_hidden_by_others, there - back)
            meets |= behind_others.mean(axis=1) > _MOST_OF_FINGER
            if back_m == 0:
                behind = _of_each(functools.partial(scene.view.is_hidden, margin_m=_BEHIND_M), there)
                meets |= behind.mean(axis=1) > _MOST_BEHIND_OBJECT
    return meets


def goes_out_of_sight(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.bool_]:
    """(K,) bool: more than the end of a finger is hidden by the object, near to something that stands around.

    Rarely does it meet something there, some 2 % of such grasps in simulated clutter; of the others hardly any does.
    """
    out_of_sight = np.zeros(len(poses), dtype=np.bool_)
    if scene.view is None or not len(poses) or not len(scene.obstacles):
        return out_of_sight
    view = scene.view
    for there in _in_camera(_lattices(gripper), poses, openings_m, only_fingers=True):
        hidden = _of_each(lambda at: view.is_hidden(at, _BEHIND_M) & scene.is_near_others(at), there)
        out_of_sight |= hidden.mean(axis=1) > _MOST_OUT_OF_SIGHT
    return out_of_sight


def unknown_share(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.float64]:
    """(K,) how much of the gripper would be where nothing is known, by the corners of palm and fingers.

    That is behind other things, at the grasp or on the way to it whichever is more, and at the grasp out of the image.
    What the object itself hides is taken for what its completion says, unless the image cuts the object off.
    """
    if scene.view is None or not len(poses):
        return np.zeros(len(poses))
    corners = np.concatenate(_in_camera(_corners(gripper), poses, openings_m), axis=1)
    shares = []
    for back_m in _BACK_M:
        there = corners - back_m * poses[:, None, :3, 2]
        unknown = _of_each(scene.view.is_hidden_by_others, there)
        if back_m == 0:
            unknown |= _of_each(scene.view.is_outside, there)
            if scene.view.cuts_object_off:
                unknown |= _of_each(scene.view.is_hidden, there)
        shares.append(unknown.mean(axis=1))
    return np.max(shares, axis=0)


def _palm_meets_cells(
    poses: NDArray[np.float64], scene: GraspScene, gripper: Gripper, pregrasp_m: float
) -> NDArray[np.bool_]:
    x, y, z = in_frames(poses, scene.unseen_near_obstacles[::_EVERY_CELL])
    met = palm_sweeps(np.abs(x), np.abs(y), z, gripper, pregrasp_m, _PALM_GAP_M)
    return np.asarray(np.count_nonzero(met, axis=1) >= _CELLS_IN_PALM)


def _fingers_meet_cells(
    poses: NDArray[np.float64], openings_m: NDArray[np.float64], scene: GraspScene, gripper: Gripper
) -> NDArray[np.bool_]:
    cells = scene.unseen_near_obstacles
    low, high = scene.extent[0] - _BESIDE_M, scene.extent[1] + _BESIDE_M
    x, y, z = in_frames(poses, cells[((cells > low) & (cells < high)).all(axis=1)])
    inner = (openings_m / 2).astype(np.float32)[:, None]
    met = (z < gripper.tip_m) & (z > gripper.tip_m - gripper.finger_length_m) & (np.abs(x) < gripper.finger_width_m / 2)
    grasp, cell = np.nonzero(met)
    y, inner = y[grasp, cell], inner[grasp, 0]
    most = np.zeros(len(poses), np.intp)
    for aside in (y - inner, -y - inner):
        in_finger = (aside > 0) & (aside < gripper.finger_thickness_m)
        np.maximum(most, np.bincount(grasp[in_finger], minlength=len(poses)), out=most)
    return np.asarray(most >= _CELLS_IN_FINGER)


@functools.lru_cache(maxsize=8)
def _lattices(gripper: Gripper) -> tuple[NDArray[np.float64], ...]:
    """(P, 3) places that fill the palm, and such of each finger, in the frame of the closed gripper's TCP."""
    centers, halves = gripper.boxes(0.0)
    return tuple(center + _lattice(half) for center, half in zip(centers, halves, strict=True))


@functools.lru_cache(maxsize=8)
def _corners(gripper: Gripper) -> tuple[NDArray[np.float64], ...]:
    """(8, 3) corners of the palm's front, and of each finger, likewise."""
    centers, halves = gripper.boxes(0.0)
    corners = centers[:, None] + _CORNERS * halves[:, None]
    corners[0, :, 2] = np.maximum(corners[0, :, 2], corners[0, :, 2].max() - _PALM_FRONT_M)
    return tuple(corners)


def _in_camera(
    parts: tuple[NDArray[np.float64], ...],
    poses: NDArray[np.float64],
    openings_m: NDArray[np.float64],
    only_fingers: bool = False,
) -> list[NDArray[np.float64]]:
    """(K, P, 3) points of the palm, the finger at +Y and that at -Y, each (P, 3) in the TCP's frame when closed."""
    aside = openings_m[:, None, None] / 2 * np.array([0.0, 1.0, 0.0])
    wanted = list(zip(parts, _SIDES, strict=True))[only_fingers:]
    return [
        (local + side * aside) @ poses[:, :3, :3].transpose(0, 2, 1) + poses[:, None, :3, 3] for local, side in wanted
    ]


def _of_each(ask: Callable[[NDArray[np.float64]], NDArray[np.bool_]], there: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(K, P) bool: the answers for (K, P, 3) points."""
    return ask(there.reshape(-1, 3)).reshape(there.shape[:2])


def _lattice(half: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, 3) places that fill a box around 0 evenly, its corners among them."""
    axes = [np.linspace(-size, size, 2 + int(2 * size / _SAMPLE_M)) for size in half]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
