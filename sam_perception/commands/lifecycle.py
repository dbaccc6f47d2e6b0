"""`sam-perception lifecycle`: states of running lifecycle nodes, and moving them from one to another."""

from __future__ import annotations

import argparse
from typing import Any

from sam_perception.commands import graph
from sam_perception.errors import PerceptionError

_GET_STATE = "lifecycle_msgs/srv/GetState"


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "lifecycle", help="read and change the state of nodes", description="As `ros2 lifecycle`, with or without ROS."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    nodes = actions.add_parser("nodes", help="names of all lifecycle nodes")
    graph.add_graph_options(nodes, graph.SETTLED_S)
    nodes.set_defaults(run=list_nodes)
    getting = actions.add_parser("get", help="print the state")
    getting.add_argument("node", nargs="?", metavar="NODE", help="default: all lifecycle nodes")
    graph.add_graph_options(getting, graph.SETTLED_S)
    getting.set_defaults(run=get)
    setting = actions.add_parser("set", help="make a transition")
    setting.add_argument("node", metavar="NODE")
    setting.add_argument("transition", metavar="TRANSITION", help="configure, activate, deactivate, cleanup, shutdown")
    graph.add_graph_options(setting, graph.NAMED_S)
    setting.set_defaults(run=set_state)
    listing = actions.add_parser("list", help="transitions that are possible now")
    listing.add_argument("node", metavar="NODE")
    listing.add_argument("-a", "--all", action="store_true", help="every transition that there is")
    graph.add_graph_options(listing, graph.NAMED_S)
    listing.set_defaults(run=list_transitions)


def list_nodes(options: argparse.Namespace) -> int:
    """Print the names of nodes with a lifecycle."""
    with graph.open_graph(options) as seen:
        seen.settle(options.spin_time)
        for name in _lifecycle_nodes(seen):
            print(name)
    return 0


def get(options: argparse.Namespace) -> int:
    """Print the state of one node, or of all."""
    with graph.open_graph(options) as seen:
        if options.node:
            print(_state(seen, _found(seen, options.node, graph.NAMED_S)))
            return 0
        seen.settle(options.spin_time)
        for name in _lifecycle_nodes(seen):
            print(f"{name}: {_state(seen, name)}")
    return 0


def set_state(options: argparse.Namespace) -> int:
    """Make one transition, named by label or id."""
    with graph.open_graph(options) as seen:
        name = _found(seen, options.node, options.spin_time)
        transitions = [each.transition for each in _call(seen, name, "GetAvailableTransitions").available_transitions]
        asked = [each for each in transitions if options.transition in (each.label, str(each.id))]
        if not asked:
            available = "".join(f"\n- {each.label} [{each.id}]" for each in transitions)
            raise PerceptionError(f"Unknown transition requested, available ones are:{available}")
        if not _call(seen, name, "ChangeState", transition=asked[0]).success:
            raise PerceptionError("Transitioning failed")
    print("Transitioning successful")
    return 0


def list_transitions(options: argparse.Namespace) -> int:
    """Print transitions with the states between which they lead."""
    with graph.open_graph(options) as seen:
        name = _found(seen, options.node, options.spin_time)
        service = "get_transition_graph" if options.all else None
        for each in _call(seen, name, "GetAvailableTransitions", service).available_transitions:
            print(
                f"- {each.transition.label} [{each.transition.id}]\n"
                f"\tStart: {each.start_state.label}\n\tGoal: {each.goal_state.label}"
            )
    return 0


def _lifecycle_nodes(seen: graph.Graph) -> list[str]:
    services = seen.services()
    return [name for name in sorted(set(seen.nodes())) if _GET_STATE in services.get(f"{name}/get_state", [])]


def _found(seen: graph.Graph, name: str, seconds: float) -> str:
    """The node's full name, as soon as its lifecycle services are there."""
    node = graph.absolute(name)
    services = ("get_state", "change_state", "get_available_transitions", "get_transition_graph")
    wanted = {f"{node}/{service}" for service in services}
    if not seen.wait_for(lambda: wanted <= set(seen.services(hidden=True)), seconds):
        if node in seen.nodes(hidden=True):
            raise PerceptionError(f"Node not found: {node} has no lifecycle")
        raise PerceptionError(f"Node not found{graph.or_similar(node, _lifecycle_nodes(seen))}")
    return node


def _state(seen: graph.Graph, name: str) -> str:
    state = _call(seen, name, "GetState").current_state
    return f"{state.label} [{state.id}]"


def _call(seen: graph.Graph, node: str, kind: str, service: str | None = None, **fields: Any) -> Any:
    service_class = graph.service_class(f"lifecycle_msgs/srv/{kind}")
    return seen.call(
        service_class, f"{node}/{service or graph.snake_case(kind)}", service_class.Request(**fields), graph.ANSWER_S
    )
