"""Annotated sets are read as they are meant, and what cannot be used is named in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import annotated_sets as sets
import cv2
import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.coco_sets import fill_polygons
from sam_perception.evaluation.datasets import open_set
from sam_perception.frame_files import SAMPLE_DIRECTORY


def test_coco_objects_are_those_of_all_three_encodings(tmp_path: Path) -> None:
    found = open_set(sets.write_coco(tmp_path / "tiny"))
    assert (found.name, len(found)) == ("tiny", 2)
    first, second = found.scene(0), found.scene(1)
    assert [item.name for item in first.objects] == ["box", "cup"]
    assert [item.category for item in (*first.objects, *second.objects)] == ["box", "cup", "box"]
    np.testing.assert_array_equal(first.objects[0].mask, sets.mask_of(10, 8, 30, 28))
    np.testing.assert_array_equal(first.objects[1].mask, sets.mask_of(40, 10, 60, 20))
    np.testing.assert_array_equal(second.objects[0].mask, sets.mask_of(5, 30, 25, 45))


def test_coco_frames_are_rgb_with_depth_and_camera(tmp_path: Path) -> None:
    frame = open_set(sets.write_coco(tmp_path)).scene(1).frame
    np.testing.assert_array_equal(frame.color, sets.color_of(2))
    np.testing.assert_allclose(frame.depth_m, 0.502, rtol=1e-6)
    assert frame.intrinsics is not None
    assert (frame.intrinsics.fx, frame.intrinsics.distortion) == (60.0, (0.1, 0, 0, 0))


def test_plain_coco_has_colour_alone(tmp_path: Path) -> None:
    content = sets.coco_content()
    content["images"] = [{key: image[key] for key in ("id", "file_name")} for image in content["images"]]
    frame = open_set(sets.write_coco(tmp_path, content)).scene(0).frame
    assert frame.depth is None and frame.intrinsics is None


def test_a_folder_stands_for_its_annotations_file(tmp_path: Path) -> None:
    sets.write_coco(tmp_path)
    assert len(open_set(tmp_path)) == 2


def test_images_are_found_beside_the_folder_of_annotations_too(tmp_path: Path) -> None:
    """As in COCO's own layout, and in a data set that is still being rendered."""
    path = sets.write_coco(tmp_path, name="annotations/000000.json")
    assert open_set(path).scene(0).frame.size == sets.SIZE


def test_images_elsewhere_are_named_and_found_with_an_image_root(tmp_path: Path) -> None:
    sets.write_coco(tmp_path / "pictures")
    path = sets.write_coco(tmp_path / "other")
    for image in ("images/1.png", "images/2.png", "depth/1.png"):
        (tmp_path / "other" / image).unlink()
    with pytest.raises(InvalidInputError, match=r"images/1\.png: no such file; 3 of 4 .* --image-root") as refused:
        open_set(path)
    assert "\n" not in str(refused.value)
    assert open_set(path, tmp_path / "pictures").scene(0).frame.depth is not None


def test_what_stands_for_no_single_object_is_left_out_and_counted(tmp_path: Path) -> None:
    content = sets.coco_content()
    content["annotations"] += [
        {"id": 20, "image_id": 77, "segmentation": [sets.POLYGON]},
        {"id": 21, "image_id": 1, "bbox": [1, 1, 5, 5]},
        {"id": 22, "image_id": 2, "segmentation": [[3.6, 3.6, 4.4, 3.6, 4.4, 4.4]]},  # between the pixels' centres
    ]
    content["images"].append({"id": 3, "file_name": "images/nobody_in_it.png"})
    found = open_set(sets.write_coco(tmp_path, content))
    notes = " ".join(found.notes)
    for words in ("stand for crowds", "images that are not listed", "no segmentation"):
        assert words in notes
    assert notes.count("1 of 7 annotations were left out") == 3
    assert [len(found.scene(i).objects) for i in range(len(found))] == [2, 1]


def test_a_folder_of_scenes_gives_masks_clicks_and_boxes(tmp_path: Path) -> None:
    (scene,) = [open_set(sets.write_scene_folder(tmp_path / "views")).scene(0)]
    cup, box = scene.objects
    assert (scene.name, cup.id, cup.name, cup.click, cup.box) == ("00", 3, "cup", (12, 9), (9, 8, 31, 29))
    assert (box.id, box.click, box.box) == (7, None, None)
    np.testing.assert_array_equal(cup.mask, sets.mask_of(10, 8, 30, 28))
    np.testing.assert_array_equal(scene.frame.color, sets.color_of(1))
    np.testing.assert_allclose(scene.frame.depth_m, 0.501, rtol=1e-6)
    assert scene.frame.intrinsics is not None


def test_a_folder_of_scenes_without_depth(tmp_path: Path) -> None:
    frame = open_set(sets.write_scene_folder(tmp_path, depth=False)).scene(0).frame
    assert frame.depth is None and frame.intrinsics is None


def test_the_sample_is_a_set_of_one_scene() -> None:
    found = open_set(SAMPLE_DIRECTORY)
    assert (len(found), len(found.scene(0).objects)) == (1, 10)


