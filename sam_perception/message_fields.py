"""Messages as text and text as messages: what `ros2 topic echo` prints and what `ros2 service call` reads."""

from __future__ import annotations

import array
import dataclasses
import importlib
import re
import sys
from typing import Any

import numpy as np
import yaml

from sam_perception.errors import InvalidInputError

FLOAT32_MAX = float(np.finfo(np.float32).max)

_SEQUENCE = re.compile(r"sequence<(.+?)(?:, (\d+))?>")
_ARRAY = re.compile(r"(.+)\[(\d+)\]")
_STRING = re.compile(r"(w?string)(?:<(\d+)>)?")
_INTEGER = re.compile(r"(u?)int(8|16|32|64)")


@dataclasses.dataclass(frozen=True)
class FieldType:
    """A field's type as ``get_fields_and_field_types`` names it.

    Attributes:
        element: what one element is: `double`, `string<10>`, `geometry_msgs/Point`.
        is_array: of fixed length.
        is_sequence: of any length up to ``length``.
        length: of an array, or the most that a sequence may have; None: no bound.
    """

    element: str
    is_array: bool = False
    is_sequence: bool = False
    length: int | None = None

    @classmethod
    def parse(cls, text: str) -> FieldType:
        """Read `sequence<double, 4>`, `double[9]` or a single element's type."""
        if match := _SEQUENCE.fullmatch(text):
            return cls(match[1], is_sequence=True, length=int(match[2]) if match[2] else None)
        if match := _ARRAY.fullmatch(text):
            return cls(match[1], is_array=True, length=int(match[2]))
        return cls(text)

    @property
    def element_name(self) -> str:
        """The element's type as it is written in full, without the bound of a string."""
        package, _, name = self.element.rpartition("/")
        return f"{package}/msg/{name}" if package else self.element.partition("<")[0]


def is_message(value: Any) -> bool:
    """Whether the value is a message, not a plain field."""
    return hasattr(value, "get_fields_and_field_types")


def fields(message: Any) -> list[tuple[str, FieldType, Any]]:
    """Name, type and value of each field, in the definition's order."""
    types = message.get_fields_and_field_types()
    return [(name, FieldType.parse(text), getattr(message, name)) for name, text in types.items()]


def field_at(message: Any, path: str) -> tuple[Any, FieldType]:
    """Value and type of the field at `header.stamp`.

    Raises:
        InvalidInputError: there is no such field; the text says what there is.
    """
    value: Any = message
    field_type = FieldType("")
    for name in filter(None, path.split(".")):
        if not is_message(value):
            raise InvalidInputError(f"Invalid field '{path}': {field_type.element_name} has no field {name}")
        types = value.get_fields_and_field_types()
        if name not in types:
            raise InvalidInputError(
                f"Invalid field '{path}': {_type_name(value)} has {', '.join(types) or 'no fields'}"
            )
        value, field_type = getattr(value, name), FieldType.parse(types[name])
    return value, field_type


def plain_text(value: Any, field_type: FieldType) -> str:
    """A field that is no message, as ros2 prints it: a sequence of numbers is an ``array.array`` there."""
    if field_type.is_sequence and isinstance(value, np.ndarray):
        if value.dtype == bool:
            return str(value.tolist())
        return str(array.array({"l": "q", "L": "Q"}.get(value.dtype.char, value.dtype.char), value.tolist()))
    return str(value)


@dataclasses.dataclass(frozen=True)
class Style:
    """How a message is printed.

    Attributes:
        truncate_length: arrays and strings are cut after this many elements; None: never.
        no_arr: arrays are named by type and length only.
        no_str: strings are named by length only.
        flow_style: YAML's lists on one line.
    """

    truncate_length: int | None = None
    no_arr: bool = False
    no_str: bool = False
    flow_style: bool = False


FULL = Style()


class _MessageDumper(yaml.SafeDumper):
    """Writes messages in block style always: ros2's flow style is one of the lists within them."""

    def represent_dict(self, data: Any) -> yaml.MappingNode:
        """One message."""
        return self.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=False)

    def ignore_aliases(self, data: Any) -> bool:
        """Nothing is written as a reference to something before it."""
        return True


_MessageDumper.add_representer(dict, _MessageDumper.represent_dict)


def message_to_yaml(message: Any, style: Style = FULL) -> str:
    """The message as ros2 prints it."""
    return yaml.dump(
        _to_dict(message, style),
        Dumper=_MessageDumper,
        allow_unicode=True,
        width=sys.maxsize,
        default_flow_style=style.flow_style,
        sort_keys=False,
    )


def message_to_csv(message: Any, style: Style = FULL) -> str:
    """All values, recursively, separated by commas; an empty one keeps its column, which ros2 drops at the start."""
    return ",".join(_to_csv(value, field_type, style) for _, field_type, value in fields(message))


