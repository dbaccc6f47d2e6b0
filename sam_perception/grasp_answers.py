"""Grasps of the objects in one answer, as a person gets them: JSON, a line of text, outlines in the picture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import RgbdFrame
from sam_perception.geometry.objects import ObjectGeometry
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.outlines import GRIPPER_COLOR, draw_gripper
from sam_perception.grasping.planners import GraspPlanner
from sam_perception.grasping.scene import grasp_scene
from sam_perception.rotations import quaternion_from_rotation

_FAINT = 0.35
_WIDTH_OF_A_PIXEL = 640  # lines are one pixel thick in an image this wide
_NOTHING = GraspPlan((), ("no safe grasp: nothing was found at the prompt, so there is nothing to grasp",))


@dataclasses.dataclass(frozen=True, eq=False)
class GraspRequest:
    """What to plan for each object.

    Attributes:
        gripper: that is to grasp it.
        planner: that looks for the grasps.
        max_candidates: at most so many for each object.
    """

    gripper: Gripper
    planner: GraspPlanner
    max_candidates: int


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedGrasps:
    """What was found for a request.

    Attributes:
        request: as asked.
        plans: one for each object.
        grasp_ms: time for all of them.
    """

    request: GraspRequest
    plans: tuple[GraspPlan, ...]
    grasp_ms: float


def plan_all(frame: RgbdFrame, geometry: Sequence[ObjectGeometry | None], request: GraspRequest) -> PlannedGrasps:
    """Plan for each object of a frame with depth and intrinsics; None is one of which nothing was found."""
    start = time.perf_counter()
    plans = tuple(
        _NOTHING
        if measured is None
        else request.planner.plan(grasp_scene(frame, measured), request.gripper, request.max_candidates)
        for measured in geometry
    )
    return PlannedGrasps(request, plans, (time.perf_counter() - start) * 1e3)


def describe_plan(plan: GraspPlan) -> dict[str, Any]:
    """A plan's part of an object in result.json."""
    return {
        "grasps": [_describe_candidate(candidate) for candidate in plan.candidates],
        "grasp_reasons": list(plan.reasons),
    }


def plan_line(plan: GraspPlan) -> str:
    """A plan for a terminal: its best grasp, or why there is none."""
    if not plan.candidates:
        return "; ".join(plan.reasons)
    best, count = plan.candidates[0], len(plan.candidates)
    x, y, z = best.camera_T_tcp[:3, 3]
    line = (
        f"{count} {'grasp' if count == 1 else 'grasps'}; best: quality {best.quality:.2f}, "
        f"open to {1e3 * best.width_m:.0f} mm, at ({x:.3f}, {y:.3f}, {z:.3f}) m"
    )
    return f"{line} ({'; '.join(plan.reasons)})" if plan.reasons else line


def draw_plans(picture: NDArray[np.uint8], frame: RgbdFrame, planned: PlannedGrasps) -> None:
    """Draw the gripper at each object's best grasp into the frame's picture, and faintly where it comes from."""
    if frame.intrinsics is None:
        return
    best = [plan.candidates[0] for plan in planned.plans if plan.candidates]
    gripper, thickness = planned.request.gripper, max(1, round(frame.width / _WIDTH_OF_A_PIXEL))
    faint = picture.copy()
    for candidate in best:
        before = dataclasses.replace(candidate, camera_T_tcp=candidate.camera_T_pregrasp)
        draw_gripper(faint, frame.intrinsics, before, gripper, GRIPPER_COLOR, thickness)
    picture[:] = cv2.addWeighted(picture, 1 - _FAINT, faint, _FAINT, 0)
    for candidate in best:
        draw_gripper(picture, frame.intrinsics, candidate, gripper, GRIPPER_COLOR, thickness)


def _describe_candidate(candidate: GraspCandidate) -> dict[str, Any]:
    pose = candidate.camera_T_tcp
    return {
        "position_m": _rounded(pose[:3, 3]),
        "orientation_xyzw": _rounded(quaternion_from_rotation(pose[:3, :3])),
        "camera_T_tcp": [_rounded(row) for row in pose],
        "width_m": round(candidate.width_m, 6),
        "quality": round(candidate.quality, 4),
        "approach": _rounded(candidate.approach),
        "pregrasp_distance_m": round(candidate.pregrasp_distance_m, 6),
    }


def _rounded(values: NDArray) -> list[float]:
    return [round(float(value), 6) for value in values]