def inside_by_opencv(corners: np.ndarray) -> np.ndarray:
    """Pixels whose centre OpenCV finds inside; NaN for those on the outline, which may count either way."""
    contour = (corners - 0.5).astype(np.float32).reshape(-1, 1, 2)
    sides = [[cv2.pointPolygonTest(contour, (x, y), False) for x in range(sets.SIZE[1])] for y in range(sets.SIZE[0])]
    array = np.array(sides)
    return np.where(array == 0, np.nan, array > 0)


@pytest.mark.parametrize("seed", range(4))
def test_polygons_hold_the_pixels_whose_centre_is_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radii = rng.uniform(5, 35, 12)  # some corners lie outside the image
    corners = np.column_stack([32 + radii * np.cos(angles), 24 + radii * np.sin(angles)])
    filled = fill_polygons([corners.ravel().tolist()], sets.SIZE)
    expected = inside_by_opencv(corners)
    decided = np.isfinite(expected)
    np.testing.assert_array_equal(filled[decided], expected[decided].astype(bool))
    assert decided.mean() > 0.99 and filled.any()


def test_polygons_are_where_pycocotools_has_them() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    for polygon in (sets.POLYGON, [5.2, 5.7, 50.1, 9.9, 33.3, 44.4]):
        expected = coco.decode(coco.merge(coco.frPyObjects([polygon], *sets.SIZE))).astype(bool)
        filled = fill_polygons([polygon], sets.SIZE)
        assert np.count_nonzero(filled & expected) / np.count_nonzero(filled | expected) > 0.96


def test_polygons_of_one_object_are_united() -> None:
    other = [20.0, 20.0, 40.0, 20.0, 40.0, 40.0, 20.0, 40.0]
    united = fill_polygons([sets.POLYGON, other], sets.SIZE)
    np.testing.assert_array_equal(united, sets.mask_of(10, 8, 30, 28) | sets.mask_of(20, 20, 40, 40))


def changed(**changes: Any) -> dict[str, Any]:
    return {**sets.coco_content(), **changes}


def with_annotation(**changes: Any) -> dict[str, Any]:
    content = sets.coco_content()
    content["annotations"][0] |= changes
    return content


def with_image(**changes: Any) -> dict[str, Any]:
    content = sets.coco_content()
    content["images"][0] |= changes
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(annotations=[]), "no object to segment in 2 images"),
        (changed(annotations=sets.coco_content()["annotations"][3:]), "1 of 1 annotations were left out"),
        (changed(images="none"), "a list of images"),
        ([{"image_id": 1, "score": 0.5}], "a COCO instance file with images and annotations"),
        (changed(images=[{"id": 1}]), "images with id and file_name"),
        (with_annotation(segmentation=[[1, 2, 3]]), r"segmentation of annotation 1: polygon"),
        (with_annotation(segmentation={"size": [5, 5], "counts": [25]}), r"annotation 1: .*64x48.*got 5x5"),
        (with_annotation(segmentation={"size": [48, 64], "counts": [3]}), r"annotation 1: rle\.counts"),
        (with_image(camera={"fx": 1}), r"images/1\.png: camera: expected fx, fy, cx and cy, got none called fy"),
        (with_image(camera={**sets.CAMERA, "width": 10}), r"images/1\.png: .*64x48.*10x48"),
        (with_image(depth_file_name="images/1.png"), r"images/1\.png: expected a 16-bit"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(tmp_path: Path, content: Any, words: str) -> None:
    path = sets.write_coco(tmp_path, content)
    with pytest.raises(InvalidInputError, match=words) as refused:
        open_set(path).scene(0)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_path_that_is_no_set_says_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no such file or folder"):
        open_set(tmp_path / "absent")
    with pytest.raises(InvalidInputError, match=r"annotations\.json or objects\.json, got none$"):
        open_set(tmp_path)
    (tmp_path / "instances.json").write_text("{")
    with pytest.raises(InvalidInputError, match=r"name that, such as .*instances\.json"):
        open_set(tmp_path)
    with pytest.raises(InvalidInputError, match=r"instances\.json: expected a JSON file"):
        open_set(tmp_path / "instances.json")
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(InvalidInputError, match=r"not finished.*sim dataset"):
        open_set(tmp_path)


def test_scene_folders_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    folder = sets.write_scene_folder(tmp_path / "views")
    with pytest.raises(InvalidInputError, match="--image-root"):
        open_set(folder, tmp_path)
    objects = json.loads((folder / "objects.json").read_text())
    for item, words in (({"id": 99}, "no pixel of the labels has the id 99"), ({"name": "cup"}, "'id'")):
        (folder / "objects.json").write_text(json.dumps({"00": [item]}))
        with pytest.raises(InvalidInputError, match=f"scene 00.*{words}"):
            open_set(folder).scene(0)
    (folder / "objects.json").write_text(json.dumps({**objects, "01": objects["00"]}))
    with pytest.raises(InvalidInputError, match=r"01-color\.png: no such file, .*\(2 missing in all\)"):
        open_set(folder)
    (folder / "objects.json").write_text(json.dumps(objects))
    cv2.imwrite(str(folder / "00-labels.png"), np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(InvalidInputError, match=r"00-labels\.png: expected labels of 64x48, got 5x5"):
        open_set(folder).scene(0)
