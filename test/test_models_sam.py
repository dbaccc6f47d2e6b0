"""SAM answers as Meta's own implementation does, from the very file that implementation would write."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from sam_perception.errors import CheckpointError, InvalidInputError, ModelUnavailableError
from sam_perception.frames import RgbdFrame
from sam_perception.masks import stability_score
from sam_perception.models import ModelOptions
from sam_perception.prompts import Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.models import sam, weights  # noqa: E402

CPU = ModelOptions(device="cpu")
SIDE, LOW_RES = 128, 32
SIZES = {"landscape": (48, 64), "portrait": (96, 53), "odd": (37, 41), "larger": (150, 201)}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Layers this small run slower on several threads, and much slower beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextlib.contextmanager
def stand_ins(**modules: dict):
    """Modules that Meta's packages import and that the tested code paths never call, while they are imported."""
    missing = [name for name in modules if importlib.util.find_spec(name.split(".")[0]) is None]
    for name in missing:
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        vars(module).update(modules[name])
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


@functools.cache
def original():
    """Meta's segment_anything, without its torchvision."""
    if importlib.util.find_spec("segment_anything") is None:
        pytest.skip("segment_anything, Meta's own implementation, is not installed")
    with stand_ins(
        **{
            "torchvision": {},
            "torchvision.ops": {},
            "torchvision.ops.boxes": {"batched_nms": None, "box_area": None},
            "torchvision.transforms": {},
            "torchvision.transforms.functional": {"resize": None, "to_pil_image": None},
        }
    ):
        return importlib.import_module("segment_anything")


def randomise(network, seed: int) -> None:
    """Fill every tensor so that signals neither vanish nor explode and nothing is trivially 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim <= 1:
            noise = 0.2 * noise + (1.0 if name.endswith("weight") and "norm" in name else 0.0)
        elif tensor.ndim == 4 or (tensor.ndim == 2 and tensor.shape[0] > 2 and "rel_pos" not in name):
            noise = noise / tensor[0].numel() ** 0.5
        tensor.copy_(noise)


def small_original():
    """Meta's Sam at a reduced size: windows that need padding, global attention in one block, 3 heads."""
    modeling = importlib.import_module(original().__name__ + ".modeling")
    network = modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            depth=3,
            embed_dim=48,
            img_size=SIDE,
            mlp_ratio=3,
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=3,
            patch_size=16,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=3,
            out_chans=64,
        ),
        prompt_encoder=modeling.PromptEncoder(64, (8, 8), (SIDE, SIDE), mask_in_chans=16),
        mask_decoder=modeling.MaskDecoder(
            transformer_dim=64,
            transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=64, num_heads=8, mlp_dim=96),
            iou_head_hidden_dim=40,
        ),
    )
    randomise(network, seed=1)
    return network.eval()


@pytest.fixture(scope="module")
def reference():
    return original().SamPredictor(small_original())


@pytest.fixture(scope="module")
def checkpoint(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam_small.pth"
    torch.save(reference.model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return sam.load(checkpoint, CPU, "sam_small")


def picture(size: tuple[int, int]) -> RgbdFrame:
    height, width = size
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin((x + y) / 5)], axis=2)
    noise = np.random.default_rng(height).integers(-20, 20, ramp.shape)
    return RgbdFrame(np.clip(ramp + noise, 0, 255).astype(np.uint8))


def prompts_for(size: tuple[int, int], low_res: int) -> dict[str, Prompt]:
    """Every mix of points, box and logits that a caller can send."""
    height, width = size
    points = np.array([[0.3, 0.4], [0.7, 0.2], [0.52, 0.93]]) * [width, height]
    box = np.array([0.2, 0.25, 0.81, 0.9]) * [width, height, width, height]
    y, x = np.mgrid[:low_res, :low_res] / low_res
    logits = (6 - 40 * ((x - 0.4) ** 2 + (y - 0.5) ** 2)).astype(np.float32)
    one, several = {"points": points[:1]}, {"points": points, "labels": [1, 0, 1]}
    return {
        "one point": Prompt(**one),
        "several points": Prompt(**several),
        "box": Prompt(box=box),
        "logits": Prompt(logits=logits),
        "point and box": Prompt(**one, box=box),
        "points and logits": Prompt(**several, logits=logits),
        "box and logits": Prompt(box=box, logits=logits),
        "box, points and logits": Prompt(**several, box=box, logits=logits),
    }


