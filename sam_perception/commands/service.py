"""`sam-perception service`: services of running nodes, and calling one of them."""

from __future__ import annotations

import argparse
from typing import Any

from sam_perception.commands import graph
from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.message_fields import message_from_yaml

SILENT_S = 1.0  # a service that runs is there by then; only after that is waiting worth a line
WAIT_S = 10.0


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "service", help="list and call services", description="As `ros2 service`, with or without ROS."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="names of all services")
    listing.add_argument("-t", "--show-types", action="store_true", help="with their types")
    listing.add_argument("-c", "--count-services", action="store_true", help="only how many")
    listing.add_argument("--include-hidden-services", action="store_true", help="also those that begin with _")
    graph.add_graph_options(listing, graph.SETTLED_S)
    listing.set_defaults(run=list_services)
    _add_call(actions.add_parser("call", help="call a service and print what it answers"))


def _add_call(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", metavar="SERVICE", help="such as /sam/segment_points")
    parser.add_argument("type", metavar="TYPE", help="such as sam_perception/srv/SegmentPoints")
    parser.add_argument(
        "values", nargs="?", default="{}", metavar="VALUES", help='in YAML, such as "{points: [{x: 320, y: 240}]}"'
    )
    parser.add_argument(
        "--timeout",
        type=graph.positive,
        metavar="SECONDS",
        help=f"to wait for the service, and then for its answer (default: {WAIT_S:g} and {graph.ANSWER_S:g})",
    )
    graph.add_transport_options(parser)
    parser.set_defaults(run=call)


def list_services(options: argparse.Namespace) -> int:
    """Print names, with types where asked."""
    with graph.open_graph(options) as seen:
        seen.settle(options.spin_time)
        services = seen.services(options.include_hidden_services)
    if options.count_services:
        print(len(services))
        return 0
    for name, types in services.items():
        print(f"{name} [{', '.join(types)}]" if options.show_types else name)
    return 0


def call(options: argparse.Namespace) -> int:
    """Print the request and the response."""
    name = graph.absolute(options.service)
    with graph.open_graph(options) as seen:
        kind = graph.service_class(options.type)
        try:
            request = message_from_yaml(kind.Request, options.values)
        except InvalidInputError as error:
            raise InvalidInputError(f"Failed to populate field: {error}") from error
        _wait(seen, name, kind, options)
        print(f"requester: making request: {request!r}\n", flush=True)
        response = seen.call(kind, name, request, options.timeout or graph.ANSWER_S)
        print(f"response:\n{response!r}\n")
    return 0


def _wait(seen: graph.Graph, name: str, kind: Any, options: argparse.Namespace) -> None:
    """Until the service is there, with this type."""
    timeout_s = options.timeout or WAIT_S
    client = seen.node.create_client(kind, name)
    if not seen.wait_for(client.service_is_ready, min(SILENT_S, timeout_s)):
        _check_type(seen, name, options.type)
        print("waiting for service to become available...", flush=True)
        if not seen.wait_for(client.service_is_ready, timeout_s - SILENT_S):
            _check_type(seen, name, options.type)
            near = graph.or_similar(name, seen.services())
            raise PerceptionError(f"{name} has not become available within {timeout_s:g} s{near}")
    seen.node.destroy_client(client)


def _check_type(seen: graph.Graph, name: str, asked: str) -> None:
    package, _, kind = asked.partition("/")
    full_name = f"{package}/srv/{kind.rpartition('/')[2]}"
    others = [kind for kind in seen.services(hidden=True).get(name, []) if kind != full_name]
    if others:
        raise InvalidInputError(f"The type of {name} is {' and '.join(others)}, not {full_name}")
