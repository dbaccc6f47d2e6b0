"""Evaluations of one or two models on a set, as tables for a terminal, JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

from sam_perception.evaluation.metrics import Summary, summarize
from sam_perception.evaluation.segmentation import BOX, Evaluation, ObjectResult
from sam_perception.evaluation.text_tables import Table, aligned

OBJECTS_IN_A_TABLE = 60  # beyond it a terminal shows categories


def title_of(kind: str) -> str:
    """`1 click`, `3 clicks`, `box`."""
    if kind == BOX:
        return kind
    count = int(kind.rpartition("_")[2])
    return f"{count} click{'s' * (count > 1)}"


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """What results.json holds of one model."""
    summaries = {
        kind: {
            "iou": dataclasses.asdict(_iou(evaluation.results, kind)),
            "boundary_f1": dataclasses.asdict(_boundary_f1(evaluation.results, kind)),
        }
        for kind in evaluation.kinds
    }
    return {
        "model": evaluation.model,
        "device": evaluation.device,
        "scenes": evaluation.scenes,
        "scenes_with_depth": evaluation.scenes_with_depth,
        "objects": len(evaluation.results),
        "summary": summaries,
        "timing": dataclasses.asdict(evaluation.timing),
        "per_object": [dataclasses.asdict(result) for result in evaluation.results],
    }


def to_csv(evaluations: Sequence[Evaluation]) -> str:
    """One line for each model and object."""
    kinds = list(dict.fromkeys(kind for evaluation in evaluations for kind in evaluation.kinds))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measured = [f"{measure}_{kind}" for measure in ("iou", "boundary_f1") for kind in kinds]
    writer.writerow(["model", "scene", "object_id", "name", "category", "area_px", *measured])
    for evaluation in evaluations:
        for result in evaluation.results:
            values = [values.get(kind) for values in (result.iou, result.boundary_f1) for kind in kinds]
            rounded = ["" if value is None else f"{value:.4f}" for value in values]
            known = [result.scene, result.object_id, result.name, result.category, result.area_px]
            writer.writerow([evaluation.model, *known, *rounded])
    return text.getvalue()


def summary_lines(evaluations: Sequence[Evaluation]) -> list[str]:
    """IoU and boundary F1 of each kind of prompt, a line for each model, and below them their times."""
    table: Table = [["", "", "mean IoU", "median", "10% below", "boundary F1"]]
    for kind in evaluations[0].kinds:
        title = title_of(kind)
        for evaluation in evaluations:
            if kind in evaluation.kinds:
                overlap = _iou(evaluation.results, kind)
                numbers = overlap.mean, overlap.median, overlap.worst_tenth, _boundary_f1(evaluation.results, kind).mean
                table.append([title, evaluation.model, *(f"{number:.3f}" for number in numbers)])
                title = ""
    return [*aligned(table, left=2), *map(_timing_line, evaluations)]


def object_lines(evaluations: Sequence[Evaluation]) -> list[str]:
    """IoU of each object; of many objects the mean of each category, worst first."""
    models = " / ".join(evaluation.model for evaluation in evaluations)
    if len(evaluations[0].results) <= OBJECTS_IN_A_TABLE:
        return [f"IoU of each object, {models}", *aligned(_object_table(evaluations), left=2)]
    return [f"mean IoU by category, {models}, worst first", *aligned(_category_table(evaluations), left=1)]


def _object_table(evaluations: Sequence[Evaluation]) -> Table:
    kinds = evaluations[0].kinds
    table: Table = [["scene", "object", "px", *map(title_of, kinds)]]
    for results in _side_by_side(evaluations):
        shown = results[0]
        table.append([shown.scene, shown.name, str(shown.area_px), *(_cell([results], kind) for kind in kinds)])
    return table


def _category_table(evaluations: Sequence[Evaluation]) -> Table:
    kinds = evaluations[0].kinds
    groups: dict[str, list[tuple[ObjectResult, ...]]] = {}
    for results in _side_by_side(evaluations):
        groups.setdefault(results[0].category or results[0].name, []).append(results)
    rows = [[name, str(len(members)), *(_cell(members, kind) for kind in kinds)] for name, members in groups.items()]
    return [["category", "objects", *map(title_of, kinds)], *sorted(rows, key=lambda row: row[2])]


def _side_by_side(evaluations: Sequence[Evaluation]) -> list[tuple[ObjectResult, ...]]:
    """For each object what every model made of it."""
    return list(zip(*(evaluation.results for evaluation in evaluations), strict=True))


def _cell(members: Sequence[tuple[ObjectResult, ...]], kind: str) -> str:
    """Mean IoU of some objects, of each model."""
    by_model = zip(*members, strict=True)
    return " / ".join(f"{_iou(results, kind).mean:.2f}" if kind in results[0].iou else "-" for results in by_model)


def _iou(results: Sequence[ObjectResult], kind: str) -> Summary:
    return summarize([result.iou[kind] for result in results])


def _boundary_f1(results: Sequence[ObjectResult], kind: str) -> Summary:
    return summarize([result.boundary_f1[kind] for result in results])


def _timing_line(evaluation: Evaluation) -> str:
    timing = evaluation.timing
    return (
        f"{evaluation.model} on {evaluation.device}: encode {timing.encode_ms:.1f} ms, one prompt "
        f"{timing.prompt_ms:.1f} ms, all {timing.objects_per_scene:g} objects of a scene {timing.scene_ms:.1f} ms "
        "(medians)"
    )
