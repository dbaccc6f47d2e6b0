"""The refiner looks where the object is, and puts its corrections back where it looked."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.models.promptable import FILLER, NOT_A_POINT  # noqa: E402
from sam_perception.models.tabletop_refiner import SIDE, Refiner, sample_regions  # noqa: E402

HIDDEN, GRID = 16, 8
LOW_RES, INPUT = 4 * GRID, 16 * GRID
END = (0.001, 0.001, NOT_A_POINT)


@pytest.fixture
def refiner():
    torch.manual_seed(0)
    return Refiner(HIDDEN, width=8).eval()


def views_of(refiner):
    torch.manual_seed(1)
    fine, middle = torch.randn(1, HIDDEN // 8, 4 * GRID, 4 * GRID), torch.randn(1, HIDDEN // 4, 2 * GRID, 2 * GRID)
    return refiner.look(torch.randn(1, 8, INPUT, INPUT), torch.randn(1, GRID**2, HIDDEN), (fine, middle))


def answers(*spots: tuple[int, int, int, int], candidate: int = 0) -> torch.Tensor:
    """(N, 4, h, w): each N has an object in columns x0 to x1 and rows y0 to y1 of one candidate."""
    logits = torch.full((len(spots), 4, LOW_RES, LOW_RES), -9.0)
    for n, (x0, y0, x1, y1) in enumerate(spots):
        logits[n, candidate, y0:y1, x0:x1] = 5.0
    return logits


def refined(refiner, logits: torch.Tensor, *prompts: list[tuple[float, float, int]]):
    longest = max(map(len, prompts))
    tokens = [[*prompt, *[(0.0, 0.0, FILLER)] * (longest - len(prompt))] for prompt in prompts]
    with torch.inference_mode():
        return refiner(views_of(refiner), logits, torch.zeros(len(logits), 4), torch.tensor(tokens))


def test_untrained_it_leaves_answer_and_score_as_they_are(refiner):
    torch.manual_seed(2)
    logits, scores = torch.randn(2, 4, LOW_RES, LOW_RES), torch.rand(2, 4)
    tokens = torch.tensor([[(0.3, 0.4, 1.0), END], [(0.6, 0.5, 1.0), END]])
    with torch.inference_mode():
        answer = refiner(views_of(refiner), logits, scores, tokens)
    pooled = torch.nn.functional.avg_pool2d(answer.logits, 2)
    inside = (..., slice(1, -1), slice(1, -1))
    smoothed = torch.nn.functional.conv2d(logits[:, :1], torch.tensor([[[[1, 6, 1]]]]) / 8)
    smoothed = torch.nn.functional.conv2d(smoothed, torch.tensor([[[[1], [6], [1]]]]) / 8)
    torch.testing.assert_close(pooled[inside], smoothed)  # twice the size by bilinear weights 3/4 and 1/4, and back
    assert torch.equal(answer.scores, scores[:, :1])


def test_a_correction_lands_in_the_region_and_nowhere_else(refiner):
    refiner.correction.bias.data.fill_(4.0)
    logits = answers((8, 12, 16, 20))
    answer = refined(refiner, logits, [(0.4, 0.5, 1), END])
    x, y, half = answer.regions[0]
    assert (x, y) == (pytest.approx(0.375), pytest.approx(0.5))
    assert 0.125 < half < 0.2  # the object and some of what is around it
    before = torch.nn.functional.interpolate(logits[:, :1], scale_factor=2, mode="bilinear")
    change = (answer.logits - before)[0, 0]
    at = (torch.arange(2 * LOW_RES) + 0.5) / (2 * LOW_RES)
    pixel = 1 / (2 * LOW_RES)
    deep = ((at - x).abs() < half - pixel) & ((at - y).abs()[:, None] < half - pixel)
    beyond = ((at - x).abs() > half + pixel) | ((at - y).abs()[:, None] > half + pixel)
    assert deep.any() and torch.allclose(change[deep], torch.tensor(4.0), atol=1e-4)
    assert beyond.any() and torch.equal(change[beyond], torch.zeros(int(beyond.sum())))


def test_a_correction_is_put_back_where_it_was_seen(refiner):
    torch.nn.init.normal_(refiner.correction.weight)
    logits = answers((8, 12, 16, 20))
    answer = refined(refiner, logits, [(0.4, 0.5, 1), END])
    correction = answer.close - sample_regions(logits[:, :1], answer.regions)
    x, y, half = (2 * value for value in answer.regions[0].tolist())
    places = torch.tensor([[[1 / half, 0, (1 - x) / half], [0, 1 / half, (1 - y) / half]]])
    grid = torch.nn.functional.affine_grid(places, [1, 1, 2 * LOW_RES, 2 * LOW_RES], align_corners=False)
    expected = torch.nn.functional.grid_sample(correction, grid, padding_mode="zeros", align_corners=False)
    before = torch.nn.functional.interpolate(logits[:, :1], scale_factor=2, mode="bilinear")
    assert expected.std() > 0.01
    torch.testing.assert_close(answer.logits - before, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("candidate", [0, 3])
def test_a_click_is_looked_at_with_all_that_a_candidate_takes_in(refiner, candidate):
    """And with the click itself, where no candidate reaches it."""
    found = refined(refiner, answers((8, 12, 16, 20), candidate=candidate), [(0.75, 0.5, 1), END]).regions[0]
    assert found[0] - found[2] < 8 / LOW_RES and found[0] + found[2] > 0.75


def test_a_box_decides_what_is_looked_at(refiner):
    """Whatever the answer is; clicks outside of it that correct it are looked at too."""
    corners = [(0.2, 0.3, 2), (0.6, 0.5, 3)]
    logits = answers((0, 0, LOW_RES, LOW_RES), (0, 0, LOW_RES, LOW_RES))
    boxed, corrected = refined(refiner, logits, [*corners, END], [*corners, (0.9, 0.4, 1), END]).regions
    assert (float(boxed[0]), float(boxed[1])) == (pytest.approx(0.4), pytest.approx(0.4))
    assert 0.2 < boxed[2] < 0.3
    assert corrected[0] - corrected[2] < 0.2 and corrected[0] + corrected[2] > 0.9


def test_folded_it_answers_the_same(refiner):
    torch.nn.init.normal_(refiner.correction.weight)
    torch.nn.init.normal_(refiner.score.weight)
    for module in refiner.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
    logits, prompt = answers((8, 12, 16, 20)), [(0.4, 0.5, 1), END]
    before = refined(refiner, logits, prompt)
    after = refined(refiner.fold(), logits, prompt)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in refiner.modules())
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.scores, before.scores, rtol=1e-4, atol=1e-4)


def test_with_nothing_to_go_by_it_looks_at_everything(refiner):
    nothing = torch.full((1, 4, LOW_RES, LOW_RES), -9.0)
    answer = refined(refiner, nothing, [END])
    assert torch.isfinite(answer.logits).all()
    x, y, half = answer.regions[0]
    assert (float(x), float(y)) == (0.5, 0.5) and half > 0.5


def test_tiny_things_are_seen_with_their_surroundings(refiner):
    half = refined(refiner, answers((8, 12, 9, 13)), [(8.5 / LOW_RES, 12.5 / LOW_RES, 1), END]).regions[0, 2]
    assert half > 1 / LOW_RES


def test_prompts_in_one_pass_do_not_change_each_other(refiner):
    torch.manual_seed(3)
    torch.nn.init.normal_(refiner.correction.weight)
    torch.nn.init.normal_(refiner.score.weight)
    logits = answers((8, 12, 16, 20), (2, 2, 30, 12), (20, 20, 28, 24))
    prompts = [[(0.4, 0.5, 1), (0.5, 0.9, 0), END], [(0.0, 0.0, 2), (1.0, 0.4, 3), END], [(0.7, 0.7, 1), END]]
    together = refined(refiner, logits, *prompts)
    for n, prompt in enumerate(prompts):
        alone = refined(refiner, logits[n : n + 1], prompt)
        torch.testing.assert_close(together.logits[n], alone.logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.scores[n], alone.scores[0], rtol=1e-4, atol=1e-4)


def test_every_prompt_token_has_its_say(refiner):
    torch.nn.init.normal_(refiner.correction.weight)
    logits = answers((8, 12, 16, 20))
    first = refined(refiner, logits, [(0.4, 0.5, 1), END]).close
    for others in ([(0.4, 0.5, 0), END], [(0.4, 0.5, 1), (0.3, 0.45, 0), END], [(0.4, 0.5, 1), (0.3, 0.45, 1), END]):
        assert (refined(refiner, logits, others).close - first).abs().max() > 1e-3
    boxes = [[(0.3, 0.4, 2), (right, 0.6, 3), END] for right in (0.5, 0.45)]
    one, other = (refined(refiner, logits, box).close for box in boxes)
    assert (one - other).abs().max() > 1e-3


def test_everything_that_is_shown_to_it_has_its_say(refiner):
    """Input, candidates, prompt, size and the evidence of colours: without any one channel it corrects otherwise."""
    torch.nn.init.normal_(refiner.correction.weight)
    logits = answers((8, 12, 16, 20))
    logits[:, 1:, 10:14, 9:13] = torch.tensor([1.0, -2.0, 3.0])[None, :, None, None]
    prompt = [(0.2, 0.3, 2), (0.6, 0.7, 3), (0.4, 0.5, 1), (0.3, 0.6, 0), END]
    whole = refined(refiner, logits, prompt).close
    for channel in range(refiner.near.in_channels):
        kept = refiner.near.weight.data[:, channel].clone()
        refiner.near.weight.data[:, channel] = 0
        assert (refined(refiner, logits, prompt).close - whole).abs().max() > 1e-4, channel
        refiner.near.weight.data[:, channel] = kept


def test_regions_show_the_map_stretched_to_one_size():
    ramp = torch.linspace(0, 1, 64)[None, None, None].expand(1, 1, 64, 64)
    shown = sample_regions(ramp, torch.tensor([[0.5, 0.5, 0.25]]))
    assert shown.shape == (1, 1, SIDE, SIDE)
    steps = (torch.arange(SIDE) + 0.5) / SIDE
    expected = ((0.25 + 0.5 * steps) * 64 - 0.5) / 63
    torch.testing.assert_close(shown[0, 0, 7], expected, rtol=1e-4, atol=1e-5)
