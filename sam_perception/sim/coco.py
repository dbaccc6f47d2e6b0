"""Labelled views in COCO's instance format, with depth, camera and poses as further keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import CameraIntrinsics
from sam_perception.masks import Mask
from sam_perception.sim.labelled_views import LabelledView, ObjectTruth

MIN_VISIBLE_PX = 60
LABELS_PER_IMAGE = 256  # labels are uint8, so that image id and label make an annotation's id


def categories(families: Sequence[str]) -> list[dict[str, Any]]:
    """COCO's categories of object families, numbered from 1."""
    return [{"id": number, "name": family, "supercategory": "object"} for number, family in enumerate(families, 1)]


def file_stem(scene: int, view: int) -> str:
    """The name that colour, depth and labels of one capture share."""
    return f"{scene:06d}-{view}"


def image_entry(view: LabelledView, image_id: int) -> dict[str, Any]:
    """What the data set says of one capture."""
    name = f"{file_stem(view.scene, view.view)}.png"
    intrinsics = view.frame.intrinsics
    return {
        "id": image_id,
        "file_name": f"images/{name}",
        "depth_file_name": f"depth/{name}",
        "labels_file_name": f"labels/{name}",
        "width": view.frame.width,
        "height": view.frame.height,
        "scene": view.scene,
        "view": view.view,
        "camera": None if intrinsics is None else camera_entry(intrinsics),
        "table_T_camera": rounded(view.table_T_camera),
    }


def annotation_entries(view: LabelledView, image_id: int, category_ids: dict[str, int]) -> list[dict[str, Any]]:
    """What the data set says of each object of which at least ``MIN_VISIBLE_PX`` pixels are seen."""
    entries = []
    for truth in view.objects:
        mask = Mask.from_array(view.labels == truth.label)
        if mask.area >= MIN_VISIBLE_PX:
            entries.append(_annotation(truth, mask, image_id, category_ids[truth.family]))
    return entries


def camera_entry(intrinsics: CameraIntrinsics) -> dict[str, Any]:
    """Intrinsics in the form of the sample scene's camera.json, without the size."""
    return {
        "fx": intrinsics.fx,
        "fy": intrinsics.fy,
        "cx": intrinsics.cx,
        "cy": intrinsics.cy,
        "distortion_model": intrinsics.distortion_model,
        "distortion": list(intrinsics.distortion),
    }


def rounded(values: NDArray[np.floating], decimals: int = 6) -> Any:
    """Nested lists of floats, for JSON; micrometres are enough, and -0.0 becomes 0.0."""
    return (np.round(np.asarray(values, np.float64), decimals) + 0.0).tolist()


def merge(files: Sequence[Path], head: dict[str, Any], out: TextIO) -> None:
    """Write one COCO file from several: their images and annotations, in the order of the files, after ``head``.

    Only one of the files is in memory at a time.
    """
    out.write(dump(head)[:-1])
    for key in ("images", "annotations"):
        out.write(f', "{key}": [')
        separator = "\n"
        for entry in _entries(files, key):
            out.write(separator + dump(entry))
            separator = ",\n"
        out.write("\n]")
    out.write("}\n")


def dump(content: Any) -> str:
    """JSON text, the same for the same content; not a number is an error."""
    return json.dumps(content, allow_nan=False)


def _entries(files: Sequence[Path], key: str) -> Iterator[dict[str, Any]]:
    for file in files:
        yield from json.loads(file.read_text(encoding="utf-8"))[key]


def _annotation(truth: ObjectTruth, mask: Mask, image_id: int, category_id: int) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = mask.box
    return {
        "id": image_id * LABELS_PER_IMAGE + truth.label,
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": 0,
        "label": truth.label,
        "name": truth.name,
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": mask.area,
        "segmentation": mask.to_rle(),
        "visible_fraction": round(float(truth.visible_fraction), 4),
        "visible_centroid_m": rounded(truth.visible_centroid_m),
        "size_m": rounded(truth.size_m),
        "camera_T_object": rounded(truth.camera_T_object),
    }
