"""Losses agree with their closed forms and have finite gradients wherever a network may get."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from sam_perception.training import losses  # noqa: E402

ALL = (losses.balanced_cross_entropy, losses.focal, losses.dice)


def half_covered() -> torch.Tensor:
    """(1, 1, 8, 8) truth, a quarter of it object."""
    truth = torch.zeros(1, 1, 8, 8)
    truth[..., :4, :4] = 1
    return truth


def constant(value: float, count: int = 1) -> torch.Tensor:
    return torch.full((1, count, 8, 8), value)


def test_values_of_a_constant_answer():
    """p everywhere, a quarter of 64 pixels true."""
    truth, p = half_covered(), 0.8
    logits = constant(math.log(p / (1 - p)))
    entropy = (-math.log(p) - math.log(1 - p)) / 2
    assert losses.balanced_cross_entropy(logits, truth).item() == pytest.approx(entropy, rel=1e-5)
    focal = 0.25 * 0.25 * (1 - p) ** 2 * -math.log(p) + 0.75 * 0.75 * p**2 * -math.log(1 - p)
    assert losses.focal(logits, truth).item() == pytest.approx(focal, rel=1e-5)
    assert losses.dice(logits, truth).item() == pytest.approx(1 - (2 * 16 * p + 1) / (64 * p + 16 + 1), rel=1e-5)
    assert losses.mask_iou(logits, truth).item() == pytest.approx(16 / 64)
    assert losses.mask_iou(-logits, truth).item() == 0


def test_a_right_answer_costs_nothing_and_the_opposite_the_most():
    truth = half_covered()
    right = 60 * truth - 30
    for loss in ALL:
        assert loss(right, truth).item() < 1e-3
        assert loss(-right, truth).item() > loss(torch.zeros_like(right), truth).item() > loss(right, truth).item()
    assert losses.mask_iou(right, truth).item() == 1


def test_an_object_weighs_the_same_however_small():
    """What balanced cross-entropy is for: an empty answer costs as much for one pixel as for a half."""
    small, large = torch.zeros(1, 1, 8, 8), half_covered()
    small[..., 3, 3] = 1
    empty = constant(-4.0)
    of_small, of_large = (losses.balanced_cross_entropy(empty, truth).item() for truth in (small, large))
    assert of_small == pytest.approx(of_large, rel=1e-5)
    assert losses.focal(empty, large).item() > 10 * losses.focal(empty, small).item()


def test_candidates_are_judged_each_on_its_own():
    truth = torch.cat([half_covered(), torch.zeros(1, 1, 8, 8)])
    truth[1, :, 6:] = 1
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for measure in (*ALL, losses.mask_iou):
        together = measure(logits, truth)
        assert together.shape == (2, 3)
        for n in range(2):
            for k in range(3):
                alone = measure(logits[n : n + 1, k : k + 1], truth[n : n + 1])
                assert together[n, k].item() == pytest.approx(alone.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("truth", [torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), half_covered(), half_covered() / 2])
def test_gradients_are_finite_and_lead_to_the_truth(loss, truth):
    for size in (0.0, 5.0, 200.0):
        logits = (size * torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(2))).requires_grad_()
        value = loss(logits, truth).sum()
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(logits.grad).all()
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    loss(logits, truth).sum().backward()
    assert (logits.grad[truth == 1] < 0).all()
    assert (logits.grad[truth == 0] > 0).all()
