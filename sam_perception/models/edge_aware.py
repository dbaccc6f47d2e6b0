"""Enlarges low-resolution masks along the edges of the colour image: the guided filter, as tensors on the device.

He, Sun, Tang, "Guided image filtering", TPAMI 2013, with three guide channels; its coefficients are found on a smaller
image and enlarged, as in He, Sun, "Fast guided filter", 2015.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

_WORKING_SIDE = 320  # px of the longer side, at which coefficients are found
_RADIUS = 4  # working pixels
_SMOOTHNESS = 3e-4  # variance of colour, 0..1, below which a patch counts as one surface


@dataclasses.dataclass(frozen=True)
class Guide:
    """What the filter needs of a colour image, the same for every mask on it.

    Attributes:
        color: (3, H, W) uint8.
        small: (1, 3, h, w) float32 0..1, at the working size.
        mean: (1, 3, h, w) of its windows.
        inverse: (1, 3, 3, h, w) inverse covariance of its windows.
    """

    color: torch.Tensor
    small: torch.Tensor
    mean: torch.Tensor
    inverse: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        tensors = (self.color, self.small, self.mean, self.inverse)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def make_guide(color: torch.Tensor) -> Guide:
    """Prepare a (H, W, 3) uint8 RGB image."""
    height, width = color.shape[:2]
    scale = min(1.0, _WORKING_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    color = color.permute(2, 0, 1).contiguous()
    small = F.interpolate(color[None].float() / 255, size, mode="bilinear", align_corners=False, antialias=True)
    mean = _window_mean(small)
    products = small[:, :, None] * small[:, None]
    covariance = _window_mean(products.flatten(1, 2)).unflatten(1, (3, 3)) - mean[:, :, None] * mean[:, None]
    identity = torch.eye(3, device=color.device)[None, :, :, None, None]
    return Guide(color, small, mean, _inverse_3x3(covariance + _SMOOTHNESS * identity))


def enlarge(logits: torch.Tensor, guide: Guide) -> torch.Tensor:
    """(M, 1, s, s) logits of the stretched image to (M, 1, H, W) logits whose edges follow those of its colours."""
    size = guide.small.shape[-2:]
    probability = F.interpolate(logits, size, mode="bilinear", align_corners=False).sigmoid()
    means = _window_mean(torch.cat([probability, guide.small * probability], dim=1))
    mean, covariance = means[:, :1], means[:, 1:] - guide.mean * means[:, :1]
    slope = (guide.inverse * covariance[:, None]).sum(dim=2)
    offset = mean - (slope * guide.mean).sum(dim=1, keepdim=True)
    coefficients = _window_mean(torch.cat([slope, offset], dim=1))
    coefficients = F.interpolate(coefficients, guide.color.shape[-2:], mode="bilinear", align_corners=False)
    colors = guide.color.float() / 255
    refined = coefficients[:, 3:] + (coefficients[:, :3] * colors).sum(dim=1, keepdim=True)
    return torch.logit(refined, eps=1e-4)


def _window_mean(maps: torch.Tensor) -> torch.Tensor:
    """Means over square windows, smaller ones at the border; one axis after the other is the same for less."""
    side = 2 * _RADIUS + 1
    maps = F.avg_pool2d(maps, (side, 1), stride=1, padding=(_RADIUS, 0), count_include_pad=False)
    return F.avg_pool2d(maps, (1, side), stride=1, padding=(0, _RADIUS), count_include_pad=False)


def _inverse_3x3(matrix: torch.Tensor) -> torch.Tensor:
    """Inverse of symmetric (1, 3, 3, h, w), by the adjugate."""
    a, b, c = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 0, 2]
    d, e, f = matrix[:, 1, 1], matrix[:, 1, 2], matrix[:, 2, 2]
    minors = d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * minors[0] + b * minors[1] + c * minors[2]
    aa, ab, ac, bb, bc, cc = (minor / determinant for minor in minors)
    rows = (torch.stack([aa, ab, ac], 1), torch.stack([ab, bb, bc], 1), torch.stack([ac, bc, cc], 1))
    return torch.stack(rows, dim=1)
