#!/usr/bin/env python3
"""Runs the nodes for minutes with a camera of 1280x720 at 30 Hz, clicks once a second, and says what that cost.

    scripts/measure_nodes.py --seconds 300

The same on real rclpy and on the standalone runtime. Linux only: CPU time and memory are read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sam_perception.nodes  # noqa: F401 first: where there is no rclpy, it brings its own

import rclpy  # isort: skip
from diagnostic_msgs.msg import DiagnosticArray
from vision_msgs.msg import Point2D

from sam_perception.commands.background_nodes import background_nodes
from sam_perception.evaluation.benchmarks.sample_720p import write_sample_720p
from sam_perception.nodes.client import Client, Inbox
from sam_perception.srv import SegmentPoints

RATE_HZ = 30.0
NODES = ("sample_camera", "sam", "sam_grasp")
WARM_UP_S = 10.0


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        frame = write_sample_720p(Path(folder) / "frames")
        with background_nodes(["--camera", f"{folder}/frames"], Path(folder) / "nodes.log"):
            rclpy.init(args=[])
            with Client("measure") as client:
                result = _measure(client, [Point2D(x=frame.width / 2, y=frame.height / 2)], seconds)
            rclpy.try_shutdown()
    print(json.dumps(result, indent=1))
    return 0


def _measure(client: Client, points: list[Any], seconds: float) -> dict[str, Any]:
    for node in ("/sam", "/sam_grasp"):
        client.wait_until_active(node)
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")
    time.sleep(WARM_UP_S)
    processes = {node: _process_of(node) for node in NODES}
    before = {node: _cpu_s(pid) for node, pid in processes.items()}
    first_images, start = _images(diagnostics), time.monotonic()
    times_ms: list[float] = []
    memory_mb: dict[str, list[float]] = {node: [] for node in NODES}
    failed = 0
    while time.monotonic() - start < seconds:
        asked = time.perf_counter()
        answer = client.call(SegmentPoints, "/sam/segment_points", points=points)
        times_ms.append((time.perf_counter() - asked) * 1e3)
        failed += not answer.success
        for node, pid in processes.items():
            memory_mb[node].append(_resident_mb(pid))
        time.sleep(max(0.0, 1.0 - (time.perf_counter() - asked)))
    elapsed_s = time.monotonic() - start
    images = _images(diagnostics) - first_images
    ordered = sorted(times_ms)
    return {
        "runtime": "standalone"
        if "standalone" in str(rclpy.__file__)
        else os.environ.get("RMW_IMPLEMENTATION", "rclpy"),
        "python": sys.version.split()[0],
        "seconds": round(elapsed_s, 1),
        "images sam received": images,
        "images expected": round(elapsed_s * RATE_HZ),
        "clicks": len(times_ms),
        "clicks failed": failed,
        "click p50 ms": round(statistics.median(ordered), 1),
        "click p99 ms": round(ordered[int(0.99 * (len(ordered) - 1))], 1),
        "click worst ms": round(ordered[-1], 1),
        "CPU % of one core": {
            node: round(100 * (_cpu_s(pid) - before[node]) / elapsed_s, 1) for node, pid in processes.items()
        },
        "memory MB, after 10 %": {node: round(values[len(values) // 10]) for node, values in memory_mb.items()},
        "memory MB, at the end": {node: round(values[-1]) for node, values in memory_mb.items()},
        "memory MB, most": {node: round(max(values)) for node, values in memory_mb.items()},
    }


def _images(diagnostics: Inbox) -> int:
    """How many images sam has taken so far, as it said last."""
    diagnostics.clear()
    message = diagnostics.wait(lambda each: each.status[0].name.startswith("sam:"))
    return int(next(entry.value for entry in message.status[0].values if entry.key == "frames received"))


def _process_of(node: str) -> int:
    mine = os.environ["ROS_DOMAIN_ID"]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (path / "cmdline").read_bytes().split(b"\0")
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[3:5] == [b"run", node.encode()] and f"ROS_DOMAIN_ID={mine}".encode() in environment:
            return int(path.name)
    raise SystemExit(f"there is no process of {node}")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
