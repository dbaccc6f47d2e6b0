"""`sam-perception demo`: the whole job on the scene that ships with the package, beside its ground truth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from sam_perception.answers import Answer, answer_prompts, write_answer
from sam_perception.commands.options import add_model_options, model_options
from sam_perception.engine import SegmentationEngine
from sam_perception.frame_files import SAMPLE_DIRECTORY, read_label_image, read_sample
from sam_perception.masks import Mask, iou
from sam_perception.models import load_model
from sam_perception.prompts import Prompt


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "demo",
        help="segment and measure the sample scene",
        description="Segment every object of the scene that ships with the package, by click and by box, "
        "measure it, and compare with the renderer's ground truth.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo_output"), metavar="DIR", help="default: %(default)s")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask twice on one frame, by clicks and by boxes; write both answers, print one table."""
    objects = json.loads((SAMPLE_DIRECTORY / "objects.json").read_text())
    clicks = [Prompt(points=[item["click"]], object_id=item["id"]) for item in objects]
    boxes = [Prompt(box=item["box"], object_id=item["id"]) for item in objects]
    frame = read_sample()
    print(
        f"Sample scene: {frame.width}x{frame.height} RGB-D, {len(objects)} objects, "
        "rendered with a noise model of the D435."
    )
    with SegmentationEngine(load_model(options.model, model_options(options))) as engine:
        engine.add_frame(frame)
        by_click = answer_prompts(engine, clicks)
        by_box = answer_prompts(engine, boxes)
    _print_timings("clicks", by_click)
    _print_timings("boxes", by_box)
    _print_table(objects, by_click, by_box)
    for name, answer in (("click", by_click), ("box", by_box)):
        write_answer(answer, options.out / name)
    print("Pictures, masks, clouds (.ply) and result.json:")
    for name in ("click", "box"):
        print(f"  {options.out / name / 'overlay.png'}")
    return 0


def _print_timings(what: str, answer: Answer) -> None:
    result = answer.result
    encoded = "frame already encoded" if result.embedding_cached else f"encode {result.encode_ms:.0f} ms"
    print(
        f"{answer.model} on {answer.device}, {len(answer.prompts)} {what}: {encoded}, "
        f"decode {result.decode_ms:.0f} ms, geometry {answer.geometry_ms:.0f} ms"
    )


def _print_table(objects: list[dict[str, Any]], by_click: Answer, by_box: Answer) -> None:
    labels = read_label_image(SAMPLE_DIRECTORY / "labels.png")
    rows = []
    for i, item in enumerate(objects):
        truth = Mask.from_array(labels == item["id"])
        overlaps = [iou(answer.result.masks[i], truth) for answer in (by_click, by_box)]
        rows.append((item["name"], *overlaps, _centroid_error_mm(by_box, i, item), _size_cm(by_box, i)))
    print(f"\n{'object':<18} {'IoU click':>9} {'IoU box':>8} {'centroid off':>13}   size of its box")
    for name, click, box, error_mm, size in rows:
        print(f"{name:<18} {click:>9.2f} {box:>8.2f} {error_mm:>10.1f} mm   {size}")
    means = [float(np.mean([row[column] for row in rows])) for column in (1, 2)]
    print(f"{'mean':<18} {means[0]:>9.2f} {means[1]:>8.2f}\n")


def _centroid_error_mm(answer: Answer, i: int, item: dict[str, Any]) -> float:
    geometry = answer.geometry[i]
    if geometry is None or geometry.centroid_m is None:
        return float("nan")
    return float(np.linalg.norm(geometry.centroid_m - np.array(item["visible_centroid_m"]))) * 1e3


def _size_cm(answer: Answer, i: int) -> str:
    geometry = answer.geometry[i]
    if geometry is None or geometry.box is None:
        return "-"
    return " x ".join(f"{side * 100:.1f}" for side in geometry.box.size) + " cm"
