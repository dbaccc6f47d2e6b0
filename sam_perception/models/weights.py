"""Reads checkpoints as plain data, whichever of the known layouts they have; never runs code that a file carries."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from sam_perception.errors import CheckpointError

StateDict = dict[str, torch.Tensor]

# By model_type of a Hugging Face folder, and by how keys of the authors' own files begin (the first that fits).
_FAMILY_BY_MODEL_TYPE = {"sam": "sam", "sam2": "sam2", "sam2_video": "sam2", "tabletop": "tabletop"}
_FAMILY_BY_KEY = (
    ("mask_decoder.hf_token", "sam_hq"),
    ("image_encoder.patch_embed.seq.", "mobile_sam"),
    ("image_encoder.trunk.", "sam2"),
    ("image_encoder.", "sam"),
)
_HUGGING_FACE_KEY = "vision_encoder."
_FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What a config.json may not decide here: they would fetch or run other code.
_CONFIG_KEYS_LEFT_OUT = frozenset({
    "auto_map", "quantization_config", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "experts_implementation", "_name_or_path", "dtype", "torch_dtype",
})  # fmt: skip
_NAMED_KEYS = 3


@dataclasses.dataclass(frozen=True)
class Weights:
    """A checkpoint in memory.

    Attributes:
        path: where it came from.
        family: ``sam``, ``sam2``, ...
        state: its tensors by name, as the file names them; on the CPU, mapped from the file where that is possible.
        config: the config.json of a Hugging Face folder; None for the authors' own files.
    """

    path: Path
    family: str
    state: StateDict
    config: dict[str, Any] | None = None


def family_of(path: Path) -> str:
    """The family of a file or folder, from as little of it as possible.

    Raises:
        CheckpointError: missing, unreadable, or of no family that is known.
    """
    folder = _folder_of(path)
    return _family_of_config(folder, _read_config(folder)) if folder else _family_of_state(path, _read_file(path))


def read(path: Path, family: str) -> Weights:
    """Read an authors' file (.pth, .pt, .safetensors) or a Hugging Face folder.

    Raises:
        CheckpointError: missing, unreadable, of another family or layout, or not only data.
    """
    folder = _folder_of(path)
    config = _read_config(folder) if folder else None
    state = _read_folder(folder) if folder else _read_file(path)
    found = _family_of_config(path, config) if config else _family_of_state(path, state)
    if found != family:
        raise CheckpointError(f"{path} holds a model of the family {found}, not {family}")
    return Weights(path, found, state, config)


def fill(network: torch.nn.Module, state: StateDict, weights: Weights, ignored: Sequence[str] = ()) -> None:
    """Give a network, built on the meta device, its tensors in fp32.

    Args:
        network: what to fill.
        state: tensors under the network's own names.
        weights: where they came from, for messages.
        ignored: beginnings of names that the network does not need.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape.
    """
    state = {key: value for key, value in state.items() if not key.startswith(tuple(ignored))}
    expected = network.state_dict()
    _refuse(weights, "lacks", expected.keys() - state.keys())
    _refuse(weights, f"has what no {weights.family} model has:", state.keys() - expected.keys())
    shapes = [key for key in expected if expected[key].shape != state[key].shape]
    _refuse(weights, "has of another shape than the rest of it implies:", shapes)
    # A copy: mapped tensors would change, or crash the process, when somebody writes to the file.
    network.load_state_dict({key: value.to(torch.float32, copy=True) for key, value in state.items()}, assign=True)


def rename(state: StateDict, rules: Iterable[tuple[str, str]]) -> StateDict:
    """The same tensors under names rewritten by (regular expression, replacement) pairs, applied in order."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in compiled:
            key = pattern.sub(replacement, key)
        renamed[key] = value
    return renamed


def rename_mlps(state: StateDict, heads: str) -> StateDict:
    """Rename the layers of MLPs from Meta's ``layers.0 .. layers.n`` to transformers' proj_in, layers.k, proj_out.

    Args:
        state: names and tensors.
        heads: regular expression of the MLPs' own names.
    """
    pattern = re.compile(rf"^(.*(?:{heads}))\.layers\.(\d+)\.(weight|bias)$")
    found = {key: match for key in state if (match := pattern.match(key))}
    last: dict[str, int] = {}
    for match in found.values():
        last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    renamed = {}
    for key, value in state.items():
        if key in found:
            mlp, layer, kind = found[key][1], int(found[key][2]), found[key][3]
            place = "proj_in" if layer == 0 else "proj_out" if layer == last[mlp] else f"layers.{layer - 1}"
            key = f"{mlp}.{place}.{kind}"
        renamed[key] = value
    return renamed


