"""The `sam-perception` command as a person calls it: a process of its own, files in, files out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_perception import cli
from sam_perception.frame_files import SAMPLE_DIRECTORY as SAMPLE

COLOR, DEPTH, CAMERA = SAMPLE / "color.png", SAMPLE / "depth.png", SAMPLE / "camera.json"
OBJECTS = {item["name"]: item for item in json.loads((SAMPLE / "objects.json").read_text())}
LABELS = cv2.imread(str(SAMPLE / "labels.png"), cv2.IMREAD_UNCHANGED)
EASY = "soup can"
NEEDS_TORCH = pytest.mark.skipif(find_spec("transformers") is None, reason="torch and transformers are not installed")


SEGMENT = ("segment", "--model", "grabcut")  # the quickest to load; what the README lists is tested with the default


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sam_perception", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def click(name: str = EASY) -> list[str]:
    x, y = OBJECTS[name]["click"]
    return ["--point", f"{x},{y}"]


def box(name: str = EASY) -> list[str]:
    return ["--box", ",".join(map(str, OBJECTS[name]["box"]))]


def iou_with_truth(path: Path, name: str) -> float:
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(mask)) <= {0, 255}
    found, truth = mask == 255, LABELS == OBJECTS[name]["id"]
    return np.count_nonzero(found & truth) / np.count_nonzero(found | truth)


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    header, _, body = path.read_bytes().partition(b"end_header\n")
    assert b"format binary_little_endian 1.0" in header
    rows = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)]))
    assert f"element vertex {len(rows)}\n".encode() in header
    return rows["xyz"], rows["rgb"]


def test_segment_writes_what_the_readme_lists(tmp_path: Path) -> None:
    out = tmp_path / "result"
    second = "squeeze bottle"
    asked = [*click(), "--next", *box(second)]
    done = run("segment", "--color", COLOR, "--depth", DEPTH, "--camera", CAMERA, *asked, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {path.name for path in out.iterdir()} == {
        *("overlay.png", "result.json", "mask_1.png", "mask_2.png", "cloud_1.ply", "cloud_2.ply")
    }
    assert iou_with_truth(out / "mask_1.png", EASY) > 0.85
    assert iou_with_truth(out / "mask_2.png", second) > 0.85
    result = json.loads((out / "result.json").read_text())
    assert result["missing"] == []
    assert not result["embedding_cached"]
    assert result["encode_ms"] > 0
    assert result["decode_ms"] > 0
    for entry, name in zip(result["objects"], (EASY, second), strict=True):
        mask = cv2.imread(str(out / entry["mask"]), cv2.IMREAD_UNCHANGED) > 0
        rows, columns = np.nonzero(mask)
        roi = entry["roi"]
        assert (roi["x_offset"], roi["y_offset"]) == (columns.min(), rows.min())
        assert (roi["width"], roi["height"]) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert entry["area_px"] == np.count_nonzero(mask)
        assert 0 <= entry["score"] <= 1
        np.testing.assert_allclose(entry["centroid_m"], OBJECTS[name]["visible_centroid_m"], atol=0.01)
        rotation = np.array(entry["box"]["rotation"])
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-4)
        points, _ = read_ply(out / entry["cloud"])
        assert len(points) == entry["points"]
        local = (points - entry["box"]["center_m"]) @ rotation
        inside = (np.abs(local) <= np.array(entry["box"]["size_m"]) / 2 + 0.005).all(axis=1)
        assert inside.mean() > 0.95


def test_cloud_has_the_colours_of_its_pixels_and_lies_on_the_object(tmp_path: Path) -> None:
    done = run(*SEGMENT, "--color", COLOR, "--depth", DEPTH, "--camera", CAMERA, *click(), "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    points, colors = read_ply(tmp_path / "cloud_1.ply")
    camera = json.loads(CAMERA.read_text())
    x = np.rint(points[:, 0] / points[:, 2] * camera["fx"] + camera["cx"]).astype(int)
    y = np.rint(points[:, 1] / points[:, 2] * camera["fy"] + camera["cy"]).astype(int)
    np.testing.assert_array_equal(colors, cv2.imread(str(COLOR))[y, x, ::-1])
    assert (LABELS[y, x] == OBJECTS[EASY]["id"]).mean() > 0.95


def test_overlay_shows_the_image_with_the_mask_tinted(tmp_path: Path) -> None:
    assert run(*SEGMENT, "--color", COLOR, *box(), "--out", tmp_path).returncode == 0
    overlay, color = cv2.imread(str(tmp_path / "overlay.png")), cv2.imread(str(COLOR))
    mask = cv2.imread(str(tmp_path / "mask_1.png"), cv2.IMREAD_UNCHANGED) > 0
    assert overlay.shape == color.shape
    changed = (overlay != color).any(axis=2)
    assert changed[mask].mean() > 0.98
    far = cv2.dilate(mask.astype(np.uint8), np.ones((61, 61))) == 0
    assert not changed[far].any()


def test_colour_alone_works_and_says_what_is_missing(tmp_path: Path) -> None:
    done = run(*SEGMENT, "--color", COLOR, *box(), "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--depth" in done.stdout
    assert "--camera" in done.stdout
    assert iou_with_truth(tmp_path / "mask_1.png", EASY) > 0.85
    assert not list(tmp_path.glob("*.ply"))
    assert len(json.loads((tmp_path / "result.json").read_text())["missing"]) == 2


def test_json_is_the_file_and_nothing_else(tmp_path: Path) -> None:
    done = run(*SEGMENT, "--color", COLOR, "--depth", DEPTH, "--camera", CAMERA, *box(), "--out", tmp_path, "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "result.json").read_text())


def test_grasps_lie_at_their_objects_and_are_written_as_matrix_and_quaternion(tmp_path: Path) -> None:
    names = ("navy mug", "soup can", "green block")
    files = ["--color", COLOR, "--depth", DEPTH, "--camera", CAMERA]
    asked = [*box(names[0]), "--next", *box(names[1]), "--next", *box(names[2])]
    done = run(*SEGMENT, *files, *asked, "--grasps", 3, "--gripper", "robotiq_2f85", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["gripper"], result["planner"]) == ("robotiq_2f85", "antipodal")
    for entry, name in zip(result["objects"], names, strict=True):
        grasps = entry["grasps"]
        assert 1 <= len(grasps) <= 3, (name, entry["grasp_reasons"])
        assert [grasp["quality"] for grasp in grasps] == sorted((g["quality"] for g in grasps), reverse=True)
        for grasp in grasps:
            pose = np.array(grasp["camera_T_tcp"])
            off = np.linalg.norm(pose[:3, 3] - OBJECTS[name]["position_m"])
            assert off < np.linalg.norm(entry["box"]["size_m"]) / 2 + 0.01, name
            in_box = np.array(entry["box"]["rotation"]).T @ (pose[:3, 3] - entry["box"]["center_m"])
            assert (np.abs(in_box) < np.array(entry["box"]["size_m"]) / 2 + 0.01).all(), name
            assert grasp["position_m"] == pose[:3, 3].tolist()
            assert grasp["approach"] == pose[:3, 2].tolist()
            assert 0 < grasp["width_m"] <= 0.085
            *xyz, w = grasp["orientation_xyzw"]
            angle, length = 2 * np.arctan2(np.linalg.norm(xyz), w), max(np.linalg.norm(xyz), 1e-12)
            turn, _ = cv2.Rodrigues(angle / length * np.array(xyz))
            np.testing.assert_allclose(turn, pose[:3, :3], atol=1e-4)


def test_grasps_are_a_line_for_each_object(tmp_path: Path) -> None:
    """The bowl is wider than any gripper, and is held by its rim."""
    files = ["--color", COLOR, "--depth", DEPTH, "--camera", CAMERA]
    done = run(*SEGMENT, *files, *box("teal bowl"), "--grasps", "--planner", "top_down", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "result.json").read_text())["objects"]
    line = done.stdout.splitlines()[1].strip()
    assert line == "; ".join(entry["grasp_reasons"]) if not entry["grasps"] else "best: quality" in line
    assert "top_down grasps" in done.stdout


def test_an_object_without_depth_on_a_table_is_estimated_and_no_error(tmp_path: Path) -> None:
    """As of glass: the table around it is measured, the object is not."""
    depth = cv2.imread(str(DEPTH), cv2.IMREAD_UNCHANGED)
    around = cv2.dilate((LABELS == OBJECTS[EASY]["id"]).astype(np.uint8), np.ones((15, 15)))
    depth[around > 0] = 0
    cv2.imwrite(str(tmp_path / "depth.png"), depth)
    files = ["--color", COLOR, "--depth", tmp_path / "depth.png", "--camera", CAMERA]
    done = run(*SEGMENT, *files, *box(), "--grasps", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "out" / "result.json").read_text())["objects"]
    assert any("estimated" in reason for reason in entry["reasons"])
    np.testing.assert_allclose(entry["centroid_m"], OBJECTS[EASY]["position_m"], atol=0.03)
    assert entry["grasps"] or entry["grasp_reasons"]


def test_multimask_writes_candidates_best_first(tmp_path: Path) -> None:
    name = "navy mug"
    files = ["--color", COLOR, "--depth", DEPTH, "--camera", CAMERA]
    done = run(*SEGMENT, *files, *click(name), "--multimask", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "result.json").read_text())["objects"]
    candidates = entry.get("candidates", [entry])
    scores = [candidate["score"] for candidate in candidates]
    assert scores == sorted(scores, reverse=True)
    assert entry["score"] == scores[0]
    assert all((tmp_path / candidate["mask"]).exists() for candidate in candidates)


def test_background_point_takes_part_of_the_box_away(tmp_path: Path) -> None:
    x, y = OBJECTS[EASY]["click"]
    assert run(*SEGMENT, "--color", COLOR, *box(), "--out", tmp_path).returncode == 0
    assert cv2.imread(str(tmp_path / "mask_1.png"), 0)[y, x] == 255
    assert run(*SEGMENT, "--color", COLOR, *box(), "--point", f"{x},{y},0", "--out", tmp_path).returncode == 0
    assert cv2.imread(str(tmp_path / "mask_1.png"), 0)[y, x] == 0


def test_a_second_answer_replaces_the_first_and_leaves_other_files_alone(tmp_path: Path) -> None:
    files = ["--color", COLOR, "--depth", DEPTH, "--camera", CAMERA]
    assert run(*SEGMENT, *files, *box(), "--next", *box("teal bowl"), "--out", tmp_path).returncode == 0
    (tmp_path / "mask_99.png").write_text("somebody else's")
    assert run(*SEGMENT, "--color", COLOR, *box(), "--out", tmp_path).returncode == 0
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"mask_1.png", "mask_99.png", "overlay.png", "result.json"}


@pytest.fixture
def bad_files(tmp_path: Path) -> Path:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "truncated.png").write_bytes(COLOR.read_bytes()[: COLOR.stat().st_size // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("this is no picture")
    depth = cv2.imread(str(DEPTH), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(folder / "small_depth.png"), depth[::2, ::2])
    cv2.imwrite(str(folder / "depth8.png"), (depth // 256).astype(np.uint8))
    cv2.imwrite(str(folder / "no_depth.png"), np.zeros_like(depth))
    camera = json.loads(CAMERA.read_text())
    (folder / "no_fx.json").write_text(json.dumps({key: value for key, value in camera.items() if key != "fy"}))
    (folder / "other_size.json").write_text(json.dumps({**camera, "width": 1280, "height": 720}))
    (folder / "broken.json").write_text("{")
    (folder / "corrupt.pt").write_bytes(os.urandom(4096))
    (folder / "a_file").touch()
    (folder / "gripper.yaml").write_text("finger_length_m: 0.06\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--color", "{bad}/truncated.png"], ["truncated.png", "damaged"]),
        (["--color", "{bad}/empty.png"], ["empty.png"]),
        (["--color", "{bad}/text.png"], ["text.png", "image"]),
        (["--color", "{bad}/absent.png"], ["absent.png", "No such file"]),
        (["--depth", "{bad}/small_depth.png"], ["small_depth.png", "640x480", "320x240"]),
        (["--depth", "{bad}/depth8.png"], ["depth8.png", "16-bit", "8 bits"]),
        (["--depth", "{bad}/truncated.png"], ["truncated.png"]),
        (["--camera", "{bad}/no_fx.json"], ["no_fx.json", "fy", "missing"]),
        (["--camera", "{bad}/absent.yaml"], ["absent.yaml", "No such file"]),
        (["--camera", "{bad}/broken.json"], ["broken.json", "JSON"]),
        (["--camera", "{bad}/other_size.json"], ["other_size.json", "640x480", "1280x720"]),
        (["--point", "9999,10"], ["Prompt.points[1]", "640x480", "(9999, 10)"]),
        (["--point", "-1,10"], ["Prompt.points[1]", "(-1, 10)"]),
        (["--point", "nan,10"], ["Prompt.points", "finite"]),
        (["--box", "10,10,10,50"], ["Prompt.box", "x_min < x_max"]),
        (["--box", "700,10,800,50"], ["Prompt.box", "overlaps"]),
        (["--model", "sam_vit_x"], ["sam_vit_x", "sam_vit_b"]),
        (["--model", "sam_vit_b"], ["sam-perception models download sam_vit_b"]),
        pytest.param(["--model", "{bad}/corrupt.pt"], ["corrupt.pt"], marks=NEEDS_TORCH),
        (["--out", "{bad}/a_file"], ["a_file", "folder"]),
        (["--device", "cuda:7"], ["cuda"]),
        (["--next"], ["--next"]),
        (["--camera", None], ["intrinsics are missing", "--camera"]),
        (["--grasps", "none"], ["--grasps", "whole number", "'none'"]),
        (["--grasps", "0"], ["--grasps", "whole number"]),
        (["--grasps", "3", "--gripper", "hand"], ["gripper", "franka_hand", "'hand'"]),
        (["--grasps", "3", "--gripper", "{bad}/gripper.yaml"], ["gripper.yaml", "finger_width_m", "missing"]),
        (["--grasps", "3", "--planner", "luck"], ["planner", "antipodal", "'luck'"]),
        (["--planner", "antipodal"], ["--planner", "--grasps"]),
        (["--gripper", "generic"], ["--gripper", "--grasps"]),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(bad_files: Path, arguments: list, words: list[str]) -> None:
    """Each row changes one option of a call that would work; None leaves it out."""
    options = {"--color": str(COLOR), "--depth": str(DEPTH), "--camera": str(CAMERA), "--out": str(bad_files / "out")}
    option, *value = arguments
    options.pop(option, None)
    changed = [] if value == [None] else [option, *(part.format(bad=bad_files) for part in value)]
    unchanged = [part for pair in options.items() for part in pair]
    done = run(*SEGMENT, *unchanged, *click(), *changed, SAM_PERCEPTION_HOME=str(bad_files))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_no_depth_inside_the_mask_is_an_error_but_the_masks_are_written(bad_files: Path) -> None:
    out = bad_files / "out"
    files = ["--color", COLOR, "--depth", bad_files / "no_depth.png", "--camera", CAMERA]
    done = run(*SEGMENT, *files, *box(), "--out", out)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no depth inside the mask of object 1" in done.stderr
    assert iou_with_truth(out / "mask_1.png", EASY) > 0.85
    (entry,) = json.loads((out / "result.json").read_text())["objects"]
    assert "centroid_m" not in entry
    assert entry["reasons"]


def test_grasps_without_depth_are_refused_in_a_sentence(tmp_path: Path) -> None:
    done = run(*SEGMENT, "--color", COLOR, *box(), "--grasps", "--out", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1
    for word in ("--grasps", "--depth", "--camera"):
        assert word in done.stderr


@pytest.mark.parametrize("arguments", [["--point", "10"], ["--point", "a,b"], ["--point", "1,2,7"], ["--box", "1,2,3"]])
def test_unreadable_prompt_shows_the_expected_form(tmp_path: Path, arguments: list[str]) -> None:
    done = run(*SEGMENT, "--color", COLOR, *arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert "expected" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_prompt_is_asked_for(tmp_path: Path) -> None:
    done = run(*SEGMENT, "--color", COLOR, "--out", tmp_path)
    assert (done.returncode, "--point" in done.stderr) == (2, True)


def test_wrong_hash_is_found_by_verify(tmp_path: Path) -> None:
    from sam_perception.models import checkpoints

    checkpoint = checkpoints.find("sam2.1_hiera_tiny")
    path = tmp_path / "checkpoints" / checkpoint.name
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(checkpoint.size_bytes or 0)
    done = run("models", "verify", "sam2.1_hiera_tiny", SAM_PERCEPTION_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "wrong hash" in done.stdout
    assert str(checkpoint.sha256) in done.stdout


def test_models_list_names_every_checkpoint_and_what_is_here(tmp_path: Path) -> None:
    done = run("models", "list", SAM_PERCEPTION_HOME=str(tmp_path))
    assert done.returncode == 0
    for name in ("tabletop", "grabcut", "sam_vit_b_01ec64.pth", "sam2_hiera_large.pt", "sam2.1_hiera_base_plus.pt"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
        assert ("built in" in line) == (name in ("tabletop", "grabcut"))


@pytest.mark.parametrize(("model", "least_by_click", "least_by_box"), [("auto", 0.80, 0.85), ("grabcut", 0.75, 0.90)])
def test_demo_reports_agreement_with_ground_truth(
    tmp_path: Path, model: str, least_by_click: float, least_by_box: float
) -> None:
    if model == "auto":
        pytest.importorskip("transformers", reason="tabletop needs it")
    done = run("demo", "--model", model, "--out", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    (mean,) = [line.split() for line in done.stdout.splitlines() if line.startswith("mean")]
    assert float(mean[1]) > least_by_click
    assert float(mean[2]) > least_by_box
    assert "9 of 10 clicks found it encoded" in done.stdout
    for name in ("overlay.png", "mask_1.png", "cloud_1.ply", "nodes.log"):
        assert (tmp_path / "demo" / name).stat().st_size > 100
    assert "Traceback" not in (tmp_path / "demo" / "nodes.log").read_text()


def test_bench_prints_ratios_of_one_run_as_json() -> None:
    done = run("bench", "deprojection", "prompting", "--model", "grabcut", "--repeats", "1", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    loop = next(row for row in rows if "loop over" in row["way"])
    own = next(row for row in rows if row["subject"] == loop["subject"])
    assert loop["ratio"] == pytest.approx(loop["median_ms"] / own["median_ms"])
    warm, again = [row for row in rows if row["subject"].startswith("grabcut")]
    assert "0 encodes" in warm["note"]
    assert again["note"] == "1 encodes"


def test_importing_the_command_imports_no_torch() -> None:
    code = "import sys, sam_perception.cli; assert 'torch' not in sys.modules and 'mujoco' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_output_into_a_closed_pipe_is_no_error() -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    script = f"set -o pipefail; {sys.executable} -m sam_perception models list | head -c 1 >/dev/null"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""


def test_main_returns_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "verify", "no_such_model"]) == 2
    assert "no_such_model" in capsys.readouterr().err
