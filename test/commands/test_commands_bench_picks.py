"""`sam-perception bench --picks` as a person calls it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest
from command_line import run

pytest.importorskip("mujoco")

from sam_perception.errors import ModelUnavailableError
from sam_perception.sim.library import import_mujoco

try:
    import_mujoco()
except ModelUnavailableError as error:
    pytest.skip(str(error), allow_module_level=True)


def test_picks_are_counted_and_written(tmp_path: Path) -> None:
    out = tmp_path / "picks"
    done = run(
        "bench", "--picks", 2, "--masks", "true", "--planner", "top_down", "centroid", "--workers", 1, "--out", out
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "picks.json").read_text())
    assert [attempt["scene"] for attempt in content["attempts"]] == [0, 0, 1, 1]
    assert [result["planner"] for result in content["results"]] == ["top_down", "centroid"]
    with (out / "picks.csv").open() as file:
        assert len(list(csv.reader(file))) == 1 + 4
    assert cv2.imread(str(out / "failures.png")) is not None
    assert "isolated: 2 scenes of one object" in done.stdout
    assert "95 % interval" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--picks", "2", "--planner", "magic"), "planners"),
        (("--picks", "-1"), "isolated"),
        (("--picks", "1", "--gripper", "my_hand"), "gripper"),
        (("prompting", "--clutter", "1"), "SUBJECT"),
        (("--picks", "1", "--workers", "0"), "workers"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_built(arguments: tuple[str, ...], named: str) -> None:
    done = run("bench", *arguments)
    assert done.returncode == 2
    assert named in done.stderr and "Traceback" not in done.stderr
