"""`sam-perception interface`: the definitions of messages and services."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sam_perception.commands.graph import or_similar
from sam_perception.commands.transport import provide_rclpy
from sam_perception.errors import InvalidInputError

KINDS = {"msg": "Messages", "srv": "Services", "action": "Actions"}

_NAME = re.compile(r"\w+/\w+/\w+")
_PRIMITIVE = re.compile(r"(bool|byte|char|w?string|float(32|64)|u?int(8|16|32|64))")


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "interface",
        help="list and show messages and services",
        description="As `ros2 interface`, with or without ROS.",
    )
    parser.set_defaults(listen=[], connect=[], zenoh_config=None)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print a definition with all that it contains")
    show.add_argument("type", metavar="TYPE", help="such as sam_perception/srv/Segment; - reads it from stdin")
    comments = show.add_mutually_exclusive_group()
    comments.add_argument("--all-comments", action="store_true", help="also those of what it contains")
    comments.add_argument("--no-comments", action="store_true", help="no comments and no empty lines")
    show.set_defaults(run=run_show)
    listing = actions.add_parser("list", help="names of all that are known")
    listing.add_argument("-m", "--only-msgs", action="store_const", const=["msg"], dest="kinds")
    listing.add_argument("-s", "--only-srvs", action="store_const", const=["srv"], dest="kinds")
    listing.set_defaults(run=list_interfaces, kinds=None)


def run_show(options: argparse.Namespace) -> int:
    """Print one definition."""
    provide_rclpy(options)
    name = sys.stdin.readline().strip() if options.type == "-" else options.type
    for line in expanded(name, not options.no_comments, options.all_comments):
        print(line)
    return 0


def list_interfaces(options: argparse.Namespace) -> int:
    """Print the names of messages and services."""
    provide_rclpy(options)
    names = interface_names()
    for kind in options.kinds or KINDS:
        print(f"{KINDS[kind]}:")
        for name in names:
            if name.split("/")[1] == kind:
                print(f"    {name}")
    return 0


def expanded(name: str, comments: bool, nested_comments: bool, depth: int = 0) -> Iterator[str]:
    """A definition's lines, each message within it indented by a tab below the line that names it."""
    package = name.partition("/")[0]
    for line in definition_text(name).splitlines():
        code = line.partition("#")[0].strip()
        if comments or code:
            text = line.rstrip() if comments else code
            yield "\t" * depth + text if text else ""
        if nested := _nested_type(package, code):
            yield from expanded(nested, nested_comments, nested_comments, depth + 1)


def _nested_type(package: str, code: str) -> str | None:
    element = re.split(r"[\s\[<]", code)[0]
    if not element or element == "---" or _PRIMITIVE.fullmatch(element):
        return None
    owner, _, name = element.rpartition("/")
    return f"{(owner or package).partition('/')[0]}/msg/{name}"


def definition_text(name: str) -> str:
    """The text of `package/msg/Name` or `package/srv/Name`.

    Raises:
        InvalidInputError: there is none of this name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(f"Invalid name '{name}'. Expected three parts separated by '/'")
    if name not in interface_names():
        raise InvalidInputError(f"Unknown interface '{name}'{or_similar(name, interface_names())}")
    if _is_standalone():
        from sam_perception.standalone import interfaces

        return interfaces.definition_text(name)
    package, kind, base = name.split("/")
    for prefix in _ament_prefixes():
        path = prefix / "share" / package / kind / f"{base}.{kind}"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise InvalidInputError(f"share/{package}/{kind}/{base}.{kind} is in no folder of $AMENT_PREFIX_PATH")


def interface_names() -> list[str]:
    """Every interface of the runtime that is used here, sorted."""
    if _is_standalone():
        from sam_perception.standalone import interfaces

        return sorted(name for name in interfaces.interface_names() if "_" not in name.rpartition("/")[2])
    names = set()
    for prefix in _ament_prefixes():
        for listing in (prefix / "share/ament_index/resource_index/rosidl_interfaces").glob("*"):
            lines = listing.read_text(encoding="utf-8").split()
            names |= {f"{listing.name}/{line.rpartition('.')[0]}" for line in lines if "_" not in line}
    return sorted(names)


def _ament_prefixes() -> list[Path]:
    return [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]


def _is_standalone() -> bool:
    from sam_perception.standalone import install_where_needed

    return install_where_needed()
