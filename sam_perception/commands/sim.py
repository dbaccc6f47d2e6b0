"""`sam-perception sim`: simulated tabletop scenes as a data set, or one frame as files."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sam_perception.errors import InvalidInputError
from sam_perception.sim.dataset import DEFAULT_SIZE, DEFAULT_VIEWS, DatasetPlan, DatasetSummary, write_dataset
from sam_perception.sim.labelled_views import StageTimes
from sam_perception.sim.scene import Split
from sam_perception.sim.simulated_views import FAMILIES, simulate
from sam_perception.sim.view_files import write_frame_folder

FRAME_FILES = {"color": "color.png", "depth": "depth.png", "camera": "camera.json"}


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "sim",
        help="render simulated tabletop scenes",
        description="Render simulated tabletop scenes as a D435 would see them, with ground truth.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_dataset(actions)
    _add_render(actions)


def dataset(options: argparse.Namespace) -> int:
    """Render a data set, or what is missing of it, and say what it cost."""
    plan = DatasetPlan(
        options.scenes,
        Split(options.split),
        options.seed,
        options.views,
        options.width,
        options.height,
        options.piled,
    )
    with tqdm(total=plan.scenes, desc="rendering", unit="scene", disable=None) as progress:

        def show(scenes: int) -> None:
            progress.update(scenes - progress.n)

        try:
            summary = write_dataset(options.out, plan, simulate, FAMILIES, options.workers, show)
        except KeyboardInterrupt:
            progress.close()
            print("Stopped; the same command goes on from the last finished world.", file=sys.stderr)
            raise
    _report(options, summary)
    return 0


def render(options: argparse.Namespace) -> int:
    """Render the first view of the data set with this seed into the files of the sample scene."""
    plan = DatasetPlan(1, Split(options.split), options.seed, 1, options.width, options.height)
    if options.out.exists() and not options.out.is_dir():
        raise InvalidInputError.for_field("--out", "a folder", f"the file {options.out}")
    (view,) = simulate(plan.shares[0], StageTimes())
    objects = write_frame_folder(options.out, view)
    print(f"{options.out}: color.png, depth.png, labels.png, camera.json and objects.json of {len(objects)} objects.")
    for described in objects[:1]:
        files = " ".join(f"--{kind} {options.out / file}" for kind, file in FRAME_FILES.items())
        x, y = described["click"]
        print(f"Try: sam-perception segment {files} --point {x},{y} --out {options.out / 'answer'}")
    return 0


def _add_dataset(actions: Any) -> None:
    parser = actions.add_parser(
        "dataset",
        help="a data set in COCO's format, with depth, labels, cameras and poses",
        description="Render a data set in COCO's format, with depth, labels, cameras and poses. Stopped, it goes on "
        "where it was with the same command; a finished one grows with a larger --scenes. One seed gives the same "
        "bytes, whatever the number of workers.",
        allow_abbrev=False,
    )
    parser.add_argument("--scenes", required=True, type=int, metavar="N", help="how many arrangements of objects")
    parser.add_argument(
        "--views", type=int, default=DEFAULT_VIEWS, metavar="N", help="captures of each scene (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=_cores(),
        metavar="N",
        help="processes; each takes 40 scenes at a time (default: the cores here, %(default)s)",
    )
    parser.add_argument(
        "--piled",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the objects, 0..1, are set on or in another, where a layout has fewer (3 to 30 %%)",
    )
    _add_common(parser)
    parser.set_defaults(run=dataset)


def _add_render(actions: Any) -> None:
    parser = actions.add_parser(
        "render",
        help="one frame as color.png, depth.png, labels.png, camera.json and objects.json",
        description="Render one frame in the form of the sample scene: the first one of the data set with this seed.",
        allow_abbrev=False,
    )
    _add_common(parser)
    parser.set_defaults(run=render)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other seeds, other scenes (default: 0)")
    parser.add_argument(
        "--split",
        choices=[split.value for split in Split],
        default=Split.TRAIN.value,
        help="held-out has objects and textures that train never has (default: %(default)s)",
    )
    parser.add_argument("--width", type=int, default=DEFAULT_SIZE[0], metavar="PX", help="default: %(default)s")
    parser.add_argument("--height", type=int, default=DEFAULT_SIZE[1], metavar="PX", help="default: %(default)s")


def _report(options: argparse.Namespace, summary: DatasetSummary) -> None:
    print(f"{options.out}: {summary.scenes_total} scenes, {summary.scenes_written} of them rendered now.")
    if not summary.scenes_written:
        return
    total = sum(summary.stage_s.values())
    print(
        f"{summary.scenes_written / summary.wall_s:.2f} scenes and "
        f"{options.views * summary.scenes_written / summary.wall_s:.2f} views a second, with {options.workers} "
        f"worker{'s' * (options.workers != 1)}. Of their time:"
    )
    for stage, seconds in sorted(summary.stage_s.items(), key=lambda item: -item[1]):
        per_view_ms = 1e3 * seconds / summary.scenes_written / options.views
        print(f"  {stage:<16} {seconds / total:4.0%}  {per_view_ms:7.1f} ms a view")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
