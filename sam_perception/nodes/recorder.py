"""Recorder: hears what reproduces the requests to running nodes, as those nodes and topics come."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message

import sam_perception
from sam_perception.errors import PerceptionError
from sam_perception.message_schemas import schema_text
from sam_perception.nodes.client import Client
from sam_perception.nodes.interface_classes import interface_class
from sam_perception.nodes.node_parameters import read_parameters
from sam_perception.nodes.recorded_topics import IMAGE, perception_nodes, publishing_nodes, wanted_topics
from sam_perception.recording_files import Topic

PARAMETERS = "_parameters"
"""The last part of the topic in a recording that carries the parameters of a node."""
ABOUT = Topic("/sam_perception/_recording", "diagnostic_msgs/msg/DiagnosticArray", latched=True, depth=1)

_LARGE = {IMAGE, "sensor_msgs/msg/PointCloud2"}
_DEPTH, _DEPTH_OF_LARGE = 1000, 60  # of the queues: two seconds of images
_LATCHED_DEPTH = 100
_PARAMETERS_S = 5.0  # for a node to answer; who does not is asked again
_NEED_A_PUBLISHER = {"sensor_msgs", "tf2_msgs"}  # whose quality of service has to be known before it is asked for

Put = Callable[[Topic, int, bytes], object]


class Recorder:
    """Subscribes to every topic that ``wanted_topics`` names, and hands each message on in CDR.

    Args:
        client: a node that spins.
        put: gets each topic, the time at which a message came, and the message.
        say: gets a line for each topic that is new, and for each that has to be left out.
        extra: further topics.
        pictures: see ``wanted_topics``.
    """

    def __init__(
        self,
        client: Client,
        put: Put,
        say: Callable[[str], object],
        extra: Collection[str] = (),
        pictures: bool = False,
    ) -> None:
        self.topics: set[str] = set()
        self._client = client
        self._put = put
        self._say = say
        self._extra = extra
        self._pictures = pictures
        self._described: set[str] = set()
        self._images: set[str] = set()
        self._put(ABOUT, time.time_ns(), serialize_message(_about_message(client.node)))

    def look_around(self) -> None:
        """Subscribe to what is new, and read the parameters of nodes that are."""
        node = self._client.node
        for name, kind in wanted_topics(node, self._extra, self._pictures).items():
            if name not in self.topics:
                self._subscribe(name, kind)
        nodes = {*perception_nodes(node), *publishing_nodes(node, self._images)}
        self._described &= nodes  # one that went away may come back with others
        for name in sorted(nodes - self._described):
            self._describe(name)

    def _subscribe(self, name: str, kind: str) -> None:
        node = self._client.node
        offers = [publisher.qos_profile for publisher in node.get_publishers_info_by_topic(name)]
        if not offers and kind.split("/")[0] in _NEED_A_PUBLISHER:
            return
        self.topics.add(name)
        topic = Topic(
            name,
            kind,
            reliable=all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers),
            latched=bool(offers) and all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers),
            depth=max((offer.depth for offer in offers), default=0) or Topic.depth,
        )
        try:
            message_class = interface_class(kind)
            schema_text(kind)
        except (PerceptionError, LookupError) as error:
            self._say(f"leaves out {name}: {error}")
            return
        receive = partial(self._take, topic)
        node.create_subscription(message_class, name, receive, _qos(topic), raw=True)
        if kind == IMAGE:
            self._images.add(name)
        self._say(f"records {name} [{kind}]")

    def _take(self, topic: Topic, message: bytes) -> None:
        self._put(topic, time.time_ns(), message)

    def _describe(self, name: str) -> None:
        try:
            event = read_parameters(self._client, name, _PARAMETERS_S)
        except PerceptionError as error:
            self._say(f"has no parameters of {name} yet: {error}")
            return
        self._described.add(name)
        topic = Topic(f"{name}/{PARAMETERS}", "rcl_interfaces/msg/ParameterEvent", latched=True, depth=1)
        self._put(topic, time.time_ns(), serialize_message(event))


def about() -> dict[str, str]:
    """What made the recording: versions, and where."""
    return {
        "sam_perception": sam_perception.__version__,
        "runtime": "standalone" if "sam_perception" in (rclpy.__file__ or "") else "rclpy",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "ros_distro": os.environ.get("ROS_DISTRO", ""),
        "rmw_implementation": os.environ.get("RMW_IMPLEMENTATION", ""),
        "command": " ".join(sys.argv[1:]),
    }


def _about_message(node: Any) -> DiagnosticArray:
    values = [KeyValue(key=key, value=value) for key, value in about().items()]
    message = DiagnosticArray(status=[DiagnosticStatus(name="sam_perception recording", values=values)])
    message.header.stamp = node.get_clock().now().to_msg()
    return message


def _qos(topic: Topic) -> QoSProfile:
    depth = _LATCHED_DEPTH if topic.latched else _DEPTH_OF_LARGE if topic.type in _LARGE else _DEPTH
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if topic.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE,
    )
