#!/usr/bin/env python3
"""Writes the parameter tables in docs/ and the files in config/ from the nodes' own tables.

scripts/generate_reference.py            # write
scripts/generate_reference.py --check    # only say what is out of date; exit code 1 if anything is
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from sam_perception.nodes.managed_node import AUTOSTART
from sam_perception.nodes.parameters import Parameter
from sam_perception.nodes.realsense_parameters import REALSENSE_CAMERA_PARAMETERS
from sam_perception.nodes.sam_grasp_node import SAM_GRASP_PARAMETERS
from sam_perception.nodes.sam_parameters import SAM_PARAMETERS
from sam_perception.nodes.sample_camera_node import SAMPLE_CAMERA_PARAMETERS
from sam_perception.nodes.sim_camera_parameters import SIM_CAMERA_PARAMETERS

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = [REPOSITORY / "docs" / name for name in ("nodes.md", "realsense.md")]
# Name of the file and block -> name of the node and its table.
NODES = {
    "sam": ("/**/sam", SAM_PARAMETERS),
    "sam_grasp": ("/**/sam_grasp", SAM_GRASP_PARAMETERS),
    "sample_camera": ("/**/camera", SAMPLE_CAMERA_PARAMETERS),
    "realsense_camera": ("/**/camera", REALSENSE_CAMERA_PARAMETERS),
    "sim_camera": ("/**/camera", SIM_CAMERA_PARAMETERS),
}


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    outdated = [path for path, text in contents().items() if not path.exists() or path.read_text() != text]
    for path in outdated:
        done = "out of date: run scripts/generate_reference.py" if check else "written"
        print(f"{path.relative_to(REPOSITORY)}: {done}")
        if not check:
            path.write_text(contents()[path])
    return 1 if check and outdated else 0


def contents() -> dict[Path, str]:
    """Every generated file and what it should hold."""
    files = {}
    documents = {path: path.read_text() for path in DOCUMENTS}
    for name, (node, table) in NODES.items():
        rows = [AUTOSTART, *table]
        files[REPOSITORY / "config" / f"{name}.yaml"] = _yaml(name, node, rows)
        begin = f"<!-- parameters of {name}: generated -->"
        (path,) = (path for path, text in documents.items() if begin in text)
        documents[path] = _replaced(documents[path], begin, _markdown(rows))
    return {**files, **documents}


def _replaced(document: str, begin: str, text: str) -> str:
    pattern = re.compile(f"({re.escape(begin)}\\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: found[1] + text + found[2], document)


def _markdown(rows: Sequence[Parameter]) -> str:
    lines = ["| parameter | default | values | at run time | what it is |", "|---|---|---|---|---|"]
    for row in rows:
        changes = "yes" if row.changeable else "no"
        lines.append(f"| `{row.name}` | `{_value(row)}` | {_values(row)} | {changes} | {row.description} |")
    return "\n".join(lines) + "\n"


def _yaml(name: str, node: str, rows: Sequence[Parameter]) -> str:
    lines = [f"# Every parameter of {name} with its default. Made by scripts/generate_reference.py.", f"{node}:"]
    lines.append("  ros__parameters:")
    for row in rows:
        note = "" if row.changeable else " Not at run time."
        comment = f"{row.description} ({_values(row)}){note}"
        lines += textwrap.wrap(comment, 110, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {row.name}: {_value(row)}")
    return "\n".join(lines) + "\n"


def _value(row: Parameter) -> str:
    return json.dumps(row.default)


def _values(row: Parameter) -> str:
    if row.choices:
        return ", ".join(row.choices)
    kind = {bool: "true or false", int: "whole number", float: "number", str: "text"}[type(row.default)]
    if row.minimum is None and row.maximum is None:
        return kind
    lower, upper = ("any" if limit is None else f"{limit:g}" for limit in (row.minimum, row.maximum))
    return f"{kind}, {lower} to {upper}"


if __name__ == "__main__":
    sys.exit(main())
