"""Grasps by pairs of contacts that face each other, on what was seen of an object and what completes it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.candidates import GraspCandidate, GraspPlan, no_grasp
from sam_perception.grasping.closing import Grips, closed_on
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.hypotheses import hypotheses_of, level_basis
from sam_perception.grasping.merits import quality_of
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.surface import Surface, surface_of
from sam_perception.grasping.sweep import Collision, first_collisions
from sam_perception.grasping.top_down import MIN_POINTS, PREGRASP_M, too_few
from sam_perception.grasping.unseen import may_meet_unseen, unknown_share

_CHECKED = 64  # grasps are checked for collisions in batches of this many, best first
_MOST_CHECKED = 512
_NARROW_GAP_M = 0.004  # on each side of the object, between neighbours
_NARROW_QUALITY = 0.5
_LEAST_SEEN = 0.7  # of the gripper must not be where nothing is known
_UNKNOWN, _UNSEEN = "behind other things or out of the image", "where something unseen may stand"
_LEAST_QUALITY = 0.015
_WEAKEST = 0.003  # of an object that fits and offers nothing better
_CUT_OFF_QUALITY = 0.5
_CUT_OFF = "the object reaches the image's border: how large it is there is not known"
_WIDTHS, _OUTERMOST = 36, (1, 99)  # directions in which an object is measured; percentiles, since points stray
_APART_M = 0.012
_APART_COSINE = 0.94


class AntipodalPlanner:
    """Closes the gripper on the object's surface, wherever pairs of contacts or its shape suggest it.

    Ten Pas and Platt, "Using geometry to detect grasp poses in 3D point clouds", ISRR 2015, evaluate hands by the
    points between their fingers in this way. The batch work is numpy's, on the processor.
    """

    name = "antipodal"

    def plan(self, scene: GraspScene, gripper: Gripper, max_candidates: int) -> GraspPlan:
        """Grasps that collide with nothing known, best first and different from each other."""
        if len(scene.cloud) < MIN_POINTS:
            return too_few(scene)
        surface = surface_of(scene)
        rejected: dict[str, int] = {}
        grips = closed_on(hypotheses_of(surface, scene, gripper), surface, scene, gripper, rejected)
        quality = quality_of(grips.merits)
        cut_off = scene.view is not None and scene.view.cuts_object_off
        if cut_off:
            quality *= _CUT_OFF_QUALITY
        notes = (_CUT_OFF,) if cut_off else ()
        rejected["too weak a grip"] = int(np.count_nonzero(quality < _WEAKEST))
        order = np.argsort(-quality, kind="stable")
        strong, all_told = (int(np.count_nonzero(quality >= least)) for least in (_LEAST_QUALITY, _WEAKEST))
        own = surface.points
        chosen = self._chosen(grips, quality, order[:strong], scene, gripper, own, max_candidates, rejected)
        if not chosen:
            too_wide = _too_wide(surface, scene, gripper)
            weak = order[strong:all_told][: 0 if too_wide else _CHECKED]
            chosen = self._chosen(grips, quality, weak, scene, gripper, own, max_candidates, rejected)
            if not chosen:
                nothing = no_grasp(rejected, too_wide)
                return dataclasses.replace(nothing, reasons=nothing.reasons + notes)
        chosen.sort(key=lambda i: -quality[i])
        return GraspPlan(tuple(self._candidate(grips, quality, i) for i in chosen), notes, rejected)

    def _chosen(
        self,
        grips: Grips,
        quality: NDArray[np.float64],
        order: NDArray[np.intp],
        scene: GraspScene,
        gripper: Gripper,
        own: NDArray[np.float32],
        most: int,
        rejected: dict[str, int],
    ) -> list[int]:
        """The first ``most`` in an order that collide with nothing and differ from each other."""
        chosen: list[int] = []
        for start in range(0, min(len(order), _MOST_CHECKED), _CHECKED):
            for i in self._free(grips, quality, order[start : start + _CHECKED], scene, gripper, own, rejected):
                if len(chosen) < most and _differs(grips.poses, int(i), chosen):
                    chosen.append(int(i))
            if len(chosen) >= most:
                break
        return chosen

    def _free(
        self,
        grips: Grips,
        quality: NDArray[np.float64],
        batch: NDArray[np.intp],
        scene: GraspScene,
        gripper: Gripper,
        own: NDArray[np.float32],
        rejected: dict[str, int],
    ) -> NDArray[np.intp]:
        """Those of a batch that collide with nothing; where there is little room, with the fingers less far open."""
        poses = grips.poses[batch]
        collisions = first_collisions(poses, grips.openings_m[batch], scene, gripper, PREGRASP_M, own)
        beside = np.flatnonzero(collisions == Collision.OBSTACLE)
        if beside.size:
            narrow = np.minimum(grips.openings_m[batch[beside]], grips.widths_m[batch[beside]] + 2 * _NARROW_GAP_M)
            collisions[beside] = first_collisions(poses[beside], narrow, scene, gripper, PREGRASP_M, own)
            fits = collisions[beside] == Collision.NONE
            grips.openings_m[batch[beside[fits]]] = narrow[fits]
            quality[batch[beside[fits]]] *= _NARROW_QUALITY
        for kind in Collision:
            if kind is not Collision.NONE:
                rejected[kind.words] = rejected.get(kind.words, 0) + int(np.count_nonzero(collisions == kind))
        free = batch[collisions == Collision.NONE]
        risky = may_meet_unseen(grips.poses[free], grips.openings_m[free], scene, gripper, PREGRASP_M)
        rejected[_UNSEEN] = rejected.get(_UNSEEN, 0) + int(np.count_nonzero(risky))
        free = free[~risky]
        seen = 1 - unknown_share(grips.poses[free], grips.openings_m[free], scene, gripper)
        quality[free] *= seen
        hidden = int(np.count_nonzero(seen <= _LEAST_SEEN))
        rejected[_UNKNOWN] = rejected.get(_UNKNOWN, 0) + hidden
        return free[seen > _LEAST_SEEN]

    def _candidate(self, grips: Grips, quality: NDArray[np.float64], i: int) -> GraspCandidate:
        scores = {name: float(values[i]) for name, values in grips.merits.items()}
        return GraspCandidate(
            grips.poses[i], float(grips.openings_m[i]), float(quality[i]), PREGRASP_M, self.name, scores
        )


def _too_wide(surface: Surface, scene: GraspScene, gripper: Gripper) -> str:
    """What to say of an object that is wider than the gripper in every level direction; nothing of another."""
    angles = np.linspace(0, np.pi, _WIDTHS, endpoint=False)
    level = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ level_basis(scene)
    low, high = np.percentile(surface.points @ level.T, _OUTERMOST, axis=0)
    narrowest = float((high - low).min())
    if narrowest <= gripper.max_opening_m:
        return ""
    opens = f"the gripper opens to {1e3 * gripper.max_opening_m:.0f} mm"
    return f"{1e3 * narrowest:.0f} mm at its narrowest, {opens}"


def _differs(poses: NDArray[np.float64], i: int, chosen: list[int]) -> bool:
    """Whether a grasp is elsewhere, or comes or closes along another direction, than those that are chosen."""
    if not chosen:
        return True
    others = poses[chosen]
    near = np.linalg.norm(others[:, :3, 3] - poses[i, :3, 3], axis=1) < _APART_M
    approach = others[:, :3, 2] @ poses[i, :3, 2] > _APART_COSINE
    closing = np.abs(others[:, :3, 1] @ poses[i, :3, 1]) > _APART_COSINE
    return not (near & approach & closing).any()
