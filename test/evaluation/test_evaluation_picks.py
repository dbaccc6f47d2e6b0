"""The loop from an image to a shaken object: what counts as picked, why something failed, what clutter does next."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("mujoco")

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.evaluation import picks
from sam_perception.evaluation.pick_runs import run_picks
from sam_perception.evaluation.picks import FAILURES_PER_OBJECT, Attempt, PickPlan, picks_of_share
from sam_perception.grasping import planners
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan
from sam_perception.masks import Mask
from sam_perception.sim.library import import_mujoco

try:
    import_mujoco()
except ModelUnavailableError as error:
    pytest.skip(str(error), allow_module_level=True)

SCENES = 4


class FromAbove:
    """Grasps straight down at the middle of the box, across its shorter side, with the tips just over the table."""

    name = "from_above"

    def plan(self, scene, gripper, max_candidates: int) -> GraspPlan:
        box, plane = scene.box, scene.plane
        if box is None or plane is None:
            return GraspPlan((), ("there is no box",))
        down = -plane.normal
        axes = sorted(range(3), key=lambda k: abs(box.rotation[:, k] @ down))[:2]
        shorter = min(axes, key=lambda k: box.size[k])
        side = box.rotation[:, shorter]
        side = side - (side @ down) * down
        side /= np.linalg.norm(side)
        tcp = np.eye(4)
        tcp[:3, :3] = np.column_stack([np.cross(side, down), side, down])
        height = plane.heights_m(box.center[None])[0]
        tcp[:3, 3] = box.center + down * (height - max(height, gripper.tip_m + 0.006))
        width_m = min(box.size[shorter] + 0.02, gripper.max_opening_m)
        return GraspPlan((GraspCandidate(tcp, width_m, 0.5, 0.1, self.name),))


class BesideIt(FromAbove):
    """Grasps where nothing is."""

    name = "beside_it"

    def plan(self, scene, gripper, max_candidates: int) -> GraspPlan:
        (candidate,) = super().plan(scene, gripper, max_candidates).candidates
        pose = candidate.camera_T_tcp.copy()
        pose[:3, 3] += 0.3 * scene.plane.normal
        return GraspPlan((dataclasses.replace(candidate, camera_T_tcp=pose),))


class Refuses:
    """Never has a grasp."""

    name = "refuses"

    def plan(self, scene, gripper, max_candidates: int) -> GraspPlan:
        return GraspPlan((), ("no safe grasp: too shy",))


class WrongModel:
    """Answers with the image's corner."""

    def encode(self, frame):
        return frame

    def decode(self, embedding, prompts, multimask: bool):
        corner = np.zeros(embedding.size, bool)
        corner[:40, :40] = True
        return [[Mask.from_array(corner)]]


@pytest.fixture(autouse=True)
def our_planners(monkeypatch) -> None:
    ours = {kind.name: kind for kind in (FromAbove, BesideIt, Refuses)}
    for module in (planners, picks):
        monkeypatch.setattr(module, "PLANNERS", ours)


def attempts_of(plan: PickPlan) -> list[Attempt]:
    return [attempt for share in plan.shares for attempt in picks_of_share(share)]


@pytest.fixture(scope="module")
def isolated() -> list[Attempt]:
    with pytest.MonkeyPatch.context() as patch:
        ours = {kind.name: kind for kind in (FromAbove, BesideIt, Refuses)}
        for module in (planners, picks):
            patch.setattr(module, "PLANNERS", ours)
        patch.setattr(picks, "load_model", lambda name, options: WrongModel())
        planner_names = ("from_above", "beside_it", "refuses")
        return attempts_of(PickPlan(isolated=SCENES, seed=2, planners=planner_names, masks=("true", "model")))


def by(attempts: list[Attempt], planner: str, masks: str) -> list[Attempt]:
    return [attempt for attempt in attempts if (attempt.planner, attempt.masks) == (planner, masks)]