CASES = list(prompts_for((8, 8), 8))


def show(predictor, frame: RgbdFrame) -> None:
    """SamPredictor.set_image, but with the antialiased tensor resize that it names as its own alternative to PIL."""
    target = predictor.transform.get_preprocess_shape(*frame.size, SIDE)
    image = torch.from_numpy(frame.color.copy()).permute(2, 0, 1)[None].float()
    image = torch.nn.functional.interpolate(image, target, mode="bilinear", align_corners=False, antialias=True)
    predictor.set_torch_image(image, frame.size)


def ask(predictor, prompt: Prompt, multimask: bool):
    """Full-resolution logits, IoU and low-resolution logits of Meta's predictor, best first."""
    has_points = len(prompt.point_array) > 0
    full, scores, low_res = predictor.predict(
        point_coords=prompt.point_array if has_points else None,
        point_labels=prompt.label_array if has_points else None,
        box=prompt.box_array,
        mask_input=None if prompt.logits is None else prompt.logits[None],
        multimask_output=multimask,
        return_logits=True,
    )
    order = np.argsort(-scores)
    return full[order], scores[order], low_res[order]


def answer(model, frame: RgbdFrame, prompts: list[Prompt], multimask: bool):
    """The same of ours, with a leading axis for the prompts."""
    with torch.inference_mode():
        low_res, scores = model.predict(model.encode(frame), prompts, multimask)
        full = model.upsample(low_res.flatten(0, 1)[:, None], frame.size)
    return full.view(*scores.shape, *frame.size).numpy(), scores.numpy(), low_res.numpy()


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_every_kind_of_prompt_is_answered_as_by_the_original(reference, model, size, multimask):
    frame = picture(size)
    show(reference, frame)
    for name, prompt in prompts_for(size, LOW_RES).items():
        expected = ask(reference, prompt, multimask)
        actual = answer(model, frame, [prompt], multimask)
        for what, ours, theirs in zip(("full", "iou", "low"), actual, expected, strict=True):
            assert relative_error(ours[0], theirs) < 1e-4, f"{what} of {name}"


@pytest.mark.parametrize("multimask", [False, True])
def test_an_answer_does_not_depend_on_the_other_prompts_of_the_request(model, multimask):
    frame = picture(SIZES["landscape"])
    prompts = list(prompts_for(frame.size, LOW_RES).values())
    together = answer(model, frame, prompts, multimask)
    for i, prompt in enumerate(prompts):
        alone = answer(model, frame, [prompt], multimask)
        for ours, theirs in zip(together, alone, strict=True):
            assert relative_error(ours[i], theirs[0]) < 1e-5, CASES[i]


def test_refining_with_its_own_logits_follows_the_original(reference, model):
    frame = picture(SIZES["portrait"])
    show(reference, frame)
    click = Prompt(points=[(20, 30)])
    again = {"points": [(20, 30), (40, 70)], "labels": [1, 0]}
    _, _, low_res = ask(reference, click, multimask=False)
    expected = ask(reference, Prompt(**again, logits=low_res[0]), multimask=True)
    embedding = model.encode(frame)
    first = model.decode(embedding, [click], multimask=False)[0][0]
    second = model.decode(embedding, [Prompt(**again, logits=first.logits)], multimask=True)[0]
    for mask, logits, score in zip(second, expected[2], expected[1], strict=True):
        assert relative_error(mask.logits, logits) < 1e-4
        assert mask.score == pytest.approx(np.clip(score, 0, 1), abs=1e-4)


