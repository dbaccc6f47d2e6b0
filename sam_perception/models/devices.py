"""Turns ModelOptions into a torch device and dtype, or says in one sentence why this machine cannot do that."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sam_perception.errors import ModelUnavailableError
from sam_perception.models.base import PRECISIONS, ModelOptions

if TYPE_CHECKING:
    import torch

_LIBRARIES = ("torch", "transformers", "safetensors")
_CPP_COMPILERS = ("g++", "clang++", "c++", "cl")
_CHOICES = "auto, cuda, cuda:N, mps or cpu"


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a network runs: its device, the dtype of the image encoder, and whether that is compiled."""

    device: torch.device
    dtype: torch.dtype
    compile: bool = False


def require_libraries() -> None:
    """Make sure that the libraries behind the models are installed; imports none of them.

    Raises:
        ModelUnavailableError: one is missing; the message has the command that installs it.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelUnavailableError(
            f"this model needs {' and '.join(missing)}: run `pip install {' '.join(_LIBRARIES)}` "
            "(docs/install.md says how beside ROS), or take --model grabcut, which needs neither"
        )


def place(options: ModelOptions) -> Placement:
    """The device, dtype and compilation that the options ask for.

    Raises:
        ModelUnavailableError: torch is missing, or this machine lacks what the options ask for.
    """
    require_libraries()
    import torch

    device = torch_device(options.device)
    if options.precision not in PRECISIONS:
        raise ModelUnavailableError(f"precision {options.precision!r}: expected one of {', '.join(PRECISIONS)}")
    _check_precision(device, options.precision)
    if options.compile:
        _check_compile(device)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[options.precision]
    return Placement(device, dtype, options.compile)


@contextlib.contextmanager
def out_of_memory_as_sentence(doing: str, remedy: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors into a ModelUnavailableError that says how much was asked for.

    Args:
        doing: what was going on, as in "encoding a 640x480 image".
        remedy: what the reader can reduce.
    """
    import torch

    try:
        yield
    except RuntimeError as error:  # torch.cuda.OutOfMemoryError is one; cpu and mps raise plain ones
        text = str(error)
        if not (
            isinstance(error, torch.cuda.OutOfMemoryError) or re.search("out of memory|can't allocate memory", text)
        ):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise ModelUnavailableError(f"out of memory while {doing}{_allocation(text)}; {remedy}") from error


def torch_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: auto, cuda, cuda:N, mps or cpu.

    Raises:
        ModelUnavailableError: torch is missing, another name, or a device that this machine lacks.
    """
    if importlib.util.find_spec("torch") is None:
        raise ModelUnavailableError(f"device {name!r}: needs torch, run `pip install torch`, or use device cpu")
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind == "cuda" and (not index or index.isdecimal()):
        return _cuda(name, int(index or 0))
    if name == "mps":
        return _mps()
    if name != "cpu":
        raise ModelUnavailableError(f"device {name!r}: expected {_CHOICES}")
    return torch.device("cpu")


def _cuda(name: str, index: int) -> torch.device:
    import torch

    if not torch.backends.cuda.is_built():
        raise ModelUnavailableError(
            f"device {name!r}: this PyTorch ({torch.__version__}) was built without CUDA; "
            "install a CUDA build from https://pytorch.org/get-started, or use device cpu"
        )
    if not torch.cuda.is_available():
        raise ModelUnavailableError(
            f"device {name!r}: this PyTorch ({torch.__version__}) finds no GPU with a driver that fits it; "
            "see what `nvidia-smi` says, or use device cpu"
        )
    count = torch.cuda.device_count()
    if index >= count:
        have = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ModelUnavailableError(f"device {name!r}: this machine has {have}")
    return torch.device("cuda", index)


def _mps() -> torch.device:
    import torch

    if not torch.backends.mps.is_built():
        raise ModelUnavailableError(
            f"device 'mps': this PyTorch ({torch.__version__}) was built without MPS, which only macOS has; "
            "use device auto"
        )
    if not torch.backends.mps.is_available():
        raise ModelUnavailableError("device 'mps': needs macOS 12.3 or newer on an Apple or AMD GPU; use device cpu")
    return torch.device("mps")


def _check_precision(device: torch.device, precision: str) -> None:
    import torch

    if precision == "fp16" and device.type == "cpu":
        raise ModelUnavailableError("precision fp16: CPUs compute it slower than fp32; use fp32, or bf16")
    if precision == "bf16" and device.type == "cuda" and torch.version.hip is None:
        major, minor = torch.cuda.get_device_capability(device)
        if major < 8:
            raise ModelUnavailableError(
                f"precision bf16: {torch.cuda.get_device_name(device)} (compute capability {major}.{minor}) only "
                "emulates it, 8.0 and newer have it; use fp16"
            )
    if precision == "bf16" and device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise ModelUnavailableError("precision bf16: MPS has it from macOS 14 on; use fp16")


def _check_compile(device: torch.device) -> None:
    import torch

    try:
        torch.compile(lambda: None)
    except RuntimeError as error:  # this Python or platform is not supported; torch says which
        raise ModelUnavailableError(f"compile: {error}; load the model without it") from error
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ModelUnavailableError("compile: needs triton on CUDA; run `pip install triton`, or load without compile")
    compilers = (os.environ.get("CXX") or "", *_CPP_COMPILERS)
    if device.type == "cpu" and not any(shutil.which(compiler) for compiler in compilers if compiler):
        raise ModelUnavailableError(
            "compile: needs a C++ compiler on the CPU and finds none; run `sudo apt install g++`, "
            "or load without compile"
        )


def _allocation(text: str) -> str:
    """What torch's message says about sizes: CUDA and MPS in units, the CPU in bytes."""
    asked = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w+)", text)
    free = re.search(r"of which ([\d.]+ ?\w+) is free", text)
    sizes = [f"{asked[1]} more were needed"] if asked else []
    sizes += [f"{free[1]} were free"] if free else []
    return f" ({', '.join(sizes)})" if sizes else ""
