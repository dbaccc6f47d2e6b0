"""One step's loss: side targets, and prompts answered and corrected over several rounds."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from transformers import Sam2Model

from sam_perception.models.tabletop_prior import prior_logits, with_clicks
from sam_perception.models.tabletop_refiner import Refined, sample_regions
from sam_perception.training import losses
from sam_perception.training.config import Phase
from sam_perception.training.data import Batch
from sam_perception.training.forward import Features, decode, encode
from sam_perception.training.prompts import PromptWriter
from sam_perception.training.side_targets import SideHeads, side_loss

_FOCAL_WEIGHT = 20.0  # to dice 1 and IoU 1. Source: "Segment Anything", appendix A
_FED_BACK_SHARE = 0.8  # of the later rounds see the answer before; the others all clicks afresh
_NO_SURFACES_SHARE = 0.2  # of the prompts are not told what depth suggests, so that the network looks for itself
_LOGIT_LIMIT = 32.0  # as production hands them out


@dataclasses.dataclass
class StepResult:
    """What one step gave.

    Attributes:
        loss: to go backwards from.
        figures: means for the log: losses, and IoU by click, by box and after the last round.
    """

    loss: torch.Tensor
    figures: dict[str, float]


def step_loss(
    network: Sam2Model, heads: SideHeads, batch: Batch, phase: Phase, rng: np.random.Generator, dtype: torch.dtype
) -> StepResult:
    """The loss of a batch under a phase's settings."""
    if phase.refine:
        return _refiner_loss(network, batch, phase, rng, dtype)
    features = encode(network, batch.images, dtype)
    side = side_loss(heads(features.pyramid), batch.side_targets)
    loss, figures = phase.side_weight * side, {"side": float(side.detach())}
    if phase.rounds:
        prompted, more = _prompt_loss(network, features, batch, phase, rng)
        loss, figures = loss + prompted, {**figures, **more}
    return StepResult(loss, {"loss": float(loss.detach()), **figures})


def _prompt_loss(
    network: Sam2Model, features: Features, batch: Batch, phase: Phase, rng: np.random.Generator
) -> tuple[torch.Tensor, dict[str, float]]:
    conversation = _Conversation(batch, phase, rng)
    target = F.avg_pool2d(conversation.masks, 4)
    total, ious = target.new_zeros(()), []
    for number in range(conversation.rounds):
        tokens, logits = conversation.prompts()
        answers, scores = decode(network, features, tokens, logits)
        single_clicks = conversation.is_single_click if number == 0 else None
        total = total + _answer_loss(answers, scores, target, single_clicks, phase.mask_loss)
        conversation.answer(answers[:, :1].detach())
        ious.append(losses.mask_iou(answers[:, :1].detach(), target)[:, 0])
    total = total / conversation.rounds
    return total, {"prompts": float(total.detach()), **conversation.figures(ious)}


def _refiner_loss(
    network: Sam2Model, batch: Batch, phase: Phase, rng: np.random.Generator, dtype: torch.dtype
) -> StepResult:
    """Of the refiner: cross-entropy and dice in its regions, and its error about its answers' IoU.

    Where the phase says so, of the decoder's answers too, which then also learn from what the refiner makes of them.
    """
    conversation = _Conversation(batch, phase, rng)
    target = F.avg_pool2d(conversation.masks, 2)
    with torch.no_grad():
        features = encode(network, batch.images, dtype)
    views = network.refiner.look(batch.images, features.tokens, features.high_res).repeated(batch.truths.shape[1])
    total, ious = target.new_zeros(()), []
    for number in range(conversation.rounds):
        tokens, logits = conversation.prompts()
        with torch.set_grad_enabled(phase.decoder):
            answers, scores = decode(network, features, tokens, logits)
        if phase.decoder:
            single_clicks = conversation.is_single_click if number == 0 else None
            total = total + _answer_loss(answers, scores, F.avg_pool2d(target, 2), single_clicks, phase.mask_loss)
        refined: Refined = network.refiner(views, answers, scores, tokens)
        close = sample_regions(target, refined.regions)
        iou = losses.mask_iou(refined.logits.detach(), target)
        total = total + F.binary_cross_entropy_with_logits(refined.close, close)
        total = total + losses.dice(refined.close, close).mean() + ((refined.scores - iou) ** 2).mean()
        conversation.answer(F.avg_pool2d(refined.logits.detach(), 2))
        ious.append(iou[:, 0])
    total = total / conversation.rounds
    loss = float(total.detach())
    return StepResult(total, {"loss": loss, "prompts": loss, **conversation.figures(ious)})


