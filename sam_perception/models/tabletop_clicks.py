"""Makes answers of `tabletop` obey the clicks that correct them, and leave alone what no click speaks of.

The network weighs a correction against all else that it sees. It may keep the answer that somebody has just said is
wrong, or give up one that was right but for its outline. So, where clicks correct something:

1. What changes is no thicker than the click is deep in what it corrects, as in the progressive merge of Chen et al.,
   "FocalClick", CVPR 2022, which keeps what a correction does not mean.
2. What was clicked is known: logits there are raised or lowered until they say so, and with them those of near pixels
   of similar colour, as in Tomasi, Manduchi, "Bilateral filtering for gray and color images", ICCV 1998.
3. A click beside the object that is in the middle of an answer says that it holds two things: each of its pixels goes
   with the click that it is nearest to, in place and colour.
4. Once the answer has the image's size, the second rule is applied again, within a few pixels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sam_perception.models.tabletop_input import color_of
from sam_perception.prompts import FOREGROUND, Prompt

# Chosen on simulated scenes kept for such choices: docs/tabletop.md. Lengths are of the image's width, colours 0..255.
_SURE = 6.0  # logits that a clicked pixel has at least, with the click's sign
_NEAR, _FAR = 10 / 640, 30 / 640  # standard deviation of how far a click reaches, beside how deep it is; at most
_ALIKE = 18.0  # the same of red, green and blue
_SURE_AT_LAST, _NEAR_AT_LAST, _ALIKE_AT_LAST = 1.0, 3 / 640, 13.0  # the three, once an answer has the image's size
_CUT_OFF = 2.5  # standard deviations after which a click's reach ends
_TIMES_DEEP, _THIN = 1.5, 1.5 / 256  # how thick what changes may be: so often as deep as the click, and so much more
_MIDDLE, _AS_DEEP = 12 / 640, 0.6  # how deep in an answer its middle begins, and of how deep it is anywhere
_BETWEEN, _ALIKE_BETWEEN = 25 / 640, 25.0  # standard deviations of two things' pixels from their clicks
_ONE_BY_ONE = 8  # so many clicks are taken one after another, those before them at once

Cell = tuple[int, int]
Logits = NDArray[np.float32]


def corrects(prompt: Prompt) -> bool:
    """Whether a prompt's clicks correct something: each other, a box, or an earlier answer."""
    return len(prompt.point_array) > 1 or any(each is not None for each in (prompt.box, prompt.mask, prompt.logits))


def one_by_one(prompt: Prompt) -> list[Prompt]:
    """What somebody asked before a prompt's last click: first its box or a click on the object, then a click more.

    There is nothing where a prompt says itself what was answered before, or where no click corrects another one.
    """
    points, labels = prompt.point_array, prompt.label_array
    if not len(points) or prompt.mask is not None or prompt.logits is not None:
        return []
    first = 0
    if prompt.box is None:
        if not (labels == FOREGROUND).any():
            return []
        first = 1
        order = np.argsort(np.arange(len(points)) != np.argmax(labels == FOREGROUND), kind="stable")
        points, labels = points[order], labels[order]
    counts = range(max(first, len(points) - _ONE_BY_ONE), len(points))
    return [dataclasses.replace(prompt, points=points[:count], labels=labels[:count]) for count in counts]


def obey_clicks(
    logits: torch.Tensor, detail: torch.Tensor, prompts: Sequence[Prompt], image_size: tuple[int, int]
) -> torch.Tensor:
    """Logits that agree with the clicks of prompts; one click that is all there is corrects nothing.

    Args:
        logits: (N, 1, s, s) of the image, stretched to a square.
        detail: (8, s, s) of the network's input.
        prompts: N of them, clicks in pixels of the image.
        image_size: (height, width) of the image.

    Returns:
        (N, 1, s, s); where all clicks are obeyed and no earlier answer is given, the same.
    """
    obeying = logits.clone()
    color = 255 * color_of(detail)
    for answer, prompt in _answers(obeying, color, prompts, image_size):
        _obey_all(answer, prompt)
    return obeying


