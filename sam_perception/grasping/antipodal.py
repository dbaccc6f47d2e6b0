"""Grasps by pairs of contacts that face each other, on what was seen of an object and what completes it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.candidates import GraspCandidate, GraspPlan, no_grasp
from sam_perception.grasping.closing import Grips, closed_on
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.hypotheses import hypotheses_near, hypotheses_of, level_basis
from sam_perception.grasping.merits import quality_of
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.surface import Surface, surface_of
from sam_perception.grasping.sweep import Collision, first_collisions
from sam_perception.grasping.top_down import MIN_POINTS, PREGRASP_M, too_few
from sam_perception.grasping.unseen import goes_out_of_sight, may_meet_unseen, unknown_share

_CHECKED = 64  # grasps are checked for collisions in batches of this many, best first
_MOST_CHECKED = 512
_NARROW_GAP_M = 0.004  # on each side of the object, between neighbours
_NARROW_QUALITY = 0.5
_OUT_OF_SIGHT_QUALITY = 0.3
_LEAST_SEEN = 0.7  # of the gripper must not be where nothing is known
_UNKNOWN, _UNSEEN = "behind other things or out of the image", "where something unseen may stand"
_LEAST_QUALITY = 0.015
_GOOD = 0.15  # grasps of more than 0.1 hardly ever fail in physics; where none is good, what is near the best is tried
_BEST, _WORTH_A_LOOK = 24, 0.002  # so many of them, of at least this quality
_WEAKEST = 0.003  # of an object that fits and offers nothing better
_INTO_HOLES_QUALITY = 0.5
_INTO_HOLES = "part of the object has no depth and is taken for open"
_CUT_OFF_QUALITY = 0.5
_CUT_OFF = "the object reaches the image's border: how large it is there is not known"
_WIDTHS, _OUTERMOST = 36, (1, 99)  # directions in which an object is measured; percentiles, since points stray
_APART_M = 0.012
_APART_COSINE = 0.94


class AntipodalPlanner:
    """Closes the gripper on the object's surface, wherever pairs of contacts or its shape suggest it.

    Ten Pas and Platt, "Using geometry to detect grasp poses in 3D point clouds", ISRR 2015, evaluate hands by the
    points between their fingers in this way. That is done for all hands at once, by numpy or on a GPU by torch.
    """

    name = "antipodal"

    def plan(self, scene: GraspScene, gripper: Gripper, max_candidates: int) -> GraspPlan:
        """Grasps that collide with nothing known, best first and different from each other."""
        if len(scene.cloud) < MIN_POINTS:
            return too_few(scene)
        surface = surface_of(scene)
        plan = self._plan_on(surface, scene, gripper, max_candidates)
        if plan.candidates or not surface.spans_holes:
            return plan
        # A bowl that is dark inside is open where a lid that is too bright is not.
        into_holes = self._plan_on(surface_of(scene, with_holes=True), scene, gripper, max_candidates)
        if not into_holes.candidates:
            return plan
        doubtful = tuple(
            dataclasses.replace(candidate, quality=_INTO_HOLES_QUALITY * candidate.quality)
            for candidate in into_holes.candidates
        )
        return dataclasses.replace(into_holes, candidates=doubtful, reasons=(*into_holes.reasons, _INTO_HOLES))

    def _plan_on(self, surface: Surface, scene: GraspScene, gripper: Gripper, max_candidates: int) -> GraspPlan:
        rejected: dict[str, int] = {}
        grips = closed_on(hypotheses_of(surface, scene, gripper), surface, scene, gripper, rejected)
        grips = _improved(grips, surface, scene, gripper, rejected)
        quality = quality_of(grips.merits)
        cut_off = scene.view is not None and scene.view.cuts_object_off
        if cut_off:
            quality *= _CUT_OFF_QUALITY
        notes = (_CUT_OFF,) if cut_off else ()
        rejected["too weak a grip"] = int(np.count_nonzero(quality < _WEAKEST))
        order = np.argsort(-quality, kind="stable")
        strong, all_told = (int(np.count_nonzero(quality >= least)) for least in (_LEAST_QUALITY, _WEAKEST))
        search = _Search(grips, quality, scene, gripper, surface.points, rejected)
        chosen = search.first(order[:strong], max_candidates)
        if not chosen:
            too_wide = _too_wide(surface, scene, gripper)
            chosen = search.first(order[strong:all_told][: 0 if too_wide else _CHECKED], max_candidates)
            if not chosen:
                nothing = no_grasp(rejected, too_wide)
                return dataclasses.replace(nothing, reasons=nothing.reasons + notes)
        return GraspPlan(tuple(self._candidate(grips, quality, i) for i in chosen), notes, rejected)

    def _candidate(self, grips: Grips, quality: NDArray[np.float64], i: int) -> GraspCandidate:
        scores = {name: float(values[i]) for name, values in grips.merits.items()}
        return GraspCandidate(
            grips.poses[i], float(grips.openings_m[i]), float(quality[i]), PREGRASP_M, self.name, scores
        )


def _improved(grips: Grips, surface: Surface, scene: GraspScene, gripper: Gripper, rejected: dict[str, int]) -> Grips:
    """The grips, and where none of them is good, also what is near to the best."""
    quality = quality_of(grips.merits)
    if quality.max(initial=0) >= _GOOD:
        return grips
    best = np.argsort(-quality, kind="stable")[:_BEST]
    best = best[quality[best] > _WORTH_A_LOOK]
    if not best.size:
        return grips
    near = hypotheses_near(grips.poses[best], grips.widths_m[best], scene)
    return Grips.joined(grips, closed_on(near, surface, scene, gripper, rejected))


@dataclasses.dataclass(frozen=True)
class _Search:
    """Looks through K grips for those that collide with nothing.

    Attributes:
        grips: what is closed where; a grip that is found free with the fingers less far open gets that opening.
        quality: (K,) of each; lowered where there is little room, or little is known.
        scene: the object and its surroundings.
        gripper: that comes.
        own: (N, 3) points of the object, seen and completed.
        rejected: counts the others by what speaks against them.
    """

    grips: Grips
    quality: NDArray[np.float64]
    scene: GraspScene
    gripper: Gripper
    own: NDArray[np.float32]
    rejected: dict[str, int]

    def first(self, order: NDArray[np.intp], most: int) -> list[int]:
        """The best ``most`` that collide with nothing and differ from each other.

        Args:
            order: of the grips to look through, by quality, which falls where a check finds little room or sight.
            most: see above.
        """
        free: list[int] = []
        chosen: list[int] = []
        for start in range(0, min(len(order), _MOST_CHECKED), _CHECKED):
            if len(chosen) >= most and self.quality[order[start]] <= self.quality[chosen[-1]]:
                break
            free.extend(self._free(order[start : start + _CHECKED]).tolist())
            free.sort(key=lambda i: -self.quality[i])
            chosen = [free[i] for i in _different(self.grips.poses[free], most)]
        return chosen

    def _free(self, batch: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of a batch that collide with nothing; where there is little room, with the fingers less far open."""
        grips, scene, gripper = self.grips, self.scene, self.gripper
        collisions = self._collisions(batch)
        for kind in Collision:
            if kind is not Collision.NONE:
                self._reject(kind.words, collisions == kind)
        free = batch[collisions == Collision.NONE]
        risky = may_meet_unseen(grips.poses[free], grips.openings_m[free], scene, gripper, PREGRASP_M)
        self._reject(_UNSEEN, risky)
        free = free[~risky]
        hidden = goes_out_of_sight(grips.poses[free], grips.openings_m[free], scene, gripper)
        self.quality[free[hidden]] *= _OUT_OF_SIGHT_QUALITY
        seen = 1 - unknown_share(grips.poses[free], grips.openings_m[free], scene, gripper)
        self.quality[free] *= seen
        self._reject(_UNKNOWN, seen <= _LEAST_SEEN)
        return free[seen > _LEAST_SEEN]

    def _collisions(self, batch: NDArray[np.intp]) -> NDArray[np.int64]:
        """(B,) Collision of each of a batch; one that is free with less room gets that opening."""
        poses, openings = self.grips.poses[batch], self.grips.openings_m[batch]
        collisions = first_collisions(poses, openings, self.scene, self.gripper, PREGRASP_M, self.own)
        beside = np.flatnonzero(collisions == Collision.OBSTACLE)
        if beside.size:
            narrow = np.minimum(openings[beside], self.grips.widths_m[batch[beside]] + 2 * _NARROW_GAP_M)
            collisions[beside] = first_collisions(poses[beside], narrow, self.scene, self.gripper, PREGRASP_M, self.own)
            fits = collisions[beside] == Collision.NONE
            self.grips.openings_m[batch[beside[fits]]] = narrow[fits]
            self.quality[batch[beside[fits]]] *= _NARROW_QUALITY
        return collisions

    def _reject(self, why: str, which: NDArray[np.bool_]) -> None:
        self.rejected[why] = self.rejected.get(why, 0) + int(np.count_nonzero(which))


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


def _different(poses: NDArray[np.float64], most: int) -> list[int]:
    """The first ``most`` of (K, 4, 4) grasps, leaving out what is like one before it in place and both directions."""
    places, closing, approach = poses[:, :3, 3], poses[:, :3, 1], poses[:, :3, 2]
    chosen: list[int] = []
    left = np.ones(len(poses), np.bool_)
    while left.any() and len(chosen) < most:
        i = int(left.argmax())
        near = np.linalg.norm(places - places[i], axis=1) < _APART_M
        left &= ~(near & (approach @ approach[i] > _APART_COSINE) & (np.abs(closing @ closing[i]) > _APART_COSINE))
        left[i] = False
        chosen.append(i)
    return chosen
