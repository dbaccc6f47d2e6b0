"""A training configuration is read as it is written, and what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.errors import InvalidInputError
from sam_perception.training import config as config_module
from sam_perception.training.architecture import Architecture
from sam_perception.training.config import read_config

GOOD = """
data: [sets/one, /elsewhere/two]
workers: 0
start: models/old
architecture: {width: 16, blocks: [1, 1, 2, 1], global_blocks: [3]}
phases:
  - {steps: 30, input_size: 64, rounds: [], learning_rate: [0.002, 0.001]}
  - {steps: 20, input_size: 96, rounds: [1.0, 0.5], mask_loss: focal, data: [/elsewhere/three]}
"""


@pytest.fixture
def write(tmp_path):
    def written(text: str):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return written


def test_a_run_is_read(write):
    config = read_config(write(GOOD))
    assert config.data == ("sets/one", "/elsewhere/two")
    assert config.start == "models/old"
    assert config.architecture.blocks == (1, 1, 2, 1)
    assert config.phases[0].rounds == () and config.phases[1].mask_loss == "focal"
    assert config.steps == 50
    assert [config.phase_at(step) for step in (0, 29, 30, 49)] == [(0, 0), (0, 29), (1, 0), (1, 19)]
    with pytest.raises(IndexError, match="50 steps"):
        config.phase_at(50)


def test_what_is_kept_with_the_model_names_no_place_of_this_machine(write):
    plain = read_config(write(GOOD)).as_plain_data()
    assert plain["data"] == ["one", "two"] and plain["start"] == "old"
    assert "elsewhere" not in repr(plain)
    assert plain["phases"][1]["steps"] == 20
    assert [phase["data"] for phase in plain["phases"]] == [[], ["three"]]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("workers: 0", "wokers: 0", r"wokers: expected one of .*workers"),
        ("steps: 30", "step: 30", r"phases\.step: expected one of .*steps"),
        ("width: 16", "depth: 16", r"architecture\.depth: expected one of .*width"),
        ("steps: 30, ", "", "phases: .*missing.*steps"),
        ("steps: 30", "steps: 0", r"phases\.steps: expected 1 or more, got 0"),
        ("input_size: 64", "input_size: 100", r"phases\.input_size: expected a multiple of 32, got 100"),
        ("[1.0, 0.5]", "[0.5, 0.5]", r"phases\.rounds: expected 1 as the first probability"),
        ("[0.002, 0.001]", "0.002", r"phases\.learning_rate: expected a list, got 0\.002"),
        ("[0.002, 0.001]", "[0.002, soon]", r"phases\.learning_rate: expected a number, got 'soon'"),
        ("steps: 20", "steps: 20, window: [0.5]", r"phases\.window: expected 2 values, got \[0\.5\]"),
        ("rounds: []", "rounds: [], refine: true", r"phases\.rounds: expected prompts, since refine is set"),
        ("steps: 20", "steps: 20, decoder: true", r"phases\.decoder: expected refine with it, got decoder alone"),
        ("steps: 20", "steps: 20, refine: 1", r"phases\.refine: expected bool, got 1"),
        ("steps: 20", "steps: 2.5", r"phases\.steps: expected a whole number, got 2\.5"),
        ("mask_loss: focal", "mask_loss: hinge", r"phases\.mask_loss: expected balanced or focal, got hinge"),
        ("steps: 20", "steps: 20, window: [0.5, 1.5]", r"phases\.window: expected two shares"),
        ("workers: 0", "workers: -1", "workers"),
        ("workers: 0", "precision: fp8", "precision: expected fp32 or bf16, got fp8"),
        ("workers: 0", "warmup: 0", "warmup: expected 1 or more"),
        ("data: [sets/one, /elsewhere/two]", "data: {a: 1}", "data: expected a folder, or a list"),
    ],
)
def test_what_is_wrong_is_named(write, old, new, sentence):
    assert old in GOOD
    with pytest.raises(InvalidInputError, match=sentence) as refusal:
        read_config(write(GOOD.replace(old, new)))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("phases: [", "readable YAML"),
        ("- 1", "mapping of settings"),
        ("data: [a]", "phases: expected at least one"),
        ("phases: 3", "phases: expected a list of mappings"),
    ],
)
def test_what_is_no_configuration_is_refused(write, text, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        read_config(write(text))


def test_the_recipe_of_the_shipped_model_is_read():
    recipe = read_config(Path(config_module.__file__).with_name("tabletop.yaml"))
    assert recipe.architecture == Architecture()
    assert recipe.phases[-1].input_size == recipe.architecture.input_size


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"nowhere\.yaml.*No such file"):
        read_config(tmp_path / "nowhere.yaml")


def test_a_number_in_scientific_notation_is_a_number(write):
    config = read_config(write(GOOD.replace("[0.002, 0.001]", "[2e-3, 1.0e-3]")))  # to YAML 1.1 the first is text
    assert config.phases[0].learning_rate == (0.002, 0.001)
