"""A name or a path becomes a model, or a sentence that says what to do."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import sam_perception.models as models
from sam_perception.errors import CheckpointError, ModelUnavailableError
from sam_perception.models import ModelOptions, available_models, checkpoints, load_model

CPU = ModelOptions(device="cpu")
ROOT = Path(models.__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_PERCEPTION_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_importing_the_models_imports_no_torch():
    script = "import sys, sam_perception.models as m; m.available_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_a_checkpoint_that_is_not_there_names_the_command_that_fetches_it():
    for name in ("sam2.1_hiera_tiny.pt", "sam2.1_hiera_tiny", "sam2.1-hiera-tiny"):
        with pytest.raises(CheckpointError, match=r"run `sam-perception models download sam2\.1_hiera_tiny\.pt`"):
            load_model(name, CPU)


def test_a_checkpoint_that_is_cut_short_is_not_loaded():
    path = checkpoints.local_path(checkpoints.find("sam_vit_b"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK")
    with pytest.raises(
        CheckpointError, match=r"expected 375042383 bytes, got 2.*models download sam_vit_b_01ec64\.pth"
    ):
        load_model("sam_vit_b", CPU)


def test_a_checkpoint_of_another_hash_is_not_loaded():
    """As long as the real one, but not it."""
    checkpoint = checkpoints.find("sam2_hiera_tiny")
    path = checkpoints.local_path(checkpoint)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(checkpoint.size_bytes)
    pytest.importorskip("torch")
    with pytest.raises(CheckpointError, match=r"expected the sha256 65b50056.*models download sam2_hiera_tiny\.pt"):
        load_model("sam2_hiera_tiny", CPU)


def test_the_default_is_tabletop_and_grabcut_where_torch_is_not_installed(monkeypatch):
    pytest.importorskip("transformers")
    assert load_model(models.DEFAULT_MODEL, CPU).name == "tabletop"
    find_spec = models.importlib.util.find_spec
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    assert load_model(models.DEFAULT_MODEL, CPU).name == "grabcut"


def test_an_unknown_name_lists_those_like_it_and_those_that_need_nothing():
    with pytest.raises(
        ModelUnavailableError, match=r"did you mean .*sam2\.1_hiera_small\.pt.*download there are tabletop, grabcut"
    ):
        load_model("sam2.1_hiera_smal", CPU)
    with pytest.raises(ModelUnavailableError, match="did you mean grabcut"):
        load_model("grabcuts", CPU)
    with pytest.raises(ModelUnavailableError, match="did you mean tabletop"):
        load_model("table_top", CPU)
    with pytest.raises(ModelUnavailableError, match=r"'yolo' is unknown; .*tabletop, grabcut"):
        load_model("yolo", CPU)


@pytest.mark.parametrize("spec", ["./nothing.pth", "/no/such/folder", "nothing.safetensors"])
def test_a_path_that_is_not_there_is_called_a_path(spec):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_model(spec, CPU)


def test_a_family_without_weights_is_loaded_by_its_name(monkeypatch):
    module = types.ModuleType("family_without_weights")
    module.load = lambda source, options, name: (source, options, name)
    monkeypatch.setitem(sys.modules, "family_without_weights", module)
    monkeypatch.setitem(models.WEIGHTLESS, "plain", "family_without_weights")
    assert load_model("plain", CPU) == (None, CPU, "plain")
    assert load_model("plain") == (None, ModelOptions(), "plain")


def test_every_name_that_is_listed_is_known(tmp_path):
    infos = {info.name: info for info in available_models()}
    assert infos["grabcut"].ready
    assert infos["grabcut"].size_bytes == 0
    assert infos["tabletop"].ready
    assert 1_000_000 < infos["tabletop"].size_bytes < 12_500_000
    assert len(infos) == 11 + len(models.WEIGHTLESS) + len(models.SHIPPED)
    assert set(models.WEIGHTLESS) | {infos[name].family for name in models.SHIPPED} <= {"grabcut", *models.FAMILIES}
    for checkpoint in checkpoints.CHECKPOINTS:
        assert not infos[checkpoint.name].ready
        assert infos[checkpoint.name].family in models.FAMILIES


def test_files_and_folders_of_each_family_load_by_their_path(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import test_models_sam as small_sam

    network = small_sam.small_original()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    model = load_model(str(tmp_path / "mine.pth"), CPU)
    assert type(model).__name__ == "Sam"
    assert model.name == str(tmp_path / "mine.pth")
    assert load_model("mine.pth", CPU).device == "cpu"
    model.network.save_pretrained(tmp_path / "folder")
    assert type(load_model("./folder", CPU)).__name__ == "Sam"
    model.close()


def test_a_downloaded_checkpoint_goes_before_a_path_of_its_name(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import dataclasses

    import test_models_sam as small_sam

    torch.save(small_sam.small_original().state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
    assert load_model("sam_vit_b_01ec64.pth", CPU).name == "sam_vit_b_01ec64.pth"  # nothing downloaded: the file here
    monkeypatch.setattr(checkpoints, "local_path", lambda checkpoint: tmp_path / "sam_vit_b_01ec64.pth")
    content = (tmp_path / "sam_vit_b_01ec64.pth").read_bytes()
    published = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    small = dataclasses.replace(checkpoints.find("sam_vit_b"), **published)
    monkeypatch.setattr(checkpoints, "find", lambda name: small)
    (tmp_path / "sam_vit_b").mkdir()
    assert load_model("sam_vit_b", CPU).name == "sam_vit_b_01ec64.pth"


@pytest.mark.parametrize(
    ("key", "family"),
    [("mask_decoder.hf_token.weight", "sam_hq"), ("image_encoder.patch_embed.seq.0.c.weight", "mobile_sam")],
)
def test_relatives_that_are_not_loaded_are_called_by_their_name(tmp_path, key, family):
    torch = pytest.importorskip("torch")
    torch.save({key: torch.zeros(1), "image_encoder.neck.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    if family in models.FAMILIES:
        pytest.skip(f"{family} is loaded by now")
    with pytest.raises(CheckpointError, match=f"holds a {family} model, which this version does not load"):
        load_model("./other.pth", CPU)
    torch.save({"backbone.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"is no SAM checkpoint: its tensors are named backbone\.weight"):
        load_model("./other.pth", CPU)


def test_an_impossible_device_is_refused_before_the_file_is_read(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "x.pth").write_bytes(b"junk")
    with pytest.raises(ModelUnavailableError, match="device 'tpu'"):
        load_model("./x.pth", ModelOptions(device="tpu"))
