"""`sam-perception bench`: timings of this package beside other ways, and picks of simulated objects."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sam_perception.commands import bench_picks
from sam_perception.commands.background_nodes import background_nodes
from sam_perception.commands.options import add_model_options, model_options
from sam_perception.errors import InvalidInputError
from sam_perception.evaluation.benchmarks import conversions, deprojection, prompting
from sam_perception.evaluation.benchmarks.sample_720p import write_sample_720p
from sam_perception.evaluation.benchmarks.timing import Row
from sam_perception.frame_files import read_sample
from sam_perception.models import DEFAULT_MODEL
from sam_perception.prompts import Prompt

SUBJECTS = ("prompting", "deprojection", "conversions")
CLIENTS = 8
REPEATS_OF_SERVICES = 100


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "bench",
        help="time this package beside other ways, or count how many simulated objects it picks",
        description="Time a warm prompt beside encoding each time, deprojection beside a per-pixel loop and other "
        "libraries that are installed, and conversions, on the sample scene. With --picks or --clutter: pick simulated "
        "objects instead.",
    )
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of the slow ways (default: %(default)s)")
    parser.add_argument("--nodes", action="store_true", help="instead: time the services of nodes that run beside")
    parser.add_argument("--requests", type=int, metavar="N", help="with --nodes: ask N times from 8 clients at once")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    bench_picks.add_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run, model=prompting.DEFAULT_MODEL)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if bench_picks.is_asked_for(options):
        return bench_picks.run(options)
    subjects = options.subjects or list(SUBJECTS)
    unknown = [subject for subject in subjects if subject not in SUBJECTS]
    if unknown:
        raise InvalidInputError.for_field("SUBJECT", f"of {', '.join(SUBJECTS)}", unknown[0])
    if options.repeats < 1:
        raise InvalidInputError.for_field("--repeats", "1 or more", options.repeats)
    if options.requests is not None and (not options.nodes or options.requests < CLIENTS):
        raise InvalidInputError.for_field("--requests", f"{CLIENTS} or more, with --nodes", options.requests)
    rows: list[Row] = []
    notes: list[str] = []
    load: dict[str, Any] = {}
    if options.nodes:
        subjects = []
        rows, load = _measure_nodes(options, notes)
    for subject in tqdm(subjects, desc="measuring", disable=None, leave=False):
        rows += _measure(subject, options, notes)
    if options.json:
        content = {"machine": _machine(), "notes": notes, "rows": [dataclasses.asdict(row) for row in rows]}
        content |= {"load": load} if load else {}
        print(json.dumps(content, indent=2))
    else:
        _print_table(rows)
        for note in notes:
            print(note)
    return 0


def _measure(subject: str, options: argparse.Namespace, notes: list[str]) -> list[Row]:
    frame = read_sample()
    if subject == "deprojection":
        return deprojection.measure(frame, options.repeats)
    if subject == "conversions":
        return conversions.measure(frame, deprojection.disk_with_depth(frame), options.repeats)
    if options.model == prompting.DEFAULT_MODEL and importlib.util.find_spec("transformers") is None:
        notes.append(
            "prompting was left out: SAM needs torch and transformers: pip install torch transformers safetensors"
        )
        return []
    model, weights = prompting.load_for_timing(options.model, model_options(options))
    click = Prompt(points=[[frame.width / 2, frame.height / 2]])
    return prompting.measure(model, weights, frame, click, options.repeats)


def _measure_nodes(options: argparse.Namespace, notes: list[str]) -> tuple[list[Row], dict[str, Any]]:
    """The services of nodes in processes of their own, whose camera shows the sample scene at 1280x720 and 30 Hz.

    Returns:
        Rows of single requests; or, with --requests, what became of many at once.
    """
    from sam_perception.nodes import benchmark  # here: it brings in rclpy

    model = options.model if options.model != prompting.DEFAULT_MODEL else DEFAULT_MODEL
    with tempfile.TemporaryDirectory() as folder:
        frame = write_sample_720p(Path(folder) / "frames")
        arguments = ["--camera", f"{folder}/frames", "--model", model, "--device", options.device]
        log = Path(folder) / "nodes.log"
        with background_nodes([*arguments, "-p", f"sam:precision:={options.precision}"], log):
            if options.requests is None:
                return benchmark.measure(frame, REPEATS_OF_SERVICES), {}
            result = benchmark.load(frame, CLIENTS, options.requests)
    notes.append(
        f"{result.requests} requests from {CLIENTS} clients at once, camera at 30 Hz: {result.answered} answered; "
        f"median {result.median_ms:.0f} ms, p99 {result.p99_ms:.0f} ms, worst {result.worst_ms:.0f} ms "
        f"({result.worst_ms / result.median_ms:.1f} times the median); memory of sam from {result.memory_mb[0]:.0f} to "
        f"{result.memory_mb[-1]:.0f} MB, most {max(result.memory_mb):.0f} MB"
    )
    return [], dataclasses.asdict(result)


def _print_table(rows: list[Row]) -> None:
    for subject, group in itertools.groupby(rows, key=lambda row: row.subject):
        print(subject)
        for row in group:
            times = f"x {row.ratio:.1f}" if row.ratio != 1 else ""
            print(f"  {row.way:<54} {row.median_ms:>10.3f} ms {times:>10}   {row.note}".rstrip())


def _machine() -> dict[str, Any]:
    return {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
