"""SAM 2 answers on images as Meta's own implementation does, from the very file that implementation would write."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import numpy as np
import pytest
import test_models_sam as same  # the cases and comparisons are those of SAM
import yaml
from PIL import Image

from sam_perception.errors import CheckpointError, InvalidInputError
from sam_perception.frames import RgbdFrame
from sam_perception.models import ModelOptions
from sam_perception.prompts import Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.models import sam2  # noqa: E402

CPU = ModelOptions(device="cpu")
LOW_RES = 256  # the original's predictor works at 1024 px only
LANDSCAPE, PORTRAIT = (135, 241), (97, 61)

# Reduced widths and depths of Meta's own configurations: one head and a published layout, two heads and another.
SMALL = {
    "2.1, one head": ("sam2.1/sam2.1_hiera_t.yaml", {"embed_dim": 16}),
    "2.0, two heads": (
        "sam2/sam2_hiera_b+.yaml",
        {"embed_dim": 112, "stages": [1, 1, 2, 1], "global_att_blocks": [3]},
    ),
}


one_thread = same.one_thread  # a fixture
only_the_first = pytest.mark.parametrize("reference", list(SMALL)[:1], indirect=True, scope="module")


class Resize(torch.nn.Module):
    """torchvision.transforms.Resize of a tensor: bilinear and antialiased."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.height, self.width = size

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        size = [self.height, self.width]
        return torch.nn.functional.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[
            0
        ]


class Normalize(torch.nn.Module):
    """torchvision.transforms.Normalize of a tensor."""

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self.mean) / self.std


class ToTensor:
    """torchvision.transforms.ToTensor of an image: channels first, 0..1."""

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


class HydraIsReady:
    """sam2/__init__.py initialises hydra unless that has been done."""

    @classmethod
    def instance(cls):
        return cls

    @staticmethod
    def is_initialized() -> bool:
        return True


@functools.cache
def original():
    """Meta's predictor module, without its torchvision, hydra and iopath."""
    if importlib.util.find_spec("sam2") is None:
        pytest.skip("sam2, Meta's own implementation, is not installed")
    with same.stand_ins(
        **{
            "hydra": {"initialize_config_module": None},
            "hydra.core": {},
            "hydra.core.global_hydra": {"GlobalHydra": HydraIsReady},
            "iopath": {},
            "iopath.common": {},
            "iopath.common.file_io": {"g_pathmgr": None},
            "torchvision": {},
            "torchvision.transforms": {"Resize": Resize, "Normalize": Normalize, "ToTensor": ToTensor},
        }
    ):
        importlib.import_module("sam2.modeling.memory_encoder")  # whatever the configurations name
        importlib.import_module("sam2.modeling.memory_attention")
        importlib.import_module("sam2.modeling.backbones.hieradet")
        return importlib.import_module("sam2.sam2_image_predictor")


