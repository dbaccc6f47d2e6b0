"""Planned grasps as messages: candidates of a gripper's poses, and markers that show the gripper there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from sam_perception.geometry.objects import ObjectGeometry
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan, transform_candidate
from sam_perception.grasping.gripper import Gripper
from sam_perception.msg import GraspCandidate as GraspCandidateMessage
from sam_perception.msg import GraspCandidateArray
from sam_perception.nodes.transform_messages import (
    matrix_pose_message,
    point_message,
    pose_message,
    vector_message,
)

_LINE_M = 0.0012
_SHAFT_M, _HEAD_M, _HEAD_LENGTH_M = 0.004, 0.010, 0.015
_BEST = (0.1, 0.95, 0.2, 1.0)
_OTHERS = (0.95, 0.75, 0.1, 0.35)
_APPROACH = (0.1, 0.95, 0.2, 0.9)
_RETREAT = (0.2, 0.6, 1.0, 0.9)

# Corners of a box: bit k of a corner's number says on which side along axis k it lies; edges differ in one bit.
_CORNERS = np.array([[(i >> axis & 1) * 2 - 1 for axis in range(3)] for i in range(8)])
_EDGES = np.array([(i, i ^ bit) for i in range(8) for bit in (1, 2, 4) if i < i ^ bit])


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedGrasp:
    """A grasp in the frame that the messages are in.

    Attributes:
        object_id: of the object.
        candidate: moved to that frame: its ``camera_T_tcp`` is now target_T_tcp.
        retreat: (3,) unit vector along which the object is lifted: away from what it stands on; where that is unknown,
            towards the camera.
    """

    object_id: int
    candidate: GraspCandidate
    retreat: NDArray[np.float64]


def place_grasps(
    geometries: Sequence[ObjectGeometry],
    plans: Sequence[GraspPlan],
    target_T_camera: NDArray[np.float64],
    max_candidates: int,
) -> list[PlacedGrasp]:
    """Grasps of all objects in the frame "target", best first.

    Where there are more than ``max_candidates``, each object's best go in before any object's second best.

    Args:
        geometries: the objects.
        plans: one for each object.
        target_T_camera: (4, 4) rigid transform.
        max_candidates: at most so many.
    """
    ranked = [
        (rank, -candidate.quality, number, candidate)
        for number, plan in enumerate(plans)
        for rank, candidate in enumerate(plan.candidates)
    ]
    ranked = sorted(ranked, key=lambda each: each[:3])[:max_candidates]
    return [
        _placed(geometries[number], candidate, target_T_camera)
        for _, _, number, candidate in sorted(ranked, key=lambda each: (each[1], each[0], each[2]))
    ]


def grasps_message(header: Any, grasps: Sequence[PlacedGrasp]) -> Any:
    """A GraspCandidateArray; every candidate has the array's header."""
    return GraspCandidateArray(header=header, candidates=[_candidate_message(header, grasp) for grasp in grasps])


def gripper_markers(
    header: Any, grasps: Sequence[PlacedGrasp], gripper: Gripper, shown: int, retreat_m: float
) -> list[Any]:
    """Outlines of the open gripper at each object's first ``shown`` grasps; the best is bright and has arrows.

    One arrow goes from the pre-grasp to the grasp, one from there the way that the object is lifted.
    """
    markers: list[Any] = []
    counts: dict[int, int] = {}
    for number, grasp in enumerate(grasps):
        rank = counts.get(grasp.object_id, 0)
        counts[grasp.object_id] = rank + 1
        if rank >= shown:
            continue
        markers.append(_outline(header, number, grasp, gripper, _OTHERS if rank else _BEST))
        if rank == 0:
            markers += _arrows(header, number, grasp, retreat_m)
    return markers


def _placed(geometry: ObjectGeometry, candidate: GraspCandidate, target_T_camera: NDArray[np.float64]) -> PlacedGrasp:
    toward_camera = -geometry.cloud.points.mean(axis=0, dtype=np.float64)
    away = toward_camera / np.linalg.norm(toward_camera) if geometry.plane is None else geometry.plane.normal
    return PlacedGrasp(
        geometry.cloud.mask.object_id,
        transform_candidate(candidate, target_T_camera),
        target_T_camera[:3, :3] @ away,
    )


def _candidate_message(header: Any, grasp: PlacedGrasp) -> Any:
    candidate = grasp.candidate
    return GraspCandidateMessage(
        header=header,
        object_id=grasp.object_id,
        pose=matrix_pose_message(candidate.camera_T_tcp),
        width=float(candidate.width_m),
        quality=float(candidate.quality),
        approach=vector_message(candidate.approach),
        pregrasp_distance=float(candidate.pregrasp_distance_m),
    )


def _outline(header: Any, number: int, grasp: PlacedGrasp, gripper: Gripper, color: tuple[float, ...]) -> Any:
    centers, halves = gripper.boxes(grasp.candidate.width_m)
    corners = centers[:, None] + _CORNERS * halves[:, None]
    return Marker(
        header=header,
        ns="grippers",
        id=number,
        type=Marker.LINE_LIST,
        action=Marker.ADD,
        pose=matrix_pose_message(grasp.candidate.camera_T_tcp),
        scale=vector_message((_LINE_M, 0.0, 0.0)),
        color=_color(color),
        points=[point_message(corner) for box in corners for corner in box[_EDGES].reshape(-1, 3)],
    )


def _arrows(header: Any, number: int, grasp: PlacedGrasp, retreat_m: float) -> list[Any]:
    candidate = grasp.candidate
    at = candidate.camera_T_tcp[:3, 3]
    start, end = candidate.camera_T_pregrasp[:3, 3], at + retreat_m * grasp.retreat
    arrows = (("pregrasp", start, at, _APPROACH), ("retreat", at, end, _RETREAT))
    return [
        Marker(
            header=header,
            ns=name,
            id=number,
            type=Marker.ARROW,
            action=Marker.ADD,
            pose=pose_message(np.zeros(3)),  # the points are in the header's frame
            scale=vector_message((_SHAFT_M, _HEAD_M, _HEAD_LENGTH_M)),
            color=_color(color),
            points=[point_message(tail), point_message(head)],
        )
        for name, tail, head, color in arrows
    ]


def _color(rgba: tuple[float, ...]) -> Any:
    red, green, blue, opacity = rgba
    return ColorRGBA(r=red, g=green, b=blue, a=opacity)
