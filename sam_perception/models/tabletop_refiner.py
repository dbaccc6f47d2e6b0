"""Looks at each answer of `tabletop` once more and close up, and corrects it: a small U-Net on the object's region.

The decoder answers at a quarter of the input's resolution, whatever the object's size. Here every object fills the
same small picture, as in He, Gkioxari, Dollar, Girshick, "Mask R-CNN", ICCV 2017: of the features, the input, the
prompt, the decoder's candidates, and what colours are worth as evidence. The score is judged anew from what is seen,
as in Huang et al., "Mask Scoring R-CNN", CVPR 2019.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sam_perception.models.edge_aware import color_bins, color_evidence
from sam_perception.models.promptable import BOX_LABELS, FILLER
from sam_perception.models.tabletop_input import CHANNELS, color_of
from sam_perception.models.tabletop_prior import inside_box, marks
from sam_perception.prompts import BACKGROUND, FOREGROUND

SIDE = 48
"""Pixels of a region's side."""

_CANDIDATES = 4  # the decoder's single answer, and its three for a click that may mean several things
_PROMPT_MAPS = 3  # clicks on the object, clicks beside it, inside of the box
_MARGIN = 0.62  # half a region's side, of the longer side of what it shows
_SMALLEST = 1 / 16  # of the image's side: what a region shows at least
_LIKELY = -0.85  # logits from which on a pixel may be the object's
_BLOT = 0.02  # of the image's side: standard deviation of a click's mark
_LOGIT_UNIT, _LOGIT_LIMIT = 4.0, 3.0


@dataclasses.dataclass(frozen=True)
class Views:
    """What is kept of B images for the refiner.

    Attributes:
        features: (B, W, S / 4, S / 4) of the pyramid, mixed.
        detail: (B, 8, S / 2, S / 2) the network's input.
    """

    features: torch.Tensor
    detail: torch.Tensor

    def repeated(self, prompts: int) -> Views:
        """Each image as often as it has prompts."""
        return Views(*(each.repeat_interleave(prompts, dim=0) for each in (self.features, self.detail)))

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(each.numel() * each.element_size() for each in (self.features, self.detail))


@dataclasses.dataclass(frozen=True)
class Refined:
    """Corrected answers to N prompts.

    Attributes:
        logits: (N, 1, S / 2, S / 2) of the whole image.
        scores: (N, 1) predicted IoU.
        regions: (N, 3) x and y of a region's middle and half its side, 0..1 of the network's input.
        close: (N, 1, SIDE, SIDE) logits of the regions.
    """

    logits: torch.Tensor
    scores: torch.Tensor
    regions: torch.Tensor
    close: torch.Tensor


