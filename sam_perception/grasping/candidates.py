"""What a grasp planner answers: ranked candidates, or why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.errors import InvalidInputError

_ROTATION_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True, eq=False)
class GraspCandidate:
    """One way to grasp an object with a parallel gripper.

    Attributes:
        camera_T_tcp: (4, 4) float64, takes points of the tool centre point's frame to the camera's optical frame: +Z
            approaches the object, +Y is the closing direction, the origin comes midway between the contacts.
        width_m: what the gripper opens to before it approaches, between the pads: the object's width there and
            clearance on both sides, at most the gripper's ``max_opening_m``.
        quality: 0..1, comparable among one planner's candidates.
        pregrasp_distance_m: from where the approach starts, back along ``approach``; the way from there is straight.
        planner: its name.
        scores: the parts that made the quality, by name; each 0..1.

    Raises:
        InvalidInputError: a matrix that is no rigid transform, a negative width or distance, a quality off 0..1.
    """

    camera_T_tcp: NDArray[np.float64]
    width_m: float
    quality: float
    pregrasp_distance_m: float
    planner: str
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        pose = _rigid("GraspCandidate.camera_T_tcp", self.camera_T_tcp)
        pose.flags.writeable = False
        object.__setattr__(self, "camera_T_tcp", pose)
        for name in ("width_m", "pregrasp_distance_m"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise InvalidInputError.for_field(f"GraspCandidate.{name}", "metres, 0 or more", value)
        if not 0 <= self.quality <= 1:
            raise InvalidInputError.for_field("GraspCandidate.quality", "within 0..1", self.quality)

    @property
    def approach(self) -> NDArray[np.float64]:
        """(3,) unit vector: where the gripper moves on its way to the object."""
        return self.camera_T_tcp[:3, 2]

    @property
    def camera_T_pregrasp(self) -> NDArray[np.float64]:
        """(4, 4) where the straight approach starts."""
        pose = self.camera_T_tcp.copy()
        pose[:3, 3] -= self.pregrasp_distance_m * self.approach
        return pose


@dataclasses.dataclass(frozen=True, eq=False)
class GraspPlan:
    """A planner's answer.

    Attributes:
        candidates: best first; empty when no grasp is safe.
        reasons: sentences that say why there is none or what to know about those there are.
        rejected: how many hypotheses were rejected, by reason.
    """

    candidates: tuple[GraspCandidate, ...]
    reasons: tuple[str, ...] = ()
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def at_least(self, quality: float) -> GraspPlan:
        """The plan without its candidates of less than a quality; where none is left, a reason says so."""
        kept = tuple(candidate for candidate in self.candidates if candidate.quality >= quality)
        if kept or not self.candidates:
            return dataclasses.replace(self, candidates=kept)
        best = max(candidate.quality for candidate in self.candidates)
        poor = f"no safe grasp: the best has quality {best:.2f}, less than {quality:g}"
        return dataclasses.replace(self, candidates=(), reasons=(poor, *self.reasons))


def transform_candidate(candidate: GraspCandidate, target_T_camera: ArrayLike) -> GraspCandidate:
    """The same grasp in another frame; its ``camera_T_tcp`` then takes points of the TCP to that frame.

    Args:
        candidate: in the camera's optical frame.
        target_T_camera: (4, 4) rigid transform.

    Raises:
        InvalidInputError: a matrix that is not a rigid transform.
    """
    transform = _rigid("target_T_camera", target_T_camera)
    return dataclasses.replace(candidate, camera_T_tcp=transform @ candidate.camera_T_tcp)


def no_grasp(rejected: Mapping[str, int], first: str = "") -> GraspPlan:
    """The plan without candidates that says what rejected how many hypotheses, most first.

    Args:
        rejected: count by reason.
        first: what explains more than the counts, where something does.
    """
    ranked = sorted(((count, reason) for reason, count in rejected.items() if count), reverse=True)
    detail = ", ".join(f"{count} {reason}" for count, reason in ranked)
    detail = "; ".join(part for part in (first, detail) if part)
    return GraspPlan((), (f"no safe grasp: {detail or 'the object offers no pair of contacts'}",), dict(rejected))


def _rigid(field: str, matrix: ArrayLike) -> NDArray[np.float64]:
    pose = np.array(matrix, dtype=np.float64)
    if pose.shape != (4, 4) or not _is_rigid(pose):
        raise InvalidInputError.for_field(field, "a rigid (4, 4) transform", pose)
    return pose


def _is_rigid(pose: NDArray[np.float64]) -> bool:
    if not np.isfinite(pose).all() or (np.abs(pose[3] - [0, 0, 0, 1]) > [1e-8, 1e-8, 1e-8, _ROTATION_TOLERANCE]).any():
        return False
    rotation = pose[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3))
    return bool((off <= _ROTATION_TOLERANCE * (1 + np.eye(3))).all() and np.linalg.det(rotation) > 0)