def settle_clicks(logits: torch.Tensor, color: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
    """The same of answers that have the image's size, where an outline drawn anew may have left a click out.

    Args:
        logits: (N, 1, H, W) of the image.
        color: (3, H, W) 0..255.
        prompts: N of them, clicks in pixels of the image.

    Returns:
        (N, 1, H, W); ``logits`` themselves, changed where clicks are not obeyed.
    """
    height, width = color.shape[1:]
    for answer, prompt in _answers(logits, color, prompts, (height, width)):
        for cell, sign in _clicked(answer, prompt):
            _obey(answer, cell, sign, _SURE_AT_LAST, _NEAR_AT_LAST, _ALIKE_AT_LAST)
    return logits


@dataclasses.dataclass(frozen=True)
class _Answer:
    """One answer's (h, w) logits, changed in place, the colours (3, h, w) of its pixels, and the image's size."""

    logits: Logits
    color: NDArray[np.number]
    image_size: tuple[int, int]

    @property
    def side(self) -> int:
        """Pixels across."""
        return self.logits.shape[1]

    def cell(self, point: Sequence[float]) -> Cell:
        """Row and column of the answer's pixel in which a pixel of the image lies."""
        row, column = (
            min(max(int((place + 0.5) / size * count), 0), count - 1)
            for place, size, count in zip(reversed(point), self.image_size, self.logits.shape, strict=True)
        )
        return row, column

    def around(self, cell: Cell, far: float) -> tuple[slice, slice]:
        """Rows and columns no further from a cell."""
        rows, columns = (
            slice(max(0, math.floor(at - each)), min(count, math.ceil(at + each) + 1))
            for at, each, count in zip(cell, self._pixels(far), self.logits.shape, strict=True)
        )
        return rows, columns

    def unlikeness(self, cell: Cell, part: tuple[slice, slice], reach: float, alike: float) -> Logits:
        """Of a part's pixels: the square of how many standard deviations they are from a cell, in place and colour."""
        down, across = (
            ((np.arange(each.start, each.stop, dtype=np.float32) - at) / far) ** 2
            for each, at, far in zip(part, cell, self._pixels(reach), strict=True)
        )
        clicked = self.color[:, cell[0], cell[1], None, None].astype(np.float32)
        color = np.square((self.color[:, part[0], part[1]] - clicked) / np.float32(alike)).sum(axis=0)
        return color + down[:, None] + across

    def _pixels(self, far: float) -> tuple[float, float]:
        """Rows and columns that are so long: a square stretches what is not as high as wide."""
        height, width = self.image_size
        rows, columns = self.logits.shape
        return far * rows * width / height, far * columns


def _answers(
    logits: torch.Tensor, color: torch.Tensor, prompts: Sequence[Prompt], image_size: tuple[int, int]
) -> Iterator[tuple[_Answer, Prompt]]:
    """The answers among (N, 1, h, w) that clicks correct; what becomes of them is written back."""
    colors = None
    for mine, prompt in zip(logits[:, 0], prompts, strict=True):
        if len(prompt.point_array) and corrects(prompt):
            colors = color.cpu().numpy() if colors is None else colors
            answer = _Answer(mine.cpu().numpy().copy(), colors, image_size)
            yield answer, prompt
            mine.copy_(torch.from_numpy(answer.logits))


def _clicked(answer: _Answer, prompt: Prompt) -> list[tuple[Cell, int]]:
    """The cells of a prompt's clicks, with 1 where they are on the object and -1 beside it."""
    clicks = zip(prompt.point_array.tolist(), prompt.label_array.tolist(), strict=True)
    return [(answer.cell(point), 1 if label == FOREGROUND else -1) for point, label in clicks]


def _obey_all(answer: _Answer, prompt: Prompt) -> None:
    clicks = _clicked(answer, prompt)
    on, beside = ([cell for cell, sign in clicks if sign == wanted] for wanted in (1, -1))
    if prompt.logits is not None:
        square = (answer.side, answer.side)
        before = np.asarray(cv2.resize(prompt.logits, square, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
        _limit(answer, before, on, 1)
        _limit(answer, before, beside, -1)
    depths = {1: _depth(answer.logits <= 0), -1: _depth(answer.logits > 0)}
    middle = max(_MIDDLE * answer.side, _AS_DEEP * float(depths[-1].max()))
    for cell in beside:
        if on and depths[-1][cell] >= middle:
            _divide(answer, cell, on)
    for cell, sign in clicks:
        _obey(answer, cell, sign, _SURE, min(_NEAR + float(depths[sign][cell]) / answer.side, _FAR), _ALIKE)


def _limit(answer: _Answer, before: Logits, clicks: Sequence[Cell], sign: int) -> None:
    """Take back what an answer has more of (sign 1), or less (-1), than the one before and no click asked for."""
    if not (before > 0).any():
        return
    wrong = sign * before <= 0
    changed = wrong & (sign * answer.logits > 0)
    count, labels = cv2.connectedComponents(changed.view(np.uint8), connectivity=8)
    parts = labels.astype(np.intp)
    thick, deep = np.zeros(count), np.zeros(count)
    np.maximum.at(thick, parts, _depth(changed))
    depth = _depth(wrong)
    for row, column in clicks:
        near = parts[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        deep[near] = np.maximum(deep[near], depth[row, column])
    refused = thick > _TIMES_DEEP * deep + _THIN * answer.side
    refused[0] = False
    np.copyto(answer.logits, before, where=refused[parts])


def _divide(answer: _Answer, beside: Cell, on: Sequence[Cell]) -> None:
    """Take from an answer what is nearer to the click beside the object than to all that are on it."""
    everywhere = (slice(0, answer.side),) * 2
    here, *others = (answer.unlikeness(cell, everywhere, _BETWEEN, _ALIKE_BETWEEN) for cell in (beside, *on))
    odds = np.clip((np.min(others, axis=0) - here) / 2, None, _SURE)  # of two normal distributions
    np.minimum(answer.logits, -odds, out=answer.logits, where=odds > 0)


def _obey(answer: _Answer, cell: Cell, sign: int, sure: float, reach: float, alike: float) -> None:
    """Change an answer around one click, if it is less sure of it than it should be."""
    missing = sure - sign * float(answer.logits[cell])
    if missing > 0:
        part = answer.around(cell, _CUT_OFF * reach)
        answer.logits[part] += sign * missing * np.exp(-answer.unlikeness(cell, part, reach, alike) / 2)


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(s, s) how far inside a region each pixel is; the border of the image is outside of it."""
    padded = np.pad(region, 1).view(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return depth.astype(np.float32, copy=False)
