"""One field of a message class: which values it takes, its default, and its form on the wire."""

from __future__ import annotations

import array
import contextlib
import math
import reprlib
from collections import UserList
from collections.abc import Callable, Sequence, Set
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

from sam_perception.standalone.interfaces import with_type

_BUFFERS = (np.ndarray, array.array, bytes, bytearray, memoryview)
_ROSIDL_NAMES = {"bool": "boolean", "byte": "octet", "float32": "float", "float64": "double"}
_ZEROS: dict[str, Any] = {"bool": False, "byte": b"\0", "string": "", "float32": 0.0, "float64": 0.0}


class MessageField:
    """What a message class does with one of its fields, which has the type that rosbags describes as `desc`."""

    slot: Any  # where messages keep the value: the descriptor that `__slots__` made in their class

    def __init__(self, owner: str, name: str, desc: Any, default: Any, build: Callable[[str], type]) -> None:
        self._owner, self._name, self._default = owner, name, default
        self.is_sequence, self._is_array = desc[0] == Nodetype.SEQUENCE, desc[0] == Nodetype.ARRAY
        self._is_one = not (self.is_sequence or self._is_array)
        element, self._size = (desc, 0) if self._is_one else desc[1]  # type: tuple[Any, int]
        self._nested = build(element[1]) if element[0] == Nodetype.NAME else None
        self._type = element[1] if self._nested else element[1][0]
        self._accepts, self._expected = _element_check(self._type, self._nested)
        is_numeric = not self._is_one and not self._nested and self._type not in ("bool", "byte", "string")
        self._dtype = np.dtype(self._type) if is_numeric else None
        # Python's bytes, lists of bytes and lists of bool are not what rosbags writes.
        self.is_adapted = self._type == "byte" or (self._type == "bool" and not self._is_one)
        self.wire_entry = (f"_wire_{name}" if self.is_adapted else name, with_type(desc, "byte", "uint8"))

    def default(self) -> Any:
        """A fresh default value."""
        count = self._size if self._is_array else 0
        if self._dtype:
            return np.zeros(count, self._dtype)
        return self._element() if self._is_one else [self._element() for _ in range(count)]

    def _element(self) -> Any:
        if self._nested:
            return self._nested()
        return _ZEROS.get(self._type, 0) if self._default is None else self._default

    def checked(self, value: Any) -> Any:
        """The value as a message keeps it; AssertionError, as rosidl's, when it is none for this field."""
        if self._is_one:
            is_right = self._accepts(value)
        elif self._dtype and isinstance(value, _BUFFERS):
            value = np.asarray(value if isinstance(value, np.ndarray) else memoryview(value))
            is_right = value.dtype == self._dtype and value.ndim == 1 and self._has_room(value)
        else:
            is_list = isinstance(value, (Sequence, Set, UserList)) and not isinstance(value, str)
            is_right = is_list and self._has_room(value) and all(map(self._accepts, value))
        if not is_right:
            raise AssertionError(self._complaint(value))
        if self._dtype:
            return np.ascontiguousarray(value if isinstance(value, np.ndarray) else list(value), self._dtype)
        return value

    def constructed(self, value: Any) -> Any:
        """What a constructor makes of its argument: like rosidl's, it converts numbers."""
        if self._dtype and not isinstance(value, (*_BUFFERS, str)):
            with contextlib.suppress(TypeError, OverflowError):
                value = array.array(self._dtype.char, value)
        return self.checked(value)

    def _has_room(self, value: Any) -> bool:
        return len(value) == self._size if self._is_array else not self._size or len(value) <= self._size

    def _complaint(self, value: Any) -> str:
        most = f"{'' if self._is_array else 'at most '}{self._size}" if self._size else "any number"
        expected = self._expected if self._is_one else f"a sequence, {most} of: {self._expected}"
        got = f"{type(value).__name__} {reprlib.repr(value)}"
        if isinstance(value, np.ndarray):
            got = f"an array of {value.dtype} with shape {value.shape}"
        return f"{self._owner}: the '{self._name}' field must be {expected}; got {got}"

    def rosidl_type(self) -> str:
        """The type as get_fields_and_field_types() says it."""
        element = _ROSIDL_NAMES.get(self._type, self._type.replace("/msg/", "/"))
        if self._is_one:
            return element
        bound = f", {self._size}" if self._size else ""
        return f"{element}[{self._size}]" if self._is_array else f"sequence<{element}{bound}>"

    def to_wire(self, message: Any) -> Any:
        """What rosbags writes for an adapted field."""
        value = self.slot.__get__(message)
        if self._is_one:
            return value[0]
        return np.array(value, bool) if self._type == "bool" else np.frombuffer(b"".join(value), np.uint8)

    def from_wire(self, value: Any) -> Any:
        """The value to keep of what rosbags read; ValueError when it is over the field's bound."""
        if self._size and not self._has_room(value):
            raise ValueError(self._complaint(value))
        if not self.is_adapted:
            return value
        if self._type == "bool":
            return value.tolist()
        return bytes((value,)) if self._is_one else [bytes((item,)) for item in value]


def _element_check(kind: str, nested: type | None) -> tuple[Callable[[Any], bool], str]:
    """The check of one element, and what it asks for in words."""
    if nested:
        return (lambda value: isinstance(value, nested)), f"a {kind}"
    if kind == "byte":
        return (lambda value: isinstance(value, bytes) and len(value) == 1), "bytes of length 1"
    if kind in ("bool", "string"):
        required = bool if kind == "bool" else str
        return (lambda value: isinstance(value, required)), f"a {required.__name__}"
    if kind.startswith("float"):
        top = float(np.finfo(kind).max)
        return (lambda value: isinstance(value, float) and not top < abs(value) < math.inf), f"a float ({kind})"
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    return (lambda value: isinstance(value, int) and low <= value <= high), f"an int in [{low}, {high}]"
