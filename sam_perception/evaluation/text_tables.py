"""Tables of a report as lines of text."""

from __future__ import annotations

Table = list[list[str]]


def aligned(table: Table, left: int) -> list[str]:
    """Rows as lines: the first columns flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
