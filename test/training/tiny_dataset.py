"""Writes a data set of small views in the layout of `sam-perception sim dataset`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = (90, 122)
CAMERA = {"fx": 116.0, "fy": 117.0, "cx": 61.5, "cy": 44.0, "distortion_model": "none", "distortion": []}


def write_tiny_dataset(folder: Path, views: int = 4, objects: int = 4) -> Path:
    """Bright rectangles of 12 to 20 px that stand 10 cm out of a dark plane, one world for every two views."""
    for kind in ("images", "depth", "labels", "annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for first in range(0, views, 2):
        entries = [_write_view(folder, number, objects) for number in range(first, min(first + 2, views))]
        (folder / f"annotations/{first // 2:06d}.json").write_text(json.dumps({"images": entries}))
    return folder


def _write_view(folder: Path, number: int, objects: int) -> dict:
    rng = np.random.default_rng([9, number])
    labels = np.zeros(SIZE, np.uint8)
    for label, cell in enumerate(rng.permutation(12)[:objects], 1):
        width, height = rng.integers(12, 21, 2)
        x, y = 30 * (cell % 4) + rng.integers(2, 9), 30 * (cell // 4) + rng.integers(2, 9)
        labels[y : y + height, x : x + width] = label
    color = np.where(labels[..., None] > 0, (60, 150, 230), 40).astype(np.uint8)  # RGB
    depth = np.where(labels > 0, 700, 800).astype(np.uint16)
    name = f"{number:06d}-0.png"
    cv2.imwrite(str(folder / "images" / name), color[..., ::-1])
    cv2.imwrite(str(folder / "depth" / name), depth)
    cv2.imwrite(str(folder / "labels" / name), labels)
    files = {"file_name": "images", "depth_file_name": "depth", "labels_file_name": "labels"}
    return {"id": number, **{key: f"{kind}/{name}" for key, kind in files.items()}, "camera": CAMERA}
