"""Tables of a terminal say what the results say."""

from __future__ import annotations

import csv
import io
import json

import pytest

from sam_perception.evaluation.reports import OBJECTS_IN_A_TABLE, describe, object_lines, summary_lines, to_csv
from sam_perception.evaluation.segmentation import Evaluation, ObjectResult, Timing


def result(number: int, overlap: float, category: str = "", **more: float) -> ObjectResult:
    scores = {"click_1": overlap, **more}
    return ObjectResult("00", number, f"object {number}", category, 100, scores, dict.fromkeys(scores, 0.25))


def evaluation(results: list[ObjectResult], model: str = "tabletop") -> Evaluation:
    return Evaluation(model, "cpu", tuple(results[0].iou), results, 1, 1, Timing(81.2, 5.4, 9.9, 7), {})


def many(low: float, model: str = "tabletop") -> Evaluation:
    count = OBJECTS_IN_A_TABLE + 2
    return evaluation([result(i, low if i % 2 else 0.9, "needle" if i % 2 else "plank") for i in range(count)], model)


def test_a_few_objects_are_listed_one_by_one() -> None:
    heading, columns, *rows = object_lines([evaluation([result(1, 0.5, box=0.75), result(2, 1.0, box=0.25)])])
    assert heading == "IoU of each object, tabletop"
    assert columns.split() == ["scene", "object", "px", "1", "click", "box"]
    assert [row.split() for row in rows] == [
        ["00", "object", "1", "100", "0.50", "0.75"],
        ["00", "object", "2", "100", "1.00", "0.25"],
    ]


def test_many_objects_are_listed_by_category_worst_first() -> None:
    _, _, first, second = object_lines([many(low=0.3)])
    assert first.split() == ["needle", "31", "0.30"]
    assert second.split() == ["plank", "31", "0.90"]
    _, _, first, second = object_lines([many(low=0.95)])
    assert (first.split()[0], second.split()[0]) == ("plank", "needle")


def test_two_models_stand_side_by_side() -> None:
    first, second = many(low=0.3), many(low=0.6, model="grabcut")
    heading, _, needle, _ = object_lines([first, second])
    assert "tabletop / grabcut" in heading
    assert needle.endswith("0.30 / 0.60")
    lines = summary_lines([first, second])
    assert lines[1].split()[:4] == ["1", "click", "tabletop", "0.600"]
    assert lines[2].split()[:2] == ["grabcut", "0.750"]


def test_a_prompt_that_one_model_does_not_answer_is_left_open() -> None:
    both, clicks_only = evaluation([result(1, 0.5, box=0.75)]), evaluation([result(1, 0.25)], "points_only")
    assert object_lines([both, clicks_only])[-1].split()[-6:] == ["0.50", "/", "0.25", "0.75", "/", "-"]
    assert sum("points_only" in line for line in summary_lines([both, clicks_only])) == 2  # 1 click, and the times
    rows = list(csv.DictReader(io.StringIO(to_csv([both, clicks_only]))))
    assert [row["iou_box"] for row in rows] == ["0.7500", ""]


def test_the_summary_is_of_all_objects() -> None:
    values = [0.0, 0.5, 0.6, 1.0]
    lines = summary_lines([evaluation([result(i, value) for i, value in enumerate(values)])])
    assert lines[1].split()[2:] == ["tabletop", "0.525", "0.550", "0.150", "0.250"]  # mean, median, tenth, boundary
    for words in ("encode 81.2 ms", "one prompt 5.4 ms", "all 7 objects of a scene 9.9 ms"):
        assert words in lines[-1]


def test_what_is_described_can_be_written_as_json() -> None:
    described = json.loads(json.dumps(describe(evaluation([result(1, 0.5), result(2, 1.0)]))))
    assert described["summary"]["click_1"]["iou"] == {
        "count": 2,
        "mean": 0.75,
        "median": 0.75,
        "worst_tenth": pytest.approx(0.55),
    }
    assert [entry["object_id"] for entry in described["per_object"]] == [1, 2]
    assert described["timing"]["encode_ms"] == 81.2
