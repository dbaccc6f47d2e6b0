#!/usr/bin/env python3
"""Runs `sam-perception segment` on annotated RGB-D scenes and prints the tables of docs/accuracy.md.

A folder of scenes holds NN-color.png, NN-depth.png, NN-labels.png, camera.json and objects.json (for each NN a list
of id, name, box and click), as the real RealSense views do that this project is measured on.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from sam_perception import cli
from sam_perception.frame_files import read_frame, read_label_image
from sam_perception.geometry.objects import measure_object
from sam_perception.masks import Mask


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, help="folder of scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder for all results and pictures")
    parser.add_argument("--model", default="grabcut")
    options = parser.parse_args()
    scenes = json.loads((options.scenes / "objects.json").read_text())
    rows = []
    for scene, objects in tqdm(scenes.items(), desc="scenes", disable=None):
        for kind in ("click", "box"):
            rows += evaluate(options.scenes, scene, objects, kind, options.model, options.out / f"{scene}-{kind}")
    print_scenes(rows)
    print_objects(rows)
    return 0


def evaluate(folder: Path, scene: str, objects: list[dict], kind: str, model: str, out: Path) -> list[dict]:
    """One row for each object of a scene, from one call of the command with all its prompts."""
    files = {name: folder / f"{scene}-{name}.png" for name in ("color", "depth", "labels")}
    camera = folder / "camera.json"
    option = "--point" if kind == "click" else "--box"
    prompts = [part for item in objects for part in ("--next", option, ",".join(map(str, item[kind])))][1:]
    inputs = ["--color", files["color"], "--depth", files["depth"], "--camera", camera]
    printed = io.StringIO()
    arguments = ("segment", *inputs, *prompts, "--model", model, "--out", out, "--json")
    with contextlib.redirect_stdout(printed):
        code = cli.main([str(part) for part in arguments])
    if code:
        sys.exit(f"{scene} {kind}: sam-perception segment ended with {code}")
    result = json.loads(printed.getvalue())
    labels = read_label_image(files["labels"])
    frame = read_frame(files["color"], files["depth"], camera)
    rows = []
    for item, found in zip(objects, result["objects"], strict=True):
        truth = labels == item["id"]
        mask = np.asarray(Image.open(out / found["mask"])) > 0
        cloud_pixels = pixels_of_cloud(out / found["cloud"], frame.intrinsics) if "cloud" in found else None
        on_object = float(truth[cloud_pixels[:, 1], cloud_pixels[:, 0]].mean()) if cloud_pixels is not None else np.nan
        reference = measure_object(frame, Mask.from_array(truth)).centroid_m
        off = np.nan
        if reference is not None and "centroid_m" in found:
            off = float(np.linalg.norm(reference - found["centroid_m"])) * 1e3
        overlap = np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth)
        rows.append({"scene": scene, "kind": kind, "name": item["name"], "iou": overlap, "off": off, "on": on_object})
    return rows


def pixels_of_cloud(path: Path, camera) -> np.ndarray:
    """(N, 2) x, y of the points of a PLY file, by the pinhole model: the scenes have no distortion."""
    body = path.read_bytes().partition(b"end_header\n")[2]
    points = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)]))["xyz"].astype(float)
    x = points[:, 0] / points[:, 2] * camera.fx + camera.cx
    y = points[:, 1] / points[:, 2] * camera.fy + camera.cy
    return np.rint(np.stack([x, y], axis=1)).astype(int)


def print_scenes(rows: list[dict]) -> None:
    columns = ("IoU", "centroid off (median, mm)", "cloud on object")
    names = [f"{column}, {kind}" for column in columns for kind in ("click", "box")]
    print(f"| scene | objects | {' | '.join(names)} |")
    print("|---|---|---|---|---|---|---|---|")
    for scene in [*dict.fromkeys(row["scene"] for row in rows), "all"]:
        shown = [row for row in rows if scene in (row["scene"], "all")]
        parts = {kind: [row for row in shown if row["kind"] == kind] for kind in ("click", "box")}
        iou = [np.mean([row["iou"] for row in parts[kind]]) for kind in parts]
        off = [np.nanmedian([row["off"] for row in parts[kind]]) for kind in parts]
        on = [np.nanmean([row["on"] for row in parts[kind]]) for kind in parts]
        print(
            f"| {scene} | {len(parts['click'])} | {iou[0]:.3f} | {iou[1]:.3f} | {off[0]:.1f} | {off[1]:.1f} "
            f"| {on[0]:.1%} | {on[1]:.1%} |"
        )


def print_objects(rows: list[dict]) -> None:
    print("\n| scene | object | IoU 1 click | IoU box | centroid off, click (mm) | centroid off, box (mm) |")
    print("|---|---|---|---|---|---|")
    by_click = [row for row in rows if row["kind"] == "click"]
    by_box = [row for row in rows if row["kind"] == "box"]
    for click, box in zip(by_click, by_box, strict=True):
        print(
            f"| {click['scene']} | {click['name']} | {click['iou']:.2f} | {box['iou']:.2f} "
            f"| {click['off']:.1f} | {box['off']:.1f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
