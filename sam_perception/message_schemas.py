"""The definitions of message types as MCAP files carry them: one text with all that a type is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rosbags.interfaces import Nodetype

from sam_perception.standalone import interfaces

_BETWEEN = f"\n{'=' * 80}\n"


def schema_text(name: str) -> str:
    """The `ros2msg` text of `package/msg/Name`, or of a part of a service such as `package/srv/Name_Event`.

    Raises:
        UnknownInterfaceError: there is none, or it is made of one that there is not.
    """
    parts = dict.fromkeys(_with_parts(name))
    return _BETWEEN.join(_text(part) if part == name else f"MSG: {_short(part)}\n{_text(part)}" for part in parts)


def _with_parts(name: str) -> Iterator[str]:
    """The type itself, and then every type that it is made of."""
    yield name
    for _, desc, _ in interfaces.fields(name):
        kind, content = desc
        element = content[0] if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) else desc
        if element[0] == Nodetype.NAME:
            yield from _with_parts(element[1])


def _text(name: str) -> str:
    if "/msg/" in name:
        text = interfaces.definition_text(name)
        return "" if interfaces.PLACEHOLDER in text else text
    return "\n".join(f"{_type(desc)} {field}" for field, desc, _ in interfaces.fields(name))


def _type(desc: Any) -> str:
    """A field's type as a .msg file writes it."""
    kind, content = desc
    if kind == Nodetype.NAME:
        return _short(content)
    if kind == Nodetype.BASE:
        base, bound = content
        return f"{base}<={bound}" if bound else str(base)
    element, length = content
    if kind == Nodetype.ARRAY:
        return f"{_type(element)}[{length}]"
    return f"{_type(element)}[<={length}]" if length else f"{_type(element)}[]"


def _short(name: str) -> str:
    package, _, short = name.split("/")
    return f"{package}/{short}"
