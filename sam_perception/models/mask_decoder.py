"""SAM's prompt tokens and mask decoder on prompts of unequal length, through the layers of transformers' modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)


def embed_tokens(tokens: torch.Tensor, frequencies: torch.Tensor, label_embeddings: torch.Tensor) -> torch.Tensor:
    """(N, T, 3) prompt tokens to (N, T, C): their label's embedding, and their position's unless they have none.

    Args:
        tokens: x and y in 0..1 of the network's input, and label: -1 or less is not a point.
        frequencies: (2, C / 2) of the positions.
        label_embeddings: (5, C) of the labels -1 to 3.
    """
    labels = tokens[..., 2].long().clamp(min=-1)
    phases = 2 * torch.pi * ((2 * tokens[..., :2] - 1) @ frequencies)
    positions = torch.cat([phases.sin(), phases.cos()], dim=-1)
    return label_embeddings[labels + 1] + positions * (labels >= 0)[..., None]


def decode_masks(
    decoder: Any,
    output_tokens: torch.Tensor,
    prompt_tokens: torch.Tensor,
    padding: torch.Tensor | None,
    image: torch.Tensor,
    positions: torch.Tensor,
    high_res: Sequence[torch.Tensor],
    masks: slice,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the layers of a mask decoder of transformers on prompts of unequal length, which its own forward cannot.

    Tokens that only fill up are hidden from every attention, so that an answer does not depend on its neighbours.
    What all prompts share is computed once: without masks in the prompts, ``image`` stays (1, P, C) until the
    tokens have been mixed into it.

    Args:
        decoder: SamMaskDecoder or Sam2MaskDecoder.
        output_tokens: (K, C), IoU's and the masks' last.
        prompt_tokens: (N, T, C).
        padding: (N, T) bool, or None.
        image: (1 or N, P, C) image features with the dense prompts added.
        positions: (1, P, C) encoding of the grid's positions.
        high_res: feature maps of 4 and 2 times the grid's resolution, or nothing.
        masks: which of the masks to compute.

    Returns:
        (N, M, h, w) logits and (N, M) predicted IoU.
    """
    count = len(prompt_tokens)
    tokens = torch.cat([output_tokens.expand(count, -1, -1), prompt_tokens], dim=1)
    visible = None if padding is None else ~F.pad(padding, (len(output_tokens), 0), value=False)[:, None, None, :]
    tokens_out, image_out = _two_way(decoder.transformer, tokens, image, positions, visible)
    first_mask = len(output_tokens) - decoder.num_mask_tokens
    scores = decoder.iou_prediction_head(tokens_out[:, first_mask - 1])[:, masks]
    heads = range(decoder.num_mask_tokens)[masks]
    kernels = [decoder.output_hypernetworks_mlps[k](tokens_out[:, first_mask + k]) for k in heads]
    features = _upscale(decoder, image_out, high_res)
    logits = torch.stack(kernels, dim=1) @ features.transpose(1, 2)
    side = math.isqrt(features.shape[1])
    return logits.unflatten(2, (side, side)), scores


def _two_way(
    transformer: Any,
    tokens: torch.Tensor,
    image: torch.Tensor,
    positions: torch.Tensor,
    visible: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """SAM's two-way transformer ("Segment Anything", appendix A): tokens and image attend to each other in turn."""
    queries, keys = tokens, image
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = _attend(layer.self_attn, queries, queries, queries, visible)
        else:
            placed = queries + tokens
            queries = queries + _attend(layer.self_attn, placed, placed, queries, visible)
        queries = layer.layer_norm1(queries)
        placed_keys = keys + positions
        queries = queries + _attend(layer.cross_attn_token_to_image, queries + tokens, placed_keys, keys)
        queries = layer.layer_norm2(queries)
        queries = layer.layer_norm3(queries + layer.mlp(queries))
        mixed = _attend(layer.cross_attn_image_to_token, placed_keys, queries + tokens, queries, visible)
        keys = layer.layer_norm4(keys + mixed)
    attended = _attend(transformer.final_attn_token_to_image, queries + tokens, keys + positions, keys)
    return transformer.layer_norm_final_attn(queries + attended), keys


def _attend(
    attention: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multi-head attention through the projections of one of transformers' modules; (1 or N, L, C) each."""
    heads = attention.num_attention_heads
    projections = ((attention.q_proj, query), (attention.k_proj, key), (attention.v_proj, value))
    q, k, v = (project(x).unflatten(2, (heads, -1)).transpose(1, 2) for project, x in projections)
    count = max(len(q), len(k))
    q, k, v = (x.expand(count, -1, -1, -1) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible).transpose(1, 2).flatten(2)
    project_out = attention.out_proj if hasattr(attention, "out_proj") else attention.o_proj  # SAM, SAM 2
    return project_out(mixed)


def _upscale(decoder: Any, image: torch.Tensor, high_res: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N, P, C) image tokens to (N, 16 P, C / 8) features of 4 times the grid's resolution, row by row."""
    norm = decoder.upscale_layer_norm
    features = _doubled(decoder.upscale_conv1, image)
    if high_res:
        features = features + _row_by_row(high_res[1])
    features = decoder.activation(F.layer_norm(features, norm.weight.shape, norm.weight, norm.bias, norm.eps))
    features = _doubled(decoder.upscale_conv2, features)
    if high_res:
        features = features + _row_by_row(high_res[0])
    return decoder.activation(features)


def _doubled(convolution: torch.nn.ConvTranspose2d, grid: torch.Tensor) -> torch.Tensor:
    """A transposed convolution of 2x2 and stride 2, as a matrix product: (N, P, C) to (N, 4 P, C'), row by row."""
    side = math.isqrt(grid.shape[1])
    weight = convolution.weight.permute(0, 2, 3, 1)  # (C, 2, 2, C')
    bias = convolution.bias.repeat(4)
    blocks = F.linear(grid, weight.flatten(1).T, bias).unflatten(2, weight.shape[1:]).unflatten(1, (side, side))
    return blocks.transpose(2, 3).flatten(1, 4)  # (N, y, x, 2, 2, C') to (N, y, 2, x, 2, C')


def _row_by_row(maps: torch.Tensor) -> torch.Tensor:
    """(1 or N, C, h, w) to (1 or N, h w, C); without a copy where each pixel's channels lie together."""
    return maps.flatten(2).transpose(1, 2)