def test_masks_are_the_thresholded_logits_with_score_stability_and_id(model):
    frame = picture(SIZES["odd"])
    prompt = Prompt(points=[(20, 18)], object_id=7)
    full, scores, low_res = answer(model, frame, [prompt], multimask=True)
    masks = model.decode(model.encode(frame), [prompt], multimask=True)[0]
    assert len(masks) == 3
    for i, mask in enumerate(masks):
        assert mask.object_id == 7
        np.testing.assert_array_equal(mask.to_array(), full[0, i] > 0)
        np.testing.assert_allclose(mask.logits, low_res[0, i], rtol=1e-5, atol=1e-5)
        assert mask.score == pytest.approx(np.clip(scores[0, i], 0, 1), abs=1e-5)
        assert mask.stability == pytest.approx(stability_score(full[0, i]), abs=1e-6)
    assert len(model.decode(model.encode(frame), [prompt], multimask=False)[0]) == 1
    assert model.decode(model.encode(frame), [], multimask=False) == []


@pytest.mark.parametrize("size", [(48, 64), (96, 53)])
def test_a_mask_prompt_is_its_logits_at_low_resolution(model, size):
    frame = picture(size)
    mask = np.zeros(size, dtype=bool)
    mask[size[0] // 4 : size[0] // 2, size[1] // 3 :] = True
    height, width = (int(n * LOW_RES / max(size) + 0.5) for n in size)
    logits = np.full((LOW_RES, LOW_RES), -10, dtype=np.float32)
    # Pillow's bilinear filter is antialiased: an implementation of its own of the same resize.
    resized = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    logits[:height, :width] = 20 * np.asarray(resized) - 10
    of_mask = answer(model, frame, [Prompt(mask=mask)], multimask=True)
    of_logits = answer(model, frame, [Prompt(logits=logits)], multimask=True)
    for ours, theirs in zip(of_mask, of_logits, strict=True):
        assert relative_error(ours, theirs) < 1e-4


def test_logits_of_another_size_are_refused_by_name(model):
    embedding = model.encode(picture((48, 64)))
    with pytest.raises(InvalidInputError, match=r"Prompt.logits: expected .*\(32, 32\).*got \(256, 256\)"):
        model.decode(embedding, [Prompt(logits=np.zeros((256, 256), np.float32))], multimask=False)


def test_depth_is_ignored_and_text_not_claimed(model):
    assert model.prompt_kinds == {"points", "box", "mask", "logits"}
    frame = picture((48, 64))
    with_depth = RgbdFrame(frame.color, depth=np.ones(frame.size, np.float32))
    assert torch.equal(model.encode(frame).image, model.encode(with_depth).image)


def test_embedding_reports_its_memory(model):
    assert model.encode(picture((48, 64))).nbytes == 8 * 8 * 64 * 4


def test_a_hugging_face_folder_answers_as_the_file_does(model, tmp_path):
    frame = picture((48, 64))
    prompts = list(prompts_for(frame.size, LOW_RES).values())
    expected = answer(model, frame, prompts, multimask=True)
    model.network.save_pretrained(tmp_path / "one")
    model.network.save_pretrained(tmp_path / "shards", max_shard_size="200KB")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((tmp_path / "one" / "config.json").read_text())
    torch.save(model.network.state_dict(), pickled / "pytorch_model.bin")
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    for source in (tmp_path / "one", tmp_path / "shards", pickled, tmp_path / "one" / "model.safetensors"):
        actual = answer(sam.load(source, CPU, "copy"), frame, prompts, multimask=True)
        for ours, theirs in zip(actual, expected, strict=True):
            assert relative_error(ours, theirs) < 1e-6, source


def test_bf16_stays_close_and_keeps_the_embedding_half_as_large(model, checkpoint):
    half = sam.load(checkpoint, ModelOptions(device="cpu", precision="bf16"), "half")
    frame = picture((48, 64))
    prompts = list(prompts_for(frame.size, LOW_RES).values())
    assert half.encode(frame).nbytes * 2 == model.encode(frame).nbytes
    assert half.network.mask_decoder.iou_token.weight.dtype == torch.float32
    full, _, _ = answer(model, frame, prompts, multimask=True)
    approximate, _, _ = answer(half, frame, prompts, multimask=True)
    assert np.abs(approximate - full).mean() / np.abs(full).mean() < 0.05


@pytest.mark.parametrize(
    "part",
    [
        "image_encoder.pos_embed",
        "image_encoder.patch_embed.proj.bias",
        "image_encoder.blocks.0.attn.rel_pos_h",
        "image_encoder.blocks.1.attn.rel_pos_w",
        "image_encoder.blocks.2.mlp.lin2.weight",
        "image_encoder.neck.3.bias",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "prompt_encoder.point_embeddings.1.weight",
        "prompt_encoder.not_a_point_embed.weight",
        "prompt_encoder.no_mask_embed.weight",
        "mask_decoder.iou_token.weight",
        "mask_decoder.mask_tokens.weight",
        "mask_decoder.transformer.layers.0.norm4.weight",
        "mask_decoder.transformer.layers.1.cross_attn_image_to_token.k_proj.weight",
        "mask_decoder.transformer.norm_final_attn.bias",
        "mask_decoder.output_upscaling.1.weight",
        "mask_decoder.output_hypernetworks_mlps.2.layers.1.weight",
        "mask_decoder.iou_prediction_head.layers.2.weight",
    ],
)
def test_every_part_of_the_checkpoint_matters(model, checkpoint, tmp_path, part):
    """The comparison with the original could fail: no tensor is dropped or mixed up on the way."""
    state = torch.load(checkpoint, weights_only=True)
    frame, prompt = picture((48, 64)), Prompt(points=[(20, 30)])
    before = answer(model, frame, [prompt], multimask=True)
    state[part] = state[part] + 0.3 * torch.randn(state[part].shape, generator=torch.Generator().manual_seed(3))
    torch.save(state, tmp_path / "changed.pth")
    after = answer(sam.load(tmp_path / "changed.pth", CPU, "changed"), frame, [prompt], multimask=True)
    assert max(relative_error(a, b) for a, b in zip(after, before, strict=True)) > 1e-3
    del state[part]
    torch.save(state, tmp_path / "lacking.pth")
    with pytest.raises(CheckpointError, match="lacks "):
        sam.load(tmp_path / "lacking.pth", CPU, "lacking")


def test_what_does_not_belong_is_refused_by_name(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"image_encoder.surplus": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match=r"has what no sam model has: .*surplus"):
        sam.load(tmp_path / "more.pth", CPU, "more")
    wider = state["image_encoder.neck.2.weight"].repeat(2, 1, 1, 1)
    torch.save(state | {"image_encoder.neck.2.weight": wider}, tmp_path / "wider.pth")
    with pytest.raises(CheckpointError, match=r"of another shape .*neck.conv2"):
        sam.load(tmp_path / "wider.pth", CPU, "wider")


class RunsCode:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


def damaged(kind: str, good: bytes, path) -> None:
    if kind == "code":
        torch.save({"image_encoder.pos_embed": RunsCode()}, path)
    elif kind == "old code":
        torch.save({"model": RunsCode()}, path, _use_new_zipfile_serialization=False)
    elif kind == "a number":
        torch.save({"image_encoder.pos_embed": 3}, path)
    elif kind == "no dict":
        torch.save(torch.zeros(3), path)
    else:
        contents = {
            "truncated": good[: len(good) // 2],
            "empty": b"",
            "web page": b"<!DOCTYPE html><html>404</html>",
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "noise": bytes(range(256)) * 9,
        }
        path.write_bytes(contents[kind])


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("truncated", "truncated or no PyTorch checkpoint"),
        ("empty", "is empty"),
        ("web page", "is a web page"),
        ("pointer", "git lfs pull"),
        ("noise", "truncated or no PyTorch checkpoint"),
        ("code", "could run code, and was not loaded"),
        ("old code", "could run code, and was not loaded"),
        ("a number", "expected only tensors, got int"),
        ("no dict", "expected tensors by name, got Tensor"),
    ],
)
def test_damaged_and_hostile_files_are_refused_with_one_sentence(checkpoint, tmp_path, capsys, kind, sentence):
    path = tmp_path / "bad.pth"
    damaged(kind, checkpoint.read_bytes(), path)
    with pytest.raises(CheckpointError, match=sentence) as refusal:
        sam.load(path, CPU, "bad")
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "code from a checkpoint ran" not in capsys.readouterr().out