class Refiner(nn.Module):
    """The network.

    Args:
        hidden_size: channels of the pyramid.
        width: channels at a region's full resolution.
    """

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.coarse = _Pointwise(hidden_size, width)
        self.middle = _Pointwise(hidden_size // 4, width)
        self.fine = _Pointwise(hidden_size // 8, width)
        self.near = _Pointwise(CHANNELS + _CANDIDATES + _PROMPT_MAPS + 2, width)
        self.down1 = _convolution(width, width)
        self.down2 = nn.Sequential(_convolution(width, 2 * width, 2), _convolution(2 * width, 2 * width))
        self.down3 = nn.Sequential(
            _convolution(2 * width, 3 * width, 2),
            _convolution(3 * width, 3 * width),
            _convolution(3 * width, 3 * width),
        )
        self.whole = nn.Linear(3 * width, 3 * width)
        self.lift3, self.lift2 = _Pointwise(3 * width, 2 * width), _Pointwise(2 * width, width)
        self.up2, self.up1 = _convolution(2 * width, 2 * width), _convolution(width, width)
        self.correction, self.score = _Pointwise(width, 1), nn.Linear(3 * width, 1)
        for last in (self.correction, self.score):  # before any training the decoder's answer stays
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def fold(self) -> Refiner:
        """Take the normalisations into their convolutions, for answering only."""
        for module in list(self.modules()):
            if isinstance(module, nn.Sequential) and isinstance(module[1], nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(module[0], module[1]), nn.Identity()
        return self.to(memory_format=torch.channels_last)

    def look(self, image: torch.Tensor, tokens: torch.Tensor, high_res: tuple[torch.Tensor, ...]) -> Views:
        """What it needs of images, the same for all prompts.

        Args:
            image: (B, 8, S, S) network input.
            tokens: (B, P, C) features of the embedding's grid.
            high_res: (B, C / 8, 4g, 4g) and (B, C / 4, 2g, 2g) features.
        """
        side = math.isqrt(tokens.shape[1])
        coarse = self.coarse(tokens.transpose(1, 2).unflatten(2, (side, side)))
        features = self.middle(high_res[1]) + _twice(coarse)
        return Views(self.fine(high_res[0]) + _twice(features), F.avg_pool2d(image, 2))

    def forward(self, views: Views, logits: torch.Tensor, scores: torch.Tensor, tokens: torch.Tensor) -> Refined:
        """Correct answers.

        Args:
            views: of each prompt's image: N, or 1 that all prompts are on.
            logits: (N, 4, S / 4, S / 4) the decoder's answer and its three candidates.
            scores: (N, 4) its IoU.
            tokens: (N, T, 3) x, y in 0..1 of the network's input, and label.
        """
        tokens = F.pad(tokens, (0, 0, 0, 1), value=FILLER)  # for at least one
        regions = _regions(logits, tokens)
        x, y = _places(regions)
        grid = _grid(x, y)
        before = _sample(logits, grid)
        detail = _sample(views.detail, grid)
        evidence = color_evidence(before[:, 0].flatten(1), color_bins(color_of(detail)).flatten(1))
        near = torch.cat(
            [
                detail,
                (before / _LOGIT_UNIT).clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT),
                _prompt_maps(tokens, x, y),
                regions[:, 2].log()[:, None, None, None].expand(-1, 1, SIDE, SIDE),
                evidence.unflatten(1, (1, SIDE, SIDE)),
            ],
            dim=1,
        )
        first = self.down1(self.near(near) + _sample(views.features, grid))
        second = self.down2(first)
        third = self.down3(second)
        summary = third.mean(dim=(2, 3))
        third = third + self.whole(summary)[:, :, None, None]
        second = self.up2(second + _twice(self.lift3(third)))
        first = self.up1(first + _twice(self.lift2(second)))
        correction = self.correction(first)
        whole = _twice(logits[:, :1]) + _put_back(correction, regions, 2 * logits.shape[-1])
        return Refined(whole, scores[:, :1] + self.score(summary), regions, before[:, :1] + correction)


def sample_regions(maps: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """(N, C, SIDE, SIDE) of what (N, C, h, w) maps show in each region (N, 3)."""
    return _sample(maps, _grid(*_places(regions)))


class _Pointwise(nn.Conv2d):
    """A convolution of 1x1 as a matrix product, which is several times faster where maps are this small."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, before, h, w) to (N, after, h, w), each pixel's channels together in memory."""
        assert self.bias is not None
        return F.linear(maps.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _twice(maps: torch.Tensor) -> torch.Tensor:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _sample(maps: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(maps.expand(len(grid), -1, -1, -1), grid, padding_mode="border", align_corners=False)


def _regions(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """(N, 3) squares around the prompt's box; without one around its clicks and all that any candidate takes in."""
    label = tokens[..., 2]
    is_corner = (label == BOX_LABELS[0]) | (label == BOX_LABELS[1])
    told = is_corner | (label == FOREGROUND)
    likely = (logits > _LIKELY).any(dim=1)
    columns, rows = (likely.any(dim=axis) & ~is_corner.any(dim=1, keepdim=True) for axis in (1, 2))
    nothing = ~(columns.any(dim=1, keepdim=True) | told.any(dim=1, keepdim=True))  # to go by: everything
    x0, x1 = _ends(columns | nothing, tokens[..., 0], told)
    y0, y1 = _ends(rows | nothing, tokens[..., 1], told)
    half = _MARGIN * torch.maximum(x1 - x0, y1 - y0).clamp(min=_SMALLEST)
    return torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, half], dim=1)


def _ends(likely: torch.Tensor, places: torch.Tensor, told: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) first and last place, 0..1, of (N, s) likely pixels along an axis and of those (N, T) places told."""
    side = likely.shape[1]
    edges = torch.arange(side + 1, device=likely.device) / side
    low = torch.cat([torch.where(likely, edges[:-1], math.inf), torch.where(told, places, math.inf)], dim=1)
    high = torch.cat([torch.where(likely, edges[1:], -math.inf), torch.where(told, places, -math.inf)], dim=1)
    return low.amin(dim=1), high.amax(dim=1)


def _places(regions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, SIDE) x and y of the regions' columns and rows, in 0..1 of the network's input."""
    steps = (torch.arange(SIDE, device=regions.device) + 0.5) * (2 / SIDE) - 1
    return regions[:, :1] + steps * regions[:, 2:], regions[:, 1:2] + steps * regions[:, 2:]


def _grid(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N, h, w, 2) of columns (N, w) and rows (N, h) in 0..1, as grid_sample wants it."""
    return torch.stack(torch.broadcast_tensors(2 * x[:, None, :] - 1, 2 * y[:, :, None] - 1), dim=-1)


def _prompt_maps(tokens: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N, 3, SIDE, SIDE) marks of the clicks on the object, of those beside it, and the box's inside."""
    each = marks(tokens[..., :2], x[:, None], y[:, None], _BLOT)
    is_kind = (tokens[..., 2] == kind for kind in (FOREGROUND, BACKGROUND))
    clicks = [(each * which[..., None, None]).amax(dim=1) for which in is_kind]
    return torch.stack([*clicks, inside_box(tokens, x, y)], dim=1)


def _put_back(close: torch.Tensor, regions: torch.Tensor, side: int) -> torch.Tensor:
    """(N, 1, side, side) of the whole image, 0 outside the regions: bilinear, as a matrix product for each axis."""
    columns, rows = (_weights(regions[:, axis, None], regions[:, 2:], side)[:, None] for axis in (0, 1))
    return rows @ close @ columns.mT


def _weights(middles: torch.Tensor, halves: torch.Tensor, side: int) -> torch.Tensor:
    """(N, side, SIDE): what a region's pixels count in each of the image's, along one axis; both places (N, 1)."""
    image, region = ((torch.arange(count, device=middles.device) + 0.5) / count for count in (side, SIDE))
    away = ((image - middles) / (2 * halves) + 0.5)[..., None] - region
    return (1 - SIDE * away.abs()).clamp(min=0)
