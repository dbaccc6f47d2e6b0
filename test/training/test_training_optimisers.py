"""Muon and AdamW share out the parameters, and one rate moves both alike."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", minversion="2.9")  # the first with Muon
pytest.importorskip("transformers")

from small_tabletop import SMALL  # noqa: E402

from sam_perception.training.architecture import new_network  # noqa: E402
from sam_perception.training.optimisers import make_optimisers  # noqa: E402
from sam_perception.training.side_targets import SideHeads  # noqa: E402


def parameters_of(optimiser: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [each for group in optimiser.param_groups for each in group["params"]]


def test_every_parameter_belongs_to_exactly_one():
    network, heads = new_network(SMALL, 0), SideHeads(SMALL.hidden_size)
    muon, adamw = make_optimisers([network, heads], 0.05)
    taken = [id(each) for optimiser in (muon, adamw) for each in parameters_of(optimiser)]
    expected = {id(each) for module in (network, heads) for each in module.parameters() if each.requires_grad}
    assert len(taken) == len(set(taken))
    assert set(taken) == expected
    names = {id(each): name for name, each in network.named_parameters()}
    inside = [names[id(each)] for each in parameters_of(muon) if id(each) in names]
    assert any("attn" in name for name in inside) and any("mlp" in name for name in inside)
    assert not [name for name in inside if "embed" in name or "token.weight" in name or "tokens.weight" in name]
    assert all(each.ndim == 2 for each in parameters_of(muon))


def test_norms_and_biases_do_not_decay():
    _, adamw = make_optimisers([new_network(SMALL, 0)], 0.05)
    for group in adamw.param_groups:
        vectors = {each.ndim < 2 for each in group["params"]}
        assert vectors == {group["weight_decay"] == 0}


def test_muons_first_step_is_orthogonal_and_as_large_as_adams_usual_one():
    """All singular values alike; a root mean square of 0.2 of the rate, whatever the gradient's size."""
    layer = torch.nn.Linear(32, 64)
    (muon, _) = make_optimisers([layer], 0.0)
    muon.param_groups[0]["lr"] = 1.0
    before = layer.weight.detach().clone()
    layer.weight.grad = 1e-4 * torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    muon.step()
    moved = layer.weight.detach() - before
    singular = torch.linalg.svdvals(moved)
    assert singular.max() / singular.min() < 2  # of the gradient: 5.8
    assert moved.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.2)
    assert (moved * layer.weight.grad).sum() < 0  # downhill