def test_files_in_the_old_format_of_torch_load(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert sam.load(tmp_path / "old.pth", CPU, "old").input_size == SIDE


def test_folders_that_are_not_models_are_refused(model, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        sam.load(tmp_path / "nowhere", CPU, "x")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        sam.load(tmp_path, CPU, "x")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        sam.load(tmp_path, CPU, "x")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is empty"):
        sam.load(tmp_path, CPU, "x")
    torch.save(model.network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"expected model_type sam, .*got 'bert'"):
        sam.load(tmp_path, CPU, "x")
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../secret"}}))
    with pytest.raises(CheckpointError, match="files of this folder"):
        sam.load(tmp_path, CPU, "x")


def test_a_config_cannot_make_code_be_fetched_or_run(model, tmp_path):
    model.network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    hostile = {"auto_map": {"AutoModel": "evil.Model"}, "attn_implementation": "someone/kernel"}
    config |= hostile
    config["vision_config"] |= hostile
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert sam.load(tmp_path, CPU, "x").network.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("build", ["build_sam_vit_b", "build_sam_vit_l", "build_sam_vit_h"])
def test_published_architectures_are_read_off_their_shapes(build):
    """On the meta device: shapes only, so that the real sizes cost nothing."""
    with torch.device("meta"):
        network = getattr(original(), build)()
    state = network.state_dict()
    encoder = network.image_encoder
    config = sam.architecture(state).vision_config
    assert config.num_hidden_layers == len(encoder.blocks)
    assert config.num_attention_heads == encoder.blocks[0].attn.num_heads
    assert config.image_size == 1024
    assert config.window_size == 14
    assert list(config.global_attn_indexes) == [i for i, b in enumerate(encoder.blocks) if b.window_size == 0]
    with torch.device("meta"):
        ours = sam.SamModel(sam.architecture(state))
    theirs = network.mask_decoder.transformer.layers[0]
    assert ours.mask_decoder.transformer.layers[0].layer_norm1.eps == theirs.norm1.eps
    assert ours.mask_decoder.transformer.layers[0].self_attn.num_attention_heads == theirs.self_attn.num_heads
    renamed = sam.named_for_transformers(state)
    renamed[sam._SHARED_AGAIN] = renamed[sam._SHARED]
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.state_dict().items()}


def test_another_family_is_refused_by_name(tmp_path):
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, tmp_path / "sam2.pt")
    with pytest.raises(CheckpointError, match="holds a model of the family sam2, not sam"):
        sam.load(tmp_path / "sam2.pt", CPU, "x")
    assert weights.family_of(tmp_path / "sam2.pt") == "sam2"


@pytest.fixture
def some_compiler(monkeypatch):
    """A program where the C++ compiler is looked for: the backends of these tests never call it."""
    monkeypatch.setenv("CXX", sys.executable)


@pytest.mark.usefixtures("some_compiler")
def test_a_compiled_encoder_gives_the_same_answer(model, checkpoint, monkeypatch):
    """With the graph captured as always, but run as it is: generating C++ takes half a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compiled = sam.load(checkpoint, ModelOptions(device="cpu", compile=True), "compiled")
    frame, prompt = picture((48, 64)), Prompt(points=[(20, 30)])
    for ours, theirs in zip(answer(compiled, frame, [prompt], True), answer(model, frame, [prompt], True), strict=True):
        assert relative_error(ours, theirs) < 1e-5


@pytest.mark.usefixtures("some_compiler")
def test_an_encoder_that_cannot_be_compiled_is_refused_at_load(checkpoint, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such backend\nand a page of explanation")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fail))
    with pytest.raises(ModelUnavailableError, match=r"torch\.compile failed on small .*load without it") as refusal:
        sam.load(checkpoint, ModelOptions(device="cpu", compile=True), "small")
    assert "\n" not in str(refusal.value)
