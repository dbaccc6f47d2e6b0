"""`sam-perception bench --picks`: how many simulated objects are lifted and held, and why the others are not."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tqdm import tqdm

from sam_perception.answers import write_png
from sam_perception.atomic_files import write_atomically
from sam_perception.commands.options import model_options
from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.benchmarks import prompting
from sam_perception.evaluation.pick_pictures import sheet
from sam_perception.evaluation.pick_reports import describe, summary_lines, to_csv
from sam_perception.evaluation.pick_runs import PickRun, run_picks
from sam_perception.evaluation.picks import MASKS, PickPlan
from sam_perception.grasping.gripper import DEFAULT_GRIPPER
from sam_perception.grasping.planners import PLANNERS
from sam_perception.models import DEFAULT_MODEL
from sam_perception.sim.pick_scenes import NOISES

DEFAULT_ISOLATED, DEFAULT_CLUTTER = 300, 30


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what --picks needs."""
    group = parser.add_argument_group(
        "picks", "instead: let a gripper pick simulated objects, from the camera's image to a shaken grasp"
    )
    group.add_argument(
        "--picks", nargs="?", type=int, const=DEFAULT_ISOLATED, metavar="N", help="N scenes of one object (300)"
    )
    group.add_argument(
        "--clutter", nargs="?", type=int, const=DEFAULT_CLUTTER, metavar="N", help="N scenes of 6 to 10 objects (30)"
    )
    group.add_argument(
        "--masks", choices=(*MASKS, "both"), default="both", help="the simulator's, or by one click (default: both)"
    )
    group.add_argument(
        "--planner", nargs="+", default=list(PLANNERS), metavar="NAME", help=f"of {', '.join(PLANNERS)} (default: all)"
    )
    group.add_argument(
        "--gripper", default=DEFAULT_GRIPPER, metavar="NAME", help="a name or a YAML file (default: %(default)s)"
    )
    group.add_argument(
        "--noise", choices=NOISES, default=NOISES[0], help="the camera's: as on a good day, or drawn for each image"
    )
    group.add_argument(
        "--least-quality", type=float, default=0.1, metavar="Q", help="in clutter, try no worse grasp (default: 0.1)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="other objects and scenes (default: 0)")
    group.add_argument(
        "--workers", type=int, default=_cores(), metavar="N", help="processes (default: the cores here, %(default)s)"
    )
    group.add_argument("--out", type=Path, metavar="DIR", help="folder for picks.json, picks.csv and failures.png")


def is_asked_for(options: argparse.Namespace) -> bool:
    """Whether the arguments ask for picks."""
    return options.picks is not None or options.clutter is not None


def run(options: argparse.Namespace) -> int:
    """Pick, write and print, in this order: `| head` must not cost the files."""
    if options.subjects or options.nodes:
        raise InvalidInputError("--picks and --clutter measure nothing else: leave out SUBJECT and --nodes")
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise InvalidInputError.for_field("--out", "a folder", f"{options.out}, a file")
    plan = PickPlan(
        isolated=options.picks or 0,
        clutter=options.clutter or 0,
        seed=options.seed,
        planners=tuple(dict.fromkeys(options.planner)),
        masks=MASKS if options.masks == "both" else (options.masks,),
        gripper=options.gripper,
        model=DEFAULT_MODEL if options.model == prompting.DEFAULT_MODEL else options.model,
        model_options=model_options(options),
        noise=options.noise,
        least_quality=options.least_quality,
    )
    done = _run(plan, options.workers)
    if options.out is not None:
        _write(options.out, done)
    if options.json:
        print(json.dumps(describe(done), indent=2))
        return 0
    for line in summary_lines(done):
        print(line)
    if options.out is not None:
        print(f"Written to {options.out}: picks.json, picks.csv, failures.png.")
    return 0


def _run(plan: PickPlan, workers: int) -> PickRun:
    with tqdm(total=plan.isolated + plan.clutter, desc="picking", unit="scene", disable=None) as progress:

        def show(scenes: int) -> None:
            progress.update(scenes - progress.n)

        return run_picks(plan, workers, show)


def _write(folder: Path, run: PickRun) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "picks.json", (json.dumps(describe(run), indent=1) + "\n").encode())
    write_atomically(folder / "picks.csv", to_csv(run.attempts).encode())
    write_png(folder / "failures.png", sheet(run.failures))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
