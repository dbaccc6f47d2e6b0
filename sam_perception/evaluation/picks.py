"""Picks of simulated objects, from the camera's image over click, mask, cloud and grasp to what physics makes of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.clicks import first_click
from sam_perception.geometry.objects import ObjectGeometry, measure_object
from sam_perception.geometry.rays import cached_rays
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan
from sam_perception.grasping.gripper import DEFAULT_GRIPPER, Gripper, load_gripper
from sam_perception.grasping.planners import DEFAULT_PLANNER, PLANNERS, plan_grasps
from sam_perception.masks import Mask, iou
from sam_perception.models import DEFAULT_MODEL, ModelOptions, SegmentationModel, load_model
from sam_perception.prompts import Prompt
from sam_perception.sim.pick_scenes import CLUTTER_PER_WORLD, ISOLATED_PER_WORLD, NOISES, PickStage, PickView
from sam_perception.sim.pick_world import Outcome, PickResult, PickWorld
from sam_perception.sim.scene import Scene

MASKS = ("true", "model")
ISOLATED, CLUTTER = "isolated", "clutter"
WRONG_MASK_IOU = 0.5
MAX_CANDIDATES = 20
FAILURES_PER_OBJECT = 2
REASONS = ("mask", "no grasp", "collision", "missed", "slip")


@dataclasses.dataclass(frozen=True)
class PickPlan:
    """What is picked, and how.

    Attributes:
        isolated: scenes with one object.
        clutter: scenes with six to ten objects, which are picked one after the other.
        seed: other seeds, other objects, scenes and views; the same for every planner and kind of mask.
        planners: of ``grasping.planners.PLANNERS``.
        masks: of MASKS: the simulator's own, the model's by one click in the middle of the object, or both.
        gripper: a name or file for ``load_gripper``.
        model: a name for ``load_model``, used when ``masks`` has "model".
        model_options: its device and precision.
        noise: of ``sim.pick_scenes.NOISES``.
        least_quality: in clutter, a grasp of less than this is not tried: the object is not graspable as it lies.

    Raises:
        InvalidInputError: a value out of range, an unknown name.
    """

    isolated: int = 0
    clutter: int = 0
    seed: int = 0
    planners: tuple[str, ...] = (DEFAULT_PLANNER,)
    masks: tuple[str, ...] = ("true",)
    gripper: str = DEFAULT_GRIPPER
    model: str = DEFAULT_MODEL
    model_options: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    noise: str = "usual"
    least_quality: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (("isolated", 0, 100_000), ("clutter", 0, 100_000), ("seed", 0, 2**31 - 1)):
            if not low <= getattr(self, name) <= high:
                raise InvalidInputError.for_field(name, f"{low} to {high}", getattr(self, name))
        for name, known in (("planners", tuple(PLANNERS)), ("masks", MASKS)):
            values = getattr(self, name)
            unknown = [value for value in values if value not in known]
            if unknown or not values:
                raise InvalidInputError.for_field(name, f"some of {', '.join(known)}", unknown[0] if values else "none")
        if self.noise not in NOISES:
            raise InvalidInputError.for_field("noise", f"one of {', '.join(NOISES)}", self.noise)
        if not 0 <= self.least_quality <= 1:
            raise InvalidInputError.for_field("least_quality", "0 to 1", self.least_quality)
        load_gripper(self.gripper)

    @property
    def shares(self) -> list[PickShare]:
        """The plan world by world."""
        kinds = ((ISOLATED, self.isolated, ISOLATED_PER_WORLD), (CLUTTER, self.clutter, CLUTTER_PER_WORLD))
        return [
            PickShare(self, kind, start // each, range(start, min(start + each, count)))
            for kind, count, each in kinds
            for start in range(0, count, each)
        ]


@dataclasses.dataclass(frozen=True)
class PickShare:
    """The scenes of a plan that one world gives."""

    plan: PickPlan
    kind: str
    world: int
    scenes: range


@dataclasses.dataclass(frozen=True)
class PickTimes:
    """Milliseconds from a click to a grasp; those of the model are 0 with true masks."""

    encode_ms: float
    mask_ms: float
    geometry_ms: float
    grasp_ms: float

    @property
    def total_ms(self) -> float:
        """From the click to the grasp's pose."""
        return self.encode_ms + self.mask_ms + self.geometry_ms + self.grasp_ms


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One object that was to be picked.

    Attributes:
        kind: "isolated" or "clutter".
        scene: its number.
        step: how many attempts and refusals went before in this scene.
        objects: how many the scene had before the first.
        object: its name in the world.
        family: what kind of thing it is.
        planner: whose grasp.
        masks: "true" or "model".
        picked: whether it was lifted, held and shaken without being lost.
        executed: whether the gripper moved; not when there was no grasp.
        reason: of REASONS; empty when it was picked.
        detail: in words.
        mask_iou: of the mask with what is truly seen of the object.
        visible: share of the object that is seen, 0..1.
        mask_px: pixels of the mask.
        quality: of the executed candidate; not a number without one.
        width_m: that the gripper opened to.
        candidates: how many the planner gave.
        colliding: how many of them touch table or neighbours at pre-grasp, grasp or on the way.
        touched: whether the open gripper touched the object itself on its way.
        too_wide: no level direction in which any convex part of the object fits into the open gripper as it lies.
        mass_kg: of the object.
        drift_m: how far its middle moved in the gripper; not a number when it was not picked.
        turn_deg: how far it turned in the gripper, likewise.
        times: click to grasp.
    """

    kind: str
    scene: int
    step: int
    objects: int
    object: str
    family: str
    planner: str
    masks: str
    picked: bool
    executed: bool
    reason: str
    detail: str
    mask_iou: float
    visible: float
    mask_px: int
    quality: float
    width_m: float
    candidates: int
    colliding: int
    touched: bool
    too_wide: bool
    mass_kg: float
    drift_m: float
    turn_deg: float
    times: PickTimes


@dataclasses.dataclass(frozen=True, eq=False)
class PickCase:
    """An attempt with what its picture needs.

    Attributes:
        attempt: what became of it.
        view: what the camera saw.
        mask: that was used.
        candidate: that was executed; None without one.
        world: the physics, as it ended, to draw from.
        gripper: that was to pick.
        label: of the object.
    """

    attempt: Attempt
    view: PickView
    mask: Mask
    candidate: GraspCandidate | None
    world: PickWorld
    gripper: Gripper
    label: int


def picks_of_share(share: PickShare, on_case: Callable[[PickCase], object] = lambda case: None) -> Iterator[Attempt]:
    """All attempts in one world's scenes; the same whatever went before.

    Args:
        share: which scenes.
        on_case: told about each attempt while its physics is there to draw.

    Raises:
        ModelUnavailableError: MuJoCo, the GL library or the model is missing.
    """
    with PickStage(share.plan.seed, share.world, share.plan.noise) as stage:
        picker = _Picker(share.plan, stage, on_case)
        picks = picker.isolated if share.kind == ISOLATED else picker.clutter
        for number in share.scenes:
            yield from picks(number)


class _Picker:
    """Picks in the scenes of one world, with every planner and kind of mask of a plan."""

    def __init__(self, plan: PickPlan, stage: PickStage, on_case: Callable[[PickCase], object]) -> None:
        self._plan, self._stage, self._on_case = plan, stage, on_case
        self._gripper = load_gripper(plan.gripper)
        self._model: SegmentationModel | None = None
        if "model" in plan.masks:
            self._model = load_model(plan.model, plan.model_options)

    def isolated(self, number: int) -> Iterator[Attempt]:
        """One object with every planner and kind of mask, all on one image."""
        scene = self._stage.isolated(number)
        if not scene.objects or not (view := self._stage.view(scene, (1,), 0)).truth(1).any():
            return
        physics = PickWorld(scene, self._gripper)
        for masks in self._plan.masks:
            seen = self._segmented(view, 1, masks)
            for planner in self._plan.planners:
                where = _Where(ISOLATED, number, 0, scene, 1, planner, masks)
                yield self._attempt(where, view, seen, physics)[0]

    def clutter(self, number: int) -> Iterator[Attempt]:
        """One object after the other, until no grasp is left or each that is left has failed twice."""
        for masks in self._plan.masks:
            for planner in self._plan.planners:
                yield from self._cleared(number, masks, planner)

    def _cleared(self, number: int, masks: str, planner: str) -> Iterator[Attempt]:
        scene = self._stage.clutter(number)
        failures = dict.fromkeys((item.label for item in scene.objects), 0)
        refused: set[int] = set()
        for step in range(10 * len(failures)):
            there = tuple(label for label in failures if failures[label] < FAILURES_PER_OBJECT)
            if not there or refused >= set(there):
                return
            on_table = tuple(failures)
            view = self._stage.view(scene, on_table, step)
            label = _next_target(view, [label for label in there if label not in refused])
            if label is None:
                return
            physics = PickWorld(scene, self._gripper, on_table)
            where = _Where(CLUTTER, number, step, scene, label, planner, masks)
            attempt, result = self._attempt(where, view, self._segmented(view, label, masks), physics)
            yield attempt
            if result is None:
                refused.add(label)
                continue
            refused = set()
            failures[label] += not attempt.picked
            poses = {key: pose for key, pose in result.table_T_object.items() if _is_on_table(scene, pose)}
            if attempt.picked:
                poses.pop(label, None)
            failures = {key: failures[key] for key in poses}
            scene.put(poses)

    def _segmented(self, view: PickView, label: int, masks: str) -> _Segmented:
        """The mask of an object and what it costs; the object is then measured."""
        truth = view.truth(label)
        encode_ms = mask_ms = 0.0
        mask = Mask.from_array(truth)
        if masks == "model":
            assert self._model is not None
            click = first_click(truth)
            prompt = Prompt(points=[(click.x, click.y)]).fitted_to(*view.frame.size)
            start = time.perf_counter()
            embedding = self._model.encode(view.frame)
            encoded = time.perf_counter()
            mask = self._model.decode(embedding, [prompt], multimask=False)[0][0]
            encode_ms, mask_ms = 1e3 * (encoded - start), 1e3 * (time.perf_counter() - encoded)
        assert view.frame.intrinsics is not None
        cached_rays(view.frame.intrinsics)  # a real camera's are found once, with its first image
        start = time.perf_counter()
        geometry = measure_object(view.frame, mask)
        geometry_ms = 1e3 * (time.perf_counter() - start)
        overlap = iou(Mask.from_array(truth), mask)
        return _Segmented(mask, geometry, overlap, PickTimes(encode_ms, mask_ms, geometry_ms, 0.0))

    def _attempt(
        self, where: _Where, view: PickView, seen: _Segmented, physics: PickWorld
    ) -> tuple[Attempt, PickResult | None]:
        start = time.perf_counter()
        plan = plan_grasps(view.frame, seen.geometry, self._gripper, where.planner, MAX_CANDIDATES)
        times = dataclasses.replace(seen.times, grasp_ms=1e3 * (time.perf_counter() - start))
        if where.kind == CLUTTER:
            plan = plan.at_least(self._plan.least_quality)
        poses = [view.table_T_camera @ candidate.camera_T_tcp for candidate in plan.candidates]
        colliding = sum(
            physics.contacts(pose, candidate.width_m, candidate.pregrasp_distance_m, where.label).is_collision
            for pose, candidate in zip(poses, plan.candidates, strict=True)
        )
        best = plan.candidates[0] if plan.candidates else None
        result = None
        if best is not None:
            result = physics.pick(poses[0], best.width_m, best.pregrasp_distance_m, where.label)
        attempt = self._described(where, view, seen, plan, result, physics, times, colliding)
        self._on_case(PickCase(attempt, view, seen.mask, best, physics, self._gripper, where.label))
        return attempt, result

    def _described(
        self,
        where: _Where,
        view: PickView,
        seen: _Segmented,
        plan: GraspPlan,
        result: PickResult | None,
        physics: PickWorld,
        times: PickTimes,
        colliding: int,
    ) -> Attempt:
        item = where.scene.objects[where.label - 1]
        best = plan.candidates[0] if plan.candidates else None
        return Attempt(
            kind=where.kind,
            scene=where.number,
            step=where.step,
            objects=len(where.scene.objects),
            object=item.name,
            family=item.family,
            planner=where.planner,
            masks=where.masks,
            picked=result is not None and result.outcome is Outcome.HELD,
            executed=result is not None,
            reason=_reason(result, seen.overlap),
            detail="; ".join(plan.reasons) if result is None else result.detail,
            mask_iou=seen.overlap,
            visible=view.visible_fractions[where.label],
            mask_px=seen.mask.area,
            quality=np.nan if best is None else best.quality,
            width_m=np.nan if best is None else best.width_m,
            candidates=len(plan.candidates),
            colliding=colliding,
            touched=result is not None and result.contacts.target,
            too_wide=physics.narrowest_m(where.label) > self._gripper.max_opening_m,
            mass_kg=physics.mass_kg(where.label),
            drift_m=np.nan if result is None else result.drift_m,
            turn_deg=np.nan if result is None else result.turn_deg,
            times=times,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Where:
    """Which object of which scene, by which planner and mask."""

    kind: str
    number: int
    step: int
    scene: Scene
    label: int
    planner: str
    masks: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Segmented:
    """A mask, the object measured with it, its overlap with the truth, and the times so far."""

    mask: Mask
    geometry: ObjectGeometry
    overlap: float
    times: PickTimes


def _reason(result: PickResult | None, overlap: float) -> str:
    if result is not None and result.outcome is Outcome.HELD:
        return ""
    if overlap < WRONG_MASK_IOU:
        return "mask"
    if result is None:
        return "no grasp"
    return {Outcome.COLLISION: "collision", Outcome.MISSED: "missed", Outcome.SLIPPED: "slip"}[result.outcome]


def _next_target(view: PickView, labels: list[int]) -> int | None:
    """The object that is seen best: that of which most is visible, of several the largest in the image."""
    areas = {label: int(np.count_nonzero(view.truth(label))) for label in labels}
    seen = [label for label in labels if areas[label] > 0]
    return max(seen, key=lambda label: (round(view.visible_fractions[label], 1), areas[label]), default=None)


def _is_on_table(scene: Scene, table_T_object: NDArray[np.float64]) -> bool:
    """Whether an object did not fall off."""
    x, y, z = table_T_object[:3, 3]
    half = np.array(scene.table_size_m) / 2
    inside = np.hypot(x, y) < half[0] if scene.table_is_round else bool(abs(x) < half[0] and abs(y) < half[1])
    return bool(z > -0.02 and inside)
