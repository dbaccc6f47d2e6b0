"""Rates of picks and their intervals, tables and files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import cv2
import numpy as np
import pytest

pytest.importorskip("mujoco")

from sam_perception.evaluation.pick_pictures import CAPTION_PX, PICTURE_PX, sheet, wrapped
from sam_perception.evaluation.pick_reports import describe, success_rate, summary_lines, to_csv
from sam_perception.evaluation.pick_runs import PickRun
from sam_perception.evaluation.picks import Attempt, PickPlan, PickTimes

PICKED = Attempt(
    kind="isolated", scene=0, step=0, objects=1, object="mug 3", family="mug", planner="antipodal", masks="true",
    picked=True, executed=True, reason="", detail="", mask_iou=1.0, visible=1.0, mask_px=900, quality=0.7,
    width_m=0.05, candidates=20, colliding=0, touched=False, too_wide=False, mass_kg=0.2, drift_m=0.001,
    turn_deg=2.0, times=PickTimes(30.0, 20.0, 10.0, 40.0),
)  # fmt: skip
LOST = dataclasses.replace(
    PICKED, picked=False, reason="slip", detail="lost while lifting", drift_m=math.nan, turn_deg=math.nan
)
REFUSED = dataclasses.replace(
    LOST, executed=False, reason="no grasp", detail="no safe grasp: 3 too wide", quality=math.nan, width_m=math.nan,
    candidates=0, too_wide=True,
)  # fmt: skip


def in_scenes(attempts: list[Attempt], per_scene: int = 1, **changes: object) -> list[Attempt]:
    return [dataclasses.replace(a, scene=k // per_scene, **changes) for k, a in enumerate(attempts)]


def test_the_interval_of_independent_attempts_is_that_of_a_binomial() -> None:
    rate = success_rate(in_scenes([PICKED] * 270 + [LOST] * 30))
    spread = 1.96 * math.sqrt(0.9 * 0.1 / 300)
    assert (rate.good, rate.count, rate.value) == (270, 300, 0.9)
    assert rate.low == pytest.approx(0.9 - spread, abs=0.006)
    assert rate.high == pytest.approx(0.9 + spread, abs=0.006)


def test_attempts_of_one_scene_count_as_one_draw() -> None:
    alike = [PICKED] * 150 + [LOST] * 150
    alone, together = success_rate(in_scenes(alike)), success_rate(in_scenes(alike, per_scene=10))
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


def test_no_attempt_has_no_rate() -> None:
    assert math.isnan(success_rate([]).value)


def test_objects_that_no_way_fit_are_counted_and_told_apart() -> None:
    run = PickRun(PickPlan(isolated=4), tuple(in_scenes([PICKED, PICKED, LOST, REFUSED])), ())
    (result,) = describe(run)["results"]
    assert (result["success"]["picked"], result["success"]["attempts"]) == (2, 4)
    assert (result["success_where_it_fits"]["picked"], result["success_where_it_fits"]["attempts"]) == (2, 3)
    assert result["reasons"] == {"slip": 1, "no grasp": 1}
    text = "\n".join(summary_lines(run))
    assert "2/4" in text and "50.0 %" in text
    assert "1 objects are wider than the gripper" in text and "of the others 2/3" in text


def test_a_refusal_in_clutter_is_no_attempt() -> None:
    attempts = [dataclasses.replace(a, kind="clutter", objects=6) for a in (PICKED, REFUSED, LOST)]
    run = PickRun(PickPlan(clutter=1), tuple(attempts), ())
    (result,) = describe(run)["results"]
    assert (result["success"]["picked"], result["success"]["attempts"], result["refused"]) == (1, 2, 1)
    assert result["cleared"] == {"objects": [1, 6]}
    assert "1 of 6 objects cleared; 1 times no safe grasp" in "\n".join(summary_lines(run))


def test_json_has_every_attempt_and_no_nan() -> None:
    run = PickRun(PickPlan(isolated=2), tuple(in_scenes([PICKED, REFUSED])), ())
    content = json.loads(json.dumps(describe(run), allow_nan=False))
    assert [attempt["reason"] for attempt in content["attempts"]] == ["", "no grasp"]
    assert content["attempts"][1]["quality"] is None
    assert content["results"][0]["median_ms"]["total"] == 100.0


def test_csv_has_a_line_for_each_attempt() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([PICKED, REFUSED]))))
    assert [row["object"] for row in rows] == ["mug 3", "mug 3"]
    assert (rows[0]["picked"], rows[1]["picked"], rows[1]["width_m"]) == ("1", "0", "")
    assert float(rows[0]["grasp_ms"]) == 40.0


def test_a_sheet_shows_all_pictures_two_in_a_row() -> None:
    red = np.full((CAPTION_PX + PICTURE_PX[1], 2 * PICTURE_PX[0], 3), (255, 0, 0), np.uint8)
    shown = (sheet([red] * 3) == (255, 0, 0)).all(axis=2)
    assert shown.sum() == 3 * red.shape[0] * red.shape[1]
    assert sheet([]).shape[2] == 3


def test_a_long_title_goes_on_in_a_second_line_and_loses_no_word() -> None:
    title = "tub 14: no safe grasp: 114 mm at its narrowest, the gripper opens to 80 mm; 2 of 3 grasps touch the table"
    lines = wrapped(title, 0.42, 640)
    assert len(lines) == 2 and " ".join(lines) == title
    for line in lines:
        assert cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] <= 640
    assert wrapped("short", 0.42, 640) == ["short"]
