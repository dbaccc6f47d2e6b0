"""What the commands that look at running nodes share: a node for a moment, waiting for others, calling them."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import importlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sam_perception.commands.transport import add_transport_options, provide_rclpy
from sam_perception.errors import InvalidInputError, PerceptionError

SETTLED_S = 0.5  # nothing new for so long: everybody that runs has been seen
NAMED_S = 3.0  # for one name to appear
ANSWER_S = 600.0  # a node that loads a model or encodes a large image on a CPU answers late
TICK_S = 0.05

_TYPE = re.compile(r"([a-z]\w*)/(?:(msg|srv)/)?([A-Z]\w*)")
_Found = TypeVar("_Found")


def add_graph_options(parser: argparse.ArgumentParser, spin_time_s: float, names: tuple[str, ...] = ()) -> None:
    """Add --spin-time, under further names too, and the transport options."""
    parser.add_argument(
        "--spin-time",
        *names,
        type=positive,
        default=spin_time_s,
        metavar="SECONDS",
        help="to wait for other nodes to be discovered (default: %(default)s)",
    )
    add_transport_options(parser)


def positive(text: str) -> float:
    """An option's number of seconds or elements."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value


@contextlib.contextmanager
def open_graph(options: argparse.Namespace) -> Iterator[Graph]:
    """A hidden node on the runtime that these options choose; gone when the block ends."""
    provide_rclpy(options)
    import rclpy
    from rclpy.executors import ExternalShutdownException

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

    def spin_once(self, seconds: float = TICK_S) -> None:
        """Handle what has come, or wait so long for something."""
        import rclpy

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

    def call(self, service_class: Any, name: str, request: Any, answer_s: float = ANSWER_S) -> Any:
        """Call a service that has been seen.

        Raises:
            PerceptionError: it went away, failed, or did not answer in time.
        """
        client = self.node.create_client(service_class, name)
        try:
            if not self.wait_for(client.service_is_ready, NAMED_S):
                raise PerceptionError(f"{name} went away before it was called")
            return self._answer(client, client.call_async(request), name, answer_s)
        finally:
            self.node.destroy_client(client)

    def _answer(self, client: Any, future: Any, name: str, answer_s: float) -> Any:
        deadline = time.monotonic() + answer_s
        while not self.wait_for(future.done, min(SETTLED_S, max(deadline - time.monotonic(), TICK_S))):
            if not self.wait_for(client.service_is_ready, NAMED_S) and not future.done():
                raise PerceptionError(f"{name} went away before it answered")
            if time.monotonic() > deadline:
                raise PerceptionError(f"{name} did not answer within {answer_s:g} s")
        if future.exception() is not None:
            raise PerceptionError(f"Exception while calling service {name}: {future.exception()}")
        return future.result()


def visible(names_and_types: Iterable[tuple[str, list[str]]], hidden: bool) -> dict[str, list[str]]:
    """Sorted, without the names of which a part begins with an underscore."""
    return {name: types for name, types in sorted(names_and_types) if hidden or "/_" not in name}


def absolute(name: str) -> str:
    """The name with the slash that people leave out."""
    return name if name.startswith("/") else f"/{name}"


def snake_case(name: str) -> str:
    """`GetState` as `get_state`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def or_similar(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...?`, or nothing when no name is near."""
    near = difflib.get_close_matches(name, [each for each in names if each != name], n=3, cutoff=0.8)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def message_class(name: str) -> Any:
    """The class of `std_msgs/msg/String` or `std_msgs/String`.

    Raises:
        InvalidInputError: there is none; the message says why.
    """
    return _interface_class(name, "msg", "message")


def service_class(name: str) -> Any:
    """The class of `std_srvs/srv/Trigger` or `std_srvs/Trigger`, with its Request and Response.

    Raises:
        InvalidInputError: there is none; the message says why.
    """
    return _interface_class(name, "srv", "service")


def _interface_class(name: str, kind: str, word: str) -> Any:
    match = _TYPE.fullmatch(name)
    if not match or match[2] not in (None, kind):
        raise InvalidInputError(f"The passed {word} type is invalid: expected package/{kind}/Name, got {name!r}")
    try:
        return getattr(importlib.import_module(f"{match[1]}.{kind}"), match[3])
    except ImportError as error:
        raise InvalidInputError(f"The passed {word} type is invalid: {name}: {error}") from error
    except AttributeError:
        raise InvalidInputError(f"The passed {word} type is invalid: {match[1]} has no {word} {match[3]}") from None
