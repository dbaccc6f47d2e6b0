"""What depth and the prompt alone suggest: a rough mask that the `tabletop` network starts from and corrects.

A click suggests the smooth surface around it that stands out of the table; where there is none, a blot. A box suggests
its inside. To learn from scratch where a prompt is takes a network longer than everything else, so it is told.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from sam_perception.models.promptable import BOX_LABELS, MASK_BIAS, MASK_SCALE
from sam_perception.models.tabletop_input import shape_of
from sam_perception.prompts import BACKGROUND, FOREGROUND

SCALES = ((0.004, 0.006), (0.008, 0.012), (0.006, 0.035))
"""Surfaces at each scale: metres that they stand out of the plane, and the slope that ends them (log depth a pixel, at
384)."""

_SLOPE_SIDE = 384
_SMALLEST_SURFACE = 12  # pixels
_REACH = 1  # halved pixels around a click in which its surface is looked for
_BLOT = 0.025  # of the side: standard deviation of what a click suggests where no surface is
_ON_SURFACE = 0.6  # of 1, so that the click itself stands out of its surface
_INSIDE_BOX = 0.6


def surfaces(image: torch.Tensor) -> torch.Tensor:
    """Number the surfaces that stand out of the dominant plane.

    Args:
        image: (8, S, S) network input, on any device.

    Returns:
        (K, S / 2, S / 2) int16 on the image's device, for each of ``SCALES``: 0 for no surface, else its number.
    """
    side = image.shape[-1]
    height, slope, valid = (each.cpu().numpy() for each in shape_of(image))
    numbered = np.zeros((len(SCALES), side, side), np.int16)
    for level, (stands_out_m, steepest) in zip(numbered, SCALES, strict=True):
        standing = valid & (height > stands_out_m) & (slope < steepest * _SLOPE_SIDE / side)
        count, labels, statistics, _ = cv2.connectedComponentsWithStats(standing.astype(np.uint8), connectivity=4)
        keep = statistics[:, cv2.CC_STAT_AREA] >= _SMALLEST_SURFACE
        keep[0] = False
        numbers = np.where(keep, np.minimum(np.cumsum(keep), np.iinfo(np.int16).max), 0).astype(np.int16)
        level[:] = numbers[labels] if count > 1 else 0
    # The largest of each 2x2: a surface has lost a pixel all around to the slope at its edges.
    pairs = np.maximum(numbered[:, ::2], numbered[:, 1::2])
    return torch.from_numpy(np.maximum(pairs[..., ::2], pairs[..., 1::2])).to(image.device)


def prior_logits(numbered: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Rough masks of prompts, as low-resolution logits.

    Args:
        numbered: (N or 1, K, S / 2, S / 2) ``surfaces`` of each prompt's image.
        tokens: (N, T, 3) x, y in 0..1 of the network's input, and label: 0 background, 1 foreground, 2 and 3 the box's
            corners, less than 0 not a point.

    Returns:
        (N, 1, S / 4, S / 4) float32.
    """
    side = numbered.shape[-1]
    numbered = numbered.expand(len(tokens), -1, -1, -1)
    suggested = numbered.new_zeros((len(tokens), side, side), dtype=torch.float32)
    for k in range(tokens.shape[1]):
        is_click = tokens[:, k, 2] == FOREGROUND
        if is_click.any():
            suggested[is_click] = torch.maximum(
                suggested[is_click], _around(numbered[is_click], tokens[is_click, k, :2])
            )
    suggested = torch.maximum(suggested, _INSIDE_BOX * _inside(tokens, side))
    for k in range(tokens.shape[1]):
        is_click = tokens[:, k, 2] == BACKGROUND
        if is_click.any():
            suggested[is_click] *= 1 - _blots(tokens[is_click, k, :2], side)
    return MASK_SCALE * F.avg_pool2d(suggested[:, None], 2) + MASK_BIAS


def with_clicks(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Mark the clicks of prompts in the masks that they correct.

    Args:
        logits: (N, 1, s, s) low-resolution logits of an earlier answer, or of a rough mask.
        tokens: (N, T, 3), as for ``prior_logits``.

    Returns:
        (N, 1, s, s): raised around each click on the object, lowered around each beside it.
    """
    marked = logits.clone()
    for k in range(tokens.shape[1]):
        label = tokens[:, k, 2]
        sign = (label == FOREGROUND).float() - (label == BACKGROUND).float()
        marked += MASK_SCALE * sign[:, None, None, None] * _blots(tokens[:, k, :2], logits.shape[-1])[:, None]
    return marked


def _around(numbered: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(N, S / 2, S / 2) 0..1: at how many scales a pixel belongs to the surface of each point; and its blot."""
    count, _, side, _ = numbered.shape
    at = (points * side).long().clamp(0, side - 1)
    offsets = _nearest_first(numbered.device)
    near = (at[:, None] + offsets).clamp(0, side - 1)  # (N, M, 2)
    rows = torch.arange(count, device=numbered.device)[:, None]
    found = numbered[rows, :, near[..., 1], near[..., 0]]  # (N, M, K)
    first = (found > 0).to(torch.uint8).argmax(dim=1)  # (N, K), the nearest that is a surface
    number = found.gather(1, first[:, None])[:, 0]
    member = (numbered == number[..., None, None]) & (number > 0)[..., None, None]
    return torch.maximum(_ON_SURFACE * member.float().mean(dim=1), _blots(points, side))


def _blots(points: torch.Tensor, side: int) -> torch.Tensor:
    """(N, side, side) Gaussians of height 1."""
    at = (torch.arange(side, device=points.device) + 0.5) / side
    return marks(points, at[None], at[None], _BLOT)


def _inside(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """(N, side, side) 0 or 1: the inside of each prompt's box, if it has one."""
    at = (torch.arange(side, device=tokens.device) + 0.5) / side
    return inside_box(tokens, at[None], at[None])


def marks(points: torch.Tensor, x: torch.Tensor, y: torch.Tensor, deviation: float) -> torch.Tensor:
    """(..., h, w) Gaussians of height 1 around (..., 2) points, at columns (..., w) and rows (..., h)."""
    across = torch.exp(-((x - points[..., :1]) ** 2) / (2 * deviation**2))
    down = torch.exp(-((y - points[..., 1:]) ** 2) / (2 * deviation**2))
    return down[..., :, None] * across[..., None, :]


def inside_box(tokens: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N, h, w) 0 or 1: which columns (N or 1, w) and rows (N or 1, h) are in the box of (N, T, 3) tokens, if any."""
    is_low, is_high = ((tokens[..., 2:] == label).float() for label in BOX_LABELS)
    low, high = (tokens[..., :2] * is_low).sum(dim=1), (tokens[..., :2] * is_high).sum(dim=1)  # no box: both 0
    in_x = (x > low[:, :1]) & (x < high[:, :1])
    in_y = (y > low[:, 1:]) & (y < high[:, 1:])
    return (in_y[:, :, None] & in_x[:, None, :]).float()


def _nearest_first(device: torch.device) -> torch.Tensor:
    """(M, 2) offsets of the pixels around one, itself first."""
    steps = torch.arange(-_REACH, _REACH + 1, device=device)
    offsets = torch.cartesian_prod(steps, steps)
    return offsets[offsets.square().sum(dim=1).argsort(stable=True)]
