"""`sam-perception eval`: how well a model finds the objects of an annotated set, by clicks and by boxes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam_perception.answers import write_png
from sam_perception.atomic_files import write_atomically
from sam_perception.commands.options import add_model_options, model_options
from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.datasets import EvaluationSet, open_set
from sam_perception.evaluation.picture_sheet import draw_sheet
from sam_perception.evaluation.reports import describe, object_lines, summary_lines, title_of, to_csv
from sam_perception.evaluation.segmentation import Evaluation, Protocol, evaluate
from sam_perception.models import WEIGHTLESS, ModelOptions, SegmentationModel, load_model

EPILOG = """\
Clicks are simulated: the first in the middle of the object (or where the set says), each further one in the middle of
the largest error. Boxes are tight. A set is

  a folder written by `sam-perception sim dataset`
  a COCO instance file                            eval instances_val2017.json --image-root val2017 --scenes 200
  a folder of NN-color.png, NN-labels.png, objects.json and, for depth, NN-depth.png and camera.json
"""


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "eval",
        help="measure a model on annotated images",
        description="Measure how well a model finds the objects of annotated images: IoU and boundary F1 after 1, 3 "
        "and 5 simulated clicks and by box, encode and decode times.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("set", type=Path, metavar="PATH", help="COCO file, or folder of scenes")
    parser.add_argument(
        "--image-root", type=Path, metavar="DIR", help="what a COCO file's file_name is relative to (default: found)"
    )
    parser.add_argument("--jitter", type=_at_least_0, default=0.0, metavar="PX", help="move every click by up to PX")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--scenes", type=_at_least_1, metavar="N", help="N images only, drawn with --seed")
    part.add_argument("--objects", type=_at_least_1, metavar="N", help="N objects only, of images drawn with --seed")
    parser.add_argument("--min-area", type=_at_least_1, default=1, metavar="PX", help="leave smaller objects out")
    parser.add_argument("--rgb-only", action="store_true", help="give the model colour without depth")
    parser.add_argument(
        "--seed", type=int, default=0, help="of --jitter, --scenes and --objects (default: %(default)s)"
    )
    parser.add_argument("--baseline", metavar="NAME", help="a second model, asked the same")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for results.json, objects.csv and worst.png")
    parser.add_argument("--json", action="store_true", help="print results.json instead of tables")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate, write and print, in this order: `| head` must not cost the files."""
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise InvalidInputError.for_field("--out", "a folder", f"{options.out}, a file")
    if options.seed < 0:
        raise InvalidInputError.for_field("--seed", "0 or more", options.seed)
    scenes = open_set(options.set, options.image_root)  # before a model loads: cheap errors first
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    protocol = Protocol(
        jitter_px=options.jitter,
        seed=options.seed,
        min_area_px=options.min_area,
        max_scenes=options.scenes,
        max_objects=options.objects,
        use_depth=not options.rgb_only,
    )
    evaluations = [_evaluate(model, scenes, protocol) for model in _load(options)]
    content = _content(options, scenes, evaluations)
    if options.out is not None:
        _write(options.out, content, evaluations)
    if options.json:
        print(json.dumps(content, indent=2))
        return 0
    _print_tables(scenes, evaluations, options)
    if options.out is not None:
        print(f"Written to {options.out}: results.json, objects.csv, worst.png.")
    return 0


def _load(options: argparse.Namespace) -> list[SegmentationModel]:
    """Every model before the first is asked: a wrong name must not cost an hour."""
    names = [options.model] if options.baseline is None else [options.model, options.baseline]
    chosen = model_options(options)
    # A baseline without weights has no device or precision to choose.
    return [load_model(name, ModelOptions() if i and name in WEIGHTLESS else chosen) for i, name in enumerate(names)]


def _evaluate(model: SegmentationModel, scenes: EvaluationSet, protocol: Protocol) -> Evaluation:
    try:
        return evaluate(model, scenes, protocol)
    finally:
        model.close()


def _print_tables(scenes: EvaluationSet, evaluations: Sequence[Evaluation], options: argparse.Namespace) -> None:
    first = evaluations[0]
    print(
        f"{scenes.name}: {_counted(len(first.results), 'object')} in {_counted(first.scenes, 'scene')}, "
        f"{_depth_of(first, options)}"
    )
    for note in scenes.notes:
        print(f"Note: {note}")
    for line in ("", *summary_lines(evaluations), "", *object_lines(evaluations)):
        print(line)


def _depth_of(evaluation: Evaluation, options: argparse.Namespace) -> str:
    if evaluation.scenes_with_depth == evaluation.scenes:
        return "with depth"
    if evaluation.scenes_with_depth:
        return f"{evaluation.scenes_with_depth} of them with depth"
    return "colour only" if options.rgb_only else "colour only: the set has no depth"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _content(options: argparse.Namespace, scenes: EvaluationSet, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "set": str(options.set),
        "notes": list(scenes.notes),
        "jitter_px": options.jitter,
        "seed": options.seed,
        "min_area_px": options.min_area,
        "rgb_only": options.rgb_only,
        "models": [describe(evaluation) for evaluation in evaluations],
    }


def _write(folder: Path, content: dict[str, Any], evaluations: Sequence[Evaluation]) -> None:
    write_atomically(folder / "results.json", (json.dumps(content, indent=2) + "\n").encode())
    write_atomically(folder / "objects.csv", to_csv(evaluations).encode())
    first, *others = evaluations
    means = {kind: values["iou"]["mean"] for kind, values in content["models"][0]["summary"].items()}
    of_all = f"of {_counted(len(first.results), 'object')}"
    titles = {
        kind: f"{first.model}, by {title_of(kind)}: the worst {len(cases)} {of_all}; mean IoU of all {means[kind]:.3f}"
        for kind, cases in first.worst.items()
    }
    write_png(folder / "worst.png", draw_sheet(first, titles, others[0] if others else None))


def _at_least_1(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return value


def _at_least_0(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1000:
        raise argparse.ArgumentTypeError(f"expected pixels, 0 or more, got {text!r}")
    return value
