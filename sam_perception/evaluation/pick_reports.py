"""Attempts of picks as rates with intervals: tables for a terminal, JSON and CSV."""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from sam_perception.evaluation.pick_runs import PickRun
from sam_perception.evaluation.picks import CLUTTER, ISOLATED, REASONS, Attempt
from sam_perception.evaluation.text_tables import Table, aligned

RESAMPLES = 4000
COVERAGE = 0.95
TURNED_DEG = 30.0  # an object that turns more between the fingers is held, but no longer where one thinks


@dataclasses.dataclass(frozen=True)
class Rate:
    """How often something went well.

    Attributes:
        good: how many times.
        count: of how many.
        low: end of the bootstrap's 95 % interval, 0..1; not a number without any.
        high: the other end.
    """

    good: int
    count: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """0..1, or not a number."""
        return self.good / self.count if self.count else math.nan


def success_rate(attempts: Sequence[Attempt], seed: int = 0) -> Rate:
    """The share of picked objects, with the percentile interval of a bootstrap over scenes.

    Whole scenes are drawn with replacement, because the attempts in one scene depend on each other. Source: Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    by_scene: dict[tuple[str, int], list[bool]] = collections.defaultdict(list)
    for attempt in attempts:
        by_scene[attempt.kind, attempt.scene].append(attempt.picked)
    if not by_scene:
        return Rate(0, 0, math.nan, math.nan)
    good = np.array([sum(picks) for picks in by_scene.values()])
    count = np.array([len(picks) for picks in by_scene.values()])
    drawn = np.random.default_rng(seed).integers(len(good), size=(RESAMPLES, len(good)))
    rates = good[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(rates, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Rate(int(good.sum()), int(count.sum()), float(low), float(high))


def describe(run: PickRun) -> dict[str, Any]:
    """What picks.json holds."""
    plan = dataclasses.asdict(run.plan)
    groups = [_described(*key, group) for key, group in _groups(run.attempts)]
    return {"plan": plan, "results": groups, "attempts": [_without_nan(dataclasses.asdict(a)) for a in run.attempts]}


def to_csv(attempts: Iterable[Attempt]) -> str:
    """One line for each attempt."""
    text = io.StringIO()
    rows = [_flat(attempt) for attempt in attempts]
    fields = [field.name for field in dataclasses.fields(Attempt) if field.name != "times"]
    writer = csv.DictWriter(text, [*fields, "encode_ms", "mask_ms", "geometry_ms", "grasp_ms"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary_lines(run: PickRun) -> list[str]:
    """Rates, reasons and times of each planner and kind of mask; then the classes of the first planner."""
    lines: list[str] = []
    groups = _groups(run.attempts)
    for kind in (ISOLATED, CLUTTER):
        table: Table = [["", "masks", "picked", "rate", "95 % interval", *REASONS, "colliding"]]
        table += [_row(planner, masks, group) for (k, planner, masks), group in groups if k == kind]
        if len(table) > 1:
            lines += [f"{kind}: {_what(kind, run.attempts)}", *aligned(table, left=2), ""]
            lines += [line for (k, *names), group in groups if k == kind for line in _notes(k, names, group)]
            lines.append("")
    times: Table = [["milliseconds, medians", "masks", "encode", "mask", "geometry", "grasp", "click to grasp"]]
    times += [[planner, masks, *_times(group)] for (planner, masks), group in _by(run.attempts, _planner_and_masks)]
    return [*lines, *aligned(times, left=2), "", *_families(run)]


def _described(kind: str, planner: str, masks: str, group: list[Attempt]) -> dict[str, Any]:
    executed = _counted(kind, group)
    fitting = [attempt for attempt in executed if not attempt.too_wide]
    return {
        "kind": kind,
        "planner": planner,
        "masks": masks,
        "success": _rate(success_rate(executed)),
        "success_where_it_fits": _rate(success_rate(fitting)),
        "refused": sum(not attempt.executed for attempt in group),
        "cleared": _cleared(group) if kind == CLUTTER else {},
        "picked_but_turned": sum(attempt.turn_deg > TURNED_DEG for attempt in executed),
        "reasons": dict(collections.Counter(a.reason for a in executed if not a.picked)),
        "candidates": sum(attempt.candidates for attempt in group),
        "colliding_candidates": sum(attempt.colliding for attempt in group),
        "families": {
            family: {"picked": sum(a.picked for a in members), "attempts": len(members)}
            for family, members in sorted(_by(executed, lambda attempt: attempt.family))
        },
        "median_ms": dict(zip(("encode", "mask", "geometry", "grasp", "total"), _medians(group), strict=True)),
    }


def _counted(kind: str, group: list[Attempt]) -> list[Attempt]:
    """Alone, an object without a grasp is a failure; in clutter one waits until the others are gone."""
    return group if kind == ISOLATED else [attempt for attempt in group if attempt.executed]


def _row(planner: str, masks: str, group: list[Attempt]) -> list[str]:
    executed = _counted(group[0].kind, group)
    rate = success_rate(executed)
    reasons = collections.Counter(attempt.reason for attempt in executed if not attempt.picked)
    candidates, colliding = sum(a.candidates for a in group), sum(a.colliding for a in group)
    interval = f"{100 * rate.low:.1f}..{100 * rate.high:.1f}"
    return [
        planner,
        masks,
        f"{rate.good}/{rate.count}",
        f"{100 * rate.value:.1f} %",
        interval,
        *(str(reasons[reason]) for reason in REASONS),
        f"{colliding}/{candidates}",
    ]


def _notes(kind: str, names: list[str], group: list[Attempt]) -> list[str]:
    who = ", ".join(names)
    if kind == CLUTTER:
        lifted, there = _cleared(group)["objects"]
        return [
            f"{who}: {lifted} of {there} objects cleared; {sum(not a.executed for a in group)} times no safe grasp."
        ]
    wide = [attempt for attempt in group if attempt.too_wide]
    if not wide:
        return []
    rate = success_rate([attempt for attempt in group if not attempt.too_wide])
    return [
        f"{who}: {len(wide)} objects are wider than the gripper however one turns it, {sum(a.picked for a in wide)} of "
        f"them picked; of the others {rate.good}/{rate.count}, {100 * rate.value:.1f} % "
        f"({100 * rate.low:.1f}..{100 * rate.high:.1f})."
    ]


def _cleared(group: list[Attempt]) -> dict[str, list[int]]:
    scenes = {attempt.scene: attempt.objects for attempt in group}
    return {"objects": [sum(attempt.picked for attempt in group), sum(scenes.values())]}


def _families(run: PickRun) -> list[str]:
    """Picked of attempts of each family, worst first, by the first planner."""
    planner = run.plan.planners[0]
    ours = [a for a in run.attempts if a.planner == planner and (a.executed or a.kind == ISOLATED)]
    kinds = list(dict.fromkeys((a.kind, a.masks) for a in ours))
    table: Table = [[f"{planner}, picked of attempts", *(f"{kind}, {masks}" for kind, masks in kinds)]]
    worst_first = sorted(_by(ours, lambda a: a.family), key=lambda item: success_rate(item[1]).value)
    for family, members in worst_first:
        cells = [[a for a in members if (a.kind, a.masks) == key] for key in kinds]
        table.append([family, *(f"{sum(a.picked for a in cell)}/{len(cell)}" if cell else "-" for cell in cells)])
    return aligned(table, left=1) if ours else []


def _what(kind: str, attempts: Sequence[Attempt]) -> str:
    scenes = {(a.scene, a.objects) for a in attempts if a.kind == kind}
    objects = sum(count for _, count in scenes)
    return f"{len(scenes)} scenes of one object" if kind == ISOLATED else f"{len(scenes)} scenes of {objects} objects"


def _times(group: list[Attempt]) -> list[str]:
    return [f"{value:.0f}" for value in _medians(group)]


def _medians(group: list[Attempt]) -> list[float]:
    """Encode, mask, geometry, grasp and all of it."""
    rows = [(*dataclasses.astuple(attempt.times), attempt.times.total_ms) for attempt in group]
    return [float(value) for value in np.median(rows, axis=0)]


def _rate(rate: Rate) -> dict[str, Any]:
    return _without_nan(
        {"picked": rate.good, "attempts": rate.count, "rate": rate.value, "low": rate.low} | {"high": rate.high}
    )


def _groups(attempts: Sequence[Attempt]) -> list[tuple[tuple[str, str, str], list[Attempt]]]:
    return _by(attempts, lambda attempt: (attempt.kind, attempt.planner, attempt.masks))


def _planner_and_masks(attempt: Attempt) -> tuple[str, str]:
    return attempt.planner, attempt.masks


def _by(attempts: Iterable[Attempt], key: Callable[[Attempt], Any]) -> list[tuple[Any, list[Attempt]]]:
    """Attempts in groups, in the order of their first members."""
    groups: dict[Any, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(key(attempt), []).append(attempt)
    return list(groups.items())


def _flat(attempt: Attempt) -> dict[str, Any]:
    values = dataclasses.asdict(attempt)
    values |= values.pop("times")
    return {key: _cell(value) for key, value in values.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return ("" if math.isnan(value) else f"{value:.4f}") if isinstance(value, float) else value


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
