"""Writes a trained network as the folder that the `tabletop` family loads: config.json and fp16 safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers import Sam2Model

from sam_perception.atomic_files import write_atomically
from sam_perception.models.tabletop import FAMILY
from sam_perception.training.architecture import Architecture, sam2_config


def export(network: Sam2Model, architecture: Architecture, out: Path, training: dict[str, Any]) -> None:
    """Write the folder.

    Args:
        network: with the weights to keep.
        architecture: of the network; its input size is what the model will work at.
        out: folder, made where it is missing.
        training: how the weights came to be, kept in config.json.
    """
    out.mkdir(parents=True, exist_ok=True)
    config = sam2_config(architecture)
    content = {
        "model_type": FAMILY,
        "vision_config": _changed(config.vision_config),
        "prompt_encoder_config": _changed(config.prompt_encoder_config),
        "mask_decoder_config": _changed(config.mask_decoder_config),
        "refiner_width": architecture.refiner_width,
        "training": training,
    }
    state = {name: tensor.to(torch.float16).contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(out / "model.safetensors", safetensors.torch.save(state))
    write_atomically(out / "config.json", (json.dumps(content, indent=2) + "\n").encode())


def _changed(config: Any) -> dict[str, Any]:
    """What differs from transformers' defaults."""
    kept = config.to_diff_dict()
    return {name: value for name, value in kept.items() if name != "transformers_version"}
