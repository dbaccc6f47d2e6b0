"""`sam-perception run`: one of this package's nodes, in this process, with ros2's arguments."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from sam_perception.commands.transport import add_transport_options, provide_rclpy

NODES = {
    "sam": "sam_perception.nodes.sam_node",
    "sam_grasp": "sam_perception.nodes.sam_grasp_node",
    "sample_camera": "sam_perception.nodes.sample_camera_node",
    "realsense_camera": "sam_perception.nodes.realsense_camera_node",
    "sim_camera": "sam_perception.nodes.sim_camera_node",
}


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "run",
        help="run one node",
        description="Run one node until Ctrl-C. After --ros-args come ros2's arguments: -p NAME:=VALUE, -r FROM:=TO, "
        "-r __ns:=/NAMESPACE, -r __node:=NAME, --params-file FILE, --log-level LEVEL.",
    )
    parser.add_argument("node", choices=NODES, metavar="NODE", help=f"of {', '.join(NODES)}")
    add_transport_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the node until it ends."""
    provide_rclpy(options)
    return int(importlib.import_module(NODES[options.node]).main(options.ros_arguments) or 0)
