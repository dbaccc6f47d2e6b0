"""Writes labelled views: their three images, and one view in the form of the sample scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sam_perception.answers import write_png
from sam_perception.atomic_files import write_atomically
from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.clicks import first_click
from sam_perception.masks import Mask
from sam_perception.sim import coco
from sam_perception.sim.labelled_views import LabelledView, ObjectTruth


def write_frame_folder(folder: Path, view: LabelledView) -> list[dict[str, Any]]:
    """Write the files; ``sam-perception segment`` and the sample camera read them.

    Returns:
        What objects.json has: the objects of which at least ``coco.MIN_VISIBLE_PX`` pixels are seen, by their id.

    Raises:
        InvalidInputError: the frame has no depth or intrinsics.
    """
    frame = view.frame
    if frame.intrinsics is None:
        raise InvalidInputError("LabelledView.frame: a frame folder needs intrinsics")
    objects = [
        _described(truth, mask)
        for truth in view.objects
        if (mask := Mask.from_array(view.labels == truth.label)).area >= coco.MIN_VISIBLE_PX
    ]
    camera = {
        "width": frame.width,
        "height": frame.height,
        **coco.camera_entry(frame.intrinsics),
        "depth_scale_m": frame.depth_scale_m,
        "frame_id": frame.frame_id,
        "camera_T_table": coco.rounded(np.linalg.inv(view.table_T_camera)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_images(view, folder / "color.png", folder / "depth.png", folder / "labels.png")
    _write_json(folder / "camera.json", camera)
    _write_json(folder / "objects.json", objects)
    return objects


def write_images(view: LabelledView, color: Path, depth: Path, labels: Path) -> None:
    """Write 8-bit colour, 16-bit depth in the frame's units and 8-bit labels as PNG, each whole or not at all.

    Raises:
        InvalidInputError: the frame has no 16-bit depth.
    """
    units: Any = view.frame.depth
    if units is None or units.dtype != np.uint16:
        raise InvalidInputError("LabelledView.frame: its files need depth of 16 bits")
    write_png(color, view.frame.color)
    write_png(depth, units)
    write_png(labels, view.labels)


def _described(truth: ObjectTruth, mask: Mask) -> dict[str, Any]:
    return {
        "id": truth.label,
        "name": truth.name,
        "family": truth.family,
        "box": list(mask.box),
        "click": list(first_click(mask.to_array())[:2]),
        "area": mask.area,
        "visible_fraction": round(float(truth.visible_fraction), 4),
        "visible_centroid_m": coco.rounded(truth.visible_centroid_m),
        "position_m": coco.rounded(truth.camera_T_object[:3, 3]),
        "size_m": coco.rounded(truth.size_m),
        "camera_T_object": coco.rounded(truth.camera_T_object),
    }


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
