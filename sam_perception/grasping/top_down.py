"""Grasps from straight above: at the centroid, or across the box's shorter side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.candidates import GraspCandidate, GraspPlan, no_grasp
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.sweep import Collision, first_collisions

PREGRASP_M = 0.10
MIN_POINTS = 20

_CLEARANCE_M = 0.01  # on each side of the object
_TABLE_GAP_M = 0.004  # between finger tips and plane
_YAWS_DEG = (0.0, 90.0, 15.0, -15.0, 30.0, -30.0)  # from the box's shorter side, in the order they are tried
_SHIFTS = (0.0, 0.15, -0.15, 0.3, -0.3)  # along the box's longer side, as shares of it
_TOO_FEW = "no safe grasp: the object's cloud has {} points, at least {} are needed"


class CentroidPlanner:
    """The simplest there is: down onto the mean of the visible points, always with the same yaw.

    The fingers close along the camera's x axis, the gripper is fully open, nothing is checked.
    """

    name = "centroid"

    def plan(self, scene: GraspScene, gripper: Gripper, max_candidates: int) -> GraspPlan:
        """One candidate, whatever is in its way."""
        if len(scene.cloud) < MIN_POINTS:
            return too_few(scene)
        at = scene.cloud.mean(axis=0, dtype=np.float64)
        pose = pose_of(at, -scene.lift, np.array([1.0, 0.0, 0.0]))
        candidate = GraspCandidate(pose, gripper.max_opening_m, 0.5, PREGRASP_M, self.name)
        return GraspPlan((candidate,)[:max_candidates])


class TopDownPlanner:
    """Down along the plane's normal onto the middle of the object's box, closing across its shorter side.

    Other yaws and places along the box follow; the width is the box's, and what collides is left out.
    """

    name = "top_down"

    def plan(self, scene: GraspScene, gripper: Gripper, max_candidates: int) -> GraspPlan:
        """Candidates from above, the nearest to the box's middle and shorter side first."""
        if len(scene.cloud) < MIN_POINTS or scene.box is None:
            return too_few(scene)
        poses, openings, qualities, rejected = self._hypotheses(scene, gripper)
        if len(poses):
            collisions = first_collisions(poses, openings, scene, gripper, PREGRASP_M)
        else:
            collisions = np.empty(0, np.int64)
        for kind in Collision:
            if kind is not Collision.NONE:
                rejected[kind.words] = int(np.count_nonzero(collisions == kind))
        free = np.flatnonzero(collisions == Collision.NONE)[:max_candidates]
        if not free.size:
            return no_grasp(rejected)
        return GraspPlan(
            tuple(
                GraspCandidate(poses[i], float(openings[i]), float(qualities[i]), PREGRASP_M, self.name) for i in free
            ),
            rejected=rejected,
        )

    def _hypotheses(
        self, scene: GraspScene, gripper: Gripper
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], dict[str, int]]:
        """(K, 4, 4) poses, (K,) openings and (K,) qualities, best first; and how many were too wide."""
        box = scene.box
        assert box is not None  # plan has seen to it
        order = np.argsort(-np.abs(box.rotation.T @ scene.lift), kind="stable")  # the upright axis first
        up, sides = order[0], sorted(order[1:], key=lambda axis: -box.size[axis])
        long, short = (box.rotation[:, axis] for axis in sides)
        length, width = (float(box.size[axis]) for axis in sides)
        depth = min(gripper.finger_length_m - 0.005, float(box.size[up]) - _TABLE_GAP_M)
        tips = box.center + scene.lift * (box.size[up] / 2 - depth)
        found, too_wide = [], 0
        for k, yaw in enumerate(np.radians(_YAWS_DEG)):
            closing = np.cos(yaw) * short + np.sin(yaw) * long
            across = min(
                abs(width * np.cos(yaw)) + abs(length * np.sin(yaw)),
                width / max(abs(np.cos(yaw)), 1e-6),
                length / max(abs(np.sin(yaw)), 1e-6),
            )
            if across > gripper.max_opening_m:
                too_wide += len(_SHIFTS)
                continue
            for j, shift in enumerate(_SHIFTS):
                pose = pose_of(tips + shift * length * long, -scene.lift, closing)
                pose[:3, 3] -= gripper.tip_m * pose[:3, 2]
                opening = min(gripper.max_opening_m, across + 2 * _CLEARANCE_M)
                found.append((pose, opening, 1.0 - 0.1 * k - 0.05 * j))
        found.sort(key=lambda item: -item[2])
        poses = np.array([item[0] for item in found]).reshape(-1, 4, 4)
        openings, qualities = (np.array([item[i] for item in found], dtype=np.float64) for i in (1, 2))
        return poses, openings, qualities, {"too wide for the gripper": too_wide}


def pose_of(
    origin: NDArray[np.floating], approach: NDArray[np.floating], closing: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(4, 4) camera_T_tcp at an origin, +Z along the approach and +Y as near to ``closing`` as can be."""
    z_axis = np.asarray(approach, np.float64) / np.linalg.norm(approach)
    y_axis = closing - (closing @ z_axis) * z_axis
    if np.linalg.norm(y_axis) < 1e-6:
        y_axis = np.cross(z_axis, np.eye(3)[int(np.argmin(np.abs(z_axis)))])
    y_axis = y_axis / np.linalg.norm(y_axis)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cross(y_axis, z_axis), y_axis, z_axis], axis=1)
    pose[:3, 3] = origin
    return pose


def too_few(scene: GraspScene) -> GraspPlan:
    """The plan for an object of which too little was seen."""
    return GraspPlan((), (_TOO_FEW.format(len(scene.cloud), MIN_POINTS),), {"too few points": 1})
