"""What depth alone suggests for a prompt: the box that is clicked on, a blot where nothing stands, a box's inside."""

from __future__ import annotations

import boxes_on_a_table as scenes
import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.models.tabletop_input import network_input  # noqa: E402
from sam_perception.models.tabletop_prior import SCALES, prior_logits, surfaces, with_clicks  # noqa: E402

SIDE = 192
HALF, LOW_RES = SIDE // 2, SIDE // 4
ABOVE = (0.02, -0.15, 0.7)
APART: tuple[scenes.Box, ...] = ((-0.16, -0.1, -0.04, 0.02, 0.05), (0.05, -0.08, 0.17, 0.1, 0.11))
TOUCHING: tuple[scenes.Box, ...] = ((-0.12, -0.08, 0.0, 0.08, 0.05), (0.0, -0.08, 0.12, 0.08, 0.09))
BACKGROUND, FOREGROUND, LOW_CORNER, HIGH_CORNER, NO_POINT, FILLER = 0, 1, 2, 3, -1, -2


def number_surfaces(boxes: tuple[scenes.Box, ...]) -> torch.Tensor:
    depth_m = scenes.view_of(boxes, eye=ABOVE).depth_m
    return surfaces(network_input(torch.zeros(8, 8, 3).byte(), torch.tensor(depth_m), scenes.D435, SIDE))


def masks(boxes: tuple[scenes.Box, ...], side: int) -> list[np.ndarray]:
    """Of each box, as a camera with that many pixels sees it."""
    view = scenes.view_of(boxes, (side, side), scenes.scaled(scenes.D435, (480, 640), (side, side)), eye=ABOVE)
    return [view.objects == number for number in range(1, len(boxes) + 1)]


def middle(mask: np.ndarray) -> tuple[float, float]:
    """x, y in 0..1."""
    rows, columns = np.nonzero(mask)
    return (np.median(columns) + 0.5) / mask.shape[1], (np.median(rows) + 0.5) / mask.shape[0]


def prompt(*tokens: tuple[float, float, int]) -> torch.Tensor:
    return torch.tensor([tokens], dtype=torch.float32)


def iou(logits: torch.Tensor, truth: np.ndarray) -> float:
    found = logits.squeeze().numpy() > 0
    return (found & truth).sum() / (found | truth).sum()


@pytest.fixture(scope="module")
def apart() -> torch.Tensor:
    return number_surfaces(APART)


def test_boxes_that_stand_apart_have_numbers_of_their_own_at_every_scale(apart):
    assert apart.shape == (len(SCALES), HALF, HALF)
    assert apart.dtype == torch.int16
    first, second = (apart.numpy()[:, cv2.erode(m.astype(np.uint8), np.ones((9, 9))) > 0] for m in masks(APART, HALF))
    for of_first, of_second in zip(first, second, strict=True):
        assert len(set(of_first)) == len(set(of_second)) == 1
        assert 0 < of_first[0] != of_second[0] > 0


def test_boxes_that_touch_are_separated_by_their_step_at_some_scale():
    numbered = number_surfaces(TOUCHING).numpy()
    whole = [mask.astype(np.uint8) for mask in masks(TOUCHING, HALF)]
    assert (cv2.dilate(whole[0], np.ones((3, 3))) & whole[1]).sum() > 15  # they do touch
    first, second = (cv2.erode(mask, np.ones((9, 9))) > 0 for mask in whole)
    apart = [level for level in numbered if not set(level[first]) & set(level[second])]
    assert any(level[first].all() and level[second].all() for level in apart)


def test_nothing_stands_on_an_empty_table_or_without_depth():
    assert not number_surfaces(()).any()
    assert not surfaces(network_input(torch.zeros(8, 8, 3).byte(), None, None, SIDE)).any()


def test_noise_alone_does_not_stand_out():
    depth_m = scenes.view_of((), eye=ABOVE).depth_m
    depth_m = depth_m + (0.0015 * np.random.default_rng(2).standard_normal(depth_m.shape)).astype(np.float32)
    image = network_input(torch.zeros(8, 8, 3).byte(), torch.tensor(depth_m), scenes.D435, SIDE)
    assert (surfaces(image) > 0).float().mean() < 0.02


@pytest.mark.parametrize("number", [0, 1])
def test_a_click_on_a_box_suggests_that_box(apart, number):
    truth = masks(APART, LOW_RES)[number]
    logits = prior_logits(apart[None], prompt((*middle(truth), FOREGROUND), (0, 0, NO_POINT)))
    assert logits.shape == (1, 1, LOW_RES, LOW_RES)
    assert iou(logits, truth) > 0.75


