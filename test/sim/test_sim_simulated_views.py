"""Rendered views and their truth: poses, boxes, depth and labels agree, and only the seed decides them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_perception import cli
from sam_perception.errors import ModelUnavailableError
from sam_perception.frame_files import read_frame, read_label_image
from sam_perception.geometry.rays import deproject_pixels
from sam_perception.sim import objects
from sam_perception.sim.dataset import DatasetPlan
from sam_perception.sim.labelled_views import LabelledView, StageTimes
from sam_perception.sim.library import import_mujoco
from sam_perception.sim.objects_parts import Draw
from sam_perception.sim.scene import Split
from sam_perception.sim.simulated_views import FAMILIES, simulate

PLAN = DatasetPlan(scenes=3, seed=21, views=2, width=320, height=240)


@pytest.fixture(scope="module", autouse=True)
def _needs_mujoco() -> None:
    try:
        import_mujoco()
    except ModelUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def views() -> list[LabelledView]:
    return list(simulate(PLAN.shares[0], StageTimes()))


def measured_points(view: LabelledView, label: int) -> np.ndarray:
    """(N, 3) what the noisy depth says of an object's pixels, in the camera's frame, metres."""
    rows, columns = np.nonzero((view.labels == label) & (view.frame.depth > 0))
    depth_m = view.frame.depth[rows, columns] * view.frame.depth_scale_m
    return deproject_pixels(np.stack([columns, rows], axis=1), depth_m, view.frame.intrinsics)


def test_every_scene_has_its_views_in_order(views):
    assert [(view.scene, view.view) for view in views] == [(scene, view) for scene in range(3) for view in range(2)]
    assert all(view.labels.shape == view.frame.size == (240, 320) for view in views)
    poses = np.array([view.table_T_camera for view in views])
    assert len(np.unique(poses.round(6), axis=0)) == len(views)


def test_depth_inside_a_label_lies_in_the_box_that_the_pose_says(views):
    inside = []
    for view in views:
        for truth in view.objects:
            points = measured_points(view, truth.label)
            if len(points) >= 100:
                in_object = (points - truth.camera_T_object[:3, 3]) @ truth.camera_T_object[:3, :3]
                inside.append((np.abs(in_object) < truth.size_m / 2 + 0.02).all(axis=1).mean())
    assert len(inside) > 10
    assert np.median(inside) > 0.95 and np.percentile(inside, 20) > 0.8


def test_visible_centroid_is_that_of_the_measured_points_but_for_their_noise(views):
    off_m = []
    for view in views:
        for truth in view.objects:
            points = measured_points(view, truth.label)
            assert np.isnan(truth.visible_centroid_m).any() == (not (view.labels == truth.label).any())
            if len(points) > 0.9 * np.count_nonzero(view.labels == truth.label) and len(points) >= 100:
                off_m.append(np.linalg.norm(points.mean(axis=0) - truth.visible_centroid_m))
    assert len(off_m) > 5 and np.median(off_m) < 0.006


def test_objects_lie_on_the_table_and_not_in_it(views):
    for view in views:
        for truth in view.objects:
            height_m = (view.table_T_camera @ truth.camera_T_object)[2, 3]
            assert 0 < height_m < 0.6, truth.name


def test_a_fraction_is_that_of_a_lone_object_or_less(views):
    for view in views:
        for truth in view.objects:
            seen = np.count_nonzero(view.labels == truth.label)
            assert 0 <= truth.visible_fraction <= 1
            assert (truth.visible_fraction > 0) == (seen > 0), truth.name


def test_what_was_rendered_before_changes_no_byte(views):
    share = PLAN.shares[0]
    alone = list(simulate(dataclasses.replace(share, scenes=range(2, 3)), StageTimes()))
    for ours, theirs in zip(views[4:], alone, strict=True):
        assert np.array_equal(ours.frame.color, theirs.frame.color)
        assert np.array_equal(ours.frame.depth, theirs.frame.depth)
        assert np.array_equal(ours.labels, theirs.labels)
        for mine, other in zip(ours.objects, theirs.objects, strict=True):
            assert (mine.label, mine.name, mine.visible_fraction) == (other.label, other.name, other.visible_fraction)
            assert np.array_equal(mine.camera_T_object, other.camera_T_object)


def test_every_family_is_a_category_once():
    assert len(set(FAMILIES)) == len(FAMILIES)
    for split in Split:
        shapes = objects.make_objects(Draw(split, np.random.default_rng(5)), 60)
        assert {shape.family for shape in shapes} <= set(FAMILIES)


def test_render_writes_a_frame_that_segment_reads(tmp_path, capsys):
    arguments = ["--seed", "21", "--width", "320", "--height", "240"]
    assert cli.main(["sim", "render", *arguments, "--out", str(tmp_path / "frame")]) == 0
    printed = capsys.readouterr().out
    frame = read_frame(*(tmp_path / "frame" / name for name in ("color.png", "depth.png", "camera.json")))
    labels = read_label_image(tmp_path / "frame" / "labels.png")
    described = json.loads((tmp_path / "frame" / "objects.json").read_text())
    assert frame.intrinsics.size == labels.shape == (240, 320)
    for item in described:
        x, y = item["click"]
        x_min, y_min, x_max, y_max = item["box"]
        assert labels[y, x] == item["id"]
        assert np.count_nonzero(labels == item["id"]) == item["area"]
        assert np.count_nonzero(labels[y_min:y_max, x_min:x_max] == item["id"]) == item["area"]
    command = printed.split("sam-perception ", 1)[1].split()
    assert cli.main(command) == 0
    assert (tmp_path / "frame" / "answer" / "overlay.png").exists()


def test_dataset_command_writes_what_coco_reads_and_render_shows_its_first_view(tmp_path, capsys):
    common = ["--seed", "3", "--split", "held-out", "--width", "160", "--height", "120"]
    for folder in ("set", "again"):
        arguments = ["sim", "dataset", "--scenes", "2", "--views", "1", "--workers", "1", *common]
        assert cli.main([*arguments, "--out", str(tmp_path / folder)]) == 0
    assert "2 scenes, 2 of them rendered now" in capsys.readouterr().out
    written = {path.relative_to(tmp_path / "set"): path.read_bytes() for path in files(tmp_path / "set")}
    assert written == {path.relative_to(tmp_path / "again"): path.read_bytes() for path in files(tmp_path / "again")}
    assert cli.main(["sim", "render", *common, "--out", str(tmp_path / "frame")]) == 0
    first = cv2.imread(str(tmp_path / "set" / "images" / "000000-0.png"))
    assert np.array_equal(cv2.imread(str(tmp_path / "frame" / "color.png")), first)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
