"""Which of ROS's names people see."""

from __future__ import annotations

from collections.abc import Iterable


def visible(names_and_types: Iterable[tuple[str, list[str]]], hidden: bool) -> dict[str, list[str]]:
    """Sorted, without the names of which a part begins with an underscore."""
    return {name: types for name, types in sorted(names_and_types) if hidden or "/_" not in name}
