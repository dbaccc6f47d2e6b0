"""`sam-perception topic`: topics of running nodes and the messages on them, printed as ros2 prints them."""

from __future__ import annotations

import argparse
import collections
import statistics
import time
from typing import Any

from sam_perception.commands import graph
from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.message_fields import (
    Style,
    field_at,
    is_message,
    message_to_csv,
    message_to_yaml,
    plain_text,
)

TRUNCATE_LENGTH = 128
HZ_WINDOW = 10_000
REPORT_NS = 1_000_000_000


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "topic", help="list topics, print messages, measure rates", description="As `ros2 topic`, with or without ROS."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_list(actions.add_parser("list", help="names of all topics"))
    _add_echo(actions.add_parser("echo", help="print messages"))
    _add_hz(actions.add_parser("hz", help="print the rate of messages"))
    _add_info(actions.add_parser("info", help="type, and number of publishers and subscribers"))


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-t", "--show-types", action="store_true", help="with their types")
    parser.add_argument("-c", "--count-topics", action="store_true", help="only how many")
    parser.add_argument("--include-hidden-topics", action="store_true", help="also those that begin with _")
    graph.add_graph_options(parser, graph.SETTLED_S)
    parser.set_defaults(run=list_topics)


def _add_echo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("type", nargs="?", metavar="TYPE", help="such as std_msgs/msg/String (default: what is there)")
    parser.add_argument("--once", action="store_true", help="end after the first message")
    parser.add_argument("--timeout", type=graph.positive, metavar="SECONDS", help="end after so long")
    parser.add_argument("--field", metavar="FIELD", help="only this one, such as header.stamp")
    parser.add_argument("--csv", action="store_true", help="values separated by commas, one message a line")
    parser.add_argument("-f", "--full-length", action="store_true", help="all elements of arrays and strings")
    parser.add_argument(
        "-l",
        "--truncate-length",
        type=_length,
        default=TRUNCATE_LENGTH,
        metavar="N",
        help="cut arrays and strings after so many elements (default: %(default)s)",
    )
    parser.add_argument("--no-arr", action="store_true", help="arrays by type and length only")
    parser.add_argument("--no-str", action="store_true", help="strings by length only")
    parser.add_argument("--flow-style", action="store_true", help="lists on one line")
    graph.add_graph_options(parser, graph.NAMED_S)
    parser.set_defaults(run=echo)


