"""Simulated clicks and boxes are those that the protocol of "Segment Anything" describes."""

from __future__ import annotations

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.clicks import (
    Click,
    first_click,
    jitter,
    next_click,
    noisy_box,
    random_click,
    random_next_click,
    tight_box,
)
from sam_perception.prompts import BACKGROUND, FOREGROUND

SIZE = (40, 50)


def empty() -> np.ndarray:
    return np.zeros(SIZE, dtype=bool)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = empty()
    mask[y0:y1, x0:x1] = True
    return mask


def blob(seed: int) -> np.ndarray:
    """A ragged region that also touches the image's edge."""
    rng = np.random.default_rng(seed)
    mask = empty()
    for _ in range(6):
        x, y = rng.integers(0, 45), rng.integers(0, 35)
        mask |= rectangle(x, y, x + rng.integers(2, 15), y + rng.integers(2, 15))
    return mask


def distance_to_outside(region: np.ndarray) -> np.ndarray:
    """Of every pixel to the nearest one that is not of the region, also around the image; by comparing all."""
    padded = np.pad(region, 1)
    outside = np.argwhere(~padded)[:, None]
    distances = np.zeros(padded.shape)
    inside = np.argwhere(padded)
    distances[tuple(inside.T)] = np.sqrt(((outside - inside) ** 2).sum(axis=2).min(axis=0))
    return distances[1:-1, 1:-1]


@pytest.mark.parametrize("seed", range(5))
def test_first_click_is_as_far_from_the_outline_as_any_pixel(seed: int) -> None:
    truth = blob(seed)
    click = first_click(truth)
    distances = distance_to_outside(truth)
    assert distances[click.y, click.x] == pytest.approx(distances.max())
    assert click.label == FOREGROUND
    assert click == first_click(truth)


def test_first_click_of_a_ring_is_on_the_ring() -> None:
    """The middle of a mug's handle is the table behind it."""
    truth = rectangle(10, 5, 40, 35) & ~rectangle(15, 10, 35, 30)
    click = first_click(truth)
    assert truth[click.y, click.x]


def test_an_object_cut_off_by_the_image_is_not_clicked_at_the_edge() -> None:
    assert first_click(rectangle(0, 0, 11, 11))[:2] == (5, 5)


@pytest.mark.parametrize("seed", range(5))
def test_next_click_is_the_middle_of_the_deepest_error(seed: int) -> None:
    truth, predicted = blob(seed), blob(seed + 100)
    click = next_click(truth, predicted)
    missing, too_much = distance_to_outside(truth & ~predicted), distance_to_outside(predicted & ~truth)
    deepest, label = (missing, FOREGROUND) if missing.max() >= too_much.max() else (too_much, BACKGROUND)
    assert click.label == label
    assert deepest[click.y, click.x] == pytest.approx(deepest.max())


def test_a_rim_of_many_pixels_is_no_larger_error_than_a_lump() -> None:
    truth = rectangle(5, 5, 35, 35)
    rim = rectangle(6, 6, 34, 34)  # 116 pixels are missing, nowhere deeper than one
    lump = rectangle(40, 20, 47, 27)  # 49 are too much
    assert next_click(truth, rim | lump) == Click(43, 23, BACKGROUND)


def test_without_an_error_the_object_is_clicked_again() -> None:
    truth = blob(1)
    assert next_click(truth, truth.copy()) == first_click(truth)


def test_nothing_predicted_asks_for_the_object_itself() -> None:
    truth = blob(2)
    assert next_click(truth, empty()) == first_click(truth)


def test_jitter_reaches_every_pixel_around_and_none_farther() -> None:
    rng = np.random.default_rng(0)
    moved = {jitter(Click(20, 20, BACKGROUND), 2, SIZE, rng) for _ in range(1000)}
    offsets = {(click.x - 20, click.y - 20) for click in moved}
    assert offsets == {(x, y) for x in range(-2, 3) for y in range(-2, 3) if x * x + y * y <= 4}
    assert {click.label for click in moved} == {BACKGROUND}


