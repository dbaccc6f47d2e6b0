"""Losses of masks and of the model's own estimate of their IoU."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)


def balanced_cross_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy whose object and background pixels weigh the same; (N, K) of (N, K, h, w) and (N, 1, h, w).

    SAM's focal loss lets a network that starts from nothing answer every prompt with an empty mask.
    """
    loss = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
    inside = (loss * truth).sum(dim=(2, 3)) / truth.sum(dim=(2, 3)).clamp(min=1)
    outside = (loss * (1 - truth)).sum(dim=(2, 3)) / (1 - truth).sum(dim=(2, 3)).clamp(min=1)
    return (inside + outside) / 2


def focal(logits: torch.Tensor, truth: torch.Tensor, alpha: float = 0.25, gamma: float = 2.0) -> torch.Tensor:
    """Focal loss (Lin et al., 2017), (N, K): mean over the pixels of (N, K, h, w) logits, truth (N, 1, h, w)."""
    truth = truth.expand_as(logits)
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    miss = probability * (1 - truth) + (1 - probability) * truth
    weight = alpha * truth + (1 - alpha) * (1 - truth)
    return (weight * miss**gamma * loss).mean(dim=(2, 3))


def dice(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Dice loss (Milletari et al., 2016), (N, K), with 1 pixel added to both sides as SAM does."""
    probability = logits.sigmoid()
    both = (probability * truth).sum(dim=(2, 3))
    total = probability.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return 1 - (2 * both + 1) / (total + 1)


def mask_iou(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(N, K) IoU of what the logits and the truth say, both cut at one half."""
    predicted, true = logits > 0, truth > 0.5
    both = (predicted & true).sum(dim=(2, 3))
    either = (predicted | true).sum(dim=(2, 3))
    return both / either.clamp(min=1)