def _add_hz(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument(
        "-w",
        "--window",
        type=_length,
        default=HZ_WINDOW,
        metavar="N",
        help="of how many messages (default: %(default)s)",
    )
    graph.add_graph_options(parser, graph.NAMED_S)
    parser.set_defaults(run=hz)


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC")
    graph.add_graph_options(parser, graph.NAMED_S)
    parser.set_defaults(run=info)


def _length(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def list_topics(options: argparse.Namespace) -> int:
    """Print names, with types where asked."""
    with graph.open_graph(options) as seen:
        seen.settle(options.spin_time)
        topics = seen.topics(options.include_hidden_topics)
    if options.count_topics:
        print(len(topics))
        return 0
    for name, types in topics.items():
        print(f"{name} [{', '.join(types)}]" if options.show_types else name)
    return 0


def info(options: argparse.Namespace) -> int:
    """Print the type and how many publish and subscribe."""
    name = graph.absolute(options.topic)
    with graph.open_graph(options) as seen:
        types = _types(seen, name, options.spin_time)
        if not types:
            raise PerceptionError(f"Unknown topic '{name}'{graph.or_similar(name, seen.topics())}")
        seen.settle(graph.SETTLED_S)
        print(f"Type: {types[0] if len(types) == 1 else types}")
        print(f"Publisher count: {seen.node.count_publishers(name)}")
        print(f"Subscription count: {seen.node.count_subscribers(name)}")
    return 0


def echo(options: argparse.Namespace) -> int:
    """Print each message that comes; after Ctrl-C, --once or --timeout it is over."""
    if options.field is not None and not options.field.strip("."):
        raise InvalidInputError(f"Invalid field value '{options.field}'")
    with graph.open_graph(options) as seen:
        name = graph.absolute(options.topic)
        kind = graph.message_class(options.type or _the_type(seen, name, options.spin_time))
        received = seen.subscribe(kind, name)
        deadline = time.monotonic() + (options.timeout or float("inf"))
        count = 0
        while time.monotonic() < deadline and not (options.once and count):
            seen.spin_once()
            while received and not (options.once and count):
                _print(received.popleft(), options)
                count += 1
    if not count:
        raise PerceptionError(f"no message on {name} within {options.timeout:g} s")
    return 0


def hz(options: argparse.Namespace) -> int:
    """Print rate and jitter once a second while messages come, until Ctrl-C."""
    with graph.open_graph(options) as seen:
        name = graph.absolute(options.topic)
        if not (types := _types(seen, name, options.spin_time)):
            _warn_unpublished(name)
            types = seen.wait_for(lambda: _types(seen, name, 0.0), float("inf"))
        rate = Rate(options.window)
        received = seen.subscribe(graph.message_class(_only(types, name)), name)
        while True:
            seen.spin_once()
            for _ in range(len(received)):
                received.popleft()
                rate.add(time.monotonic_ns())
            if report := rate.report():
                print(report, flush=True)


class Rate:
    """Intervals between messages, and the line that sums them up once a second."""

    def __init__(self, window: int) -> None:
        self._intervals: collections.deque[int] = collections.deque(maxlen=window)
        self._last: int | None = None
        self._reported: int | None = None

    def add(self, time_ns: int) -> None:
        """One message came."""
        if self._last is not None:
            self._intervals.append(time_ns - self._last)
            self._reported = self._reported or time_ns
        self._last = time_ns

    def report(self) -> str | None:
        """The line, if messages have come and the last line is a second old."""
        if self._last is None or self._reported is None or self._last < self._reported + REPORT_NS:
            return None
        self._reported = self._last
        seconds = [interval * 1e-9 for interval in self._intervals]
        mean = statistics.fmean(seconds)
        return (
            f"average rate: {1 / mean if mean else 0:.3f}\n\tmin: {min(seconds):.3f}s max: {max(seconds):.3f}s "
            f"std dev: {statistics.pstdev(seconds):.5f}s window: {len(seconds)}"
        )


def _types(seen: graph.Graph, name: str, seconds: float) -> list[str]:
    return seen.wait_for(lambda: seen.topics(hidden=True).get(name, []), seconds)


def _the_type(seen: graph.Graph, name: str, seconds: float) -> str:
    if not (types := _types(seen, name, seconds)):
        _warn_unpublished(name)
        near = graph.or_similar(name, seen.topics())
        raise PerceptionError(f"Could not determine the type for the passed topic{near}")
    return _only(types, name)


def _only(types: list[str], name: str) -> str:
    if len(types) > 1:
        raise PerceptionError(f"Cannot echo topic '{name}', as it contains more than one type: [{', '.join(types)}]")
    return types[0]


def _warn_unpublished(name: str) -> None:
    print(f"WARNING: topic [{name}] does not appear to be published yet", flush=True)


def _print(message: Any, options: argparse.Namespace) -> None:
    value = message
    if options.field is not None:
        value, field_type = field_at(message, options.field)
        if not is_message(value):
            print(plain_text(value, field_type), end="\n---\n", flush=True)
            return
    style = Style(
        truncate_length=None if options.full_length else options.truncate_length,
        no_arr=options.no_arr,
        no_str=options.no_str,
        flow_style=options.flow_style,
    )
    if options.csv:
        print(message_to_csv(value, style), flush=True)
    else:
        print(message_to_yaml(value, style), end="---\n", flush=True)
