"""`sam-perception demo`: camera, sam and sam_grasp as processes, asked over the wire, beside the renderer's truth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from sam_perception.answers import write_png
from sam_perception.commands.background_nodes import background_nodes
from sam_perception.commands.options import add_model_options
from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import SAMPLE_DIRECTORY, read_label_image, read_sample
from sam_perception.geometry.pointcloud_files import write_ply
from sam_perception.masks import Mask, iou

TARGET_FRAME = "table"
_RATE_HZ, _HISTORY_S = 5.0, 60.0  # all is asked on one frame, also on a slow machine


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "demo",
        help="run the nodes on the sample scene and ask them",
        description="Start camera, sam and sam_grasp as processes, click on every object of the scene that ships with "
        "the package, and compare masks and centroids that come back with the renderer's ground truth.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo_output"), metavar="DIR", help="default: %(default)s")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start the nodes, ask, stop them; write pictures and clouds, print one table."""
    from sam_perception.nodes import demo  # here: it brings in rclpy

    if options.out.exists() and not options.out.is_dir():
        raise InvalidInputError.for_field("--out", "a folder", f"the file {options.out}")
    options.out.mkdir(parents=True, exist_ok=True)
    objects = json.loads((SAMPLE_DIRECTORY / "objects.json").read_text())
    frame = read_sample()
    print(
        f"Sample scene: {frame.width}x{frame.height} RGB-D, {len(objects)} objects, "
        "rendered with a noise model of the D435."
    )
    log = options.out / "nodes.log"
    print(f"Starting camera, sam and sam_grasp as three processes; their log is {log}.")
    with background_nodes(_arguments(options), log):
        results = demo.ask(objects)
    print("Asked over the wire, and stopped again.")
    _print_table(objects, results)
    _write(options.out, objects, results)
    print(
        f"Pictures and clouds: {options.out}/overlay.png, mask_<id>.png, cloud_<id>.ply (in the frame {TARGET_FRAME})"
    )
    return 0


def _arguments(options: argparse.Namespace) -> list[str]:
    """For `sam-perception up`."""
    arguments = ["--target-frame", TARGET_FRAME, "--model", options.model, "--device", options.device]
    return [
        *arguments,
        "-p",
        f"sam:precision:={options.precision}",
        "-p",
        f"sam:compile:={str(options.compile).lower()}",
        *("-p", f"camera:rate_hz:={_RATE_HZ}"),
        *("-p", f"sam:history_seconds:={_HISTORY_S}"),
        *("-p", f"sam_grasp:history_seconds:={_HISTORY_S}"),
    ]


def _print_table(objects: list[dict[str, Any]], results: Any) -> None:
    labels = read_label_image(SAMPLE_DIRECTORY / "labels.png")
    camera_T_table = np.array(json.loads((SAMPLE_DIRECTORY / "camera.json").read_text())["camera_T_table"])
    table_T_camera = np.linalg.inv(camera_T_table)
    print(f"\n{'object':<18} {'IoU click':>9} {'IoU box':>8} {'centroid off':>13} {'answer':>9}   size of its box")
    overlaps = []
    for item, answer, by_box in zip(objects, results.by_click, results.by_box, strict=True):
        truth = Mask.from_array(labels == item["id"])
        overlaps.append([iou(mask, truth) for mask in (answer.mask, by_box)])
        expected = table_T_camera @ [*item["visible_centroid_m"], 1.0]
        error_mm = float(np.linalg.norm(answer.centroid_m - expected[:3])) * 1e3
        size_cm = " x ".join(f"{side * 100:.1f}" for side in answer.size_m)
        scores = f"{overlaps[-1][0]:>9.2f} {overlaps[-1][1]:>8.2f}"
        print(f"{item['name']:<18} {scores} {error_mm:>10.1f} mm {answer.service_ms:>6.0f} ms   {size_cm} cm")
    means = np.mean(overlaps, axis=0)
    print(f"{'mean':<18} {means[0]:>9.2f} {means[1]:>8.2f}")
    cached = sum(answer.cached for answer in results.by_click)
    print(f"One frame, encoded once: {cached} of {len(objects)} clicks found it encoded.\n")


def _write(directory: Path, objects: list[dict[str, Any]], results: Any) -> None:
    write_png(directory / "overlay.png", results.overlay)
    for item, answer in zip(objects, results.by_click, strict=True):
        write_png(directory / f"mask_{item['id']}.png", answer.mask.to_array().astype(np.uint8) * 255)
        write_ply(directory / f"cloud_{item['id']}.ply", answer.points, answer.colors)
