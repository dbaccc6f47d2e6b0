"""ReplayedTopics: the topics of a recording that came from outside the perception nodes, published again."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from sam_perception.errors import InvalidInputError
from sam_perception.frames import NANOSECONDS
from sam_perception.nodes.interface_classes import interface_class

IMAGE, CAMERA_INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"

_NEVER = {"/clicked_point", "/clock", "/diagnostics", "/parameter_events", "/rosout"}
_HIDDEN = re.compile(r"/_")
_OF_GRASP = "/boxes", "vision_msgs/msg/Detection3DArray"
_DEPTH = 100
_FRAME_LASTS_NS = NANOSECONDS  # within so long of its first image, all of a frame came
_TRANSIENT_LOCAL = 1


class ReplayedTopics:
    """Publishes messages as they were recorded, byte for byte, and finds the images of one frame again.

    Args:
        node: publishes.
        reader: an open recording; read while ``messages`` is not.
        perception_nodes: full names of those whose answers are not to be published.

    Attributes:
        image_topics: names.
        notes: a sentence for each topic that is left out because its type is not known here.
    """

    def __init__(self, node: Any, reader: Any, perception_nodes: Collection[str]) -> None:
        self.notes: list[str] = []
        self._reader = reader
        self._publishers: dict[str, Any] = {}
        self._shown: dict[int, dict[str, int]] = {}  # of each stamp, when each of its images was recorded
        for each in _from_outside(reader, perception_nodes):
            try:
                kind = interface_class(each.msgtype)
            except InvalidInputError as error:
                self.notes.append(f"{each.topic} is left out: {error}")
                continue
            self._publishers[each.topic] = node.create_publisher(kind, each.topic, _qos(each))
        replayed = [each for each in reader.connections if each.topic in self._publishers]
        self.image_topics = sorted({each.topic for each in replayed if each.msgtype == IMAGE})
        # Depth goes first when a frame is published again: its image then finds it.
        self._of_frames = [each for each in replayed if each.msgtype in (IMAGE, CAMERA_INFO)]
        self._order = {each.topic: (each.msgtype == IMAGE, not _is_depth(each.topic)) for each in self._of_frames}

    def messages(self, reader: Any) -> Iterator[tuple[Any, int, bytes]]:
        """What ``publish`` takes, in the order of its times; ``reader``: another one of the same recording."""
        connections = [each for each in reader.connections if each.topic in self._publishers]
        return iter(reader.messages(connections)) if connections else iter(())

    def publish(self, connection: Any, at_ns: int, data: bytes) -> None:
        """Send one message."""
        self._publishers[connection.topic].publish(bytes(data))
        if connection.msgtype == IMAGE:
            self._shown.setdefault(_stamp_ns(data), {})[connection.topic] = at_ns

    def has_shown(self, frame_ns: int) -> bool:
        """Whether all images of this stamp have been published; they may be recorded later than what came of them."""
        shown = self._shown.get(frame_ns)
        if shown is None:
            return False
        images = {connection.topic for connection, _ in self._frame(frame_ns) if connection.msgtype == IMAGE}
        return images <= shown.keys()

    def show_again(self, frame_ns: int) -> None:
        """Publish the images of this stamp again, of which one has been published before."""
        for connection, data in sorted(self._frame(frame_ns), key=lambda each: self._order[each[0].topic]):
            self._publishers[connection.topic].publish(bytes(data))

    def show_color_again(self, frame_ns: int) -> None:
        """Publish the images of this stamp again that are not depth."""
        for connection, data in self._frame(frame_ns):
            if connection.msgtype == IMAGE and not _is_depth(connection.topic):
                self._publishers[connection.topic].publish(bytes(data))

    def _frame(self, frame_ns: int) -> list[tuple[Any, bytes]]:
        """The images of this stamp, and their camera_info."""
        at_ns = min(self._shown[frame_ns].values())
        start, stop = max(at_ns - _FRAME_LASTS_NS, 0), at_ns + _FRAME_LASTS_NS
        found = self._reader.messages(self._of_frames, start=start, stop=stop)
        return [(connection, data) for connection, _, data in found if _stamp_ns(data) == frame_ns]

    def forget(self) -> None:
        """What has been published, before it is published again from the beginning."""
        self._shown.clear()

    def listeners(self) -> int:
        """How many subscribe to the images."""
        return sum(self._publishers[topic].get_subscription_count() for topic in self.image_topics)


def _from_outside(reader: Any, perception_nodes: Collection[str]) -> list[Any]:
    """One connection for each topic that no perception node published."""
    suffix, kind = _OF_GRASP
    grasp = {each.topic.removesuffix(suffix) for each in reader.connections if each.msgtype == kind}
    inside = tuple(f"{node}/" for node in (*perception_nodes, *grasp))
    found = {
        each.topic: each
        for each in reader.connections
        if not (each.topic.startswith(inside) or each.topic in _NEVER or _HIDDEN.search(each.topic))
    }
    return list(found.values())


def _is_depth(topic: str) -> bool:
    return "depth" in topic


def _qos(connection: Any) -> QoSProfile:
    offered = connection.ext.offered_qos_profiles
    is_latched = bool(offered) and all(int(qos.durability.value) == _TRANSIENT_LOCAL for qos in offered)
    return QoSProfile(
        depth=_DEPTH if is_latched else 10,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE,
    )


def _stamp_ns(data: bytes) -> int:
    """Of the header with which images and camera_info begin, behind the four bytes that say how it is encoded."""
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec) * NANOSECONDS + int(nanosec)
