"""SAM 2 and 2.1 on images (Ravi et al., 2024), from Meta's files or Hugging Face folders, sam2_video's included."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from transformers import Sam2Config, Sam2Model

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
from sam_perception.models.sam import count_blocks, decoder_config
from sam_perception.models.weights import StateDict

_NAMES = (
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    *PROMPT_AND_DECODER_NAMES,
    (r"^(mask_decoder\.transformer\..*)\.out_proj\.", r"\1.o_proj."),
    (r"^image_encoder\.trunk\.patch_embed\.proj\.", "vision_encoder.backbone.patch_embed.projection."),
    (r"^image_encoder\.trunk\.blocks\.(\d+)\.norm(\d)\.", r"vision_encoder.backbone.blocks.\1.layer_norm\2."),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^no_mem_embed$", "no_memory_embedding"),
)
_MLPS = rf"{DECODER_MLPS}|blocks\.\d+\.mlp|transformer\.layers\.\d+\.mlp"
_SHARED = "shared_image_embedding.positional_embedding"
_SHARED_AGAIN = "prompt_encoder.shared_embedding.positional_embedding"

# What remembers earlier frames of a video, which one image has no use for: by Meta's names, by transformers' names.
_MEMORY = (
    "memory_attention.", "memory_encoder.", "maskmem_tpos_enc", "no_mem_pos_enc", "mask_downsample.", "obj_ptr_proj.",
    "obj_ptr_tpos_proj.", "no_obj_ptr", "no_obj_embed_spatial",
)  # fmt: skip
_MEMORY_HUGGING_FACE = (
    "memory_attention.", "memory_encoder.", "memory_temporal_positional_encoding", "no_memory_positional_encoding",
    "mask_downsample.", "object_pointer_proj.", "temporal_positional_encoding_projection_layer.", "no_object_pointer",
    "occlusion_spatial_embedding_parameter",
)  # fmt: skip

# What no shape shows, by the blocks of each stage. Source: Meta's configs/sam2.1/sam2.1_hiera_{t,s,b+,l}.yaml.
_PUBLISHED: dict[tuple[int, ...], tuple[list[int], list[int]]] = {
    # blocks per stage: (window of each stage, blocks with global attention)
    (1, 2, 7, 2): ([8, 4, 14, 7], [5, 7, 9]),
    (1, 2, 11, 2): ([8, 4, 14, 7], [7, 10, 13]),
    (2, 3, 16, 3): ([8, 4, 14, 7], [12, 16, 20]),
    (2, 6, 36, 4): ([8, 4, 16, 8], [23, 33, 43]),
}
_WIDEST_HEAD = 96  # 96 / 1, 112 / 2 and 144 / 2 are published; a head is as wide as it can be
_IMAGE_SIZE, _PATCH_SIZE = 1024, 16  # of every published configuration, and in no tensor
_FPN_TOP_DOWN_LEVELS = [2, 3]


def load(source: Path, options: ModelOptions, name: str) -> Sam2:
    """Load a .pt file as Meta published it, or a Hugging Face folder (sam2 or sam2_video).

    Raises:
        CheckpointError: missing, damaged, or not a SAM 2 checkpoint.
        ModelUnavailableError: this machine cannot run it the way the options ask for.
    """
    placement = devices.place(options)
    checkpoint = weights.read(source, "sam2")
    with weights.inferring(checkpoint):
        config = _config_of_folder(checkpoint.config) if checkpoint.config else architecture(checkpoint.state)
        state = checkpoint.state if checkpoint.config else named_for_transformers(checkpoint.state)
        with torch.device("meta"):
            network = Sam2Model(config)
    if _SHARED in state:
        state = {_SHARED_AGAIN: state[_SHARED], **state}
    weights.fill(network, state, checkpoint, _MEMORY_HUGGING_FACE if checkpoint.config else _MEMORY)
    return Sam2(network, placement, name)


def architecture(state: StateDict) -> Sam2Config:
    """The configuration that a state dict of Meta's implementation implies; 2.0 and 2.1 do not differ in it.

    Raises:
        KeyError, ValueError: a tensor that shows it is missing, or has a shape that cannot be.
    """
    width = state["sam_mask_decoder.iou_token.weight"].shape[1]
    return Sam2Config(
        vision_config=_vision_config(state),
        prompt_encoder_config={
            "hidden_size": width,
            "image_size": _IMAGE_SIZE,
            "patch_size": _PATCH_SIZE,
            "mask_input_channels": state["sam_prompt_encoder.mask_downscaling.3.weight"].shape[0],
        },
        mask_decoder_config=decoder_config(state, "sam_mask_decoder.", "mlp.layers.0"),
    )


def named_for_transformers(state: StateDict) -> StateDict:
    """A state dict of Meta's implementation under the names of transformers' Sam2Model."""
    points = [f"sam_prompt_encoder.point_embeddings.{i}.weight" for i in range(4)]
    joined = torch.cat([state[key] for key in points])
    state = {key: value for key, value in state.items() if key not in points}
    renamed = weights.rename(weights.rename_mlps(state, _MLPS), _NAMES)
    return renamed | {"prompt_encoder.point_embed.weight": joined}


def _config_of_folder(config: dict[str, Any]) -> Sam2Config:
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    return Sam2Config(**{part: config[part] for part in parts if part in config})


def _vision_config(state: StateDict) -> dict[str, Any]:
    backbone = _backbone_config(state)
    return {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": backbone["embed_dim_per_stage"][::-1],
        "backbone_feature_sizes": [[_IMAGE_SIZE // stride] * 2 for stride in (4, 8, 16)],
        "fpn_hidden_size": state["image_encoder.neck.convs.0.conv.weight"].shape[0],
        "fpn_top_down_levels": _FPN_TOP_DOWN_LEVELS,
    }


def _backbone_config(state: StateDict) -> dict[str, Any]:
    """Hiera's configuration: a stage begins where a block changes the width."""
    prefix = "image_encoder.trunk."
    widths = [
        state[f"{prefix}blocks.{i}.attn.proj.weight"].shape[0] for i in range(count_blocks(state, f"{prefix}blocks."))
    ]
    stage_widths = list(dict.fromkeys(widths))
    blocks = tuple(widths.count(width) for width in stage_widths)
    heads = -(-widths[0] // _WIDEST_HEAD)
    first_window = state[f"{prefix}pos_embed_window"].shape[2]
    windows, global_blocks = _PUBLISHED.get(blocks) or _guess(blocks, first_window)
    return {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": widths[0],
        "num_attention_heads": heads,
        "image_size": [_IMAGE_SIZE, _IMAGE_SIZE],
        "window_positional_embedding_background_size": list(state[f"{prefix}pos_embed"].shape[2:]),
        "blocks_per_stage": list(blocks),
        "embed_dim_per_stage": stage_widths,
        "num_attention_heads_per_stage": [heads * width // widths[0] for width in stage_widths],
        "window_size_per_stage": windows,
        "global_attention_blocks": global_blocks,
        "mlp_ratio": state[f"{prefix}blocks.0.mlp.layers.0.weight"].shape[0] / widths[0],
    }


def _guess(blocks: Sequence[int], first_window: int) -> tuple[list[int], list[int]]:
    """Windows and global attention of sizes that Meta did not publish: three blocks of the third stage, from its end.

    The block that opens a stage cannot be one: it pools its windows.
    """
    windows = [first_window, first_window // 2, 14, 7]
    end = sum(blocks[:3]) - 1
    step = max(1, round(blocks[2] / 3.6))
    global_blocks = sorted(i for i in (end, end - step, end - 2 * step) if i > end - blocks[2] + 1)
    logging.getLogger(__name__).warning(
        "no published SAM 2 has %s blocks per stage; taking windows %s and global attention in blocks %s "
        "(a Hugging Face folder says so in its config.json)",
        list(blocks), windows, global_blocks,
    )  # fmt: skip
    return windows, global_blocks


class Sam2(PromptableModel):
    """Answers as Meta's SAM2ImagePredictor does, with the post-processing that build_sam2 switches on."""

    _logit_limit = 32.0

    def __init__(self, network: Sam2Model, placement: Placement, name: str) -> None:
        decoder = network.mask_decoder
        tokens = (decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight)
        network.vision_encoder.neck.position_encoding = NoPositions()
        self._candidates_for_one = decoder.num_mask_tokens if decoder.dynamic_multimask_via_stability else 1
        super().__init__(network, placement, name, network.prompt_encoder.point_embed.weight, torch.cat(tokens))

    def upsample(self, logits: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
        """(M, 1, h, w) low-resolution logits to (M, 1, H, W) logits of the image: SAM2Transforms.postprocess_masks."""
        return F.interpolate(logits, image_size, mode="bilinear", align_corners=False)

    def _features(self, output: Any) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """With "no memory" added, and the decoder's projections of the higher resolutions done once for all prompts."""
        fine, middle, coarse = output.fpn_hidden_states
        memory = self.network.no_memory_embedding.view(1, -1, 1, 1)
        decoder = self.network.mask_decoder
        image = (coarse.float() + memory).to(self._dtype)
        return image, (decoder.conv_s0(fine.float()), decoder.conv_s1(middle.float()))

    def _fit(self, image_size: tuple[int, int], side: int) -> tuple[int, int]:
        """The image is stretched to the whole square."""
        return side, side

    def _order(self, points: Tokens, box: Tokens) -> list[Tokens]:
        """The box, then points, then one that is none: SAM2ImagePredictor._predict, PromptEncoder._embed_points."""
        if not len(points) and not len(box):
            return []
        return [box, points, np.array([[0, 0, NOT_A_POINT]])]

    def _choose(self, logits: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The first token's mask if it is stable, else the best of the others: _dynamic_multimask_via_stability."""
        first = torch.zeros(len(scores), 1, dtype=torch.long, device=scores.device)
        if self._candidates_for_one == 1:
            return first
        decoder = self.network.mask_decoder
        delta = decoder.dynamic_multimask_stability_delta
        strict = (logits[:, 0] > delta).sum(dim=(1, 2))
        loose = (logits[:, 0] > -delta).sum(dim=(1, 2))
        stability = torch.where(loose > 0, strict / loose.clamp(min=1), 1.0)
        best = 1 + scores[:, 1:].argmax(dim=1, keepdim=True)
        return torch.where(stability[:, None] >= decoder.dynamic_multimask_stability_thresh, first, best)


class NoPositions(torch.nn.Module):
    """Stands in for the neck's position encodings, which only a video's memory reads; they cost more than the neck."""

    def forward(self, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """An empty tensor."""
        return torch.empty(0, device=device, dtype=dtype)
