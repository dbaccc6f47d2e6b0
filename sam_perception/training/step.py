"""One step's loss: side targets, and prompts answered and corrected over several rounds."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from transformers import Sam2Model

from sam_perception.models.tabletop_prior import prior_logits, with_clicks
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
    masks = batch.truths.flatten(0, 1)
    numbered = batch.surfaces.repeat_interleave(batch.truths.shape[1], dim=0)
    numbered[torch.from_numpy(rng.random(len(numbered)) < _NO_SURFACES_SHARE)] = 0
    target = F.avg_pool2d(masks[:, None].float(), 4)
    writer = PromptWriter(masks.cpu().numpy(), rng)
    clicked = torch.from_numpy(writer.is_single_click).to(target.device)
    total, figures, ious, answers = target.new_zeros(()), {}, target.new_zeros(()), target
    rounds = 1 + int(np.sum(np.cumprod(rng.random(len(phase.rounds) - 1) < phase.rounds[1:])))
    for number in range(rounds):
        if number:
            enlarged = F.interpolate(answers[:, :1].detach(), scale_factor=4, mode="bilinear", align_corners=False)
            writer.correct((enlarged[:, 0] > 0).cpu().numpy())
        tokens = torch.from_numpy(writer.tokens()).to(target.device)
        if number and rng.random() < _FED_BACK_SHARE:
            logits = with_clicks(answers[:, :1].detach().clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT), tokens)
        else:
            logits = prior_logits(numbered, tokens)
        answers, scores = decode(network, features, tokens, logits)
        total = total + _answer_loss(answers, scores, target, clicked if number == 0 else None, phase.mask_loss)
        ious = losses.mask_iou(answers[:, :1].detach(), target)[:, 0]
        if number == 0:
            figures["iou_click"] = float(ious[clicked].mean()) if clicked.any() else np.nan
            figures["iou_box"] = float(ious[~clicked].mean()) if (~clicked).any() else np.nan
    figures["iou_last"] = float(ious.mean()) if rounds > 1 else np.nan
    return total / rounds, {"prompts": float(total.detach()) / rounds, **figures}


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
