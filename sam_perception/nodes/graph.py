"""What a command sees of running nodes: with a node of its own for a moment it waits, calls and listens."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from sam_perception.errors import PerceptionError
from sam_perception.ros_names import visible

_SETTLED_S = 0.5  # nothing new for so long: everybody that runs has been seen
_NAMED_S = 3.0  # for one name to appear
_TICK_S = 0.05

_Found = TypeVar("_Found")


@contextlib.contextmanager
def join_graph() -> Iterator[Graph]:
    """A hidden node; gone when the block ends.

    Raises:
        PerceptionError: it cannot be made; the message says why.
    """
    try:
        rclpy.init(args=[])
        node = rclpy.create_node(f"_sam_perception_{os.getpid()}", start_parameter_services=False)
    except Exception as error:  # of many kinds: a domain that is no number, an endpoint or a file that does not work
        rclpy.try_shutdown()
        raise PerceptionError(" ".join(str(error).split())) from error
    try:
        yield Graph(node)
    except ExternalShutdownException:
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


@dataclasses.dataclass
class Graph:
    """The nodes, topics and services that one node sees."""

    node: Any

    def nodes(self, hidden: bool = False) -> list[str]:
        """Full names, sorted; a name stands twice where two nodes share it."""
        pairs = self.node.get_node_names_and_namespaces()
        names = [f"{namespace.rstrip('/')}/{name}" for name, namespace in pairs]
        return sorted(name for name in names if hidden or not name.rpartition("/")[2].startswith("_"))

    def topics(self, hidden: bool = False) -> dict[str, list[str]]:
        """The types of each topic."""
        return visible(self.node.get_topic_names_and_types(), hidden)

    def services(self, hidden: bool = False) -> dict[str, list[str]]:
        """The types of each service."""
        return visible(self.node.get_service_names_and_types(), hidden)

    def spin_once(self, seconds: float = _TICK_S) -> None:
        """Handle what has come, or wait so long for something."""
        rclpy.spin_once(self.node, timeout_sec=seconds)

    def settle(self, seconds: float) -> None:
        """Wait until nothing new has been seen for so long; where something is always new, ten times so long."""
        seen, since = None, time.monotonic()
        deadline = since + 10 * seconds
        while time.monotonic() < min(since + seconds, deadline):
            self.spin_once()
            now = (self.nodes(hidden=True), self.topics(hidden=True), self.services(hidden=True))
            if now != seen:
                seen, since = now, time.monotonic()

    def wait_for(self, found: Callable[[], _Found], seconds: float) -> _Found:
        """What ``found`` returns as soon as that is true, or after so long whatever it then is."""
        deadline = time.monotonic() + seconds
        while not (result := found()) and time.monotonic() < deadline:
            self.spin_once()
        return result

    def call(self, service_class: Any, name: str, request: Any, answer_s: float) -> Any:
        """Call a service that has been seen.

        Raises:
            PerceptionError: it went away, failed, or did not answer in time.
        """
        client = self.node.create_client(service_class, name)
        try:
            if not self.wait_for(client.service_is_ready, _NAMED_S):
                raise PerceptionError(f"{name} went away before it was called")
            return self._answer(client, client.call_async(request), name, answer_s)
        finally:
            self.node.destroy_client(client)

    def _answer(self, client: Any, future: Any, name: str, answer_s: float) -> Any:
        deadline = time.monotonic() + answer_s
        while not self.wait_for(future.done, min(_SETTLED_S, max(deadline - time.monotonic(), _TICK_S))):
            if not self.wait_for(client.service_is_ready, _NAMED_S) and not future.done():
                raise PerceptionError(f"{name} went away before it answered")
            if time.monotonic() > deadline:
                raise PerceptionError(f"{name} did not answer within {answer_s:g} s")
        if future.exception() is not None:
            raise PerceptionError(f"Exception while calling service {name}: {future.exception()}")
        return future.result()

    def subscribe(self, kind: Any, name: str) -> collections.deque[Any]:
        """Subscribe with the best that all publishers offer; what arrives is in the deque."""
        self.wait_for(lambda: self.node.count_publishers(name), _SETTLED_S)
        offers = [publisher.qos_profile for publisher in self.node.get_publishers_info_by_topic(name)]
        reliable = bool(offers) and all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        latched = bool(offers) and all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        received: collections.deque[Any] = collections.deque()
        profile = QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self.node.create_subscription(kind, name, lambda message: received.append(message), profile)
        return received
