"""The network's forward pass for many images with many prompts each, with gradients, by production's own decoder."""

from __future__ import annotations

import dataclasses

import torch
from transformers import Sam2Model

from sam_perception.models.mask_decoder import decode_masks, embed_tokens
from sam_perception.models.promptable import FILLER


@dataclasses.dataclass(frozen=True)
class Features:
    """What the encoder makes of B images.

    Attributes:
        tokens: (B, P, C) of the P positions of the embedding's grid.
        high_res: (B, C / 8, 4g, 4g) and (B, C / 4, 2g, 2g) maps, for a grid of g x g.
        pyramid: (B, C, ...) maps of stride 4, 8 and 16, for the side targets.
    """

    tokens: torch.Tensor
    high_res: tuple[torch.Tensor, torch.Tensor]
    pyramid: tuple[torch.Tensor, ...]


def encode(network: Sam2Model, images: torch.Tensor, dtype: torch.dtype = torch.float32) -> Features:
    """Run the image encoder on (B, 8, S, S); in mixed precision where ``dtype`` is not fp32."""
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        pyramid = network.vision_encoder(images).fpn_hidden_states
    fine, middle, coarse = (level.float() for level in pyramid)
    image = coarse + network.no_memory_embedding.view(1, -1, 1, 1)
    decoder = network.mask_decoder
    tokens = image.flatten(2).transpose(1, 2)
    return Features(tokens, (decoder.conv_s0(fine), decoder.conv_s1(middle)), (fine, middle, coarse))


def decode(
    network: Sam2Model,
    features: Features,
    tokens: torch.Tensor,
    logits: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Answer N / B prompts on each of B images.

    Args:
        network: the model.
        features: of the images.
        tokens: (N, T, 3) x, y in 0..1 and label, FILLER where a prompt is shorter; image by image.
        logits: (N, 1, h, w) of an earlier answer, or of ``models.tabletop_prior``.

    Returns:
        (N, 4, h, w) logits and (N, 4) predicted IoU: of the single mask, then of the three candidates.
    """
    prompts, decoder = network.prompt_encoder, network.mask_decoder
    labels = torch.cat([prompts.not_a_point_embed.weight, prompts.point_embed.weight])
    embedded = embed_tokens(tokens, prompts.shared_embedding.positional_embedding, labels)
    is_padding = tokens[..., 2] == FILLER
    per_image = len(tokens) // len(features.tokens)
    image = features.tokens.repeat_interleave(per_image, dim=0)
    image = image + prompts.mask_embed(logits).flatten(2).transpose(1, 2)
    output = (decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight)
    return decode_masks(
        decoder,
        torch.cat(output),
        embedded,
        is_padding if is_padding.any() else None,
        image,
        _grid_positions(network, features),
        [level.repeat_interleave(per_image, dim=0) for level in features.high_res],
        slice(0, None),
    )


def _grid_positions(network: Sam2Model, features: Features) -> torch.Tensor:
    """(1, P, C) encoding of the middles of the grid's cells, whatever size the images have."""
    side = features.pyramid[2].shape[-1]
    middles = (torch.arange(side, device=features.tokens.device) + 0.5) / side
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    positions = network.shared_image_embedding(torch.stack([x, y], dim=-1)[None, None])
    return positions.reshape(1, side * side, -1)
