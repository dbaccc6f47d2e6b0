"""`tabletop`: this project's own SAM 2 with a small encoder that sees depth beside colour.

Trained on simulated tabletop scenes only (docs/tabletop.md). It answers on colour alone, less well, where a frame has
no depth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import Sam2Config, Sam2Model

from sam_perception.frames import RgbdFrame, depth_to_metres
from sam_perception.masks import Mask, components_at, large_components
from sam_perception.models import devices, weights
from sam_perception.models.base import ModelOptions
from sam_perception.models.edge_aware import Guide, enlarge, make_guide
from sam_perception.models.promptable import PromptableEmbedding
from sam_perception.models.sam2 import Sam2
from sam_perception.models.tabletop_input import network_input
from sam_perception.models.tabletop_prior import prior_logits, surfaces, with_clicks
from sam_perception.prompts import FOREGROUND, Prompt

FAMILY = "tabletop"

_GENEROSITY = 0.5  # added to logits where masks are made of them, which come out somewhat small without
_ISLAND = 0.2  # of a mask's largest part: smaller ones are the network's slips
_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


def load(source: Path, options: ModelOptions, name: str) -> Tabletop:
    """Load a folder that `sam-perception train` wrote: the one in this package, or one of your own.

    Raises:
        CheckpointError: missing, damaged, or not such a folder.
        ModelUnavailableError: this machine cannot run it the way the options ask for.
    """
    placement = devices.place(options)
    checkpoint = weights.read(source, FAMILY)
    with weights.inferring(checkpoint):
        config = Sam2Config(**{part: (checkpoint.config or {})[part] for part in _PARTS})
        with torch.device("meta"):
            network = Sam2Model(config)
    weights.fill(network, checkpoint.state, checkpoint)
    return Tabletop(network, placement, name)


@dataclasses.dataclass(frozen=True)
class TabletopEmbedding(PromptableEmbedding):
    """One encoded frame.

    Attributes:
        surfaces: (K, S / 2, S / 2) int16, see ``tabletop_prior.surfaces``.
        guide: the colours that outlines follow.
    """

    surfaces: torch.Tensor
    guide: Guide

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return super().nbytes + self.surfaces.numel() * self.surfaces.element_size() + self.guide.nbytes


class Tabletop(Sam2):
    """Answers with SAM 2's decoder on features of colour and depth, beginning at what depth suggests for a prompt."""

    def _masks(
        self,
        logits: torch.Tensor,
        scores: torch.Tensor,
        prompts: Sequence[Prompt],
        embedding: PromptableEmbedding,
    ) -> list[list[Mask]]:
        """What hangs together with the clicks, where they are all there is; of any other prompt what is no island."""
        answers = super()._masks(logits, scores, prompts, embedding)
        return [[_whole(mask, prompt) for mask in answer] for answer, prompt in zip(answers, prompts, strict=True)]

    def _input_of(self, frame: RgbdFrame) -> torch.Tensor:
        color = torch.from_numpy(frame.color.copy()).to(self._device)
        depth_m = None
        if frame.depth is not None:  # not frame.depth_m, which would stay in memory as long as the frame
            depth_m = torch.from_numpy(depth_to_metres(frame.depth, frame.depth_scale_m)).to(self._device)
        camera = frame.intrinsics
        intrinsics = None if camera is None else (camera.fx, camera.fy, camera.cx, camera.cy)
        return network_input(color, depth_m, intrinsics, self.input_size)[None].to(self._dtype)

    def _embedding(
        self, frame: RgbdFrame, image: torch.Tensor, tokens: torch.Tensor, high_res: tuple[torch.Tensor, ...]
    ) -> TabletopEmbedding:
        guide = make_guide(torch.from_numpy(frame.color.copy()).to(self._device))
        return TabletopEmbedding(tokens, high_res, frame.size, surfaces(image[0]), guide)

    def _enlarge(self, logits: torch.Tensor, embedding: PromptableEmbedding) -> torch.Tensor:
        assert isinstance(embedding, TabletopEmbedding)
        return enlarge(logits + _GENEROSITY, embedding.guide)

    def _dense(self, prompts: Sequence[Prompt], table: torch.Tensor, embedding: PromptableEmbedding) -> torch.Tensor:
        assert isinstance(embedding, TabletopEmbedding)
        logits = prior_logits(embedding.surfaces[None], table)
        for i, prompt in enumerate(prompts):
            if prompt.mask is not None or prompt.logits is not None:
                given = self._mask_logits(prompt, embedding.image_size)[None]
                logits[i] = with_clicks(given, table[i : i + 1])[0]
        return self.network.prompt_encoder.mask_embed(logits).flatten(2).transpose(1, 2)


def _whole(mask: Mask, prompt: Prompt) -> Mask:
    clicks = prompt.point_array[prompt.label_array == FOREGROUND]
    if len(clicks) and prompt.box is None and prompt.mask is None:
        return components_at(mask, clicks)
    return large_components(mask, _ISLAND)
