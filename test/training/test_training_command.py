"""`sam-perception train` from a data set to a folder for --model, and what it says when something is missing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml
from tiny_dataset import write_tiny_dataset

pytest.importorskip("torch", minversion="2.9")  # the first with Muon
pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

from sam_perception import cli
from sam_perception.commands import train
from sam_perception.frames import RgbdFrame
from sam_perception.models import ModelOptions, load_model
from sam_perception.prompts import Prompt

_RUN_CLI = "import sys; from sam_perception import cli; sys.exit(cli.main(sys.argv[1:]))"
RUN = {
    "workers": 0,
    "warmup": 1,
    "architecture": {
        "input_size": 64,
        "width": 8,
        "blocks": [1, 1, 2, 1],
        "window": 4,
        "global_blocks": [3],
        "hidden_size": 32,
    },
    "phases": [
        {"steps": 2, "input_size": 64, "batch": 1, "objects": 2, "rounds": [], "smallest_object": 8},
        {"steps": 2, "input_size": 96, "batch": 1, "objects": 2, "smallest_object": 8},
    ],
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**RUN, "data": str(write_tiny_dataset(tmp_path / "set", views=2))}))
    return path


def test_a_model_comes_out_and_more_steps_go_on_from_it(config, tmp_path, capsys):
    command = ["train", "--config", str(config), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(command) == 0
    assert f"--model {tmp_path / 'out/model'}" in capsys.readouterr().out
    model = load_model(str(tmp_path / "out/model"), ModelOptions(device="cpu"))
    assert model.input_size == 96  # the last phase's
    masks = model.decode(model.encode(RgbdFrame(np.zeros((40, 50, 3), np.uint8))), [Prompt(box=(5, 5, 30, 30))], False)
    assert masks[0][0].to_array().shape == (40, 50)
    assert cv2.imread(str(tmp_path / "out/curves.png")).std() > 1
    stored = json.loads((tmp_path / "out/model/config.json").read_text())["training"]
    assert stored["data"] == ["set"] and [phase["steps"] for phase in stored["phases"]] == [2, 2]
    longer = {**RUN, "phases": [*RUN["phases"], {**RUN["phases"][1], "steps": 1}]}
    config.write_text(yaml.safe_dump(longer))
    assert cli.main([*command, "--data", str(tmp_path / "set")]) == 0
    steps = [line.split(",")[0] for line in (tmp_path / "out/log.csv").read_text().splitlines()]
    assert steps == ["step", "4", "5"]


def test_processes_that_read_views_come_after_every_phase(config, tmp_path):
    # In a process of its own: readers that were forked after OpenCV had run in threads waited for ever.
    config.write_text(config.read_text().replace("workers: 0", "workers: 1"))
    command = ["train", "--config", str(config), "--out", str(tmp_path / "out"), "--device", "cpu"]
    script = f"import cv2, numpy; cv2.distanceTransform(numpy.ones((2000, 2000), 'uint8'), 2, 5); {_RUN_CLI}"
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model/model.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": []}, "data: expected a folder of `sam-perception sim dataset`, in the file or as --data"),
        ({"data": "nowhere"}, "no finished world"),
        ({"phases": []}, "phases: expected at least one"),
        ({"epochs": 3}, "epochs: expected one of"),
    ],
)
def test_a_configuration_that_cannot_run_ends_with_one_sentence(config, tmp_path, capsys, change, sentence):
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **change}))
    assert cli.main(["train", "--config", str(config), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_a_missing_configuration_and_an_impossible_device_are_named(config, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert cli.main(["train", "--config", str(tmp_path / "nowhere.yaml"), "--out", out]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err
    assert cli.main(["train", "--config", str(config), "--out", out, "--device", "tpu"]) == 2
    assert "device 'tpu'" in capsys.readouterr().err


def test_a_missing_library_is_named_with_the_command_that_installs_it(config, tmp_path, capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    assert cli.main(["train", "--config", str(config), "--out", str(tmp_path / "out")]) == 2
    assert 'training needs matplotlib: pip install "sam-perception[training]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
