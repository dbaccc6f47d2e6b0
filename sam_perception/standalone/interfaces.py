"""The message and service definitions that standalone knows: their names, texts, fields and type hashes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sam_perception.standalone import definitions

OWN_PACKAGE = "sam_perception"
PLACEHOLDER = "structure_needs_at_least_one_member"  # what an empty message carries on the wire and nowhere else
# rosbags drops default values. Our own definitions have none.
_DEFAULTS: dict[tuple[str, str], Any] = {
    ("geometry_msgs/msg/Quaternion", "w"): 1.0,
    ("sensor_msgs/msg/NavSatStatus", "status"): -2,
}


class UnknownInterfaceError(LookupError):
    """No such message or service."""


@cache
def interface_names() -> tuple[str, ...]:
    """Every message and service, as `package/msg/Name` or `package/srv/Name`, in order."""
    return tuple(sorted({*get_typestore(Stores.ROS2_JAZZY).fielddefs, *_texts()}))


def constants(name: str) -> dict[str, Any]:
    """The constants of a message, or of one half of a service (`package/srv/Name_Request`)."""
    found = _store_with(name).fielddefs[name][0]
    return {constant: bytes((int(value),)) if kind == "byte" else value for constant, kind, value in found}


def fields(name: str) -> list[tuple[str, Any, Any]]:
    """Each field's name, its type as rosbags describes it, and its default (None: zero or empty)."""
    found = _store_with(name).fielddefs[name][1]
    return [(field, desc, _DEFAULTS.get((name, field))) for field, desc in found if field != PLACEHOLDER]


def definition_text(name: str) -> str:
    """The text of a message or service; with comments where the original lies in this package."""
    store = _store_with(name)
    return (_texts().get(name) or store.generate_msgdef(name, ros_version=2)[0].split("=" * 80)[0]).rstrip()


def type_hash(name: str) -> str:
    """The RIHS01 hash of a message or service, as rosidl computes it."""
    return _store_with(name).hash_rihs01(name)


def _store_with(name: str) -> Typestore:
    if name not in _store().fielddefs:
        raise UnknownInterfaceError(f"there is no interface '{name}'; `sam-perception interface list` names all")
    return _store()


@cache
def _texts() -> dict[str, str]:
    """The definitions that stand as text, by name: of definitions.py and of this package."""
    texts, folder = dict(definitions.TEXTS), _own_folder()
    for path in (*folder.glob("msg/*.msg"), *folder.glob("srv/*.srv")):
        texts[f"{OWN_PACKAGE}/{path.parent.name}/{path.stem}"] = path.read_text(encoding="utf-8")
    return texts


def _own_folder() -> Path:
    """Where msg/ and srv/ of this package are: the repository's root, or share/ of the installation."""
    for parent in Path(__file__).resolve().parents:
        for folder in (parent, parent / "share" / OWN_PACKAGE):
            if (folder / "msg" / "ObjectMask.msg").is_file():
                return folder
    raise UnknownInterfaceError(f"share/{OWN_PACKAGE}/msg is nowhere near {__file__}: install {OWN_PACKAGE} again")


@cache
def _store() -> Typestore:
    """What rosbags knows and all texts, as rosidl reads them."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in _texts().items():
        package, kind, _ = name.split("/")
        halves = ("_Request", "_Response") if kind == "srv" else ("",)
        for half, part in zip(halves, re.split(r"^---$", text, flags=re.MULTILINE), strict=True):
            (store.fielddefs[name + half],) = get_types_from_msg(part, f"{package}/msg/Any").values()
        if kind == "srv":
            store.fielddefs |= _service_parts(name)
    for name, (found, descs) in store.fielddefs.items():
        store.fielddefs[name] = (found, [(field, with_type(desc, "char", "uint8")) for field, desc in descs])
    return store


def _service_parts(name: str) -> dict[str, Any]:
    """What rosidl makes of a service beside its two halves: the event that it may publish, and all three together."""
    kinds = ("service_msgs/msg/ServiceEventInfo", f"{name}_Request", f"{name}_Response", f"{name}_Event")
    info, request, response, event = ((Nodetype.NAME, kind) for kind in kinds)
    seen = [("request", (Nodetype.SEQUENCE, (request, 1))), ("response", (Nodetype.SEQUENCE, (response, 1)))]
    together = [("request_message", request), ("response_message", response), ("event_message", event)]
    return {f"{name}_Event": ([], [("info", info), *seen]), name: ([], together)}


def with_type(desc: Any, old: str, new: str) -> Any:
    """A field's description with one primitive type in the place of another: rosidl reads a char as a uint8."""
    if isinstance(desc, tuple):
        return tuple(with_type(part, old, new) for part in desc)
    return new if desc == old else desc
