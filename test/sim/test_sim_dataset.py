"""Data sets of views: what COCO's own library reads, and the bytes after a crash, a resume and two workers."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.sim import coco, dataset
from sam_perception.sim.dataset import DatasetPlan, write_dataset
from sam_perception.sim.labelled_views import LabelledView, ObjectTruth

FAMILIES = ("box", "can", "ring")
WIDTH, HEIGHT = 96, 80
PLAN = DatasetPlan(scenes=90, views=2, width=WIDTH, height=HEIGHT)  # three worlds, the last of ten scenes
INTRINSICS = CameraIntrinsics(WIDTH, HEIGHT, 60.0, 61.0, 47.0, 40.5, "plumb_bob", (0.1, -0.2, 0.001, 0.002, 0.0))


def views(share, times):
    """Three rectangles in places that the scene and the view decide, the third a ring around nothing."""
    for scene, view in itertools.product(share.scenes, range(share.plan.views)):
        rng = np.random.default_rng([share.plan.seed, scene, view])
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        x, y = rng.integers(0, 20, 2)
        labels[y : y + 12, x : x + 9] = 1
        labels[60:67, 3:11] = 2  # 56 pixels: too few
        labels[20:60, 40:80] = 3
        labels[30:40, 50:60] = 0
        color = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        depth = rng.integers(0, 3000, (HEIGHT, WIDTH), np.uint16)
        pose = np.eye(4)
        pose[:3, 3] = x, y, scene
        truths = tuple(
            ObjectTruth(label, f"thing {label}", family, np.array([0.1, 0.2, 0.3]), pose, 0.5, np.zeros(3))
            for label, family in enumerate(FAMILIES, 1)
        )
        with times.stage("rendering"):
            yield LabelledView(scene, view, RgbdFrame(color, depth, INTRINSICS), labels, np.eye(4), truths)


def views_until_scene_50(share, times):
    for view in views(share, times):
        if view.scene == 50:
            raise PerceptionError("the lights went out")
        yield view


def views_of_a_dying_process(share, times):
    os._exit(9)
    yield


def write(folder: Path, plan: DatasetPlan = PLAN, source=views, **options) -> dataset.DatasetSummary:
    return write_dataset(folder, plan, source, FAMILIES, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "set"
    write(folder)
    return folder


def test_coco_api_loads_masks_boxes_and_areas_as_they_are_in_the_label_images(written):
    api = pytest.importorskip("pycocotools.coco").COCO(written / "annotations.json")
    assert len(api.getImgIds()) == 180
    assert [entry["name"] for entry in api.loadCats(api.getCatIds())] == list(FAMILIES)
    for image in api.loadImgs(api.getImgIds()[::17]):
        labels = cv2.imread(str(written / image["labels_file_name"]), cv2.IMREAD_UNCHANGED)
        found = api.loadAnns(api.getAnnIds(image["id"]))
        assert [entry["label"] for entry in found] == [1, 3]
        for entry in found:
            truth = labels == entry["label"]
            assert np.array_equal(api.annToMask(entry), truth)
            assert entry["area"] == np.count_nonzero(truth)
            (ys, xs) = np.nonzero(truth)
            assert entry["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            assert api.loadCats(entry["category_id"])[0]["name"] == FAMILIES[entry["label"] - 1]


def test_ids_are_unique_and_images_lie_where_they_are_said_to(written):
    content = json.loads((written / "annotations.json").read_text())
    for key in ("images", "annotations"):
        ids = [entry["id"] for entry in content[key]]
        assert len(set(ids)) == len(ids) and min(ids) > 0
    image = content["images"][101]
    assert (image["scene"], image["view"], image["file_name"]) == (50, 1, "images/000050-1.png")
    frame = next(v for v in views(PLAN.shares[1], dataset.StageTimes()) if (v.scene, v.view) == (50, 1)).frame
    assert np.array_equal(cv2.imread(str(written / image["file_name"]))[..., ::-1], frame.color)
    depth = cv2.imread(str(written / image["depth_file_name"]), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and np.array_equal(depth, frame.depth)
    assert CameraIntrinsics(image["width"], image["height"], **image["camera"]) == INTRINSICS


def test_two_workers_write_the_same_bytes_as_one(written, tmp_path):
    counts: list[int] = []
    summary = write(tmp_path / "two", workers=2, on_scenes=counts.append)
    assert contents(tmp_path / "two") == contents(written)
    assert counts == sorted(counts) and counts[-1] == 90
    assert summary.scenes_written == 90 and summary.stage_s["rendering"] > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_what_failed_midway_goes_on_and_ends_with_the_same_bytes(written, tmp_path, workers):
    folder = tmp_path / "set"
    with pytest.raises(PerceptionError, match="lights went out"):
        write(folder, source=views_until_scene_50, workers=workers)
    assert not (folder / "annotations" / "000001.json").exists()
    assert not (folder / "annotations.json").exists()
    finished = len(list((folder / "annotations").glob("*.json")))
    (folder / "images" / ".000051-0.png.123.tmp").write_bytes(b"half")  # what SIGKILL leaves
    counts: list[int] = []
    summary = write(folder, on_scenes=counts.append)
    assert contents(folder) == contents(written)
    assert finished >= (workers == 1) and summary.scenes_written <= 90 - 10 * finished
    assert counts[0] == 90 - summary.scenes_written


def test_a_finished_set_is_not_rendered_again(written):
    before = contents(written)
    summary = write(written, source=views_of_a_dying_process)
    assert summary.scenes_written == 0 and contents(written) == before


def test_a_set_grows_to_the_bytes_of_one_that_was_larger_at_once(written, tmp_path):
    write(tmp_path, DatasetPlan(scenes=45, views=2, width=WIDTH, height=HEIGHT))
    assert json.loads((tmp_path / "dataset.json").read_text())["info"]["arguments"]["scenes"] == 45
    summary = write(tmp_path)
    assert summary.scenes_written == 50  # the world that had only five of its scenes begins again
    assert contents(tmp_path) == contents(written)


def test_annotations_of_a_world_come_after_all_its_files(tmp_path):
    def checked(share, times):
        for view in views(share, times):
            assert not (tmp_path / "annotations" / f"{share.world:06d}.json").exists()
            yield view
        for scene in share.scenes:
            for kind in ("images", "depth", "labels"):
                assert (tmp_path / kind / f"{scene:06d}-1.png").exists()

    write(tmp_path, source=checked)
    assert len(list((tmp_path / "annotations").glob("*.json"))) == 3


def test_a_worker_that_dies_is_told_in_a_sentence(tmp_path):
    with pytest.raises(PerceptionError, match="run the same command again"):
        write(tmp_path, source=views_of_a_dying_process, workers=2)


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (DatasetPlan(90, seed=1, views=2, width=WIDTH, height=HEIGHT), "seed 0, not 1"),
        (DatasetPlan(90, views=3, width=WIDTH, height=HEIGHT), "views 2, not 3"),
        (DatasetPlan(90, views=2, width=WIDTH, height=HEIGHT, piled=0.4), "piled 0.0, not 0.4"),
        (DatasetPlan(89, views=2, width=WIDTH, height=HEIGHT), "at least the 90"),
    ],
)
def test_another_set_is_not_written_into_the_same_folder(written, plan, told):
    before = contents(written)
    with pytest.raises(InvalidInputError, match=told):
        write(written, plan)
    assert contents(written) == before


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"generator": 1}, "generator 1, not"),
        ({}, "generator None, not"),  # from before generators were counted
        ({"generator": dataset.GENERATOR, "renderer": "4.1"}, "renderer 4.1, not None"),  # from a later version
    ],
)
def test_what_another_generator_began_is_not_gone_on_with(tmp_path, theirs, told):
    """The same seed gave other images there."""
    plan = DatasetPlan(1, views=1, width=WIDTH, height=HEIGHT)
    write(tmp_path, plan)
    description = tmp_path / "dataset.json"
    content = json.loads(description.read_text())
    del content["info"]["made_by"]["generator"]
    content["info"]["made_by"] |= theirs
    description.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match=told):
        write(tmp_path, plan)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidInputError, match="empty folder"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "wrong", [{"scenes": 0}, {"scenes": 1, "views": 0}, {"scenes": 1, "seed": -1}, {"scenes": 1, "piled": 1.5}]
)
def test_a_plan_says_which_number_is_wrong(wrong):
    with pytest.raises(InvalidInputError, match=next(reversed(wrong))):
        DatasetPlan(**wrong)


def test_poses_are_rounded_to_micrometres_and_keep_no_minus_zero():
    assert json.dumps(coco.rounded(np.array([-1e-9, 0.12345678]))) == "[0.0, 0.123457]"
