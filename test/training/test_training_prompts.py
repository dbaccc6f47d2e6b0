"""Prompts of training are those that "Segment Anything" draws, written as production's tokens."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.evaluation.clicks import next_click
from sam_perception.training.prompts import PromptWriter

SIDE = 64
BACKGROUND, FOREGROUND, LOW, HIGH, NO_POINT, FILLER = 0, 1, 2, 3, -1, -2


def rectangles(count: int) -> np.ndarray:
    """(N, S, S) bool, each 24 x 16 px at a place of its own."""
    truths = np.zeros((count, SIDE, SIDE), bool)
    for i, truth in enumerate(truths):
        truth[8 + i % 20 : 24 + i % 20, 10 + i % 23 : 34 + i % 23] = True
    return truths


def pixels(tokens: np.ndarray) -> np.ndarray:
    """x, y of clicks as whole pixels."""
    return np.round(tokens[..., :2] * SIDE - 0.5).astype(int)


def test_half_begin_with_a_click_on_the_object_and_half_with_a_box_around_it():
    truths = rectangles(400)
    writer = PromptWriter(truths, np.random.default_rng(1))
    tokens, clicked = writer.tokens(), writer.is_single_click
    assert 0.4 < clicked.mean() < 0.6
    assert (tokens[clicked, 0, 2] == FOREGROUND).all()
    x, y = pixels(tokens[clicked, 0]).T
    assert truths[clicked][np.arange(clicked.sum()), y, x].all()
    assert (tokens[~clicked][:, :2, 2] == (LOW, HIGH)).all()
    assert (tokens[clicked][:, 1:, 2] == (NO_POINT, FILLER)).all()
    assert (tokens[~clicked][:, 2, 2] == NO_POINT).all()


def test_boxes_have_sams_noise_and_some_have_none():
    """Standard deviation a tenth of the side, 20 px of 1024 at most; a share is tight."""
    truths = np.zeros((600, SIDE, SIDE), bool)
    truths[:, 20:30, 15:45] = True  # 30 x 10
    writer = PromptWriter(truths, np.random.default_rng(2))
    corners = writer.tokens()[~writer.is_single_click][:, :2, :2] * SIDE - 0.5
    off = corners.reshape(-1, 4) - (15, 20, 45, 30)
    tight = (np.abs(off) < 1e-4).all(axis=1)
    assert 0.2 < tight.mean() < 0.4
    limit = 20 / 1024 * SIDE
    assert np.abs(off).max() <= limit + 1e-4
    noisy = off[~tight]
    assert (np.abs(np.abs(noisy[:, 0]) - limit) < 1e-4).mean() > 0.5  # 3 px of noise in x are mostly cut to 1.25
    assert 0.6 < noisy[:, 1].std() < 1.0  # 1 px in y, some of it cut


def test_some_clicks_are_in_the_middle_and_some_anywhere():
    truths = np.zeros((600, SIDE, SIDE), bool)
    truths[:, 16:49, 16:49] = True  # middle: 32, 32
    writer = PromptWriter(truths, np.random.default_rng(3))
    at = pixels(writer.tokens()[writer.is_single_click][:, 0])
    away = np.abs(at - 32).max(axis=1)
    assert 0.4 < (away <= 1).mean() < 0.65
    others = at[away > 1]
    np.testing.assert_allclose(others.mean(axis=0), 32, atol=1.5)
    assert others.min() == 16 and others.max() == 48


def test_a_correction_is_a_click_where_the_answer_is_wrong():
    truths = rectangles(60)
    predicted = np.roll(truths, 9, axis=2)  # misses the left, adds at the right
    writer = PromptWriter(truths, np.random.default_rng(4))
    lengths = np.where(writer.is_single_click, 1, 2)
    writer.correct(predicted)
    tokens = writer.tokens()
    added = tokens[np.arange(60), lengths]
    x, y = pixels(added).T
    true, said = (masks[np.arange(60), y, x] for masks in (truths, predicted))
    assert (true != said).all()
    np.testing.assert_array_equal(added[:, 2], np.where(true, FOREGROUND, BACKGROUND))
    assert set(added[:, 2]) == {BACKGROUND, FOREGROUND}
    in_the_middle = [(x[i], y[i]) == next_click(truths[i], predicted[i])[:2] for i in range(60)]
    assert 0.3 < np.mean(in_the_middle) < 0.7  # where people click; the others anywhere
    assert (tokens[np.arange(60), lengths + 1, 2] == NO_POINT).all()
    assert not writer.is_single_click.any()


def test_a_right_answer_gets_another_click_on_the_object():
    truths = rectangles(20)
    writer = PromptWriter(truths, np.random.default_rng(5))
    lengths = np.where(writer.is_single_click, 1, 2)
    writer.correct(truths)
    added = writer.tokens()[np.arange(20), lengths]
    assert (added[:, 2] == FOREGROUND).all()
    x, y = pixels(added).T
    assert truths[np.arange(20), y, x].all()


def test_the_generator_decides_everything():
    def drawn(seed):
        writer = PromptWriter(rectangles(30), np.random.default_rng(seed))
        writer.correct(np.zeros((30, SIDE, SIDE), bool))
        return writer.tokens()

    np.testing.assert_array_equal(drawn(7), drawn(7))
    assert not np.array_equal(drawn(7), drawn(8))
