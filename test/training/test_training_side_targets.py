"""Dense targets say what is object, where outlines run and which way an object's middle lies."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sam_perception.training.side_targets import SideHeads, side_loss, side_targets  # noqa: E402

SIDE = 64


def two_rectangles() -> np.ndarray:
    """They touch: 18..34 and 34..50 in x."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[18:46, 18:34], labels[18:46, 34:50] = 1, 2
    return labels


def test_targets_of_two_rectangles_in_closed_form():
    foreground, outline, to_x, to_y = side_targets(two_rectangles())
    along = [
        np.clip((np.minimum(4 * np.arange(16) + 4, end) - np.maximum(4 * np.arange(16), 18)) / 4, 0, 1)
        for end in (46, 50)
    ]
    np.testing.assert_allclose(foreground, np.outer(*along))
    expected = np.zeros((16, 16))
    expected[4:12, [4, 8, 12]] = 1  # the two outer edges, and the one between the objects
    expected[[4, 11], 4:13] = 1
    np.testing.assert_array_equal(outline, expected)
    # Middles of what the grid's pixels show: columns 5.5 and 9.5, row 7; in eighths of 16 pixels.
    y, x = np.mgrid[4:11, 4:12]
    np.testing.assert_allclose(to_x[4:11, 4:12], (np.where(x < 8, 5.5, 9.5) - x) / 2, atol=1e-6)
    np.testing.assert_allclose(to_y[4:11, 4:12], (7 - y) / 2, atol=1e-6)
    assert not to_x[:4].any() and not to_x[:, :4].any() and not to_y[11:].any() and not to_y[:, 12:].any()


def test_foreground_is_the_share_that_objects_cover():
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:, :3] = 5
    np.testing.assert_allclose(side_targets(labels)[0][:, 0], 0.75)
    assert not side_targets(np.zeros((SIDE, SIDE), np.uint8)).any()


def test_the_loss_is_least_at_the_truth_on_every_level_and_finite_without_objects():
    targets = torch.from_numpy(side_targets(two_rectangles()))[None]
    levels = [torch.nn.functional.avg_pool2d(targets, scale) if scale > 1 else targets for scale in (1, 2, 4)]

    def answers(sign: float) -> list[torch.Tensor]:
        return [
            torch.cat([sign * (24 * level[:, :2] - 12), level[:, 2:] + 1.0 * (sign < 0)], dim=1) for level in levels
        ]

    right = side_loss(answers(1), targets)
    for worse in range(3):
        mixed = [answers(-1)[i] if i == worse else answers(1)[i] for i in range(3)]
        assert side_loss(mixed, targets) > right + 1
    empty = side_loss(answers(1), torch.zeros(1, 4, 16, 16))
    assert torch.isfinite(empty)


def test_heads_answer_at_each_level_whatever_its_scale():
    heads = SideHeads(8)
    pyramid = tuple(torch.randn(2, 8, side, side, generator=torch.Generator().manual_seed(side)) for side in (16, 8, 4))
    answers = heads(pyramid)
    assert [tuple(each.shape) for each in answers] == [(2, 4, 16, 16), (2, 4, 8, 8), (2, 4, 4, 4)]
    for ours, of_larger in zip(answers, heads(tuple(100 * level for level in pyramid)), strict=True):
        torch.testing.assert_close(ours, of_larger, rtol=1e-3, atol=1e-3)
