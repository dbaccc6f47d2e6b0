"""The message and service definitions: same types, in the same order, as everybody else's programs were built with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
Nodetype = pytest.importorskip("rosbags.interfaces").Nodetype

ROOT = Path(__file__).parents[1]
PACKAGE = "sam_perception"
HASHES = ROOT.parent / "shared" / "interfaces" / "type_hashes.json"
FILES = [*sorted((ROOT / "msg").glob("*.msg")), *sorted((ROOT / "srv").glob("*.srv"))]

# What rosbags does not carry, from vision_msgs 4.1, and what it reads unlike rosidl, from service_msgs 2.0:
# a char of a .msg file is a uint8 in rosidl.
FOREIGN = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y\n",
    "service_msgs/msg/ServiceEventInfo": "uint8 event_type\nbuiltin_interfaces/Time stamp\nuint8[16] client_gid\n"
    "int64 sequence_number\n",
}


@pytest.fixture(scope="module")
def store():
    """A type store with our definitions, a service as the four messages that rosidl makes of it."""
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    types = {}
    for name, text in FOREIGN.items():
        store.fielddefs.pop(name, None)
        types |= typesys.get_types_from_msg(text, name)
    for path in FILES:
        parts = path.read_text().split("---\n")
        for part, text in zip(("", "") if len(parts) == 1 else ("_Request", "_Response"), parts, strict=False):
            types |= typesys.get_types_from_msg(text, f"{PACKAGE}/msg/{path.stem}{part}")
    store.register(types)
    for path in FILES:
        if path.suffix == ".srv":
            _describe_service(store.fielddefs, path.stem)
    return store


def _describe_service(fielddefs: dict, name: str) -> None:
    """What rosidl makes of a .srv beyond its two halves, which rosbags parses as messages."""
    request, response, event = (f"{PACKAGE}/srv/{name}_{part}" for part in ("Request", "Response", "Event"))
    for half in ("Request", "Response"):
        fielddefs[f"{PACKAGE}/srv/{name}_{half}"] = fielddefs.pop(f"{PACKAGE}/msg/{name}_{half}")

    def named(kind: str) -> tuple:
        return Nodetype.NAME, kind

    def at_most_one(kind: str) -> tuple:
        return Nodetype.SEQUENCE, (named(kind), 1)

    info = ("info", named("service_msgs/msg/ServiceEventInfo"))
    fielddefs[event] = ([], [info, ("request", at_most_one(request)), ("response", at_most_one(response))])
    halves = [("request_message", named(request)), ("response_message", named(response))]
    fielddefs[f"{PACKAGE}/srv/{name}"] = ([], [*halves, ("event_message", named(event))])


@pytest.mark.skipif(not HASHES.exists(), reason=f"the hashes that rosidl computed are not at {HASHES}")
def test_type_hashes_equal_those_of_rosidl(store):
    expected = json.loads(HASHES.read_text())
    assert {f"{PACKAGE}/{path.parent.name}/{path.stem}" for path in FILES} == set(expected)
    assert {name: store.hash_rihs01(name) for name in expected} == expected


def test_every_field_is_explained():
    """A comment above each field or group of fields, so that `ros2 interface show` reads as a manual."""
    for path in FILES:
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# "), f"{path.name} opens with what it is"
        explained = False
        for line in lines[1:]:
            if line.startswith("#"):
                explained = True
            elif not line.strip() or line == "---":
                explained = False
            elif not re.match(r"\w+ [A-Z_]+=", line) and not line.startswith(("std_msgs/Header", "GraspCandidate[]")):
                assert explained, f"{path.name}: {line}"


def test_cmake_generates_every_definition():
    listed = set(re.findall(r"(?:msg|srv)/\w+\.(?:msg|srv)", (ROOT / "CMakeLists.txt").read_text()))
    assert listed == {f"{path.parent.name}/{path.name}" for path in FILES}
