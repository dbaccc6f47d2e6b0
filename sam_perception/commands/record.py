"""`sam-perception record`: everything that reproduces the requests to running nodes, in one MCAP file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sam_perception.commands.graph import positive
from sam_perception.commands.transport import add_transport_options, provide_rclpy

MEMORY_MB = 1024


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "record",
        help="record frames, TF, prompts and answers for a bug report",
        description="Record what the running nodes see, are asked and answer, until Ctrl-C. `sam-perception play` asks "
        "the same again; Foxglove and `ros2 bag` open the file too.",
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="record this one as well")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="NAME.mcap for one file, any other name for a rosbag2 folder (default: a file named by the time)",
    )
    parser.add_argument("--pictures", action="store_true", help="also overlays, clouds and markers, which take room")
    parser.add_argument("--compress", action="store_true", help="with zstd")
    parser.add_argument("-d", "--duration", type=positive, metavar="SECONDS", help="end after so long")
    parser.add_argument(
        "--last",
        type=positive,
        metavar="SECONDS",
        help="hold only so many seconds, in memory, and write them on Ctrl-C, and on SIGUSR1 without ending",
    )
    parser.add_argument(
        "--memory",
        type=positive,
        default=MEMORY_MB,
        metavar="MB",
        help="for what is held, or waits for the disk (default: %(default)s)",
    )
    parser.add_argument("--repair", type=Path, metavar="PATH", help="only close a recording that was cut off")
    add_transport_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Record, or repair what a recording has left."""
    if options.repair is not None:
        from sam_perception.recording_files import repair

        print(f"{repair(options.repair)} can be read now")
        return 0
    provide_rclpy(options)
    from sam_perception.recording_files import require_rosbags

    require_rosbags()
    from sam_perception.nodes.record import Settings, record

    settings = Settings(
        path=options.output,
        topics=tuple(name if name.startswith("/") else f"/{name}" for name in options.topics),
        pictures=options.pictures,
        compress=options.compress,
        last_s=options.last,
        memory_mb=int(options.memory),
        duration_s=options.duration,
    )
    return record(settings)
