"""Prompts for training, drawn as "Segment Anything" (section 3 and appendix A) draws them, many at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_perception.evaluation.clicks import (
    first_click,
    jitter,
    next_click,
    noisy_box,
    random_click,
    random_next_click,
)
from sam_perception.models.promptable import BOX_LABELS, FILLER, NOT_A_POINT
from sam_perception.prompts import FOREGROUND

_BOX_SHARE = 0.5  # of the prompts begin with a box, the others with a click
_TIGHT_SHARE = 0.3  # of those boxes have no noise: a detector's, an annotator's
_MIDDLE_SHARE = 0.5  # of the clicks are near the object's middle, where people click; the others anywhere on it
_WORST_SHARE = 0.5  # of the corrections are in the middle of the worst error, as people correct; the others on any
_MIDDLE_JITTER = 1 / 100  # of the image's side
_BOX_NOISE_LIMIT = 20 / 1024  # of the image's side, as in SAM


class PromptWriter:
    """The prompts of N objects, to which every round adds one click.

    Args:
        truths: (N, S, S) bool masks, none empty.
        rng: decides everything.
    """

    def __init__(self, truths: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self._truths, self._rng = truths, rng
        self._tokens = [self._begin(truth) for truth in truths]

    @property
    def is_single_click(self) -> NDArray[np.bool_]:
        """(N,) bool: which prompts are one click and nothing else, that may mean several things."""
        return np.array([len(tokens) == 1 for tokens in self._tokens])

    def correct(self, predicted: NDArray[np.bool_]) -> None:
        """Add to each prompt a click where (N, S, S) answers are wrong."""
        for tokens, truth, answer in zip(self._tokens, self._truths, predicted, strict=True):
            if self._rng.random() < _WORST_SHARE:
                tokens.append(next_click(truth, answer))
            else:
                tokens.append(random_next_click(self._rng, truth, answer))

    def tokens(self) -> NDArray[np.float32]:
        """(N, T, 3): x and y in 0..1 of the image, and label; a prompt ends with NOT_A_POINT, then FILLER."""
        side = self._truths.shape[1]
        table = np.full((len(self._tokens), max(map(len, self._tokens)) + 1, 3), FILLER, np.float32)
        for row, tokens in zip(table, self._tokens, strict=True):
            row[: len(tokens)] = tokens
            row[: len(tokens), :2] = (row[: len(tokens), :2] + 0.5) / side
            row[len(tokens)] = (0.5 / side, 0.5 / side, NOT_A_POINT)
        return table

    def _begin(self, truth: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
        side, rng = truth.shape[0], self._rng
        if rng.random() < _BOX_SHARE:
            limit = 0.0 if rng.random() < _TIGHT_SHARE else _BOX_NOISE_LIMIT * side
            x0, y0, x1, y1 = noisy_box(rng, truth, limit)
            return [(x0, y0, BOX_LABELS[0]), (x1, y1, BOX_LABELS[1])]
        if rng.random() < _MIDDLE_SHARE:
            x, y, _ = jitter(first_click(truth), _MIDDLE_JITTER * side, truth.shape, rng)
            if truth[y, x]:
                return [(x, y, FOREGROUND)]
        return [(*random_click(rng, truth), FOREGROUND)]
