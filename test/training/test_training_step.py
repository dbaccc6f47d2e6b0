"""A step's loss is finite, learns one batch by heart, and asks as the phase says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tiny_dataset import write_tiny_dataset

torch = pytest.importorskip("torch", minversion="2.9")  # the first with Muon
pytest.importorskip("transformers")

from small_tabletop import SMALL  # noqa: E402

from sam_perception.training import step as step_module  # noqa: E402
from sam_perception.training.architecture import new_network  # noqa: E402
from sam_perception.training.config import Phase  # noqa: E402
from sam_perception.training.data import TrainingViews, collate  # noqa: E402
from sam_perception.training.optimisers import make_optimisers  # noqa: E402
from sam_perception.training.side_targets import SideHeads  # noqa: E402
from sam_perception.training.step import step_loss  # noqa: E402

PHASE = Phase(1, 64, batch=2, objects=4, rounds=(1.0, 1.0))


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    folder = write_tiny_dataset(tmp_path_factory.mktemp("set"), views=2)
    return collate(list(itertools.islice(TrainingViews([folder], PHASE, seed=1), 2)))


def fresh():
    return new_network(SMALL, 0).train(), SideHeads(SMALL.hidden_size)


@pytest.mark.parametrize("mask_loss", ["balanced", "focal"])
def test_the_loss_is_finite_and_one_batch_is_learnt(batch, mask_loss):
    network, heads = fresh()
    optimisers = make_optimisers([network, heads], 0.0)
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["lr"] = 3e-3
    phase = Phase(1, 64, batch=2, objects=4, rounds=(1.0,), mask_loss=mask_loss)
    found = []
    for number in range(25):
        result = step_loss(network, heads, batch, phase, np.random.default_rng(number % 2), torch.float32)
        network.zero_grad()
        heads.zero_grad()
        result.loss.backward()
        assert all(torch.isfinite(each.grad).all() for each in network.parameters() if each.grad is not None)
        for optimiser in optimisers:
            optimiser.step()
        found.append(result.figures)
    assert np.mean([each["loss"] for each in found[-4:]]) < 0.8 * np.mean([each["loss"] for each in found[:4]])
    if mask_loss == "balanced":  # focal begins with empty masks
        ious = [np.nanmean([each["iou_click"], each["iou_box"]]) for each in found]
        assert np.mean(ious[-4:]) > np.mean(ious[:4]) + 0.1


def test_figures_say_what_was_asked(batch):
    network, heads = fresh()
    two = step_loss(network, heads, batch, PHASE, np.random.default_rng(0), torch.float32).figures
    assert all(np.isfinite(two[name]) for name in ("loss", "side", "prompts", "iou_click", "iou_box", "iou_last"))
    assert two["loss"] == pytest.approx(PHASE.side_weight * two["side"] + two["prompts"], rel=1e-5)
    one = Phase(1, 64, batch=2, objects=4, rounds=(1.0,))
    assert np.isnan(step_loss(network, heads, batch, one, np.random.default_rng(0), torch.float32).figures["iou_last"])
    none = Phase(1, 64, batch=2, objects=4, rounds=())
    only_side = step_loss(network, heads, batch, none, np.random.default_rng(0), torch.float32)
    assert set(only_side.figures) == {"loss", "side"}
    only_side.loss.backward()
    assert not any(each.grad is not None and each.grad.any() for each in network.mask_decoder.parameters())


def test_later_rounds_see_the_answer_before_with_their_clicks_marked(batch, monkeypatch):
    """As production refines: logits within its limit, the new click raised or lowered in them."""
    asked = []

    def watched(network, features, tokens, logits):
        answers, scores = decode(network, features, tokens, logits)
        asked.append((tokens.clone(), logits.clone(), answers.detach().clone()))
        return answers, scores

    decode = step_module.decode
    monkeypatch.setattr(step_module, "decode", watched)
    network, heads = fresh()
    fed_back = 0
    for seed in range(6):
        asked.clear()
        step_loss(network, heads, batch, PHASE, np.random.default_rng(seed), torch.float32)
        (before, _, answer), (tokens, logits, _) = asked
        clicks = (tokens[..., 2] >= 0).sum(dim=1)
        assert (clicks == (before[..., 2] >= 0).sum(dim=1) + 1).all()
        change = logits - answer[:, :1].clamp(-32, 32)
        rows = torch.arange(len(tokens))
        x, y, label = tokens[rows, clicks - 1].T
        at_click = change[rows, 0, (y * 16).long(), (x * 16).long()]
        if (change.abs() < 0.1).float().mean() > 0.5:  # the answer, but for its clicks
            fed_back += 1
            first_is_no_neighbour = (before[:, 0, :2] - tokens[rows, clicks - 1, :2]).norm(dim=1) > 0.15
            signs = torch.sign(at_click[first_is_no_neighbour])
            assert (signs == 2 * label[first_is_no_neighbour] - 1).all()
    assert fed_back >= 3


def test_for_one_click_the_best_of_three_candidates_counts():
    """Two candidates are hopeless and the third is right: the loss is that of the right one."""
    target = torch.zeros(1, 1, 16, 16)
    target[..., 4:12, 4:12] = 1
    right, wrong = 40 * target - 20, 20 - 40 * target
    sure = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    answers = torch.cat([right, wrong, wrong, right], dim=1)
    click, box = torch.tensor([True]), torch.tensor([False])
    best = step_module._answer_loss(answers, sure, target, click, "balanced")
    assert best.item() < 0.05
    none_right = step_module._answer_loss(
        torch.cat([right, wrong, wrong, wrong], dim=1), sure, target, click, "balanced"
    )
    assert none_right.item() > 1
    for other in (box, None):  # a box means one thing only
        assert (
            step_module._answer_loss(torch.cat([right, wrong, wrong, wrong], dim=1), sure, target, other, "balanced")
            < 0.05
        )
    misjudged = step_module._answer_loss(answers, 1 - sure, target, None, "balanced")
    assert misjudged.item() == pytest.approx(1, abs=0.05)  # the squared error of its estimate


@pytest.mark.parametrize("with_decoder", [False, True])
def test_the_refiner_learns_with_an_encoder_that_stays_as_it_is(batch, with_decoder):
    """To correct the decoder's answers and to judge what it made of them; alone, or the decoder beside it."""
    network, heads = fresh()
    before = {name: each.clone() for name, each in network.state_dict().items()}
    optimisers = make_optimisers([network, heads], 0.1)
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["lr"] = 3e-3
    phase = Phase(1, 64, batch=2, objects=4, rounds=(1.0, 1.0), refine=True, decoder=with_decoder)
    found = []
    for number in range(60):
        result = step_loss(network, heads, batch, phase, np.random.default_rng(number % 2), torch.float32)
        network.zero_grad()
        result.loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        found.append(result.figures)
    assert all(np.isfinite(found[0][name]) for name in ("loss", "prompts", "iou_click", "iou_box", "iou_last"))
    changed = {name.split(".")[0] for name, each in network.state_dict().items() if not torch.equal(each, before[name])}
    assert changed == ({"refiner", "mask_decoder", "prompt_encoder"} if with_decoder else {"refiner"})
    assert np.mean([each["loss"] for each in found[-4:]]) < 0.8 * np.mean([each["loss"] for each in found[:4]])
    ious = [np.nanmean([each["iou_click"], each["iou_box"]]) for each in found]
    assert np.mean(ious[-4:]) > np.mean(ious[:4]) + 0.1
