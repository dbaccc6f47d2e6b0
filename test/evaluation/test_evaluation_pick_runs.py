"""Runs of picks in several processes."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("mujoco")

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.evaluation.pick_runs import run_picks
from sam_perception.evaluation.picks import PickPlan, PickTimes
from sam_perception.sim.library import import_mujoco

try:
    import_mujoco()
except ModelUnavailableError as error:
    pytest.skip(str(error), allow_module_level=True)

ISOLATED, CLUTTERED = 1, 1  # a process each


def test_processes_change_nothing_but_the_times() -> None:
    plan = PickPlan(isolated=ISOLATED, clutter=CLUTTERED, seed=5, planners=("centroid",))
    done: list[int] = []
    runs = [run_picks(plan, workers=1), run_picks(plan, workers=2, on_scenes=done.append)]
    one, two = ([repr(dataclasses.replace(a, times=PickTimes(0, 0, 0, 0))) for a in run.attempts] for run in runs)
    assert one == two
    assert len(one) > 1
    assert done == [1, 2]
    assert len(runs[0].failures) == len(runs[1].failures)


def test_no_worker_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="workers"):
        run_picks(PickPlan(isolated=1), workers=0)
