"""`sam-perception segment`: prompts on image files in; masks, clouds, boxes, grasps and pictures out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam_perception.answers import Answer, answer_prompts, summary_lines, write_answer
from sam_perception.commands.options import add_model_options, model_options
from sam_perception.engine import SegmentationEngine
from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import read_frame
from sam_perception.grasp_answers import GraspRequest
from sam_perception.grasping.gripper import DEFAULT_GRIPPER, GRIPPERS, load_gripper
from sam_perception.grasping.planners import DEFAULT_PLANNER, PLANNERS, make_planner
from sam_perception.models import load_model
from sam_perception.prompts import Prompt

EPILOG = """\
All --point and --box before a --next describe one object together; --next starts another one.

  one click            --point 320,240
  click and exclude    --point 320,240 --point 350,260,0
  two objects          --box 10,20,110,160 --next --point 400,200
  with grasps          --point 320,240 --grasps
"""

_GRASPS = 5


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "segment",
        help="segment objects in image files",
        description="Segment objects in a colour image, and measure them where there are depth and intrinsics.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--color", required=True, type=Path, metavar="PNG", help="8-bit colour image")
    parser.add_argument("--depth", type=Path, metavar="PNG", help="16-bit depth in mm, aligned to colour; or .npy in m")
    parser.add_argument(
        "--camera", type=Path, metavar="FILE", help="intrinsics: JSON, or YAML of camera_info or camera_calibration"
    )
    parser.add_argument(
        "--depth-scale", type=_positive, metavar="M", help="metres per unit of --depth (default: camera file, or 0.001)"
    )
    parser.add_argument(
        "--point",
        dest="prompts",
        action=_AddToPrompt,
        type=_point,
        metavar="X,Y[,LABEL]",
        help="click in pixels; label 1 is on the object (default), 0 is not",
    )
    parser.add_argument(
        "--box", dest="prompts", action=_AddToPrompt, type=_box, metavar="X0,Y0,X1,Y1", help="box in pixels"
    )
    parser.add_argument(
        "--next", dest="prompts", action=_NextPrompt, nargs=0, help="the prompts that follow are another object"
    )
    parser.add_argument("--multimask", action="store_true", help="every candidate of each object, best first")
    _add_grasp_options(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument("--json", action="store_true", help="print result.json instead of a summary")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Segment, write and report; an object without any depth is an error, after all that could be written."""
    prompts = _prompts(options.prompts)
    grasping = _grasp_request(options)
    if options.depth is not None and options.camera is None:
        raise InvalidInputError(
            "--depth without --camera: the intrinsics are missing, so depth cannot become metres; "
            "give --camera FILE, or leave --depth out for masks alone"
        )
    frame = read_frame(options.color, options.depth, options.camera, options.depth_scale)
    fitted = [prompt.fitted_to(*frame.size) for prompt in prompts]  # before the model loads: cheap errors first
    with SegmentationEngine(load_model(options.model, model_options(options))) as engine:
        engine.add_frame(frame)
        answer = answer_prompts(engine, fitted, multimask=options.multimask, grasping=grasping)
    result = write_answer(answer, options.out)
    _report(answer, result, options)
    _refuse_objects_without_depth(answer, options.out)
    return 0


def _refuse_objects_without_depth(answer: Answer, directory: Path) -> None:
    without = [
        str(mask.object_id)
        for mask, geometry in zip(answer.result.masks, answer.geometry, strict=True)
        if geometry is not None and geometry.counts.measured == 0 and not geometry.is_estimated
    ]
    if without:
        raise InvalidInputError(
            f"no depth inside the mask of object {', '.join(without)}: it has no cloud, centroid and box; "
            f"check that --depth is aligned to --color and in range (the masks are in {directory})"
        )


def _report(answer: Answer, result: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for line in summary_lines(answer):
        print(line)
    for reason in result["missing"]:
        print(f"Missing: {reason}.")
    clouds = ", clouds" if any(geometry is not None for geometry in answer.geometry) else ""
    print(f"Written to {options.out}: overlay.png, result.json, masks{clouds}.")


def _add_grasp_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("grasps of a parallel gripper")
    group.add_argument(
        "--grasps",
        nargs="?",
        type=_count,
        const=_GRASPS,
        metavar="N",
        help=f"plan grasps, up to N for each object (without a number: {_GRASPS}); needs --depth and --camera",
    )
    group.add_argument(
        "--gripper",
        metavar="NAME|FILE",
        help=f"{', '.join(GRIPPERS)}, or a YAML file of your own (default: {DEFAULT_GRIPPER})",
    )
    group.add_argument("--planner", metavar="NAME", help=f"{', '.join(PLANNERS)} (default: {DEFAULT_PLANNER})")


def _grasp_request(options: argparse.Namespace) -> GraspRequest | None:
    """What --grasps asks for; None without it."""
    if options.grasps is None:
        for name in ("gripper", "planner"):
            if getattr(options, name) is not None:
                raise InvalidInputError(f"--{name}: grasps are planned only with --grasps; add that, or leave it out")
        return None
    if options.depth is None or options.camera is None:
        raise InvalidInputError(
            "--grasps without --depth and --camera: a grasp is a place in metres; give both, or leave --grasps out"
        )
    gripper = load_gripper(options.gripper or DEFAULT_GRIPPER)
    return GraspRequest(gripper, make_planner(options.planner or DEFAULT_PLANNER), options.grasps)


def _prompts(groups: Sequence[dict[str, list]] | None) -> list[Prompt]:
    prompts = []
    for group in groups or []:
        if not group["point"] and not group["box"]:
            raise InvalidInputError("--next: expected --point or --box on both sides of it")
        if len(group["box"]) > 1:
            raise InvalidInputError("--box: expected one for each object; put --next between the objects")
        points = [click[:2] for click in group["point"]] or None
        labels = [click[2] for click in group["point"]] or None
        prompts.append(Prompt(points=points, labels=labels, box=group["box"][0] if group["box"] else None))
    if not prompts:
        raise InvalidInputError("no prompt: give --point X,Y or --box X0,Y0,X1,Y1")
    return prompts


class _AddToPrompt(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        groups = getattr(namespace, self.dest) or [{"point": [], "box": []}]
        groups[-1][str(option_string).lstrip("-")].append(values)
        setattr(namespace, self.dest, groups)


class _NextPrompt(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        groups = getattr(namespace, self.dest) or [{"point": [], "box": []}]
        groups.append({"point": [], "box": []})
        setattr(namespace, self.dest, groups)


def _point(text: str) -> tuple[float, float, int]:
    values = _numbers(text, "X,Y or X,Y,LABEL", (2, 3))
    label = values[2] if len(values) == 3 else 1
    if label not in (0, 1):
        raise argparse.ArgumentTypeError(f"expected a label of 0 or 1, got {label:g} in {text!r}")
    return values[0], values[1], int(label)


def _box(text: str) -> list[float]:
    return _numbers(text, "X0,Y0,X1,Y1", (4,))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    (value,) = _numbers(text, "a number", (1,))
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected more than 0, got {text!r}")
    return value


def _numbers(text: str, form: str, counts: tuple[int, ...]) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in counts:
        raise argparse.ArgumentTypeError(f"expected {form}, got {text!r}")
    return values
