"""A span of time."""

from __future__ import annotations

from functools import total_ordering


@total_ordering
class Duration:
    """A signed number of nanoseconds."""

    def __init__(self, *, seconds: float = 0, nanoseconds: int = 0) -> None:
        self.nanoseconds = int(seconds * 10**9) + int(nanoseconds)

    def __repr__(self) -> str:
        return f"Duration(nanoseconds={self.nanoseconds})"

    def __eq__(self, other: object) -> bool:
        return self.nanoseconds == other.nanoseconds if isinstance(other, Duration) else NotImplemented

    def __lt__(self, other: Duration) -> bool:
        return self.nanoseconds < other.nanoseconds

    __hash__ = None  # type: ignore[assignment]
