"""The message and service classes: built from their definitions, found by import, turned into CDR and back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import RLock
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from sam_perception.standalone import interfaces
from sam_perception.standalone.fields import MessageField

_WIRE = Typestore()  # writes and reads our classes; filled as they are built
_CLASSES: dict[str, type] = {}
_BUILDING = RLock()


class SerializationError(ValueError):
    """Bytes that are no message of the expected type, or a message that cannot become bytes."""


class Message:
    """Base of every message class; behaves as those that rosidl generates, and always checks what it is given."""

    __slots__ = ()
    _fields: ClassVar[dict[str, MessageField]]
    _type_name: ClassVar[str]

    def __init__(self, **values: Any) -> None:
        if not values.keys() <= self._fields.keys():
            raise AssertionError(self._no_field(*(values.keys() - self._fields.keys())))
        for name, field in self._fields.items():
            field.slot.__set__(self, field.constructed(values[name]) if name in values else field.default())

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise AttributeError(self._no_field(name))
        self._fields[name].slot.__set__(self, self._fields[name].checked(value))

    def _no_field(self, *names: str) -> str:
        return f"{self._type_name} has no field {', '.join(names)}: it has {', '.join(self._fields) or 'none'}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return False
        pairs = ((getattr(self, name), getattr(other, name)) for name in self._fields)
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = []
        for name, field in self._fields.items():
            value = getattr(self, name)
            is_list = field.is_sequence and isinstance(value, np.ndarray)
            shown.append(f"{name}={value.tolist() if is_list else value!r}")
        return f"{type(self).__module__}.{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        """Each field's name and its type as rosidl writes it."""
        return {name: field.rosidl_type() for name, field in cls._fields.items()}


def message_class(name: str) -> type[Any]:
    """The class of `package/msg/Name`, or of one part of a service: `package/srv/Name_Request`."""
    with _BUILDING:
        if name not in _CLASSES:
            _CLASSES[name] = _build(name)
        return _CLASSES[name]


def service_class(name: str) -> type[Any]:
    """The class of `package/srv/Name`, with its Request, Response and Event."""
    with _BUILDING:
        if name not in _CLASSES:
            module, _, short = name.replace("/", ".").rpartition(".")
            parts = {part: message_class(f"{name}_{part}") for part in ("Request", "Response", "Event")}
            _CLASSES[name] = type(short, (), {"__module__": module, "_type_name": name, **parts})
        return _CLASSES[name]


def _build(name: str) -> type[Message]:
    fields = {found[0]: MessageField(name, *found, message_class) for found in interfaces.fields(name)}
    module, _, short = name.replace("/", ".").rpartition(".")
    members = {
        **interfaces.constants(name),
        **{field.wire_entry[0]: property(field.to_wire) for field in fields.values() if field.is_adapted},
        **{"__module__": module, "__doc__": f"Message class '{short}'.", "__slots__": tuple(fields)},
        **{"_fields": fields, "_type_name": name, interfaces.PLACEHOLDER: 0},
    }
    cls = type(short, (Message,), members)
    for field_name, field in fields.items():
        field.slot = cls.__dict__[field_name]
    entries = [field.wire_entry for field in fields.values()]
    _WIRE.fielddefs[name] = ([], entries or [(interfaces.PLACEHOLDER, (Nodetype.BASE, ("uint8", 0)))])
    _WIRE.types[name] = _reader(cls)  # type: ignore[assignment]
    return cls


def _reader(cls: type[Message]) -> Callable[..., Message]:
    """What rosbags calls with the values that it read: they are kept without checking each of them again."""

    def read(*values: Any) -> Message:
        message = object.__new__(cls)
        for field, value in zip(cls._fields.values(), values):  # noqa: B905 an empty message has a placeholder
            field.slot.__set__(message, field.from_wire(value))
        return message

    return read


def type_name(cls: type) -> str:
    """`package/msg/Name` of a message class, `package/srv/Name` of a service class."""
    return cls._type_name  # type: ignore[attr-defined]


def serialize(message: Any) -> bytearray:
    """Little-endian CDR with its encapsulation header."""
    try:
        view = _WIRE.serialize_cdr(message, message._type_name, little_endian=True)
    except (SerdeError, struct.error, AttributeError, TypeError, ValueError) as error:
        raise SerializationError(f"this {message._type_name} cannot be serialised: {error}") from error
    return view.obj  # type: ignore[return-value]  # zenoh takes a bytearray as it is, but no memoryview


def deserialize(buffer: bytes | bytearray | memoryview, cls: type[Any]) -> Any:
    """The message in CDR of either byte order; its arrays of numbers are views on the buffer."""
    try:
        return _WIRE.deserialize_cdr(memoryview(buffer), type_name(cls))
    except SerdeError as error:
        raise SerializationError(f"{len(buffer)} bytes that are no {type_name(cls)}: {error}") from error


class InterfaceFinder(MetaPathFinder, Loader):
    """Makes `from sensor_msgs.msg import Image` and the like find the classes of this module."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A spec for `package`, `package.msg` and `package.srv` of every package that has interfaces."""
        prefix = fullname.replace(".", "/") + "/"
        has_interfaces = any(name.startswith(prefix) for name in interfaces.interface_names())
        if fullname == interfaces.OWN_PACKAGE or not has_interfaces:
            return None
        return ModuleSpec(fullname, self, is_package="." not in fullname)

    def exec_module(self, module: ModuleType) -> None:
        """Let the module build a class when it is first asked for."""
        prefix = module.__name__.replace(".", "/") + "/"

        def find(name: str) -> type:
            is_service = "/srv/" in prefix and prefix + name in interfaces.interface_names()
            try:
                return service_class(prefix + name) if is_service else message_class(prefix + name)
            except interfaces.UnknownInterfaceError as error:
                raise AttributeError(str(error)) from error

        vars(module)["__getattr__"] = find
