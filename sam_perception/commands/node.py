"""`sam-perception node`: which nodes run, and what each of them publishes, hears and serves."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sam_perception.commands import graph
from sam_perception.errors import PerceptionError
from sam_perception.ros_names import visible

_ACTION = "/_action/"


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "node", help="list and describe nodes", description="As `ros2 node`, with or without ROS."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="names of all nodes")
    listing.add_argument("-a", "--all", action="store_true", help="also hidden ones")
    listing.add_argument("-c", "--count-nodes", action="store_true", help="only how many")
    graph.add_graph_options(listing, graph.SETTLED_S)
    listing.set_defaults(run=list_nodes)
    info = actions.add_parser("info", help="topics and services of one node")
    info.add_argument("node", metavar="NODE")
    info.add_argument("--include-hidden", action="store_true", help="also hidden topics and services")
    graph.add_graph_options(info, graph.NAMED_S)
    info.set_defaults(run=describe)


def list_nodes(options: argparse.Namespace) -> int:
    """Print names."""
    with graph.open_graph(options) as seen:
        seen.settle(options.spin_time)
        names = seen.nodes(options.all)
    if options.count_nodes:
        print(len(names))
        return 0
    if len(set(names)) < len(names):
        print(
            "WARNING: Be aware that there are nodes in the graph that share an exact name, which can have unintended "
            "side effects.",
            file=sys.stderr,
        )
    for name in names:
        print(name)
    return 0


def describe(options: argparse.Namespace) -> int:
    """Print one node's topics and services with their types."""
    name = graph.absolute(options.node)
    with graph.open_graph(options) as seen:
        if not seen.wait_for(lambda: name in seen.nodes(hidden=True), options.spin_time):
            raise PerceptionError(f"Unable to find node '{name}'{graph.or_similar(name, seen.nodes())}")
        seen.settle(graph.SETTLED_S)
        count = seen.nodes(hidden=True).count(name)
        if count > 1:
            print(
                f'There are {count} nodes in the graph with the exact name "{name}". '
                "You are seeing information about only one of them.",
                file=sys.stderr,
            )
        print(name)
        for title, names_and_types in _sections(seen.node, name, options.include_hidden):
            print(f"  {title}:")
            print("\n".join(f"    {each}: {', '.join(types)}" for each, types in names_and_types.items()))
    return 0


def _sections(node: Any, name: str, hidden: bool) -> list[tuple[str, dict[str, list[str]]]]:
    namespace, _, base = name.rpartition("/")
    of = (base, namespace or "/")
    publishers = node.get_publisher_names_and_types_by_node(*of)
    subscribers = node.get_subscriber_names_and_types_by_node(*of)
    return [
        ("Subscribers", visible(subscribers, hidden)),
        ("Publishers", visible(publishers, hidden)),
        ("Service Servers", visible(node.get_service_names_and_types_by_node(*of), hidden)),
        ("Service Clients", visible(node.get_client_names_and_types_by_node(*of), hidden)),
        ("Action Servers", _actions(publishers)),
        ("Action Clients", _actions(subscribers)),
    ]


def _actions(names_and_types: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """An action's server publishes its feedback, and each client hears it."""
    return {
        name.partition(_ACTION)[0]: [kind.removesuffix("_FeedbackMessage") for kind in types]
        for name, types in sorted(names_and_types)
        if name.endswith(f"{_ACTION}feedback")
    }
