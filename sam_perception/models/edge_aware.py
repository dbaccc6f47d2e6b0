"""Enlarges low-resolution masks by what the colour image says: which colours the object has, and where they end.

First each pixel's logit moves by what its colour is worth as evidence, from histograms of the colours inside and around
the mask, as in Rother, Kolmogorov, Blake, "GrabCut", 2004, but in one step and without a cut. Then the guided filter
draws the outline: He, Sun, Tang, "Guided image filtering", TPAMI 2013, with three guide channels; its coefficients are
found on a smaller image and enlarged, as in He, Sun, "Fast guided filter", 2015. All are tensors on the device.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

_WORKING_SIDE = 320  # px of the longer side, about, at which coefficients are found
_RADIUS = 4  # working pixels
_SMOOTHNESS = 1e-4  # variance of colour, 0..1, below which a patch counts as one surface
_UNLIKELY = -4.0  # low-resolution logits below which nothing can come of a pixel
_MARGIN = 2 * _RADIUS + 2  # working pixels that a pixel reaches into, through two windows and an interpolation
_SURE = 1e-4  # probabilities nearer to 0 and 1 count as this near

_LEVELS = 16  # of red, green and blue that histograms tell apart
_DOUBTS = 5.0  # pixels of each colour that speak neither for nor against the object
_CONFIDENCE = 3.0  # on logits before their pixels are counted, so that blurred outlines count less
_STRONGEST_EVIDENCE = 3.0  # log odds that a colour is worth at most


@dataclasses.dataclass(frozen=True)
class Guide:
    """What the filter needs of a colour image, the same for every mask on it.

    Attributes:
        color: (3, H, W) uint8.
        factor: by how much the working size is smaller.
        small: (1, 3, h, w) float32 0..1, at the working size, which a last pixel may exceed.
        mean: (1, 3, h, w) of its windows.
        inverse: (1, 3, 3, h, w) inverse covariance of its windows.
        bins: (h, w) int32, which bin of the colour histogram each pixel belongs to.
    """

    color: torch.Tensor
    factor: int
    small: torch.Tensor
    mean: torch.Tensor
    inverse: torch.Tensor
    bins: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        tensors = (self.color, self.small, self.mean, self.inverse, self.bins)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def make_guide(color: torch.Tensor) -> Guide:
    """Prepare a (H, W, 3) uint8 RGB image."""
    factor = max(1, round(max(color.shape[:2]) / _WORKING_SIDE))
    color = color.permute(2, 0, 1).contiguous()
    size = [-(-side // factor) for side in color.shape[1:]]
    missing = [factor * small - side for small, side in zip(size, color.shape[1:], strict=True)]
    whole = F.pad(color[None].float() / 255, (0, missing[1], 0, missing[0]), mode="replicate")
    small = F.interpolate(whole, size, mode="bilinear", align_corners=False, antialias=True)
    mean = _window_mean(small)
    products = small[:, :, None] * small[:, None]
    covariance = _window_mean(products.flatten(1, 2)).unflatten(1, (3, 3)) - mean[:, :, None] * mean[:, None]
    identity = torch.eye(3, device=color.device)[None, :, :, None, None]
    inverse = _inverse_3x3(covariance + _SMOOTHNESS * identity)
    return Guide(color, factor, small, mean, inverse, color_bins(small[0]))


def enlarge(logits: torch.Tensor, guide: Guide) -> torch.Tensor:
    """(M, 1, s, s) logits of the stretched image to (M, 1, H, W) logits whose edges follow those of its colours.

    Each mask is worked on where it is; elsewhere the logits are what a probability of about 0 gives.
    """
    nothing = math.log(_SURE / (1 - _SURE))
    enlarged = logits.new_full((len(logits), 1, *guide.color.shape[1:]), nothing)
    for mask, low_res in zip(enlarged, logits, strict=True):
        region = _region(low_res[0], guide)
        if region is not None:
            rows, columns = (slice(guide.factor * part.start, guide.factor * part.stop) for part in region)
            mask[:, rows, columns] = _refined(low_res[None], guide, region, guide.color[:, rows, columns])
    return enlarged


def _region(logits: torch.Tensor, guide: Guide) -> tuple[slice, slice] | None:
    """Working rows and columns that a mask may reach; None for an empty one."""
    maybe = logits > _UNLIKELY
    found = []
    for axis in (0, 1):
        hits = maybe.any(dim=1 - axis).nonzero()
        if not len(hits):
            return None
        side = guide.small.shape[2 + axis]
        scale = side / logits.shape[axis]
        start, stop = int(int(hits[0]) * scale) - _MARGIN, math.ceil((int(hits[-1]) + 1) * scale) + _MARGIN
        found.append(slice(max(0, start), min(side, stop)))
    return found[0], found[1]


def _refined(logits: torch.Tensor, guide: Guide, region: tuple[slice, slice], color: torch.Tensor) -> torch.Tensor:
    """(1, N, M) logits where ``color`` (3, N, M) shows the region, of (1, 1, s, s) logits of the whole."""
    crop = (..., *region)
    small, guide_mean = guide.small[crop], guide.mean[crop]
    # Not F.interpolate to the working size, which a last pixel that only a part of the image fills would stretch.
    y, x = (
        (torch.arange(part.start, part.stop, device=logits.device) + 0.5) * (2 * guide.factor / side) - 1
        for part, side in zip(region, guide.color.shape[1:], strict=True)
    )
    places = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)[None]
    sampled = F.grid_sample(logits, places, padding_mode="border", align_corners=False)
    evidence = color_evidence(sampled.flatten(1), guide.bins[region].reshape(1, -1))
    probability = (sampled + evidence.view_as(sampled)).sigmoid()
    means = _window_mean(torch.cat([probability, small * probability], dim=1))
    mean, covariance = means[:, :1], means[:, 1:] - guide_mean * means[:, :1]
    slope = (guide.inverse[crop] * covariance[:, None]).sum(dim=2)
    offset = mean - (slope * guide_mean).sum(dim=1, keepdim=True)
    coefficients = _window_mean(torch.cat([slope, offset], dim=1))
    full = F.interpolate(coefficients, scale_factor=guide.factor, mode="bilinear", align_corners=False)[0]
    full = full[:, : color.shape[1], : color.shape[2]]
    return torch.logit(full[3:] + (full[:3] * (color.float() / 255)).sum(dim=0, keepdim=True), eps=_SURE)


def color_evidence(logits: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """(N, P) log odds that its colour alone gives each pixel, of the colours inside and outside a mask's logits.

    Args:
        logits: (N, P) of N masks' P pixels.
        bins: (N, P) which bin of the colour histogram each pixel belongs to, see ``color_bins``.
    """
    inside = (_CONFIDENCE * logits).sigmoid()
    pixels = torch.stack([inside, 1 - inside], dim=1)
    bins = bins.long()
    counts = pixels.new_zeros(len(pixels), 2, _LEVELS**3)
    counts = counts.scatter_add_(2, bins[:, None].expand(-1, 2, -1), pixels)
    spread = _spread(counts.device)
    blurred = spread @ counts.view(-1, _LEVELS, _LEVELS, _LEVELS) @ spread
    counts = (spread @ blurred.flatten(2)).view_as(counts)
    totals = pixels.sum(dim=2, keepdim=True).clamp(min=1)
    # The doubts fall to both sides in proportion to their sizes, which leaves the odds of a colour not seen at 1.
    likelihood = (counts / totals + _DOUBTS / totals.sum(dim=1, keepdim=True)).log()
    odds = (likelihood[:, 0] - likelihood[:, 1]).clamp(-_STRONGEST_EVIDENCE, _STRONGEST_EVIDENCE)
    return odds.gather(1, bins)


def color_bins(color: torch.Tensor) -> torch.Tensor:
    """(..., h, w) int32 bins of (..., 3, h, w) red, green and blue in 0..1."""
    red, green, blue = (_LEVELS * color).int().clamp(0, _LEVELS - 1).unbind(dim=-3)
    return (red * _LEVELS + green) * _LEVELS + blue


def _spread(device: torch.device) -> torch.Tensor:
    """(_LEVELS, _LEVELS): half of each level's counts stays, and a quarter goes to either neighbour."""
    at = torch.arange(_LEVELS, device=device)
    return (2 - (at[:, None] - at).abs()).clamp(min=0) / 4


def _window_mean(maps: torch.Tensor) -> torch.Tensor:
    """Means over square windows, smaller ones at the border: a matrix product for each axis, faster than pooling."""
    rows, columns = (_window_weights(side, maps.device) for side in maps.shape[-2:])
    return rows @ maps @ columns.T


def _window_weights(side: int, device: torch.device) -> torch.Tensor:
    """(side, side): row by row, what each pixel counts in the mean around one."""
    at = torch.arange(side, device=device)
    near = ((at[:, None] - at).abs() <= _RADIUS).float()
    return near / near.sum(dim=1, keepdim=True)


def _inverse_3x3(matrix: torch.Tensor) -> torch.Tensor:
    """Inverse of symmetric (1, 3, 3, h, w), by the adjugate."""
    a, b, c = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 0, 2]
    d, e, f = matrix[:, 1, 1], matrix[:, 1, 2], matrix[:, 2, 2]
    minors = d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * minors[0] + b * minors[1] + c * minors[2]
    aa, ab, ac, bb, bc, cc = (minor / determinant for minor in minors)
    rows = (torch.stack([aa, ab, ac], 1), torch.stack([ab, bb, bc], 1), torch.stack([ac, bc, cc], 1))
    return torch.stack(rows, dim=1)
