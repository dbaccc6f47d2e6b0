"""A run learns, goes on after a kill as if nothing had been, and refuses what it cannot take up."""

from __future__ import annotations

import csv
import dataclasses

import pytest
from tiny_dataset import write_tiny_dataset

torch = pytest.importorskip("torch", minversion="2.9")  # the first with Muon
pytest.importorskip("transformers")

from small_tabletop import SMALL  # noqa: E402

from sam_perception.errors import CheckpointError, InvalidInputError, ModelUnavailableError  # noqa: E402
from sam_perception.training import loop  # noqa: E402
from sam_perception.training.config import Phase, TrainingConfig  # noqa: E402
from sam_perception.training.export import export  # noqa: E402

CPU = torch.device("cpu")
PHASES = (
    Phase(50, 64, batch=2, objects=3, rounds=(1.0, 0.5), learning_rate=(3e-3, 2e-3), smallest_object=8),
    Phase(25, 96, batch=1, objects=2, rounds=(1.0,), learning_rate=(2e-3, 1e-4), smallest_object=8),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = write_tiny_dataset(tmp_path_factory.mktemp("set"), views=4)
    return TrainingConfig(
        (str(folder),), PHASES, SMALL, warmup=5, workers=0, checkpoint_every=25, average=0.9, weight_decay=0.01
    )


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run that nobody interrupts: its folder and its network."""
    out = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    return out, loop.train(config, out, CPU)


def rows(out) -> list[dict[str, str]]:
    with (out / loop.LOG).open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "hours"} for row in csv.DictReader(file)]


def test_a_run_learns(whole):
    figures = rows(whole[0])
    assert [row["step"] for row in figures] == ["25", "50", "75"]
    assert float(figures[-1]["loss"]) < 0.9 * float(figures[0]["loss"])
    assert float(figures[-1]["side"]) < float(figures[0]["side"])
    assert float(figures[-1]["iou_box"]) > float(figures[0]["iou_box"])


def test_a_run_that_was_killed_ends_as_one_that_was_not(config, whole, tmp_path):
    """Killed after the log of step 50 and before its checkpoint: it goes on from step 25, through a change of phase."""

    class KilledError(Exception):
        pass

    def kill(step, figures):
        if step == 50:
            raise KilledError

    torch.manual_seed(0)
    with pytest.raises(KilledError):
        loop.train(config, tmp_path, CPU, kill)
    assert [row["step"] for row in rows(tmp_path)] == ["25", "50"]
    told = []
    network = loop.train(config, tmp_path, CPU, lambda step, figures: told.append(step))
    assert told == [50, 75]
    assert rows(tmp_path) == rows(whole[0])
    expected = whole[1].state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_the_configuration_alone_decides_the_result(config, tmp_path):
    """The same command gives the same weights, whatever else the process drew at random before."""
    short = dataclasses.replace(config, phases=(dataclasses.replace(PHASES[0], steps=3),))
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(loop.train(short, tmp_path / str(seed), CPU).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_run_that_is_done_gives_its_network_again(config, whole):
    again = loop.train(config, whole[0], CPU).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole[1].state_dict().items())
    assert [row["step"] for row in rows(whole[0])] == ["25", "50", "75"]


def test_the_result_is_the_average_of_the_last_weights(whole):
    state = torch.load(whole[0] / loop.CHECKPOINT, weights_only=True)
    last, average = state["network"], whole[1].state_dict()
    name = "mask_decoder.transformer.layers.0.mlp.proj_in.weight"
    off = (last[name] - average[name]).norm() / last[name].norm()
    assert 1e-4 < off < 0.2


def test_rates_warm_up_and_fall_along_a_cosine(config):
    first, last = 3e-3, 1e-3
    assert loop._rate((first, last), 0.0) == first
    assert loop._rate((first, last), 0.5) == pytest.approx((first + last) / 2)
    assert loop._rate((first, last), 1.0) == last


def test_a_compiled_encoder_learns_the_same(config, monkeypatch, tmp_path):
    calls = []

    def compiled(module, dynamic):  # a real compiler takes a minute, and with shapes left open many
        assert dynamic is False
        module._compiled_call_impl = lambda images: calls.append(type(module).__name__) or module._call_impl(images)

    monkeypatch.setattr(torch.nn.Module, "compile", compiled)
    plain = dataclasses.replace(config, phases=PHASES[1:])
    loop.train(dataclasses.replace(plain, compile=True), tmp_path / "compiled", CPU)
    assert calls == ["Sam2VisionModel"] * PHASES[1].steps
    loop.train(plain, tmp_path / "plain", CPU)
    assert rows(tmp_path / "compiled") == rows(tmp_path / "plain")


def test_where_nothing_can_be_compiled_that_is_said(config, monkeypatch, tmp_path):
    def fails(images):
        raise torch._dynamo.exc.TorchDynamoException("InvalidCxxCompiler: none found\n\nSet TORCH_LOGS for more")

    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module, dynamic: setattr(module, "_compiled_call_impl", fails)
    )
    with pytest.raises(ModelUnavailableError, match=r"cannot be compiled \(.*none found\): set compile: false"):
        loop.train(dataclasses.replace(config, compile=True), tmp_path, CPU)


def test_a_step_without_a_finite_loss_changes_no_weight(config, monkeypatch, tmp_path, caplog):
    def broken(*arguments):
        result = step_loss(*arguments)
        return dataclasses.replace(result, loss=result.loss * float("nan"), figures={"loss": float("nan")})

    step_loss = loop.step_loss
    monkeypatch.setattr(loop, "step_loss", broken)
    short = dataclasses.replace(config, phases=(dataclasses.replace(PHASES[0], steps=2),))
    after = loop.train(short, tmp_path, CPU).state_dict()
    before = loop.new_network(SMALL, config.seed).state_dict()
    assert all(torch.allclose(after[name], before[name], atol=1e-6) for name in before)
    assert "not finite" in caplog.text


def test_the_checkpoint_of_another_architecture_is_refused(config, whole):
    other = dataclasses.replace(config, architecture=dataclasses.replace(SMALL, hidden_size=64))
    before = (whole[0] / loop.CHECKPOINT).read_bytes()
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.pt is no checkpoint of this run .*another folder"
    ) as refusal:
        loop.train(other, whole[0], CPU)
    assert "\n" not in str(refusal.value)
    assert (whole[0] / loop.CHECKPOINT).read_bytes() == before


def test_a_damaged_checkpoint_is_refused(config, tmp_path):
    (tmp_path / loop.CHECKPOINT).write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(CheckpointError, match="is no checkpoint of this run"):
        loop.train(config, tmp_path, CPU)


def test_weights_to_start_from_are_taken_or_refused_by_name(config, whole, tmp_path):
    export(whole[1], SMALL, tmp_path / "start", {})
    none = dataclasses.replace(PHASES[0], steps=1, learning_rate=(0.0, 0.0))
    started = dataclasses.replace(config, phases=(none,), start=str(tmp_path / "start"))
    network = loop.train(started, tmp_path / "run", CPU)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, whole[1].state_dict()[name], rtol=1e-3, atol=1e-6)
    other = dataclasses.replace(started, architecture=dataclasses.replace(SMALL, hidden_size=64))
    with pytest.raises(CheckpointError, match=r"start: .*model\.safetensors does not fit the architecture"):
        loop.train(other, tmp_path / "other", CPU)


def test_a_folder_without_views_is_named_before_anything_is_trained(config, tmp_path):
    lost = dataclasses.replace(config, data=(str(tmp_path),), workers=2)
    with pytest.raises(InvalidInputError, match="no finished world"):
        loop.train(lost, tmp_path / "run", CPU)


def test_a_phase_may_have_views_of_its_own(config, tmp_path):
    short = [dataclasses.replace(phase, steps=2) for phase in PHASES]
    own = dataclasses.replace(short[1], data=(str(tmp_path),))
    with pytest.raises(InvalidInputError, match="no finished world"):
        loop.train(dataclasses.replace(config, phases=(short[0], own)), tmp_path / "run", CPU)
    assert not (tmp_path / "run" / loop.CHECKPOINT).exists()  # before anything is trained
    loop.train(dataclasses.replace(config, phases=(short[0],)), tmp_path / "run", CPU)
    write_tiny_dataset(tmp_path, views=2)
    loop.train(dataclasses.replace(config, data=("nowhere",), phases=(short[0], own)), tmp_path / "run", CPU)
    assert torch.load(tmp_path / "run" / loop.CHECKPOINT, weights_only=True)["step"] == 4