def test_every_planner_and_mask_gets_the_same_objects(isolated) -> None:
    assert len(isolated) == SCENES * 3 * 2
    objects = {
        tuple((a.scene, a.object) for a in by(isolated, planner, masks))
        for planner in ("from_above", "beside_it", "refuses")
        for masks in ("true", "model")
    }
    assert len(objects) == 1


def test_a_sensible_planner_picks_something_and_what_is_picked_has_no_reason(isolated) -> None:
    ours = by(isolated, "from_above", "true")
    assert any(attempt.picked for attempt in ours)
    for attempt in ours:
        assert attempt.picked == (attempt.reason == "")
        assert np.isfinite(attempt.drift_m) == attempt.picked
        assert attempt.mask_iou == 1.0
        assert attempt.times.geometry_ms > 0 and attempt.times.mask_ms == 0


def test_a_grasp_in_the_air_is_missed(isolated) -> None:
    assert {attempt.reason for attempt in by(isolated, "beside_it", "true")} == {"missed"}


def test_a_planner_without_a_grasp_fails_with_its_own_words(isolated) -> None:
    for attempt in by(isolated, "refuses", "true"):
        assert (attempt.reason, attempt.detail, attempt.executed) == ("no grasp", "no safe grasp: too shy", False)


def test_what_fails_with_a_wrong_mask_is_the_mask_s_fault(isolated) -> None:
    for attempt in by(isolated, "beside_it", "model") + by(isolated, "refuses", "model"):
        assert attempt.mask_iou < 0.5
        assert attempt.reason == "mask"


def test_clutter_goes_on_until_nothing_is_left_or_each_has_failed_twice() -> None:
    cleared = attempts_of(PickPlan(clutter=1, seed=3, planners=("from_above",)))
    picked = [attempt.object for attempt in cleared if attempt.picked]
    assert len(picked) == len(set(picked)) > 0
    assert [attempt.step for attempt in cleared] == list(range(len(cleared)))
    failures: dict[str, int] = {}
    for attempt in cleared:
        assert attempt.object not in picked[: sum(a.picked for a in cleared[: attempt.step])]
        failures[attempt.object] = failures.get(attempt.object, 0) + (attempt.executed and not attempt.picked)
    assert max(failures.values()) <= FAILURES_PER_OBJECT


def test_clutter_that_has_no_grasp_asks_for_each_object_once() -> None:
    asked = attempts_of(PickPlan(clutter=1, seed=2, planners=("refuses",)))
    assert not any(attempt.executed for attempt in asked)
    assert len({attempt.object for attempt in asked}) == len(asked) <= asked[0].objects


def test_clutter_does_not_try_a_grasp_that_is_too_poor() -> None:
    asked = attempts_of(PickPlan(clutter=1, seed=3, planners=("from_above",), least_quality=0.6))
    assert asked and not any(attempt.executed for attempt in asked)
    assert all("quality 0.50, less than 0.6" in attempt.detail for attempt in asked if attempt.reason == "no grasp")
    alone = attempts_of(PickPlan(isolated=1, seed=3, planners=("from_above",), least_quality=0.6))
    assert any(attempt.executed for attempt in alone)


def test_a_run_gathers_attempts_and_pictures_of_failures() -> None:
    done: list[int] = []
    run = run_picks(PickPlan(isolated=2, seed=2, planners=("beside_it", "refuses")), on_scenes=done.append)
    assert done == [2]
    assert [attempt.planner for attempt in run.attempts] == ["beside_it", "refuses"] * 2
    assert len(run.failures) == 2  # of the first planner
    assert all(picture.ndim == 3 and picture.std() > 10 for picture in run.failures)


def test_a_plan_says_what_is_wrong_with_it() -> None:
    for wrong, named in (
        ({"planners": ("by_magic",)}, "planners.*from_above"),
        ({"masks": ()}, "masks"),
        ({"isolated": -1}, "isolated"),
        ({"gripper": "my_hand"}, "gripper"),
        ({"noise": "none"}, "noise"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            PickPlan(**({"planners": ("refuses",)} | wrong))
