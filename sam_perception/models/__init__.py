"""Model families behind one protocol, and the lookup that turns a name or a path into a loaded model.

A family is one module in this package with a function ``load(source, options, name)``; it is imported, and torch
with it, only when one of its models is asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
from pathlib import Path

from sam_perception.errors import CheckpointError, ModelUnavailableError
from sam_perception.models import checkpoints, devices
from sam_perception.models.base import Embedding, ModelOptions, SegmentationModel

__all__ = [
    "DEFAULT_MODEL",
    "Embedding",
    "ModelInfo",
    "ModelOptions",
    "SegmentationModel",
    "available_models",
    "load_model",
]

DEFAULT_MODEL = "auto"
"""tabletop; grabcut where torch, which tabletop needs, is not installed."""

_NEEDED_BY_TABLETOP = ("torch", "transformers", "safetensors")

# Families that need no weights, by the name that loads them.
WEIGHTLESS = {"grabcut": "sam_perception.models.grabcut"}

# Models whose weights are part of this package: family and folder.
SHIPPED = {"tabletop": ("tabletop", Path(__file__).parent / "weights_tabletop")}

# Families that load a checkpoint; how a file or folder shows which it is of stands in weights.py.
FAMILIES = {
    "sam": "sam_perception.models.sam",
    "sam2": "sam_perception.models.sam2",
    "tabletop": "sam_perception.models.tabletop",
}

_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors", ".bin")


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """One model that can be asked for by name.

    Attributes:
        name: what ``load_model`` takes.
        family: the module that runs it.
        ready: whether it can be loaded now, without a download.
        size_bytes: of its checkpoint; 0 when it has none, None when that is not public.
        licence: of its checkpoint; empty when it has none.
    """

    name: str
    family: str
    ready: bool
    size_bytes: int | None = 0
    licence: str = ""


def available_models() -> list[ModelInfo]:
    """Every model with a name: those that come with this package first, then the published checkpoints."""
    shipped = [
        ModelInfo(name, family, ready=True, size_bytes=_size(folder), licence="Apache-2.0")
        for name, (family, folder) in SHIPPED.items()
    ]
    weightless = [ModelInfo(name, name, ready=True) for name in WEIGHTLESS]
    published = [
        ModelInfo(
            checkpoint.name,
            checkpoint.family,
            _is_downloaded(checkpoint),
            checkpoint.size_bytes,
            checkpoint.licence,
        )
        for checkpoint in checkpoints.CHECKPOINTS
    ]
    return shipped + weightless + published


def load_model(spec: str, options: ModelOptions | None = None) -> SegmentationModel:
    """Load a model, ready to answer.

    Args:
        spec: ``DEFAULT_MODEL``, a name of ``available_models`` (with or without the extension, or an alias), or the
            path of a checkpoint file or a Hugging Face folder. A downloaded checkpoint goes before a path of that name.
        options: device, precision, compilation.

    Raises:
        CheckpointError: not downloaded yet, missing, damaged or of no known layout.
        ModelUnavailableError: an unknown name, or a device, precision or library that this machine has not.
    """
    options = options or ModelOptions()
    if spec == DEFAULT_MODEL:
        spec = _default_model()
    if spec in WEIGHTLESS:
        return importlib.import_module(WEIGHTLESS[spec]).load(None, options, spec)
    if spec in SHIPPED:
        family, folder = SHIPPED[spec]
        return importlib.import_module(FAMILIES[family]).load(folder, options, spec)
    path = Path(spec).expanduser()
    checkpoint = _published(spec)
    if checkpoint is not None and (_is_downloaded(checkpoint) or not path.exists()):
        return _load_published(checkpoint, options)
    if path.exists():
        return _load_path(path, options, spec)
    if os.sep in spec or spec.endswith(_CHECKPOINT_SUFFIXES):
        raise CheckpointError(f"{path} does not exist, and no published checkpoint has that name")
    here = (*SHIPPED, *WEIGHTLESS)
    raise ModelUnavailableError(
        f"model {spec!r} is unknown{checkpoints.did_you_mean(spec, here)}; without any download there are "
        f"{', '.join(here)}, and `sam-perception models list` shows all"
    )


def _default_model() -> str:
    """The name that DEFAULT_MODEL stands for on this machine."""
    return "tabletop" if all(importlib.util.find_spec(name) for name in _NEEDED_BY_TABLETOP) else "grabcut"


def _published(spec: str) -> checkpoints.Checkpoint | None:
    try:
        return checkpoints.find(spec)
    except ModelUnavailableError:
        return None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _is_downloaded(checkpoint: checkpoints.Checkpoint) -> bool:
    return checkpoints.check_size(checkpoint, checkpoints.local_path(checkpoint)).ok


def _load_published(checkpoint: checkpoints.Checkpoint, options: ModelOptions) -> SegmentationModel:
    path = checkpoints.local_path(checkpoint)
    found = checkpoints.check_size(checkpoint, path)
    if found.ok:
        devices.place(options)  # before gigabytes are read
        found = checkpoints.verify_once(checkpoint, path)
    if not found.ok:
        raise CheckpointError(f"{found.message}; run `sam-perception models download {checkpoint.name}`")
    return importlib.import_module(FAMILIES[checkpoint.family]).load(path, options, checkpoint.name)


def _load_path(path: Path, options: ModelOptions, name: str) -> SegmentationModel:
    devices.place(options)
    from sam_perception.models import weights

    family = weights.family_of(path)
    if family not in FAMILIES:
        raise CheckpointError(
            f"{path} holds a {family} model, which this version does not load; it loads {', '.join(FAMILIES)}"
        )
    return importlib.import_module(FAMILIES[family]).load(path, options, name)
