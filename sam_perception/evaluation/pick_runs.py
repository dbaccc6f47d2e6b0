"""Runs a plan of picks, in several processes if asked, and gathers its attempts and the pictures of its failures."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.evaluation.pick_pictures import draw_case
from sam_perception.evaluation.picks import ISOLATED, Attempt, PickCase, PickPlan, PickShare, picks_of_share

FAILURES_SHOWN = 10


@dataclasses.dataclass(frozen=True, eq=False)
class PickRun:
    """What came out of a plan.

    Attributes:
        plan: what was asked for.
        attempts: in the order of the plan's scenes.
        failures: pictures (H, W, 3) RGB of the first planner's first failures.
    """

    plan: PickPlan
    attempts: tuple[Attempt, ...]
    failures: tuple[NDArray[np.uint8], ...]


def run_picks(plan: PickPlan, workers: int = 1, on_scenes: Callable[[int], object] = lambda count: None) -> PickRun:
    """Execute a plan; the same attempts whatever the number of workers.

    Args:
        plan: what to pick.
        workers: processes; each takes the scenes of one world at a time.
        on_scenes: told how many scenes are done, now and then.

    Raises:
        InvalidInputError: workers below 1.
        ModelUnavailableError: MuJoCo, a GL library or the model is missing.
        PerceptionError: a process died.
    """
    if workers < 1:
        raise InvalidInputError.for_field("workers", "1 or more", workers)
    shares = plan.shares
    run = _in_this_process if workers == 1 or len(shares) < 2 else _in_processes
    answers = run(shares, min(workers, len(shares)), on_scenes)
    attempts = tuple(attempt for answer in answers for attempt in answer.attempts)
    failures = [picture for answer in answers for picture in answer.failures]
    return PickRun(plan, attempts, tuple(failures[:FAILURES_SHOWN]))


@dataclasses.dataclass(eq=False)
class _Answer:
    """What came out of one share."""

    attempts: list[Attempt]
    failures: list[NDArray[np.uint8]]


def _picks(share: PickShare) -> _Answer:
    """All of one world."""
    answer = _Answer([], [])

    def on_case(case: PickCase) -> None:
        attempt = case.attempt
        counts = attempt.planner == share.plan.planners[0] and (attempt.executed or attempt.kind == ISOLATED)
        if counts and not attempt.picked and len(answer.failures) < FAILURES_SHOWN:
            answer.failures.append(draw_case(case))

    answer.attempts.extend(picks_of_share(share, on_case))
    return answer


def _in_this_process(shares: list[PickShare], workers: int, on_scenes: Callable[[int], object]) -> list[_Answer]:
    answers, done = [], 0
    for share in shares:
        answers.append(_picks(share))
        done += len(share.scenes)
        on_scenes(done)
    return answers


def _in_processes(shares: list[PickShare], workers: int, on_scenes: Callable[[int], object]) -> list[_Answer]:
    context = multiprocessing.get_context("spawn")  # GL contexts do not survive a fork
    executor = concurrent.futures.ProcessPoolExecutor(workers, context, _set_up)
    done = 0
    try:
        futures = {executor.submit(_picks, share): share for share in shares}
        for future in concurrent.futures.as_completed(futures):
            future.result()
            done += len(futures[future].scenes)
            on_scenes(done)
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise PerceptionError(
            "a process that picks has died, perhaps because the memory ran out: run the command again with fewer "
            "--workers"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _set_up() -> None:
    """Called once in every process: Ctrl-C is the parent's to handle, and the processes are the parallelism."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("LP_NUM_THREADS", "0")  # of Mesa's software renderer, read when GL is loaded
    cv2.setNumThreads(1)
