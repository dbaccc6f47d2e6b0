"""`sam-perception play`: a recording in the camera's place, its prompts asked again, the answers compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sam_perception.commands.graph import positive
from sam_perception.commands.transport import add_transport_options, provide_rclpy

SAME_IOU = 0.99
DIFFERS = 1


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "play",
        help="play a recording to running nodes, and compare their answers with the recorded ones",
        description="Publish the frames, camera_info and TF of a recording with the stamps that they had, ask the "
        "nodes that run what was asked then, and say whether they answer the same.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="of `sam-perception record`, or of `ros2 bag record`")
    parser.add_argument("--check", action="store_true", help=f"exit with {DIFFERS} when an answer differs")
    parser.add_argument(
        "--min-iou",
        type=_share,
        default=SAME_IOU,
        metavar="IOU",
        help="from which on two masks are the same (default: %(default)s)",
    )
    parser.add_argument(
        "-r", "--rate", type=positive, default=1.0, metavar="FACTOR", help="how fast (default: %(default)s)"
    )
    parser.add_argument("-l", "--loop", action="store_true", help="begin again at the end, until Ctrl-C")
    parser.add_argument("--clock", action="store_true", help="also publish /clock, for nodes with use_sim_time")
    parser.add_argument("--no-prompts", action="store_true", help="only play")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=120.0,
        metavar="SECONDS",
        help="for the nodes to be there, and for each answer (default: %(default)s)",
    )
    add_transport_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play it; 1 where --check finds an answer that differs."""
    provide_rclpy(options)
    from sam_perception.recording_files import require_rosbags

    require_rosbags()
    from sam_perception.nodes.play import Settings, play

    settings = Settings(
        path=options.file,
        rate=options.rate,
        loop=options.loop,
        clock=options.clock,
        prompts=not options.no_prompts,
        min_iou=options.min_iou,
        check=options.check,
        timeout_s=options.timeout,
    )
    return 0 if play(settings) or not options.check else DIFFERS


def _share(text: str) -> float:
    value = positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value
