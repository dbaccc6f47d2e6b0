"""What training writes is what the tabletop family loads."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import safetensors.torch  # noqa: E402
from small_tabletop import SMALL  # noqa: E402

from sam_perception.frames import RgbdFrame  # noqa: E402
from sam_perception.models import ModelOptions, load_model  # noqa: E402
from sam_perception.prompts import Prompt  # noqa: E402
from sam_perception.training.architecture import new_network  # noqa: E402
from sam_perception.training.export import export  # noqa: E402


def test_a_network_comes_back_from_its_folder(tmp_path):
    network = new_network(SMALL, 2)
    export(network, SMALL, tmp_path / "deep/model", {"seed": 2, "data": ["set"]})
    loaded = load_model(str(tmp_path / "deep/model"), ModelOptions(device="cpu")).network
    stored = safetensors.torch.load_file(tmp_path / "deep/model/model.safetensors")
    for name, tensor in network.state_dict().items():
        assert torch.equal(stored[name], tensor.half()), name
        if not name.startswith("refiner."):  # whose normalisations are folded
            assert torch.equal(loaded.state_dict()[name], tensor.half().float()), name
    assert loaded.vision_encoder.backbone.blocks[3].window_size == 0
    assert loaded.mask_decoder.transformer.layers[0].self_attn.num_attention_heads == SMALL.decoder_heads
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    config = json.loads((tmp_path / "deep/model/config.json").read_text())
    assert config["training"] == {"seed": 2, "data": ["set"]}
    assert len(json.dumps(config)) < 4000  # what differs from the defaults, for a person to read


def test_a_model_works_at_the_size_that_it_was_trained_at_last(tmp_path):
    larger = dataclasses.replace(SMALL, input_size=96)
    export(new_network(SMALL, 2), larger, tmp_path, {})
    model = load_model(str(tmp_path), ModelOptions(device="cpu"))
    assert (model.input_size, model.logits_size) == (96, 24)
    frame = RgbdFrame(np.zeros((40, 50, 3), np.uint8))
    (mask,) = model.decode(model.encode(frame), [Prompt(points=[(20, 20)])], multimask=False)[0]
    assert mask.logits.shape == (24, 24)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        export(new_network(SMALL, 2), SMALL, tmp_path / name, {"seed": 2})
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
