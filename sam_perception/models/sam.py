"""SAM (Kirillov et al., "Segment Anything", 2023): ViT-H, L and B, from Meta's files or Hugging Face folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from transformers import SamConfig, SamModel

from sam_perception.models import devices, weights
from sam_perception.models.base import ModelOptions
from sam_perception.models.devices import Placement
from sam_perception.models.promptable import (
    DECODER_MLPS,
    NOT_A_POINT,
    PROMPT_AND_DECODER_NAMES,
    PromptableModel,
    Tokens,
)
from sam_perception.models.weights import StateDict

_NAMES = (
    *PROMPT_AND_DECODER_NAMES,
    (r"^image_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^image_encoder\.blocks\.(\d+)\.norm(\d)\.", r"vision_encoder.layers.\1.layer_norm\2."),
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^image_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^image_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^image_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^image_encoder\.", "vision_encoder."),
)
_SHARED = "shared_image_embedding.positional_embedding"
_SHARED_AGAIN = "prompt_encoder.shared_embedding.positional_embedding"

# What no shape shows. Source: segment_anything/build_sam.py and modeling/transformer.py of Meta.
_DECODER_HEADS = 8
_DECODER_NORM_EPS = 1e-5


def load(source: Path, options: ModelOptions, name: str) -> Sam:
    """Load a .pth file as Meta published it, or as large as its tensors say, or a Hugging Face folder.

    Raises:
        CheckpointError: missing, damaged, or not a SAM checkpoint.
        ModelUnavailableError: this machine cannot run it the way the options ask for.
    """
    placement = devices.place(options)
    checkpoint = weights.read(source, "sam")
    with weights.inferring(checkpoint):
        config = SamConfig(**checkpoint.config) if checkpoint.config else architecture(checkpoint.state)
        with torch.device("meta"):
            network = SamModel(config)
    state = checkpoint.state if checkpoint.config else named_for_transformers(checkpoint.state)
    for one, other in (
        (_SHARED, _SHARED_AGAIN),
        (_SHARED_AGAIN, _SHARED),
    ):  # one tensor, saved under either name
        if one in state:
            state = {other: state[one], **state}
    weights.fill(network, state, checkpoint)
    return Sam(network, placement, name)


def architecture(state: StateDict) -> SamConfig:
    """The configuration that the shapes of a state dict of Meta's implementation imply.

    Raises:
        KeyError, ValueError: a tensor that shows it is missing, or has a shape that cannot be.
    """
    return SamConfig(
        vision_config=_vision_config(state),
        prompt_encoder_config=_prompt_encoder_config(state),
        mask_decoder_config=decoder_config(state, "mask_decoder.", "mlp.lin1") | {"layer_norm_eps": _DECODER_NORM_EPS},
    )


def named_for_transformers(state: StateDict) -> StateDict:
    """A state dict of Meta's implementation under the names of transformers' SamModel."""
    return weights.rename(weights.rename_mlps(state, DECODER_MLPS), _NAMES)


def decoder_config(state: StateDict, prefix: str, mlp: str) -> dict[str, Any]:
    """Sizes of a mask decoder of Meta's implementation, whose names begin with ``prefix``."""
    width = state[f"{prefix}iou_token.weight"].shape[1]
    inner_width = state[f"{prefix}transformer.layers.0.cross_attn_token_to_image.q_proj.weight"].shape[0]
    return {
        "hidden_size": width,
        "mlp_dim": state[f"{prefix}transformer.layers.0.{mlp}.weight"].shape[0],
        "num_hidden_layers": count_blocks(state, f"{prefix}transformer.layers."),
        "num_attention_heads": _DECODER_HEADS,
        "attention_downsample_rate": width // inner_width,
        "num_multimask_outputs": state[f"{prefix}mask_tokens.weight"].shape[0] - 1,
        "iou_head_depth": count_blocks(state, f"{prefix}iou_prediction_head.layers."),
        "iou_head_hidden_dim": state[f"{prefix}iou_prediction_head.layers.0.weight"].shape[0],
    }


def count_blocks(state: StateDict, prefix: str) -> int:
    """How many numbers follow ``prefix`` in the names of a state dict."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})


def _vision_config(state: StateDict) -> dict[str, Any]:
    width, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    grid = state["image_encoder.pos_embed"].shape[1]
    depth = count_blocks(state, "image_encoder.blocks.")
    # Relative positions of a block: (2 * side of what it attends over - 1, width of a head).
    relative = [state[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape for i in range(depth)]
    windows = [(length + 1) // 2 for length, _ in relative]
    windowed = sorted({window for window in windows if window != grid})
    if len(windowed) > 1:
        raise ValueError(f"its attention windows differ: {windowed}")
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": width // relative[0][1],
        "image_size": grid * patch,
        "patch_size": patch,
        "mlp_dim": state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
        "qkv_bias": "image_encoder.blocks.0.attn.qkv.bias" in state,
        "window_size": windowed[0] if windowed else grid,
        "global_attn_indexes": [i for i, window in enumerate(windows) if window == grid],
        "output_channels": state["image_encoder.neck.0.weight"].shape[0],
        "num_pos_feats": state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"].shape[1],
    }


def _prompt_encoder_config(state: StateDict) -> dict[str, Any]:
    _, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    return {
        "hidden_size": state["prompt_encoder.no_mask_embed.weight"].shape[1],
        "image_size": state["image_encoder.pos_embed"].shape[1] * patch,
        "patch_size": patch,
        "mask_input_channels": state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    }


class Sam(PromptableModel):
    """Answers as Meta's SamPredictor does."""

    _candidates_for_one = 1
    _logit_limit = float("inf")

    def __init__(self, network: SamModel, placement: Placement, name: str) -> None:
        point_embeddings = torch.cat([embedding.weight for embedding in network.prompt_encoder.point_embed])
        decoder = network.mask_decoder
        output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        super().__init__(network, placement, name, point_embeddings, output_tokens)

    def upsample(self, logits: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
        """(M, 1, h, w) low-resolution logits to (M, 1, H, W) logits of the image: Sam.postprocess_masks."""
        side = self.input_size
        height, width = self._fit(image_size, side)
        square = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
        return F.interpolate(square[..., :height, :width], image_size, mode="bilinear", align_corners=False)

    def _features(self, output: Any) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        return output.last_hidden_state, ()

    def _fit(self, image_size: tuple[int, int], side: int) -> tuple[int, int]:
        """The long side fills the square: ResizeLongestSide.get_preprocess_shape."""
        scale = side / max(image_size)
        return int(image_size[0] * scale + 0.5), int(image_size[1] * scale + 0.5)

    def _order(self, points: Tokens, box: Tokens) -> list[Tokens]:
        """Points, then one that is none unless there is a box, then the box: PromptEncoder.forward."""
        if len(points) and not len(box):
            return [points, np.array([[0, 0, NOT_A_POINT]])]
        return [points, box]

    def _choose(self, logits: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The mask of the first token, which is trained for prompts that need no alternatives."""
        return torch.zeros(len(scores), 1, dtype=torch.long, device=scores.device)