def build(config: dict):
    """What hydra.utils.instantiate does."""
    arguments = {k: build(v) if isinstance(v, dict) else v for k, v in config.items() if k != "_target_"}
    if "_target_" not in config:
        return arguments
    module, _, name = config["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**arguments)


def original_network(config_name: str, trunk: dict):
    """SAM2Base as build_sam2 makes it, with parts of the trunk of other sizes; nothing reduced when there are none."""
    folder = Path(original().__file__).parent / "configs"
    config = yaml.safe_load((folder / config_name).read_text())["model"]
    config["memory_encoder"]["fuser"]["layer"]["layer_scale_init_value"] = 1e-6  # PyYAML reads 1e-6 as text
    config["sam_mask_decoder_extra_args"] = {  # build_sam2's apply_postprocessing
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    if trunk:
        config["image_encoder"]["trunk"] |= trunk
        widths = [trunk["embed_dim"] * 2**stage for stage in (3, 2, 1, 0)]
        config["image_encoder"]["neck"]["backbone_channel_list"] = widths
        config["memory_attention"]["num_layers"] = 1
    return build(config).eval()


@pytest.fixture(scope="module", params=SMALL)
def reference(request):
    network = original_network(*SMALL[request.param])
    same.randomise(network, seed=2)
    return original().SAM2ImagePredictor(network)


@pytest.fixture(scope="module")
def checkpoint(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("sam2") / "sam2_small.pt"
    torch.save({"model": reference.model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return sam2.load(checkpoint, CPU, "sam2_small")


@pytest.fixture(scope="module")
def landscape(reference, model):
    """A frame that the original has been shown, and our embedding of it."""
    frame = same.picture(LANDSCAPE)
    return frame, model.encode(frame)


def answer(model, embedding, prompts: list[Prompt], multimask: bool):
    with torch.inference_mode():
        low_res, scores = model.predict(embedding, prompts, multimask)
        full = model.upsample(low_res.flatten(0, 1)[:, None], embedding.image_size)
    return (
        full.view(*scores.shape, *embedding.image_size).numpy(),
        scores.numpy(),
        low_res.clamp(-32, 32).numpy(),
    )


def compare(reference, model, frame: RgbdFrame, embedding, multimask: bool, names: list[str]) -> None:
    reference.set_image(frame.color)
    for name in names:
        prompt = same.prompts_for(frame.size, LOW_RES)[name]
        expected = same.ask(reference, prompt, multimask)
        actual = answer(model, embedding, [prompt], multimask)
        for what, ours, theirs in zip(("full", "iou", "low"), actual, expected, strict=True):
            assert same.relative_error(ours[0], theirs) < 1e-4, f"{what} of {name}"


@pytest.mark.parametrize("multimask", [False, True])
def test_every_kind_of_prompt_is_answered_as_by_the_original(reference, model, landscape, multimask):
    compare(reference, model, *landscape, multimask, same.CASES)


@only_the_first
def test_a_portrait_image_is_answered_as_by_the_original(reference, model):
    frame = same.picture(PORTRAIT)
    compare(reference, model, frame, model.encode(frame), True, ["one point", "box, points and logits"])


@pytest.mark.parametrize("multimask", [False, True])
def test_an_answer_does_not_depend_on_the_other_prompts_of_the_request(model, landscape, multimask):
    frame, embedding = landscape
    prompts = list(same.prompts_for(frame.size, LOW_RES).values())
    together = answer(model, embedding, prompts, multimask)
    for i, prompt in enumerate(prompts):
        alone = answer(model, embedding, [prompt], multimask)
        for ours, theirs in zip(together, alone, strict=True):
            assert same.relative_error(ours[i], theirs[0]) < 1e-5, same.CASES[i]


@only_the_first
@pytest.mark.parametrize(("gain", "stable"), [(0.003, False), (300.0, True)])
def test_one_mask_is_the_first_if_it_is_stable_and_else_the_best(reference, model, landscape, gain, stable):
    """Steep logits of the first token make it stable, flat ones do not; the original agrees with both."""
    frame, embedding = landscape
    prompt = same.prompts_for(frame.size, LOW_RES)["one point"]
    theirs = reference.model.sam_mask_decoder.output_hypernetworks_mlps[0].layers[2]
    ours = model.network.mask_decoder.output_hypernetworks_mlps[0].proj_out
    kept = theirs.weight.clone(), theirs.bias.clone()
    with torch.no_grad():
        for layer in (theirs, ours):
            layer.weight.copy_(gain * kept[0])
            layer.bias.copy_(gain * kept[1])
        try:
            compare(reference, model, frame, embedding, False, ["one point", "box"])
            one = answer(model, embedding, [prompt], False)[2][0, 0]
            candidates = answer(model, embedding, [prompt], True)[2][0]
            assert np.allclose(one, candidates[0], atol=1e-4) != stable
            if stable:  # steep enough to leave the range in which the original hands out logits
                assert np.abs(model.decode(embedding, [prompt], False)[0][0].logits).max() == 32
        finally:
            for layer in (theirs, ours):
                layer.weight.copy_(kept[0])
                layer.bias.copy_(kept[1])


@only_the_first
def test_refining_with_its_own_logits_follows_the_original(reference, model, landscape):
    frame, embedding = landscape
    reference.set_image(frame.color)
    click = Prompt(points=[(100, 60)])
    again = {"points": [(100, 60), (40, 70)], "labels": [1, 0]}
    _, _, low_res = same.ask(reference, click, multimask=False)
    expected = same.ask(reference, Prompt(**again, logits=low_res[0]), multimask=True)
    first = model.decode(embedding, [click], multimask=False)[0][0]
    second = model.decode(embedding, [Prompt(**again, logits=first.logits)], multimask=True)[0]
    assert np.abs(first.logits).max() <= 32
    for mask, logits, score in zip(second, expected[2], expected[1], strict=True):
        assert same.relative_error(mask.logits, logits) < 1e-4
        assert mask.score == pytest.approx(score, abs=1e-4)


@only_the_first
def test_a_mask_prompt_is_its_logits_at_low_resolution(reference, model, landscape):
    frame, embedding = landscape
    mask = np.zeros(frame.size, dtype=bool)
    mask[40:90, 100:] = True
    resized = Image.fromarray(mask.astype(np.float32)).resize((LOW_RES, LOW_RES), Image.Resampling.BILINEAR)
    of_mask = answer(model, embedding, [Prompt(mask=mask)], multimask=True)
    of_logits = answer(model, embedding, [Prompt(logits=20 * np.asarray(resized) - 10)], multimask=True)
    for ours, theirs in zip(of_mask, of_logits, strict=True):
        assert same.relative_error(ours, theirs) < 1e-4


@only_the_first
def test_logits_of_another_size_are_refused_by_name(reference, model, landscape):
    with pytest.raises(InvalidInputError, match=r"Prompt.logits: expected .*\(256, 256\).*got \(32, 32\)"):
        model.decode(landscape[1], [Prompt(logits=np.zeros((32, 32), np.float32))], multimask=False)


@only_the_first
def test_embedding_reports_its_memory(reference, landscape):
    assert landscape[1].nbytes == 4 * (256 * 64**2 + 64 * 128**2 + 32 * 256**2)


@only_the_first
def test_bf16_stays_close(reference, model, checkpoint, landscape):
    frame, embedding = landscape
    half = sam2.load(checkpoint, ModelOptions(device="cpu", precision="bf16"), "half")
    prompts = list(same.prompts_for(frame.size, LOW_RES).values())[:3]
    full, _, _ = answer(model, embedding, prompts, multimask=True)
    approximate, _, _ = answer(half, half.encode(frame), prompts, multimask=True)
    assert np.abs(approximate - full).mean() / np.abs(full).mean() < 0.05


@pytest.mark.parametrize(
    "part",
    [
        "image_encoder.trunk.pos_embed",
        "image_encoder.trunk.pos_embed_window",
        "image_encoder.trunk.patch_embed.proj.bias",
        "image_encoder.trunk.blocks.1.proj.weight",
        "image_encoder.trunk.blocks.0.attn.qkv.weight",
        "image_encoder.trunk.blocks.2.mlp.layers.1.weight",
        "image_encoder.neck.convs.2.conv.weight",
        "no_mem_embed",
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "sam_prompt_encoder.point_embeddings.1.weight",
        "sam_prompt_encoder.not_a_point_embed.weight",
        "sam_prompt_encoder.no_mask_embed.weight",
        "sam_mask_decoder.obj_score_token.weight",
        "sam_mask_decoder.transformer.layers.1.norm4.weight",
        "sam_mask_decoder.transformer.layers.0.cross_attn_token_to_image.out_proj.weight",
        "sam_mask_decoder.conv_s0.weight",
        "sam_mask_decoder.conv_s1.bias",
        "sam_mask_decoder.output_hypernetworks_mlps.3.layers.0.weight",
        "sam_mask_decoder.iou_prediction_head.layers.2.weight",
    ],
)
def test_every_part_of_the_checkpoint_matters(narrow, part):
    """The comparison with the original could fail: no tensor is dropped or mixed up on the way."""
    state, frame, before, path = narrow
    prompt = Prompt(points=[(100, 60)])
    changed = dict(state)
    changed[part] = state[part] + 0.3 * torch.randn(state[part].shape, generator=torch.Generator().manual_seed(3))
    torch.save({"model": changed}, path)
    model = sam2.load(path, CPU, "changed")
    after = answer(model, model.encode(frame), [prompt], multimask=True)
    assert max(same.relative_error(a, b) for a, b in zip(after, before, strict=True)) > 1e-4
    del changed[part]
    torch.save({"model": changed}, path)
    with pytest.raises(CheckpointError, match="lacks "):
        sam2.load(path, CPU, "lacking")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A checkpoint's tensors without those that images do not need, so that loading it many times is quick."""
    network = original_network(*SMALL["2.1, one head"])
    same.randomise(network, seed=4)
    state = {k: v for k, v in network.state_dict().items() if not k.startswith(("memory_", "obj_ptr"))}
    path = tmp_path_factory.mktemp("narrow") / "narrow.pt"
    torch.save({"model": state}, path)
    model, frame = sam2.load(path, CPU, "narrow"), same.picture(LANDSCAPE)
    return state, frame, answer(model, model.encode(frame), [Prompt(points=[(100, 60)])], True), path


def test_what_does_not_belong_is_refused_by_name(narrow):
    state, _, _, path = narrow
    torch.save({"model": state | {"sam_mask_decoder.surplus": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=r"has what no sam2 model has: .*surplus"):
        sam2.load(path, CPU, "more")
    torch.save({"image_encoder.blocks.0.norm1.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="holds a model of the family sam, not sam2"):
        sam2.load(path, CPU, "other")


def small_hugging_face_config(kind: type):
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "num_attention_heads": 2,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "global_attention_blocks": [3],
        "image_size": [256, 256],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
    }
    return kind(vision_config=vision, prompt_encoder_config={"image_size": 256}, mask_decoder_config={"mlp_dim": 64})


def test_a_hugging_face_folder_answers_as_transformers_does(tmp_path):
    """Its config.json says what a file of Meta's does not: heads, windows, image size."""
    network = sam2.Sam2Model(small_hugging_face_config(sam2.Sam2Config)).eval()
    same.randomise(network, seed=5)
    network.save_pretrained(tmp_path)
    model = sam2.load(tmp_path, CPU, "folder")
    assert model.input_size == 256
    frame = same.picture((256, 256))  # no resize: what is compared is the network
    pixels = torch.from_numpy(frame.color.copy()).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (pixels - mean[:, None, None]) / std[:, None, None]
    prompt = Prompt(points=[(100, 60), (30, 200)], labels=[1, 0])
    with torch.inference_mode():
        expected = network(
            pixel_values=pixels,
            input_points=torch.tensor(prompt.point_array, dtype=torch.float32)[None, None],
            input_labels=torch.tensor(prompt.label_array.astype(np.int64))[None, None],
            multimask_output=True,
        )
    order = expected.iou_scores[0, 0].argsort(descending=True)
    _, scores, low_res = answer(model, model.encode(frame), [prompt], multimask=True)
    assert same.relative_error(scores[0], expected.iou_scores[0, 0][order].numpy()) < 1e-4
    assert same.relative_error(low_res[0], expected.pred_masks[0, 0][order].clamp(-32, 32).numpy()) < 1e-4


@only_the_first
def test_a_file_saved_as_a_hugging_face_folder_answers_the_same(reference, model, landscape, tmp_path):
    frame, embedding = landscape
    prompts = list(same.prompts_for(frame.size, LOW_RES).values())[:3]
    model.network.save_pretrained(tmp_path)
    copy = sam2.load(tmp_path, CPU, "copy")
    expected = answer(model, embedding, prompts, multimask=False)
    actual = answer(copy, copy.encode(frame), prompts, multimask=False)
    for ours, theirs in zip(actual, expected, strict=True):
        assert same.relative_error(ours, theirs) < 1e-6


def test_a_video_folder_of_hugging_face_loads_without_its_memory(tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5.0")
    network = transformers.Sam2VideoModel(small_hugging_face_config(transformers.Sam2VideoConfig)).eval()
    same.randomise(network, seed=6)
    network.save_pretrained(tmp_path)
    model = sam2.load(tmp_path, CPU, "video")
    theirs = network.state_dict()
    assert any(key.startswith("memory_attention.") for key in theirs)
    for key, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, theirs[key]), key


CONFIGS = [f"{v}/{v}_hiera_{size}.yaml" for v in ("sam2", "sam2.1") for size in ("t", "s", "b+", "l")]


@pytest.mark.parametrize("config", CONFIGS)
def test_published_architectures_are_read_off_their_shapes(config, monkeypatch):
    """On the meta device: shapes only, so that the real sizes cost nothing."""
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))  # Hiera reads its values
    with torch.device("meta"):
        network = original_network(config, {})
    state, trunk = network.state_dict(), network.image_encoder.trunk
    inferred = sam2.architecture(state)
    with torch.device("meta"):
        ours = sam2.Sam2Model(inferred)
    for block, theirs in zip(ours.vision_encoder.backbone.blocks, trunk.blocks, strict=True):
        assert block.window_size == theirs.window_size
        assert block.attn.num_attention_heads == theirs.attn.num_heads
        assert (block.query_stride is None) == (theirs.q_stride is None)
    assert list(ours.vision_encoder.backbone.stage_ends) == trunk.stage_ends
    assert ours.vision_encoder.neck.fpn_top_down_levels == network.image_encoder.neck.fpn_top_down_levels
    assert inferred.prompt_encoder_config.image_size == network.image_size
    renamed = sam2.named_for_transformers(state)
    renamed[sam2._SHARED_AGAIN] = renamed[sam2._SHARED]
    needed = {k: v.shape for k, v in renamed.items() if not k.startswith(sam2._MEMORY)}
    assert needed == {k: v.shape for k, v in ours.state_dict().items()}
