"""What is trained is what answers: training's decoder gives production's masks for the same prompts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from small_tabletop import SMALL, export_small, make_corrections  # noqa: E402

from sam_perception.frames import RgbdFrame  # noqa: E402
from sam_perception.models import ModelOptions, load_model  # noqa: E402
from sam_perception.models.promptable import FILLER, NOT_A_POINT  # noqa: E402
from sam_perception.models.tabletop_input import network_input  # noqa: E402
from sam_perception.models.tabletop_prior import prior_logits, surfaces  # noqa: E402
from sam_perception.prompts import Prompt  # noqa: E402
from sam_perception.training.architecture import new_network  # noqa: E402
from sam_perception.training.forward import decode, encode  # noqa: E402

SIDE = SMALL.input_size
END, FILL = (0.5 / SIDE, 0.5 / SIDE, NOT_A_POINT), (0, 0, FILLER)


def frames() -> list[RgbdFrame]:
    """Of the input's own size, a nearer square in each."""
    made = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        depth_m = np.full((SIDE, SIDE), 0.8, np.float32)
        depth_m[10 + 20 * seed : 34 + 20 * seed, 12:40] = 0.7
        made.append(RgbdFrame(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), depth_m))
    return made


def at(*tokens: tuple[float, float, int]) -> list[tuple[float, float, int]]:
    return [((x + 0.5) / SIDE, (y + 0.5) / SIDE, label) for x, y, label in tokens]


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, and two prompts on each: tokens and priors."""
    images = torch.stack(
        [
            network_input(torch.from_numpy(f.color.copy()), torch.from_numpy(f.depth.copy()), None, SIDE)
            for f in frames()
        ]
    )
    one = [*at((20, 20, 1)), END, FILL, FILL]
    other = [*at((10, 8, 2), (42, 36, 3), (50, 50, 0)), END]
    tokens = torch.tensor([one, other, other, one], dtype=torch.float32)
    numbered = torch.stack([surfaces(image) for image in images]).repeat_interleave(2, dim=0)
    return images, tokens, prior_logits(numbered, tokens)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def network(folder):
    """With a refiner that corrects something."""
    return export_small(folder, seed=4, corrects=True)


def test_training_answers_as_production_does(network, folder):
    """Two images with two prompts of unequal length each, in one pass here and in four there."""
    images, tokens, rough = inputs()
    with torch.inference_mode():
        features = encode(network, images)
        logits, scores = decode(network, features, tokens, rough)
        views = network.refiner.look(images, features.tokens, features.high_res).repeated(2)
        refined = network.refiner(views, logits, scores, tokens)
    assert logits.shape == (4, 4, SIDE // 4, SIDE // 4) and scores.shape == (4, 4)
    assert refined.logits.shape == (4, 1, SIDE // 2, SIDE // 2) and refined.scores.shape == (4, 1)
    assert (refined.scores - scores[:, :1]).abs().min() > 1e-3  # it has its say
    model = load_model(str(folder), ModelOptions(device="cpu"))
    click, box = Prompt(points=[(20, 20)]), Prompt(box=(10, 8, 42, 36), points=[(50, 50)], labels=[0])
    for i, (frame, prompt) in enumerate([(frames()[i // 2], (click, box, box, click)[i]) for i in range(4)]):
        embedding = model.encode(frame)
        single, single_score = model.predict(embedding, [prompt], multimask=False)
        three, three_scores = model.predict(embedding, [prompt], multimask=True)
        order = scores[i, 1:].argsort(descending=True)
        for ours, theirs in (
            (refined.logits[i], single[0]),
            (refined.scores[i], single_score[0]),
            (logits[i, 1:][order] + 0.5, three[0]),
            (scores[i, 1:][order], three_scores[0]),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_another_input_size_than_the_networks_own_is_answered(network):
    with torch.inference_mode():
        features = encode(network, torch.randn(1, 8, 96, 96, generator=torch.Generator().manual_seed(1)))
        tokens = torch.tensor([[(0.5, 0.5, 1), END]], dtype=torch.float32)
        logits, _ = decode(network, features, tokens, torch.zeros(1, 1, 24, 24))
    assert logits.shape == (1, 4, 24, 24)


def test_every_weight_that_production_uses_learns(network):
    """None is cut off from the loss; only what replaces a missing mask, and video's memory, has no part in it."""
    images, tokens, rough = inputs()
    fresh = new_network(SMALL, 1)
    make_corrections(fresh.refiner)
    features = encode(fresh, images)
    logits, scores = decode(fresh, features, tokens, rough)
    views = fresh.refiner.look(images, features.tokens, features.high_res).repeated(2)
    refined = fresh.refiner(views, logits, scores, tokens)
    parts = (logits, scores, refined.logits, refined.scores)
    torch.stack([part.square().mean() for part in parts]).sum().backward()
    idle = {name for name, each in fresh.named_parameters() if each.grad is None or not each.grad.any()}
    assert all(
        name.startswith(("prompt_encoder.no_mask_embed", "mask_decoder.pred_obj_score_head")) for name in idle
    ), idle


def test_mixed_precision_stays_close_and_gives_fp32_features(network):
    images, tokens, rough = inputs()
    with torch.inference_mode():
        exact = decode(network, encode(network, images), tokens, rough)[0]
        features = encode(network, images, torch.bfloat16)
        mixed = decode(network, features, tokens, rough)[0]
    assert features.tokens.dtype == torch.float32
    assert (mixed - exact).abs().mean() / exact.abs().mean() < 0.05
