"""What this machine cannot do is refused with one sentence, at load and not in the middle of a frame."""

from __future__ import annotations

import importlib.util
import shutil
import types

import pytest

from sam_perception.errors import ModelUnavailableError
from sam_perception.models import ModelOptions, devices

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


class Machine:
    """Makes torch believe in other hardware than there is."""

    def __init__(self, monkeypatch):
        self._set = monkeypatch.setattr
        self.cuda(built=False)
        self.mps(built=False)

    def cuda(self, *, built=True, count=0, capability=(9, 0)):
        self._set(torch.backends.cuda, "is_built", lambda: built)
        self._set(torch.cuda, "is_available", lambda: count > 0)
        self._set(torch.cuda, "device_count", lambda: count)
        self._set(torch.cuda, "get_device_capability", lambda device=None: capability)
        self._set(torch.cuda, "get_device_name", lambda device=None: "Tesla T4")

    def mps(self, *, built=True, available=False, macos=14):
        self._set(torch.backends.mps, "is_built", lambda: built)
        self._set(torch.backends.mps, "is_available", lambda: available)
        self._set(torch.backends.mps, "is_macos_or_newer", lambda major, minor: macos >= major)


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def refused(device="cpu", precision="fp32", compile=False) -> str:
    with pytest.raises(ModelUnavailableError) as refusal:
        devices.place(ModelOptions(device, precision, compile))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_auto_takes_cuda_before_mps_before_the_cpu(machine):
    assert devices.place(ModelOptions()).device == torch.device("cpu")
    machine.mps(available=True)
    assert devices.place(ModelOptions()).device == torch.device("mps")
    machine.cuda(count=2)
    assert devices.place(ModelOptions()).device == torch.device("cuda:0")
    assert devices.place(ModelOptions("cuda:1")).device == torch.device("cuda:1")


def test_precision_becomes_a_dtype(machine):
    machine.cuda(count=1)
    for precision, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        assert devices.place(ModelOptions("cuda", precision)).dtype == dtype
    assert devices.place(ModelOptions("cpu", "bf16")).dtype == torch.bfloat16


def test_devices_that_are_not_there(machine):
    assert "was built without CUDA" in refused("cuda")
    machine.cuda(count=0)
    assert "finds no GPU with a driver" in refused("cuda:0")
    machine.cuda(count=1)
    assert "this machine has only cuda:0" in refused("cuda:1")
    machine.cuda(count=2)
    assert "this machine has cuda:0 to cuda:1" in refused("cuda:2")
    assert "was built without MPS" in refused("mps")
    machine.mps()
    assert "needs macOS 12.3" in refused("mps")
    for name in ("tpu", "cuda:x", "cpu:0", "", "cuda:-1"):
        assert "expected auto, cuda, cuda:N, mps or cpu" in refused(name)


def test_precisions_that_the_device_lacks(machine):
    assert "expected one of fp32, fp16, bf16" in refused(precision="int8")
    assert "CPUs compute it slower" in refused("cpu", "fp16")
    machine.cuda(count=1, capability=(7, 5))
    assert "Tesla T4 (compute capability 7.5) only emulates it" in refused("cuda", "bf16")
    machine.mps(available=True, macos=13)
    assert "from macOS 14 on" in refused("mps", "bf16")


def test_compilation_that_cannot_work(machine, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        assert "needs a C++ compiler" in refused(compile=True)
    machine.cuda(count=1)
    find_spec = importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None if name == "triton" else find_spec(name))
        assert "needs triton" in refused("cuda", compile=True)

    def unsupported(*_, **__):
        raise RuntimeError("torch.compile is not supported on Python 3.99+")

    monkeypatch.setattr(torch, "compile", unsupported)
    assert "not supported on Python 3.99+" in refused(compile=True)


@pytest.mark.parametrize("library", ["torch", "transformers", "safetensors"])
def test_a_library_that_is_missing_comes_with_its_command(monkeypatch, library):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else find_spec(name))
    assert f"this model needs {library}: run `pip install torch transformers safetensors`" in refused()


@pytest.mark.parametrize(
    ("error", "sizes"),
    [
        (
            "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 7.75 GiB "
            "of which 512.00 MiB is free. Process 1 has 3 GiB in use.",
            r" \(1.50 GiB more were needed, 512.00 MiB were free\)",
        ),
        (
            "MPS backend out of memory (MPS allocated: 8 GB). Tried to allocate 2.0 GB on private pool.",
            r" \(2.0 GB more",
        ),
        (
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12 (no memory)",
            "4096 bytes",
        ),
    ],
)
def test_running_out_of_memory_says_how_much_and_what_to_reduce(machine, error, sizes):
    match = rf"out of memory while encoding it.*{sizes}.*; use less"
    guard = devices.out_of_memory_as_sentence("encoding it", "use less")
    with pytest.raises(ModelUnavailableError, match=match), guard:
        raise torch.cuda.OutOfMemoryError(error) if error.startswith("CUDA") else RuntimeError(error)


def test_other_errors_pass_through_unchanged():
    with (
        pytest.raises(RuntimeError, match=r"^shapes differ$"),
        devices.out_of_memory_as_sentence("it", "that"),
    ):
        raise RuntimeError("shapes differ")


def test_the_model_reports_memory_that_ran_out(monkeypatch):
    """The guard is in place around both encode and decode."""
    import numpy as np

    from sam_perception.frames import RgbdFrame
    from sam_perception.models import promptable
    from sam_perception.prompts import Prompt

    def exhausted(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def model(**functions):
        stand_ins = {"predict": exhausted, "_with_history": lambda embedding, prompts, multimask: prompts, **functions}
        return types.SimpleNamespace(
            name="m", device="cuda:0", _device="cpu", _encoder=None, _input_of=exhausted, **stand_ins
        )

    frame = RgbdFrame(np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ModelUnavailableError, match=r"encoding a 6x4 image on cuda:0 .*2.00 GiB.*smaller model"):
        promptable.PromptableModel.encode(model(), frame)
    embedding = promptable.PromptableEmbedding(torch.zeros(1, 1, 1), (), (4, 6))
    for exhausting in (model(), model(_with_history=exhausted)):
        with pytest.raises(ModelUnavailableError, match=r"decoding 1 prompts on cuda:0.*fewer prompts"):
            promptable.PromptableModel.decode(exhausting, embedding, [Prompt(points=[(1, 1)])], False)
