"""Writes small annotated sets for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sam_perception.masks import encode_rle

SIZE = (48, 64)
CAMERA = {"fx": 60.0, "fy": 61.0, "cx": 31.5, "cy": 23.5, "distortion_model": "plumb_bob", "distortion": [0.1, 0, 0, 0]}
POLYGON = [10.0, 8.0, 30.0, 8.0, 30.0, 28.0, 10.0, 28.0]


def mask_of(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """(H, W) bool rectangle."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def color_of(seed: int) -> np.ndarray:
    """(H, W, 3) RGB noise."""
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def coco_content() -> dict[str, Any]:
    """Two images with depth, an object as polygons, as run lengths and as compressed ones, and a crowd."""
    segmentations = (
        (1, [POLYGON]),
        (1, encode_rle(mask_of(40, 10, 60, 20), compressed=False)),
        (2, encode_rle(mask_of(5, 30, 25, 45), compressed=True)),
    )
    annotations = [
        {"id": i, "image_id": image, "category_id": 1 + i % 2, "segmentation": segmentation, "iscrowd": 0}
        for i, (image, segmentation) in enumerate(segmentations, start=1)
    ]
    crowd = {"id": 9, "image_id": 1, "category_id": 1, "segmentation": segmentations[1][1], "iscrowd": 1}
    images = [
        {
            "id": i,
            "file_name": f"images/{i}.png",
            "depth_file_name": f"depth/{i}.png",
            "height": SIZE[0],
            "width": SIZE[1],
            "camera": CAMERA,
        }
        for i in (1, 2)
    ]
    categories = [{"id": 1, "name": "cup"}, {"id": 2, "name": "box"}]
    return {"images": images, "annotations": [*annotations, crowd], "categories": categories}


def write_coco(folder: Path, content: dict[str, Any] | None = None, name: str = "annotations.json") -> Path:
    """Write the images and the file, and return the file's path."""
    for kind in ("images", "depth"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for i in (1, 2):
        cv2.imwrite(str(folder / f"images/{i}.png"), color_of(i)[..., ::-1])
        cv2.imwrite(str(folder / f"depth/{i}.png"), np.full(SIZE, 500 + i, dtype=np.uint16))
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco_content() if content is None else content))
    return path


def write_scene_folder(folder: Path, depth: bool = True) -> Path:
    """One scene with two objects, of which only the first has a click and a box."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = mask_of(10, 8, 30, 28) * np.uint8(3) + mask_of(40, 10, 60, 20) * np.uint8(7)
    cv2.imwrite(str(folder / "00-color.png"), color_of(1)[..., ::-1])
    cv2.imwrite(str(folder / "00-labels.png"), labels)
    if depth:
        cv2.imwrite(str(folder / "00-depth.png"), np.full(SIZE, 501, dtype=np.uint16))
        camera = {**CAMERA, "width": SIZE[1], "height": SIZE[0]}
        (folder / "camera.json").write_text(json.dumps(camera))
    objects = [{"id": 3, "name": "cup", "click": [12, 9], "box": [9, 8, 31, 29]}, {"id": 7, "name": "box"}]
    (folder / "objects.json").write_text(json.dumps({"00": objects}))
    return folder