@contextlib.contextmanager
def inferring(weights: Weights) -> Iterator[None]:
    """Turn what goes wrong while the architecture is read off a checkpoint into a CheckpointError."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{weights.path} lacks {error.args[0]}, without which its size is unknown") from error
    except Exception as error:  # shapes that do not fit fail anywhere, transformers' checks with errors of their own
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{weights.path} is no {weights.family} model that can exist ({reason})") from error


def _refuse(weights: Weights, what: str, keys: Iterable[str]) -> None:
    names = sorted(keys)
    if names:
        more = f" and {len(names) - _NAMED_KEYS} more" if len(names) > _NAMED_KEYS else ""
        raise CheckpointError(f"{weights.path} {what} {', '.join(names[:_NAMED_KEYS])}{more}")


def _folder_of(path: Path) -> Path | None:
    """The Hugging Face folder that a path means, if it means one."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    if path.is_dir():
        return path
    in_folder = path.name in _FOLDER_FILES and (path.parent / "config.json").is_file()
    return path.parent if in_folder else None


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json; expected a Hugging Face model folder or a checkpoint file")
    config = _read_json(path)
    return _only_data(config)


def _only_data(config: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _CONFIG_KEYS_LEFT_OUT}
    return {key: _only_data(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _read_folder(folder: Path) -> StateDict:
    name = next((name for name in _FOLDER_FILES if (folder / name).is_file()), None)
    if name is None:
        raise CheckpointError(f"{folder} has no weights; expected one of {', '.join(_FOLDER_FILES)}")
    if not name.endswith(".json"):
        return _read_file(folder / name)
    shards = _read_json(folder / name).get("weight_map")
    if not isinstance(shards, dict) or not all(_is_plain_name(shard) for shard in shards.values()):
        raise CheckpointError(f"{folder / name}: expected a weight_map from names to files of this folder")
    state: StateDict = {}
    for shard in sorted(set(shards.values())):
        state |= _read_file(folder / shard)
    return state


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith((".safetensors", ".bin"))


def _read_file(path: Path) -> StateDict:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    with path.open("rb") as file:
        _check_beginning(path, file.read(512))
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path}: expected tensors by name, got {type(content).__name__}")
    wrong = next((key for key, value in content.items() if not isinstance(value, torch.Tensor)), None)
    if wrong is not None:
        raise CheckpointError(f"{path}: expected only tensors, got {type(content[wrong]).__name__} for {wrong!r}")
    return content


def _check_beginning(path: Path, beginning: bytes) -> None:
    if not beginning:
        raise CheckpointError(f"{path} is empty; download it again")
    if beginning.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path} is a web page, not a checkpoint: the download met an error page; get it again")
    if beginning.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull`")


def _read_safetensors(path: Path) -> object:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file ({error}); download it again") from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if re.search(r"Unsupported (?:global|class)|GLOBAL|not an allowed", str(error)):
            raise CheckpointError(
                f"{path} carries Python objects besides tensors, which could run code, and was not loaded; "
                "ask its author for a file with tensors only"
            ) from error
        raise _unreadable(path, error) from error
    except Exception as error:  # damaged bytes fail in any way there is; none of them is a bug of ours
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
    return CheckpointError(f"{path} is truncated or no PyTorch checkpoint ({line}); download it again")


def _family_of_config(path: Path, config: dict[str, Any]) -> str:
    model_type = config.get("model_type")
    family = _FAMILY_BY_MODEL_TYPE.get(str(model_type))
    if family is None:
        known = ", ".join(_FAMILY_BY_MODEL_TYPE)
        raise CheckpointError(f"{path}: expected model_type {known} in its config.json, got {model_type!r}")
    return family


def _family_of_state(path: Path, state: StateDict) -> str:
    if any(key.startswith(_HUGGING_FACE_KEY) for key in state):
        raise CheckpointError(f"{path} is the weights of a Hugging Face folder; name the folder with its config.json")
    for beginning, family in _FAMILY_BY_KEY:
        if any(key.startswith(beginning) for key in state):
            return family
    raise CheckpointError(
        f"{path} is no SAM checkpoint: its tensors are named {', '.join(list(state)[:_NAMED_KEYS])}, ..."
    )
