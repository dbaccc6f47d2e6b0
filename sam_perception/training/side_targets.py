"""Dense targets beside the prompts: foreground, outlines and the way to each object's middle, on the finest features.

They get a network going that starts from random weights, long before it can follow a prompt; the heads are thrown
away after training.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from numpy.typing import NDArray
from torch import nn

CHANNELS = 4
"""Foreground 0..1, outline 0 or 1, and x and y to the object's middle in eighths of the image's side."""

_OFFSET_UNIT = 8.0
_OUTLINE_WEIGHT = 4.0


class SideHeads(nn.Module):
    """One 1x1 convolution for each level of the pyramid, on features of one size: they are not to grow for its sake."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(hidden_size, CHANNELS, 1) for _ in range(3))

    def forward(self, pyramid: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """(B, 4, s, s) logits and offsets for each level, at that level's own resolution."""
        return [head(_normalised(level)) for head, level in zip(self.heads, pyramid, strict=True)]


def _normalised(level: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(level.movedim(1, -1), level.shape[1:2]).movedim(-1, 1)


def side_targets(labels: NDArray[np.uint8], stride: int = 4) -> NDArray[np.float32]:
    """(4, S / stride, S / stride) targets of an (S, S) label image; see ``CHANNELS``."""
    side = labels.shape[0] // stride
    foreground = cv2.resize((labels > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    window = np.ones((3, 3), np.uint8)
    edges = (cv2.dilate(labels, window) != cv2.erode(labels, window)).astype(np.float32)
    outline = (cv2.resize(edges, (side, side), interpolation=cv2.INTER_AREA) >= 0.25).astype(np.float32)
    small = labels[stride // 2 :: stride, stride // 2 :: stride]
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    count = np.bincount(small.ravel(), minlength=256).clip(min=1)
    offsets = []
    for at in (columns, rows):
        middles = np.bincount(small.ravel(), weights=at.ravel(), minlength=256) / count
        offsets.append(np.where(small > 0, (middles[small] - at) / side * _OFFSET_UNIT, 0))
    return np.stack([foreground, outline, *offsets]).astype(np.float32)


def side_loss(predictions: list[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of foreground and outlines and L1 of the offsets on objects, summed over the levels.

    Args:
        predictions: of ``SideHeads``.
        targets: (B, 4, s, s) at stride 4; coarser levels are compared with their means.
    """
    total = targets.new_zeros(())
    for prediction in predictions:
        scale = targets.shape[-1] // prediction.shape[-1]
        target = F.avg_pool2d(targets, scale) if scale > 1 else targets
        foreground = F.binary_cross_entropy_with_logits(prediction[:, 0], target[:, 0])
        weight = 1 + (_OUTLINE_WEIGHT - 1) * target[:, 1]
        outline = F.binary_cross_entropy_with_logits(prediction[:, 1], target[:, 1], weight=weight)
        on_objects = (target[:, :1] > 0.5).float()
        away = ((prediction[:, 2:] - target[:, 2:]).abs() * on_objects).sum() / on_objects.sum().clamp(min=1)
        total = total + foreground + outline + 0.5 * away
    return total