def test_a_click_beside_a_thin_edge_still_finds_its_surface(apart):
    """A surface has lost pixels to the slope around it, so that a click there looks a little around."""
    x, y = (int(HALF * v) for v in middle(masks(APART, HALF)[0]))
    rows, columns = np.nonzero(apart[0].numpy() == apart[0, y, x].item())
    row = int(np.median(rows))
    right = columns[rows == row].max() + 1
    assert apart[0, row, right] == 0
    logits = prior_logits(apart[None], prompt(((right + 0.5) / HALF, (row + 0.5) / HALF, FOREGROUND)))
    assert iou(logits, masks(APART, LOW_RES)[0]) > 0.5


def test_a_click_on_the_table_suggests_a_blot_around_it(apart):
    logits = prior_logits(apart[None], prompt((0.3, 0.9, FOREGROUND)))[0, 0].numpy()
    rows, columns = np.nonzero(logits > 0)
    assert (columns.mean() + 0.5) / LOW_RES == pytest.approx(0.3, abs=0.02)
    assert (rows.mean() + 0.5) / LOW_RES == pytest.approx(0.9, abs=0.02)
    assert 1 <= len(rows) < 0.01 * LOW_RES**2
    assert logits.max() <= 10
    assert (logits == -10).mean() > 0.5


def test_a_box_suggests_its_inside_whatever_stands_there(apart):
    box = prompt((0.25, 0.5, LOW_CORNER), (0.625, 0.75, HIGH_CORNER), (0, 0, NO_POINT))
    logits = prior_logits(apart[None], box)[0, 0].numpy()
    inside = np.zeros((LOW_RES, LOW_RES), bool)
    inside[LOW_RES // 2 : 3 * LOW_RES // 4, LOW_RES // 4 : 5 * LOW_RES // 8] = True
    np.testing.assert_array_equal(logits > 0, inside)


def test_a_click_on_the_background_takes_away_what_another_suggests(apart):
    truth = masks(APART, LOW_RES)[1]
    x, y = middle(truth)
    wrong = (x + 0.06, y)
    before = prior_logits(apart[None], prompt((x, y, FOREGROUND)))[0, 0]
    after = prior_logits(apart[None], prompt((x, y, FOREGROUND), (*wrong, BACKGROUND)))[0, 0]
    row, column = (int(LOW_RES * v) for v in wrong[::-1])
    assert before[row, column] > 0 > after[row, column]
    assert (after <= before).all()
    assert (after > 0).sum() > 0.7 * (before > 0).sum()


def test_a_prompt_is_answered_as_if_it_were_alone(apart):
    table = torch.tensor(
        [
            [(*middle(masks(APART, HALF)[0]), 1), (0, 0, NO_POINT), (0, 0, FILLER), (0, 0, FILLER)],
            [(0.2, 0.2, LOW_CORNER), (0.7, 0.6, HIGH_CORNER), (0.5, 0.5, BACKGROUND), (0, 0, NO_POINT)],
            [(0.9, 0.9, FOREGROUND), (*middle(masks(APART, HALF)[1]), 1), (0, 0, NO_POINT), (0, 0, FILLER)],
        ],
        dtype=torch.float32,
    )
    given = torch.randn(3, 1, LOW_RES, LOW_RES, generator=torch.Generator().manual_seed(1))
    together, marked = prior_logits(apart[None], table), with_clicks(given, table)
    for i, length in enumerate((2, 4, 3)):
        alone = table[i : i + 1, :length]
        torch.testing.assert_close(together[i : i + 1], prior_logits(apart[None], alone))
        torch.testing.assert_close(marked[i : i + 1], with_clicks(given[i : i + 1], alone))
    each_its_own = torch.stack([apart, torch.zeros_like(apart), apart])
    torch.testing.assert_close(prior_logits(each_its_own, table)[::2], together[::2])


def test_clicks_raise_and_lower_an_earlier_answer_where_they_are():
    given = torch.full((1, 1, LOW_RES, LOW_RES), 3.0)
    corners = ((0.1, 0.1, LOW_CORNER), (0.9, 0.9, HIGH_CORNER), (0, 0, NO_POINT), (0.8, 0.2, FILLER))
    marked = with_clicks(given, prompt((0.25, 0.25, FOREGROUND), (0.75, 0.75, BACKGROUND), *corners))[0, 0]
    changed = (marked - 3).abs() > 1
    assert marked[LOW_RES // 4, LOW_RES // 4] > 10
    assert marked[3 * LOW_RES // 4, 3 * LOW_RES // 4] < -10
    assert 2 <= changed.sum() < 0.05 * LOW_RES**2
    assert (given == 3).all()  # the answer itself is left as it was
