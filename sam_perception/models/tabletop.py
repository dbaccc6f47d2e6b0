"""`tabletop`: this project's own SAM 2 with a small encoder that sees depth beside colour.

Trained on simulated tabletop scenes only (docs/tabletop.md). It answers on colour alone, less well, where a frame has
no depth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from numpy.typing import NDArray
from transformers import Sam2Config, Sam2Model

from sam_perception.frames import RgbdFrame, depth_to_metres
from sam_perception.masks import Mask, components_at, large_components
from sam_perception.models import devices, weights
from sam_perception.models.base import ModelOptions
from sam_perception.models.edge_aware import Guide, enlarge, make_guide
from sam_perception.models.promptable import PromptableEmbedding
from sam_perception.models.sam2 import Sam2
from sam_perception.models.tabletop_clicks import obey_clicks, one_by_one, settle_clicks
from sam_perception.models.tabletop_input import network_input
from sam_perception.models.tabletop_prior import prior_logits, surfaces, with_clicks
from sam_perception.models.tabletop_refiner import Refiner, Views
from sam_perception.prompts import FOREGROUND, Prompt

FAMILY = "tabletop"

_GENEROSITY = 0.5  # added to the logits of candidates, which come out somewhat small without
_ISLAND = 0.2  # of a mask's largest part: smaller ones are the network's slips
_FILLS = 0.6  # IoU of an answer's bounding box with the box that was asked, from which on it is taken as it is
_LESS_SURE = (1.0, 2.0, 3.0)  # what is added to logits otherwise
_BEYOND_BOX_PX, _BEYOND_BOX = 2.0, 0.05  # how far an answer may reach beyond its box: pixels, and share of its sides
_NOT_THERE = -8.0  # logit: low enough that nothing is left of it when what the network is less sure of is taken in
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
        settings = checkpoint.config or {}
        config = Sam2Config(**{part: settings[part] for part in _PARTS})
        with torch.device("meta"):
            network = Sam2Model(config)
            network.refiner = Refiner(config.mask_decoder_config.hidden_size, settings["refiner_width"])
    weights.fill(network, checkpoint.state, checkpoint)
    network.refiner.eval().fold()
    return Tabletop(network, placement, name)


@dataclasses.dataclass(frozen=True)
class TabletopEmbedding(PromptableEmbedding):
    """One encoded frame.

    Attributes:
        surfaces: (K, S / 2, S / 2) int16, see ``tabletop_prior.surfaces``.
        views: what the refiner looks at.
        guide: the colours that outlines follow.
    """

    surfaces: torch.Tensor
    views: Views
    guide: Guide

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        numbers = self.surfaces.numel() * self.surfaces.element_size()
        return super().nbytes + numbers + self.views.nbytes + self.guide.nbytes


class Tabletop(Sam2):
    """Answers with SAM 2's decoder on features of colour and depth, beginning at what depth suggests for a prompt.

    A single answer is then corrected by the refiner, at twice the decoder's resolution.
    """

    @torch.inference_mode()
    def predict(
        self, embedding: PromptableEmbedding, prompts: Sequence[Prompt], multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The answer as tensors: 3 candidates as SAM 2 gives them, or (N, 1, 2h, 2w) refined logits and (N, 1) IoU."""
        if multimask:
            logits, scores = super().predict(embedding, prompts, multimask)
            return logits + _GENEROSITY, scores
        assert isinstance(embedding, TabletopEmbedding)
        table, logits, scores = self._decode(embedding, prompts, slice(0, None))
        refined = self.network.refiner(embedding.views, logits, scores, table)
        return refined.logits, refined.scores

    def _with_history(
        self, embedding: PromptableEmbedding, prompts: Sequence[Prompt], multimask: bool
    ) -> Sequence[Prompt]:
        """For a single answer clicks are taken one by one: each corrects the answer to those before it."""
        if multimask:
            return prompts
        histories = [one_by_one(prompt) for prompt in prompts]
        before: dict[int, NDArray[np.float32]] = {}
        for step in range(max(len(history) for history in histories)):
            asked = [i for i, history in enumerate(histories) if len(history) > step]
            earlier = [_going_on(histories[i][step], before.get(i)) for i in asked]
            logits, _ = self.predict(embedding, earlier, multimask=False)
            handed_out = self._handed_out(self._obeying(logits, earlier, embedding))
            before.update(zip(asked, handed_out[:, 0], strict=True))
        return [_going_on(prompt, before.get(i)) for i, prompt in enumerate(prompts)]

    def _obeying(self, logits: torch.Tensor, prompts: Sequence[Prompt], embedding: PromptableEmbedding) -> torch.Tensor:
        assert isinstance(embedding, TabletopEmbedding)
        return obey_clicks(logits, embedding.views.detail[0], prompts, embedding.image_size)

    def _masks(
        self,
        logits: torch.Tensor,
        scores: torch.Tensor,
        prompts: Sequence[Prompt],
        embedding: PromptableEmbedding,
    ) -> list[list[Mask]]:
        """What hangs together with the clicks, where they are all there is; of any other prompt what is no island.

        A single answer to a box that is far from filling it takes in more, of what the network is less sure of, as far
        as it then fills it better: Lempitsky, Kohli, Rother, Sharp, "Image segmentation with a bounding box prior",
        ICCV 2009. A single answer is made to obey the clicks that correct it. No answer to a box reaches far beyond it.
        """
        logits = _within_boxes(logits, prompts, embedding.image_size)
        if logits.shape[1] == 1:
            logits = self._obeying(logits, prompts, embedding)
        answers = super()._masks(logits, scores, prompts, embedding)
        found = [[_whole(mask, prompt) for mask in answer] for answer, prompt in zip(answers, prompts, strict=True)]
        for i, prompt in enumerate(prompts):
            if prompt.box is None or len(found[i]) > 1 or _fit(found[i][0], prompt) >= _FILLS:
                continue
            larger = torch.cat([logits[i : i + 1] + more for more in _LESS_SURE])
            same = [prompt] * len(larger)
            more_of_it = super()._masks(larger, scores[i : i + 1].expand(len(larger), 1), same, embedding)
            found[i] += [_whole(answer, prompt) for (answer,) in more_of_it]
            found[i] = [max(found[i], key=lambda mask: _fit(mask, prompt))]
        return found

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
        views = self.network.refiner.look(image.float(), tokens.float(), tuple(level.float() for level in high_res))
        return TabletopEmbedding(tokens, high_res, frame.size, surfaces(image[0]), views, guide)

    def _enlarge(self, logits: torch.Tensor, embedding: PromptableEmbedding) -> torch.Tensor:
        assert isinstance(embedding, TabletopEmbedding)
        return enlarge(logits, embedding.guide)

    def _settled(self, logits: torch.Tensor, prompts: Sequence[Prompt], embedding: PromptableEmbedding) -> torch.Tensor:
        assert isinstance(embedding, TabletopEmbedding)
        return settle_clicks(logits, embedding.guide.color, prompts)

    def _low_resolution(self, logits: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(logits, logits.shape[-1] // self.logits_size)

    def _dense(self, prompts: Sequence[Prompt], table: torch.Tensor, embedding: PromptableEmbedding) -> torch.Tensor:
        assert isinstance(embedding, TabletopEmbedding)
        given = [i for i, prompt in enumerate(prompts) if prompt.mask is not None or prompt.logits is not None]
        if len(given) < len(prompts):
            logits = prior_logits(embedding.surfaces[None], table)
        else:
            logits = table.new_empty((len(prompts), 1, self.logits_size, self.logits_size))
        for i in given:
            mask = self._mask_logits(prompts[i], embedding.image_size)[None]
            logits[i] = with_clicks(mask, table[i : i + 1])[0]
        return self.network.prompt_encoder.mask_embed(logits).flatten(2).transpose(1, 2)


def _going_on(prompt: Prompt, logits: NDArray[np.float32] | None) -> Prompt:
    """The prompt, with what was answered before its last click."""
    return prompt if logits is None else dataclasses.replace(prompt, logits=logits)


def _within_boxes(logits: torch.Tensor, prompts: Sequence[Prompt], image_size: tuple[int, int]) -> torch.Tensor:
    """(N, K, h, w) logits without what lies beyond the prompts' boxes, but where a click says that it belongs there."""
    places = [
        (torch.arange(count, device=logits.device) + 0.5) * (side / count) - 0.5
        for count, side in zip(logits.shape[-2:], image_size, strict=True)
    ]
    boxes = [_around(prompt) for prompt in prompts]
    if all(box is None for box in boxes):
        return logits
    everywhere = (-np.inf, -np.inf, np.inf, np.inf)
    ends = torch.tensor(np.array([everywhere if box is None else box for box in boxes]), device=logits.device)
    left, top, right, bottom = ends.float()[:, :, None].unbind(dim=1)
    rows, columns = (
        (at >= low) & (at <= high) for at, low, high in zip(places, (top, left), (bottom, right), strict=True)
    )
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(inside, logits, logits.clamp(max=_NOT_THERE))


def _around(prompt: Prompt) -> NDArray[np.float64] | None:
    """(4,) left, top, right, bottom of where an answer stays; None without a box, or where a click lies beyond it."""
    if prompt.box is None:
        return None
    low, high = np.reshape(prompt.box, (2, 2))
    margin = _BEYOND_BOX_PX + _BEYOND_BOX * (high - low)
    clicks = prompt.point_array[prompt.label_array == FOREGROUND]
    if ((clicks < low - margin) | (clicks > high + margin)).any():
        return None
    return np.concatenate([low - margin, high + margin])


def _whole(mask: Mask, prompt: Prompt) -> Mask:
    clicks = prompt.point_array[prompt.label_array == FOREGROUND]
    if len(clicks) and prompt.box is None and prompt.mask is None:
        return components_at(mask, clicks)
    return large_components(mask, _ISLAND)


def _fit(mask: Mask, prompt: Prompt) -> float:
    """IoU of a mask's bounding box with the prompt's box."""
    mine, asked = np.reshape([mask.box, prompt.box_array], (2, 2, 2))
    both = np.clip(np.minimum(mine[1], asked[1]) - np.maximum(mine[0], asked[0]), 0, None).prod()
    return float(both / max((mine[1] - mine[0]).prod() + (asked[1] - asked[0]).prod() - both, 1e-9))
