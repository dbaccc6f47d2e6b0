"""`sam-perception eval` as a person calls it: tables, files, and one sentence for what cannot work."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_perception import cli
from sam_perception.frame_files import SAMPLE_DIRECTORY as SAMPLE
from sam_perception.masks import encode_rle

OBJECTS = ("soup can", "green block")
KINDS = ("click_1", "click_3", "click_5", "box")


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two objects of the sample scene: one is easy, one is not."""
    folder = tmp_path_factory.mktemp("set") / "two_objects"
    shutil.copytree(SAMPLE, folder)
    objects = [item for item in json.loads((SAMPLE / "objects.json").read_text()) if item["name"] in OBJECTS]
    (folder / "objects.json").write_text(json.dumps(objects))
    return folder


@pytest.fixture
def coco_file(small_set: Path, tmp_path: Path) -> Path:
    """The same as COCO, colour alone, with a crowd."""
    labels = cv2.imread(str(small_set / "labels.png"), cv2.IMREAD_UNCHANGED)
    objects = json.loads((small_set / "objects.json").read_text())
    annotations = [
        {"id": i, "image_id": 5, "category_id": i, "segmentation": encode_rle(labels == item["id"]), "iscrowd": 0}
        for i, item in enumerate(objects)
    ]
    annotations.append({**annotations[0], "id": 9, "iscrowd": 1})
    categories = [{"id": i, "name": item["name"]} for i, item in enumerate(objects)]
    images = [{"id": 5, "file_name": "color.png", "width": 640, "height": 480}]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    shutil.copy(small_set / "color.png", tmp_path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        code = cli.main(["eval", *map(str, arguments)])
    except SystemExit as error:  # argparse's
        code = int(error.code or 0)
    return code, *capsys.readouterr()


def cells(out: str, start: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if line.startswith(start)]
    return line.split()


def test_tables_files_and_picture_agree(small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, small_set, "--model", "grabcut", "--out", tmp_path / "new" / "out")
    assert code == 0
    assert out.startswith("two_objects: 2 objects in 1 scene, with depth\n")
    folder = tmp_path / "new" / "out"
    assert {path.name for path in folder.iterdir()} == {"results.json", "objects.csv", "worst.png"}
    (model,) = json.loads((folder / "results.json").read_text())["models"]
    rows = list(csv.DictReader(io.StringIO((folder / "objects.csv").read_text())))
    assert [row["name"] for row in rows] == list(OBJECTS)
    for kind, title in zip(KINDS, ("1 click ", "3 clicks", "5 clicks", "box "), strict=True):
        values = [float(row[f"iou_{kind}"]) for row in rows]
        assert model["summary"][kind]["iou"]["mean"] == pytest.approx(np.mean(values), abs=1e-4)
        assert f"{np.mean(values):.3f}" in cells(out, title)
        assert [entry["iou"][kind] for entry in model["per_object"]] == pytest.approx(values, abs=1e-4)
    assert cells(out, "two_objects  soup can")[-4:] == [f"{float(rows[0][f'iou_{kind}']):.2f}" for kind in KINDS]
    assert "encode" in out and "one prompt" in out
    assert cv2.imread(str(folder / "worst.png")).shape[2] == 3


def test_json_is_results_json(small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, small_set, "--model", "grabcut", "--json", "--out", tmp_path)
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "results.json").read_text())


def test_a_baseline_stands_beside(small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, small_set, "--model", "grabcut", "--baseline", "grabcut", "--out", tmp_path)
    assert code == 0
    first, second = cells(out, "two_objects  soup can")[-3::2]
    assert first == second
    assert "IoU of each object, grabcut / grabcut" in out
    assert len((tmp_path / "objects.csv").read_text().splitlines()) == 1 + 2 * len(OBJECTS)


def test_coco_without_depth_says_so_and_counts_what_it_left_out(
    coco_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, coco_file, "--model", "grabcut")
    assert code == 0
    assert "instances: 2 objects in 1 scene, colour only: the set has no depth" in out
    assert "Note: 1 of 3 annotations were left out: they stand for crowds." in out


def test_rgb_only_takes_depth_away(small_set: Path, coco_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By box, where both sets have the same prompts, it is as if the set had no depth."""
    results = []
    for arguments in ([small_set, "--rgb-only"], [coco_file]):
        code, out, _ = run(capsys, *arguments, "--model", "grabcut", "--json")
        assert code == 0
        (model,) = json.loads(out)["models"]
        assert model["scenes_with_depth"] == 0
        results.append([entry["iou"]["box"] for entry in model["per_object"]])
    assert results[0] == pytest.approx(results[1])


def test_jitter_and_limits_reach_the_evaluation(small_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outs = [
        json.loads(
            run(capsys, small_set, "--model", "grabcut", "--objects", 1, "--jitter", 8, "--seed", s, "--json")[1]
        )
        for s in (0, 0, 1)
    ]
    found = [out["models"][0]["per_object"] for out in outs]
    assert len(found[0]) == 1
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{set}/absent"], ["absent", "no such file or folder"]),
        (["{tmp}"], ["annotations.json", "objects.json"]),
        (["{tmp}/lost.json"], ["elsewhere/color.png", "1 of 1 images", "--image-root"]),
        (["{tmp}/lost.json", "--image-root", "{set}"], ["elsewhere/color.png", "--image-root"]),
        (["{tmp}/empty.json"], ["empty.json", "no object to segment"]),
        (["{set}", "--min-area", "300000"], ["--min-area"]),
        (["{set}", "--model", "no_such_model"], ["no_such_model"]),
        (["{set}", "--baseline", "no_such_model"], ["no_such_model"]),
        (["{set}", "--scenes", "0"], ["--scenes", "1 or more"]),
        (["{set}", "--scenes", "1", "--objects", "1"], ["--objects", "not allowed"]),
        (["{set}", "--jitter", "-2"], ["--jitter", "0 or more"]),
        (["{set}", "--seed", "-1"], ["--seed", "0 or more"]),
        (["{set}", "--out", "{tmp}/lost.json"], ["--out", "folder"]),
    ],
)
def test_what_cannot_work_is_one_sentence_and_exit_code_2(
    small_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: list[str],
) -> None:
    content = {"images": [{"id": 1, "file_name": "elsewhere/color.png"}], "annotations": []}
    (tmp_path / "empty.json").write_text(json.dumps(content))
    content["annotations"] = [{"id": 1, "image_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}]
    (tmp_path / "lost.json").write_text(json.dumps(content))
    places = {"set": small_set, "tmp": tmp_path}
    code, out, err = run(capsys, *(argument.format(**places) for argument in arguments), "--device", "cpu")
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err
