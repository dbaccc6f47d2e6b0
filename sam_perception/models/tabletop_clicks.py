"""Makes answers of `tabletop` obey the clicks that correct them, around each click and on what looks like it.

The network weighs a correction against all else that it sees, and may well keep the answer that somebody has just said
is wrong. What was clicked is known, so the logits there are raised or lowered until they say so, and with them those of
near pixels of similar colour, as a bilateral filter would spread them: Tomasi, Manduchi, "Bilateral filtering
for gray and color images", ICCV 1998.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from sam_perception.models.tabletop_input import color_of
from sam_perception.prompts import FOREGROUND, Prompt

# Chosen on simulated scenes kept for such choices: docs/tabletop.md.
_SURE = 6.0  # logits that a clicked pixel has at least, with the click's sign
_REACH = 16 / 640  # of the image's width: standard deviation of how far a click reaches
_ALIKE = 0.07  # the same of red, green and blue, 0..1
_CUT_OFF = 2.5  # standard deviations after which a click's reach ends


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
        (N, 1, s, s); where all clicks are obeyed, the same.
    """
    obeying = logits.clone()
    for answer, prompt in zip(obeying[:, 0], prompts, strict=True):
        if corrects(prompt):
            for point, label in zip(prompt.point_array.tolist(), prompt.label_array.tolist(), strict=True):
                _obey(answer, detail, point, 1.0 if label == FOREGROUND else -1.0, image_size)
    return obeying


def corrects(prompt: Prompt) -> bool:
    """Whether a prompt's clicks correct something: each other, a box, or an earlier answer."""
    return len(prompt.point_array) > 1 or any(each is not None for each in (prompt.box, prompt.mask, prompt.logits))


def _obey(
    logits: torch.Tensor, detail: torch.Tensor, point: Sequence[float], sign: float, image_size: tuple[int, int]
) -> None:
    """Change (s, s) logits around one click in place, if they are less sure of it than they should be."""
    side, (height, width) = logits.shape[0], image_size
    column, row = (
        min(max(int((place + 0.5) / size * side), 0), side - 1)
        for place, size in zip(point, (width, height), strict=True)
    )
    missing = _SURE - sign * float(logits[row, column])
    if missing <= 0:
        return
    reach = _REACH * side, _REACH * side * width / height  # a square stretches what is not as high as wide
    columns, rows = (
        slice(max(0, math.floor(at - _CUT_OFF * far)), min(side, math.ceil(at + _CUT_OFF * far) + 1))
        for at, far in zip((column, row), reach, strict=True)
    )
    across, down = (
        ((torch.arange(part.start, part.stop, device=logits.device) - at) / far).square()
        for part, at, far in zip((columns, rows), (column, row), reach, strict=True)
    )
    color = color_of(detail[:, rows, columns])
    clicked = color[:, row - rows.start, column - columns.start, None, None]
    unlike = ((color - clicked) / _ALIKE).square().sum(dim=0)
    logits[rows, columns] += sign * missing * torch.exp(-(across + down[:, None] + unlike) / 2)
