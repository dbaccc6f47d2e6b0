#!/usr/bin/env python3
"""Writes the parameter tables of docs/nodes.md and the files in config/ from the nodes' own tables.

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
from sam_perception.nodes.sam_grasp_node import SAM_GRASP_PARAMETERS
from sam_perception.nodes.sam_parameters import SAM_PARAMETERS
from sam_perception.nodes.sample_camera_node import SAMPLE_CAMERA_PARAMETERS

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENT = REPOSITORY / "docs" / "nodes.md"
# Name of the file and block -> name of the node and its table.
NODES = {
    "sam": ("/**/sam", SAM_PARAMETERS),
    "sam_grasp": ("/**/sam_grasp", SAM_GRASP_PARAMETERS),
    "sample_camera": ("/**/camera", SAMPLE_CAMERA_PARAMETERS),
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
    document = DOCUMENT.read_text()
    files = {}
    for name, (node, table) in NODES.items():
        rows = [AUTOSTART, *table]
        files[REPOSITORY / "config" / f"{name}.yaml"] = _yaml(name, node, rows)
        document = _replaced(document, f"parameters of {name}", _markdown(rows))
    return {**files, DOCUMENT: document}


def _replaced(document: str, block: str, text: str) -> str:
    begin, end = f"<!-- {block}: generated -->", "<!-- end -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    if not pattern.search(document):
        sys.exit(f"{DOCUMENT.name}: there is no block {begin!r}")
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