def test_jitter_stays_inside_the_image_and_0_moves_nothing() -> None:
    rng = np.random.default_rng(0)
    for x, y in ((0, 0), (SIZE[1] - 1, SIZE[0] - 1)):
        for _ in range(50):
            moved = jitter(Click(x, y, FOREGROUND), 5, SIZE, rng)
            assert 0 <= moved.x < SIZE[1] and 0 <= moved.y < SIZE[0]
        assert jitter(Click(x, y, FOREGROUND), 0, SIZE, rng) == (x, y, FOREGROUND)


def test_random_clicks_are_spread_over_the_whole_region() -> None:
    region = rectangle(10, 5, 13, 8) | rectangle(30, 30, 34, 31)
    rng = np.random.default_rng(0)
    drawn = [random_click(rng, region) for _ in range(2600)]
    assert {(x, y) for x, y in drawn} == {(int(x), int(y)) for y, x in np.argwhere(region)}
    first = sum(y < 10 for _, y in drawn) / len(drawn)
    assert first == pytest.approx(9 / 13, abs=0.04)  # over four standard deviations


def test_random_corrections_are_labelled_by_what_is_there() -> None:
    truth, predicted = rectangle(5, 5, 20, 20), rectangle(15, 15, 30, 30)
    rng = np.random.default_rng(0)
    for _ in range(100):
        x, y, label = random_next_click(rng, truth, predicted)
        assert truth[y, x] != predicted[y, x]
        assert label == (FOREGROUND if truth[y, x] else BACKGROUND)
    x, y, label = random_next_click(rng, truth, truth)
    assert truth[y, x] and label == FOREGROUND


def test_noisy_box_has_the_noise_of_the_paper() -> None:
    """Standard deviation 10 % of the side, here 30 and 10 px, of which no more than 20 px are let through."""
    truth = np.zeros((300, 600), dtype=bool)
    truth[100:200, 150:450] = True
    rng = np.random.default_rng(0)
    noise = np.array([noisy_box(rng, truth) for _ in range(2000)]) - tight_box(truth)
    assert np.abs(noise).max() <= 20
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=2)
    assert noise[:, [1, 3]].std() == pytest.approx(9.6, abs=0.5)  # 10, less the tails beyond two deviations
    assert (np.abs(noise[:, [0, 2]]) == 20).mean() == pytest.approx(0.505, abs=0.05)  # P(|N| > 20 / 30)


@pytest.mark.parametrize("at", [(0, 0), (49, 39), (20, 20)])
def test_noisy_box_of_a_single_pixel_can_be_asked(at: tuple[int, int]) -> None:
    truth = rectangle(at[0], at[1], at[0] + 1, at[1] + 1)
    rng = np.random.default_rng(0)
    for _ in range(100):
        x0, y0, x1, y1 = noisy_box(rng, truth)
        assert 0 <= x0 < x1 <= SIZE[1] and 0 <= y0 < y1 <= SIZE[0]


def test_views_of_larger_arrays_are_taken() -> None:
    """Training crops without copying."""
    large = np.zeros((80, 100), dtype=bool)
    large[20:60:2, 20:80:2] = True
    view = large[::2, ::2]
    assert first_click(view) == first_click(view.copy())
    assert tight_box(view) == tight_box(view.copy())
    assert next_click(view, ~view).label == FOREGROUND
    assert view[random_click(np.random.default_rng(0), view)[::-1]]


def test_an_empty_or_wrong_mask_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match=r"truth: expected at least one pixel"):
        first_click(empty())
    with pytest.raises(InvalidInputError, match=r"truth: expected a bool array"):
        first_click(np.ones(SIZE, dtype=np.uint8))
    with pytest.raises(InvalidInputError, match=r"predicted: expected the shape of truth \(40, 50\)"):
        next_click(blob(0), np.zeros((5, 5), dtype=bool))
    with pytest.raises(InvalidInputError, match=r"region"):
        random_click(np.random.default_rng(0), empty())
