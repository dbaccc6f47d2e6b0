"""A fresh network is one that can learn to follow prompts, and the configuration that transformers builds says all."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from small_tabletop import SMALL  # noqa: E402
from transformers import Sam2Config, Sam2Model  # noqa: E402

from sam_perception.models.mask_decoder import embed_tokens  # noqa: E402
from sam_perception.models.promptable import NOT_A_POINT  # noqa: E402
from sam_perception.training.architecture import Architecture, new_network, sam2_config  # noqa: E402
from sam_perception.training.forward import decode, encode  # noqa: E402

GRID = 24


def influence_of_prompts(network: Sam2Model) -> float:
    """How much masks differ between prompts on one image, over how much between images for one prompt."""
    images = torch.randn(6, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(images[..., ::8, ::8], (64, 64), mode="bilinear") * 1.5
    places = torch.linspace(0.15, 0.85, 6)
    prompts = torch.stack([torch.tensor([(x, 1 - x, 1.0), (0, 0, NOT_A_POINT)]) for x in places.tolist()])
    middles = (torch.arange(16) + 0.5) / 16
    apart = (middles[None, None] - places[:, None, None]) ** 2 + (
        middles[None, :, None] - 1 + places[:, None, None]
    ) ** 2
    rough = (20 * torch.exp(-apart / (2 * 0.1**2)) - 10)[:, None]
    with torch.inference_mode():
        logits, _ = decode(network, encode(network, images), prompts.repeat(6, 1, 1), rough.repeat(6, 1, 1, 1))
    by_image_and_prompt = logits[:, 0].unflatten(0, (6, 6))
    of_prompts = by_image_and_prompt.var(dim=1).mean()
    of_images = by_image_and_prompt.var(dim=0).mean()
    return float((of_prompts / of_images).sqrt())


def test_a_prompt_changes_a_fresh_answer_about_as_much_as_the_image_does():
    """Mean over seeds; without making room for prompts it is 0.6."""
    found = [influence_of_prompts(new_network(SMALL, seed).eval()) for seed in range(4)]
    assert 0.85 < sum(found) / 4 < 2, found


def test_a_fresh_click_looks_at_its_own_place():
    """A click's token and the image's tokens encode places alike, so that attention can start between equal ones."""
    network = new_network(Architecture(), 0)
    middles = (torch.arange(GRID) + 0.5) / GRID
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    grid = torch.stack([x, y], dim=-1).reshape(-1, 2)
    clicks = 0.1 + 0.8 * torch.rand(100, 2, generator=torch.Generator().manual_seed(1))
    prompts = network.prompt_encoder
    with torch.inference_mode():
        positions = network.shared_image_embedding(grid[None, None])[0, 0]
        labels = torch.cat([prompts.not_a_point_embed.weight, prompts.point_embed.weight])
        tokens = torch.cat([clicks, torch.ones(100, 1)], dim=1)[None]
        embedded = embed_tokens(tokens, prompts.shared_embedding.positional_embedding, labels)[0]
        attention = network.mask_decoder.transformer.layers[0].cross_attn_token_to_image
        heads = attention.num_attention_heads
        query, key = (
            project(each).unflatten(1, (heads, -1)).transpose(0, 1)
            for project, each in ((attention.q_proj, embedded), (attention.k_proj, positions))
        )
        looks = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    near = torch.cdist(clicks, grid) < 0.1
    assert (looks * near).sum(dim=-1).mean() > 5 * near.float().mean()


def test_the_seed_decides_the_weights_and_nothing_else_does():
    torch.manual_seed(11)
    first = new_network(SMALL, 5).state_dict()
    state = torch.get_rng_state()
    again, other = new_network(SMALL, 5).state_dict(), new_network(SMALL, 6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["mask_decoder.mask_tokens.weight"], other["mask_decoder.mask_tokens.weight"])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_default_fits_what_may_ship():
    """12 MB in fp16, at strides 4, 8 and 16 of its input; built by transformers from the configuration as JSON."""
    config = Sam2Config.from_dict(sam2_config(Architecture()).to_dict())
    with torch.device("meta"):
        network = Sam2Model(config)
    assert 2 * sum(each.numel() for each in network.state_dict().values()) < 12e6
    assert config.vision_config.backbone_feature_sizes == [[128, 128], [64, 64], [32, 32]]
    assert network.vision_encoder.backbone.patch_embed.projection.in_channels == 8
    global_blocks = [i for i, block in enumerate(network.vision_encoder.backbone.blocks) if block.window_size == 0]
    assert global_blocks == list(Architecture().global_blocks)
