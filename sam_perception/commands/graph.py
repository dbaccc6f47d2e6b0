"""What the commands that look at running nodes share: their options, names and types."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sam_perception.commands.transport import add_transport_options, provide_rclpy
from sam_perception.errors import InvalidInputError

if TYPE_CHECKING:
    from sam_perception.nodes.graph import Graph

SETTLED_S = 0.5  # nothing new for so long: everybody that runs has been seen
NAMED_S = 3.0  # for one name to appear
ANSWER_S = 600.0  # a node that loads a model or encodes a large image on a CPU answers late

_TYPE = re.compile(r"([a-z]\w*)/(?:(msg|srv)/)?([A-Z]\w*)")


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
    from sam_perception.nodes.graph import join_graph

    with join_graph() as seen:
        yield seen


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
