"""`sam-perception up`: camera, sam and sam_grasp as processes of their own, ended by one Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import Any

from sam_perception.commands.child_process import Command
from sam_perception.commands.ros_arguments import BEGIN, END
from sam_perception.commands.supervision import Supervisor
from sam_perception.commands.transport import LISTEN, add_transport_options, export_transport
from sam_perception.errors import InvalidInputError

COLOR = "/camera/camera/color/image_raw"
DEPTH = "/camera/camera/aligned_depth_to_color/image_raw"
CAMERA_INFO = "/camera/camera/color/camera_info"

# Each process' node, as `run` names it, and its topics: those of realsense-ros with align_depth.
PROCESSES = {"camera": "sample_camera", "sam": "sam", "sam_grasp": "sam_grasp"}
# The node of `camera` when --camera begins with this, and not PROCESSES' own.
CAMERA_NODES = {"realsense": "realsense_camera", "sim": "sim_camera"}
REMAPS = {
    "camera": {},
    "sam": {"image": COLOR, "depth": DEPTH},
    "sam_grasp": {"objects": "/sam/objects", "image": COLOR, "depth": DEPTH, "camera_info": CAMERA_INFO},
}

_PARAMETER = re.compile(r"(?:([^:=]+):)?([^:=]+):=(.*)")


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "up",
        help="run camera, sam and sam_grasp together",
        description="Run camera, sam and sam_grasp as processes of their own until Ctrl-C. One that dies is started "
        "again. What follows --ros-args goes to each of them.",
    )
    parser.add_argument(
        "--camera",
        default="sample",
        metavar="SOURCE",
        help="sample: the scene that ships with the package; realsense or realsense:SERIAL; sim or sim:SEED: simulated "
        "scenes; none: a camera that runs already; or a folder of frames or a recording (default: %(default)s)",
    )
    parser.add_argument("--model", metavar="NAME", help="a name from `sam-perception models list`, or a checkpoint")
    parser.add_argument("--device", metavar="NAME", help="of the model: auto, cuda, cuda:N, mps or cpu")
    parser.add_argument("--target-frame", metavar="FRAME", help="of clouds and boxes (default: the camera's)")
    parser.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="[PROCESS:]NAME:=VALUE",
        help=f"a parameter of one process ({', '.join(PROCESSES)}) or of all; repeat for more",
    )
    add_transport_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run until Ctrl-C; the exit code is 2 when a process cannot live."""
    options.listen = options.listen or [each for each in os.environ.get(LISTEN, "").split(",") if each]
    export_transport(options)
    return Supervisor(commands(options)).run()


def commands(options: argparse.Namespace) -> list[Command]:
    """The processes and their command lines."""
    names = [name for name in PROCESSES if name != "camera" or options.camera != "none"]
    parameters = _parameters(options)
    result = []
    for i, name in enumerate(names):
        for_ros = [*options.ros_arguments, *([END] if options.ros_arguments else []), BEGIN]
        for source, target in REMAPS[name].items():
            for_ros += ["-r", f"{source}:={target}"]
        for parameter in parameters[name]:
            for_ros += ["-p", parameter]
        node = CAMERA_NODES.get(_kind(options.camera), PROCESSES[name]) if name == "camera" else PROCESSES[name]
        arguments = [sys.executable, "-m", "sam_perception", "run", node, *_listen(options.listen, i)]
        result.append(Command(name, (*arguments, *for_ros)))
    return result


def _parameters(options: argparse.Namespace) -> dict[str, list[str]]:
    """What goes behind -p for each process; what was asked for with -p comes last, and so wins."""
    parameters: dict[str, list[str]] = {name: [] for name in PROCESSES}
    parameters["camera"] += _camera_parameters(options.camera)
    for name, value in (("model", options.model), ("device", options.device)):
        if value is not None:
            parameters["sam"].append(_string(name, value))
    if options.target_frame is not None:
        parameters["sam_grasp"].append(_string("target_frame", options.target_frame))
    for text in options.param:
        process, parameter = _read(text)
        for name in [process] if process else PROCESSES:
            parameters[name].append(parameter)
    return parameters


def _camera_parameters(camera: str) -> list[str]:
    """What --camera says of the camera's node.

    Raises:
        InvalidInputError: it is no camera.
    """
    which = camera.partition(":")[2]
    if _kind(camera) == "sim":
        if which and not which.isdecimal():
            raise InvalidInputError.for_field("--camera", "sim or sim:SEED, a whole number", camera)
        return [f"seed:={int(which)}"] if which else []
    if _kind(camera) == "realsense":
        return [_string("serial_number", which)] if which else []
    if camera in ("sample", "none"):
        return []
    if not os.path.exists(camera):
        raise InvalidInputError.for_field("--camera", "sample, realsense, sim, none, or a path that exists", camera)
    return [_string("source", os.path.abspath(camera))]


def _kind(camera: str) -> str:
    return camera.partition(":")[0]


def _string(name: str, value: str) -> str:
    """Quoted, for YAML would take some names for numbers."""
    return f"{name}:={json.dumps(value)}"


def _read(text: str) -> tuple[str | None, str]:
    """`sam:history_s:=2` as `sam` and `history_s:=2`."""
    match = _PARAMETER.fullmatch(text)
    if not match:
        raise InvalidInputError.for_field("-p", "[PROCESS:]NAME:=VALUE", text)
    process, name, value = match.groups()
    if process is not None and process not in PROCESSES:
        raise InvalidInputError.for_field("-p", f"a parameter of {', '.join(PROCESSES)}", text)
    return process, f"{name}:={value}"


def _listen(endpoints: list[str], i: int) -> list[str]:
    """--listen for the i-th process: a port belongs to one of them only, so that each takes the next."""
    arguments = []
    for endpoint in endpoints:
        address, colon, port = endpoint.rpartition(":")
        if colon and port.isdecimal() and int(port):
            endpoint = f"{address}:{int(port) + i}"
        arguments += ["--listen", endpoint]
    return arguments
