"""Timing of one way to do a thing beside another, in the same run."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured way of doing something.

    Attributes:
        subject: what is done; rows of one subject are compared with each other.
        way: how it is done.
        median_ms: median of ``repeats`` runs after one that is not counted.
        repeats: counted runs.
        ratio: median of this way over the median of the subject's first row, which is this package's own.
        note: what else there is to know.
    """

    subject: str
    way: str
    median_ms: float
    repeats: int
    ratio: float = 1.0
    note: str = ""


def median_ms(action: Callable[[], object], repeats: int) -> float:
    """Median wall time in ms of ``repeats`` calls, after one call that is not counted."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def compared(rows: list[Row]) -> list[Row]:
    """The rows of one subject with their ratios to the first."""
    return [dataclasses.replace(row, ratio=row.median_ms / rows[0].median_ms) for row in rows]
