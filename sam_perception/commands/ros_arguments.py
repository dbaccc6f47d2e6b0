"""Telling ROS's own arguments on a command line from ours."""

from __future__ import annotations

from collections.abc import Sequence

BEGIN = "--ros-args"
END = "--"


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and those from each `--ros-args` to the next `--` or the end."""
    ours: list[str] = []
    theirs: list[str] = []
    inside = False
    for argument in arguments:
        if inside and argument == END:
            inside = False
            theirs.append(argument)
            continue
        inside = inside or argument == BEGIN
        (theirs if inside else ours).append(argument)
    return ours, theirs