def message_from_yaml(message_class: Any, text: str) -> Any:
    """A message whose named fields hold what the text says; the others keep their defaults.

    Raises:
        InvalidInputError: the text is no YAML, or a field is unknown or of another type or range; the message names it.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"The values are not YAML: {' '.join(str(error).split())}") from error
    message = message_class()
    _fill(message, {} if values is None else values, "")
    return message


def _to_dict(message: Any, style: Style) -> dict[str, Any]:
    return {name: _plain_field(value, field_type, style) for name, field_type, value in fields(message)}


def _plain_field(value: Any, field_type: FieldType, style: Style) -> Any:
    if not (field_type.is_array or field_type.is_sequence):
        return _plain(value, style)
    if style.no_arr:
        return _abbreviated(value, field_type)
    cut = style.truncate_length is not None and len(value) > style.truncate_length
    elements = [_plain(element, style) for element in _elements(value[: style.truncate_length] if cut else value)]
    return [*elements, "..."] if cut else elements


def _plain(value: Any, style: Style) -> Any:
    if is_message(value):
        return _to_dict(value, style)
    if isinstance(value, bytes):
        return _cut(value.decode("latin-1"), style)
    if isinstance(value, str):
        return _cut(value, style) if not style.no_str else f"<string length: <{len(value)}>>"
    return value


def _to_csv(value: Any, field_type: FieldType, style: Style) -> str:
    if not (field_type.is_array or field_type.is_sequence):
        return _csv_element(value, style)
    if style.no_arr:
        return _abbreviated(value, field_type)
    # As in ros2, a fixed array's elements are numpy's, so that a float32 is printed with its own few digits.
    elements = list(value) if field_type.is_array else _elements(value)
    cut = style.truncate_length is not None and len(elements) > style.truncate_length
    texts = [_csv_element(element, style) for element in (elements[: style.truncate_length] if cut else elements)]
    return ",".join([*texts, "..."] if cut else texts)


def _csv_element(value: Any, style: Style) -> str:
    if is_message(value):
        return message_to_csv(value, style)
    if isinstance(value, bytes):
        limit = style.truncate_length
        return str(value if limit is None or len(value) <= limit else value[:limit] + b"...")
    return str(_plain(value, style))


def _elements(value: Any) -> list[Any]:
    """The elements as Python's own types."""
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _cut(text: str, style: Style) -> str:
    limit = style.truncate_length
    return text if limit is None or len(text) <= limit else text[:limit] + "..."


def _abbreviated(value: Any, field_type: FieldType) -> str:
    name = field_type.element_name
    if field_type.is_array:
        return f"<array type: {name}[{field_type.length}]>"
    bound = "" if field_type.length is None else f"[{field_type.length}]"
    return f"<sequence type: {name}{bound}, length: {len(value)}>"


def _fill(message: Any, values: Any, path: str) -> None:
    types = message.get_fields_and_field_types()
    if not isinstance(values, dict):
        raise _wrong(path or _type_name(message), f"a mapping of {', '.join(types) or 'no fields'}", values)
    for name, value in values.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in types:
            has = ", ".join(types) or "none"
            raise InvalidInputError(f"{where}: {_type_name(message)} has no such field; its fields are {has}")
        setattr(message, name, _converted(getattr(message, name), FieldType.parse(types[name]), value, where))


def _converted(current: Any, field_type: FieldType, value: Any, where: str) -> Any:
    """The value in the type that the field takes; a message within is filled in place."""
    if not (field_type.is_array or field_type.is_sequence):
        return _element(field_type, value, where, current)
    if not isinstance(value, list):
        raise _wrong(where, f"a list of {field_type.element_name}", value)
    if field_type.is_array and len(value) != field_type.length:
        raise _wrong(where, f"{field_type.length} elements", len(value))
    if field_type.length is not None and len(value) > field_type.length:
        raise _wrong(where, f"at most {field_type.length} elements", len(value))
    return [_element(field_type, element, f"{where}[{i}]", None) for i, element in enumerate(value)]


def _element(field_type: FieldType, value: Any, where: str, current: Any) -> Any:
    name = field_type.element
    if "/" in name:
        package, _, message_name = name.rpartition("/")
        message = current or getattr(importlib.import_module(f"{package}.msg"), message_name)()
        _fill(message, value, where)
        return message
    if match := _STRING.fullmatch(name):
        return _string(value, where, match[1], match[2])
    if match := _INTEGER.fullmatch(name):
        bits = int(match[2])
        low, high = (0, 2**bits - 1) if match[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return _integer(value, where, name, low, high)
    if name == "octet":
        is_character = isinstance(value, str) and len(value) == 1  # as the message is printed
        return bytes([_integer(ord(value) if is_character else value, where, name, 0, 255)])
    if name == "boolean":
        return _boolean(value, where)
    return _float(value, where, name)


def _string(value: Any, where: str, name: str, bound: str | None) -> str:
    if isinstance(value, (list, dict)) or value is None:
        raise _wrong(where, f"a {name}", value)
    text = str(value)
    if bound and len(text) > int(bound):
        raise _wrong(where, f"at most {bound} characters", len(text))
    return text


def _integer(value: Any, where: str, name: str, low: int, high: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or not low <= value <= high:
        raise _wrong(where, f"{name} from {low} to {high}", value)
    return int(value)


def _boolean(value: Any, where: str) -> bool:
    if value not in (0, 1):
        raise _wrong(where, "true or false", value)
    return bool(value)


def _float(value: Any, where: str, name: str) -> float:
    try:
        number = float(value)  # a string too: YAML takes 1e-3 for one
    except (TypeError, ValueError, OverflowError):
        raise _wrong(where, f"a {name}", value) from None
    if name == "float" and np.isfinite(number) and abs(number) > FLOAT32_MAX:
        raise _wrong(where, f"a float up to {FLOAT32_MAX:.7g}", value)
    return number


def _wrong(where: str, expected: str, value: Any) -> InvalidInputError:
    return InvalidInputError.for_field(where, expected, repr(value))


def _type_name(value: Any) -> str:
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    return f"{package}/{kind.__name__}" if is_message(value) else kind.__name__