class _Conversation:
    """The prompts of one step's objects, and how each answer leads to the next.

    Attributes:
        masks: (N, 1, S, S) float32 truth of each prompt.
        rounds: how many answers there will be.
        is_single_click: (N,) bool, which prompts begin with one click and nothing else.
    """

    def __init__(self, batch: Batch, phase: Phase, rng: np.random.Generator) -> None:
        masks = batch.truths.flatten(0, 1)
        self.masks = masks[:, None].float()
        self._rng = rng
        self._numbered = batch.surfaces.repeat_interleave(batch.truths.shape[1], dim=0)
        self._numbered[torch.from_numpy(rng.random(len(masks)) < _NO_SURFACES_SHARE)] = 0
        self._writer = PromptWriter(masks.cpu().numpy(), rng)
        self.is_single_click = torch.from_numpy(self._writer.is_single_click).to(masks.device)
        self.rounds = 1 + int(np.sum(np.cumprod(rng.random(len(phase.rounds) - 1) < phase.rounds[1:])))
        self._last: torch.Tensor | None = None

    def prompts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, T, 3) tokens of the next round, and (N, 1, S / 4, S / 4) logits to begin at."""
        if self._last is not None:
            enlarged = F.interpolate(self._last, scale_factor=4, mode="bilinear", align_corners=False)
            self._writer.correct((enlarged[:, 0] > 0).cpu().numpy())
        tokens = torch.from_numpy(self._writer.tokens()).to(self.masks.device)
        if self._last is not None and self._rng.random() < _FED_BACK_SHARE:
            return tokens, with_clicks(self._last.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT), tokens)
        return tokens, prior_logits(self._numbered, tokens)

    def answer(self, logits: torch.Tensor) -> None:
        """Take the (N, 1, S / 4, S / 4) answer to the last prompts."""
        self._last = logits

    def figures(self, ious: list[torch.Tensor]) -> dict[str, float]:
        """For the log, of the (N,) IoU of each round."""
        click, box = ious[0][self.is_single_click], ious[0][~self.is_single_click]
        return {
            "iou_click": float(click.mean()) if len(click) else np.nan,
            "iou_box": float(box.mean()) if len(box) else np.nan,
            "iou_last": float(ious[-1].mean()) if len(ious) > 1 else np.nan,
        }


def _answer_loss(
    answers: torch.Tensor,
    scores: torch.Tensor,
    target: torch.Tensor,
    clicked: torch.Tensor | None,
    mask_loss: str,
) -> torch.Tensor:
    """The single mask's loss; and for single clicks that of the best of the three candidates.

    Args:
        answers: (N, 4, h, w) logits.
        scores: (N, 4) predicted IoU.
        target: (N, 1, h, w) share of each pixel that the object covers.
        clicked: (N,) bool, which prompts are one click; None: none is.
        mask_loss: see Phase.
    """
    if clicked is None:
        answers, scores = answers[:, :1], scores[:, :1]
    if mask_loss == "focal":
        per_mask = _FOCAL_WEIGHT * losses.focal(answers, target) + losses.dice(answers, target)
    else:
        per_mask = losses.balanced_cross_entropy(answers, target) + losses.dice(answers, target)
    miss = (scores - losses.mask_iou(answers.detach(), target)) ** 2
    loss = (per_mask[:, 0] + miss[:, 0]).mean()
    if clicked is not None and clicked.any():
        best = per_mask[clicked, 1:].min(dim=1).values + miss[clicked, 1:].mean(dim=1)
        loss = loss + best.sum() / len(answers)
    return loss
