"""The `tabletop` network: transformers' Sam2Model around a small Hiera, as it is before any training."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn
from transformers import Sam2Config, Sam2Model

from sam_perception.models.tabletop_input import CHANNELS
from sam_perception.models.tabletop_refiner import Refiner

_EMBEDDING_STRIDE = 16
_POSITION_SCALE = 2  # of the positions' random frequencies: clicks a tenth of the image apart look different
_POSITION_SHARPNESS = 3.0  # how strongly, before training, a prompt token looks at its own place in the image


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of the network.

    Attributes:
        input_size: pixels of the square input's side.
        width: channels of the first stage; each stage doubles them.
        blocks: transformer blocks of each of the four stages.
        window: side of the attention windows, in tokens.
        global_blocks: which blocks attend to the whole image; none that opens a stage.
        hidden_size: channels of the pyramid, the prompts and the decoder.
        decoder_heads: attention heads of the decoder.
        refiner_width: channels of the refiner.
    """

    input_size: int = 512
    width: int = 32
    blocks: tuple[int, int, int, int] = (1, 2, 5, 2)
    window: int = 8
    global_blocks: tuple[int, ...] = (5, 7, 9)
    hidden_size: int = 128
    decoder_heads: int = 4
    refiner_width: int = 32


def sam2_config(architecture: Architecture) -> Sam2Config:
    """The configuration that transformers builds the network from."""
    side, widths = architecture.input_size, [architecture.width * 2**stage for stage in range(4)]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": widths[0],
        "num_attention_heads": 1,
        "num_channels": CHANNELS,
        "image_size": [side, side],
        "blocks_per_stage": list(architecture.blocks),
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [architecture.window] * 4,
        "global_attention_blocks": list(architecture.global_blocks),
    }
    return Sam2Config(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[side // stride] * 2 for stride in (4, 8, 16)],
            "fpn_hidden_size": architecture.hidden_size,
            "fpn_top_down_levels": [0, 1, 2, 3],
        },
        prompt_encoder_config={
            "hidden_size": architecture.hidden_size,
            "image_size": side,
            "patch_size": _EMBEDDING_STRIDE,
            "scale": _POSITION_SCALE,
        },
        mask_decoder_config={
            "hidden_size": architecture.hidden_size,
            "mlp_dim": 4 * architecture.hidden_size,
            "num_attention_heads": architecture.decoder_heads,
            "iou_head_hidden_dim": architecture.hidden_size,
            "dynamic_multimask_via_stability": False,
        },
    )


def new_network(architecture: Architecture, seed: int) -> Sam2Model:
    """A network with random weights that can be trained from scratch.

    transformers' own initialisation (standard deviation 0.02) starves a network that no checkpoint fills afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Sam2Model(sam2_config(architecture))
        for name, module in network.named_modules():
            _initialise(name, module)
        for parameter in (network.vision_encoder.backbone.pos_embed, network.vision_encoder.backbone.pos_embed_window):
            nn.init.trunc_normal_(parameter, std=0.02)
        nn.init.zeros_(network.no_memory_embedding)
        # transformers draws the two of them apart; Meta has but one.
        prompts, image = network.prompt_encoder.shared_embedding, network.shared_image_embedding
        prompts.positional_embedding.copy_(image.positional_embedding)
        for layer in network.mask_decoder.transformer.layers:
            _look_at_own_place(layer.cross_attn_token_to_image)
            _look_at_own_place(layer.cross_attn_image_to_token)
        _look_at_own_place(network.mask_decoder.transformer.final_attn_token_to_image)
        _let_prompts_through(network)
        network.refiner = Refiner(architecture.hidden_size, architecture.refiner_width)
    return network


def _initialise(name: str, module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5 if "point_embed" in name or "tokens" in name else 0.02)
    else:
        return
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)


def _let_prompts_through(network: Sam2Model) -> None:
    """Make what a prompt adds to the features as large as the features themselves, wherever the two are summed.

    Otherwise the first thing a network learns is to answer without looking at the prompt, and it stays there.
    """
    for convolution in network.vision_encoder.neck.convs:
        _set_spread(convolution, 0.35)  # four of them are summed on the way down
    decoder = network.mask_decoder
    _set_spread(decoder.conv_s0, 0.3)
    _set_spread(decoder.conv_s1, 0.5)
    _set_spread(decoder.upscale_conv1, 1.0)
    _set_spread(decoder.upscale_conv2, 1.7)  # the activation before it halves what comes in
    _set_spread(network.prompt_encoder.mask_embed.conv3, 1.7)


def _set_spread(module: nn.Conv2d | nn.ConvTranspose2d, spread: float) -> None:
    """Weights with which inputs of variance 1 give outputs of the standard deviation ``spread``."""
    nn.init.normal_(module.weight, std=spread / math.sqrt(module.in_channels))


def _look_at_own_place(attention: nn.Module) -> None:
    """Give queries and keys one orthogonal projection, so that attention starts between equal positions.

    Learning from scratch that a click's token belongs to the click's pixels is what takes a promptable model longest.
    """
    query, key = attention.q_proj.weight, attention.k_proj.weight
    nn.init.orthogonal_(query, gain=math.sqrt(_POSITION_SHARPNESS))
    with torch.no_grad():
        key.copy_(query)
