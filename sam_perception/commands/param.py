"""`sam-perception param`: the parameters of running nodes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

import yaml

from sam_perception.commands import graph
from sam_perception.errors import PerceptionError


@dataclasses.dataclass(frozen=True)
class Kind:
    """One type of parameter: the field of rcl_interfaces/ParameterValue that holds it, and its names on the screen."""

    name: str
    field: str
    label: str


# In the order of the codes of rcl_interfaces/ParameterType, from 1.
KINDS = (
    Kind("boolean", "bool_value", "Boolean value is:"),
    Kind("integer", "integer_value", "Integer value is:"),
    Kind("double", "double_value", "Double value is:"),
    Kind("string", "string_value", "String value is:"),
    Kind("byte array", "byte_array_value", "Byte values are:"),
    Kind("boolean array", "bool_array_value", "Boolean values are:"),
    Kind("integer array", "integer_array_value", "Integer values are:"),
    Kind("double array", "double_array_value", "Double values are:"),
    Kind("string array", "string_array_value", "String values are:"),
)
BOOL, INTEGER, DOUBLE, STRING, _, BOOL_ARRAY, INTEGER_ARRAY, DOUBLE_ARRAY, STRING_ARRAY = range(1, 10)
_SCALARS = ((bool, BOOL), (int, INTEGER), (float, DOUBLE), (str, STRING))
_ARRAYS = ((bool, BOOL_ARRAY), (int, INTEGER_ARRAY), (float, DOUBLE_ARRAY), (str, STRING_ARRAY))


def add_parser(subparsers: Any) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "param", help="list, read and set parameters", description="As `ros2 param`, with or without ROS."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="names of parameters")
    listing.add_argument("node", nargs="?", metavar="NODE", help="default: all nodes")
    listing.add_argument("--param-type", action="store_true", help="with their types")
    graph.add_graph_options(listing, graph.SETTLED_S)
    listing.set_defaults(run=list_parameters)
    getting = actions.add_parser("get", help="print a value")
    _add_named(getting, get)
    getting.add_argument("parameter", metavar="PARAMETER")
    getting.add_argument("--hide-type", action="store_true", help="the value alone")
    setting = actions.add_parser("set", help="change a value")
    _add_named(setting, set_value)
    setting.add_argument("parameter", metavar="PARAMETER")
    setting.add_argument("value", metavar="VALUE", help="in YAML, such as 0.5 or [a, b]")
    describing = actions.add_parser("describe", help="type, description and range")
    _add_named(describing, describe)
    describing.add_argument("parameters", nargs="+", metavar="PARAMETER")


def _add_named(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("node", metavar="NODE")
    graph.add_graph_options(parser, graph.NAMED_S, ("--timeout",))
    parser.set_defaults(run=run)


def list_parameters(options: argparse.Namespace) -> int:
    """Print the names of one node's parameters, or of all nodes'."""
    with graph.open_graph(options) as seen:
        if options.node:
            nodes = [_found(seen, options.node, graph.NAMED_S)]
        else:
            seen.settle(options.spin_time)
            nodes = sorted(set(seen.nodes()))
        for node in nodes:
            if f"{node}/list_parameters" not in seen.services(hidden=True):
                print(f"{node} offers no parameter services", file=sys.stderr)
                continue
            names = sorted(_call(seen, node, "ListParameters").result.names)
            if names and not options.node:
                print(f"{node}:")
            for name in _with_types(seen, node, names) if options.param_type else names:
                print(f"  {name}")
    return 0


def _with_types(seen: graph.Graph, node: str, names: list[str]) -> list[str]:
    descriptors = _call(seen, node, "DescribeParameters", names=names).descriptors
    return [f"{descriptor.name} (type: {_type_name(descriptor.type)})" for descriptor in descriptors]


def get(options: argparse.Namespace) -> int:
    """Print one value."""
    with graph.open_graph(options) as seen:
        node = _found(seen, options.node, options.spin_time)
        values = _call(seen, node, "GetParameters", names=[options.parameter]).values
        if not values or values[0].type == 0:
            raise PerceptionError(f"Parameter not set{_similar_parameter(seen, node, options.parameter)}")
    kind = KINDS[values[0].type - 1]
    value = getattr(values[0], kind.field)
    value = value.tolist() if hasattr(value, "tolist") else value
    print(value) if options.hide_type else print(kind.label, value)
    return 0


def set_value(options: argparse.Namespace) -> int:
    """Set one value; the node may refuse it."""
    with graph.open_graph(options) as seen:
        from rcl_interfaces.msg import Parameter

        node = _found(seen, options.node, options.spin_time)
        parameter = Parameter(name=options.parameter, value=parameter_value(options.value))
        result = _call(seen, node, "SetParameters", parameters=[parameter]).results[0]
        reason = f": {result.reason}" if result.reason else ""
        if not result.successful:
            near = _similar_parameter(seen, node, options.parameter)
            raise PerceptionError(f"Setting parameter failed{reason}{near}")
    print(f"Set parameter successful{reason}")
    return 0


def describe(options: argparse.Namespace) -> int:
    """Print what a node says of its parameters."""
    with graph.open_graph(options) as seen:
        node = _found(seen, options.node, options.spin_time)
        known = _call(seen, node, "ListParameters").result.names
        unknown = [name for name in options.parameters if name not in known]
        if unknown:
            raise PerceptionError(f"{node} has no parameter {unknown[0]}{graph.or_similar(unknown[0], known)}")
        for descriptor in _call(seen, node, "DescribeParameters", names=options.parameters).descriptors:
            _print_descriptor(descriptor)
    return 0


def _print_descriptor(descriptor: Any) -> None:
    print("Parameter name:", descriptor.name)
    print("  Type:", _type_name(descriptor.type))
    if descriptor.description:
        print("  Description:", descriptor.description)
    print("  Constraints:")
    if descriptor.read_only:
        print("    Read only: true")
    for bounds in [*descriptor.floating_point_range, *descriptor.integer_range][:1]:
        print("    Min value:", bounds.from_value)
        print("    Max value:", bounds.to_value)
        if bounds.step:
            print("    Step:", bounds.step)
    if descriptor.additional_constraints:
        print("    Additional constraints:", descriptor.additional_constraints)


def parameter_value(text: str) -> Any:
    """The rcl_interfaces/ParameterValue that ros2 would make of this text: the type is the one that YAML sees."""
    from rcl_interfaces.msg import ParameterValue

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    for code, matches in _guesses(value):
        if matches:
            return ParameterValue(type=code, **{KINDS[code - 1].field: value})
    return ParameterValue(type=STRING, string_value=text)


def _guesses(value: Any) -> list[tuple[int, bool]]:
    if isinstance(value, list):
        return [(code, all(isinstance(element, kind) for element in value)) for kind, code in _ARRAYS]
    return [(code, isinstance(value, kind)) for kind, code in _SCALARS]


def _type_name(code: int) -> str:
    return KINDS[code - 1].name if code else "not set"


def _found(seen: graph.Graph, name: str, seconds: float) -> str:
    """The node's full name, as soon as its parameter services are there."""
    node = graph.absolute(name)
    if not seen.wait_for(lambda: f"{node}/set_parameters" in seen.services(hidden=True), seconds):
        if node in seen.nodes(hidden=True):
            raise PerceptionError(f"{node} offers no parameter services")
        raise PerceptionError(f"Node not found{graph.or_similar(node, seen.nodes())}")
    return node


def _similar_parameter(seen: graph.Graph, node: str, name: str) -> str:
    known = _call(seen, node, "ListParameters").result.names
    return "" if name in known else graph.or_similar(name, known)


def _call(seen: graph.Graph, node: str, service: str, **fields: Any) -> Any:
    service_class = graph.service_class(f"rcl_interfaces/srv/{service}")
    return seen.call(
        service_class, f"{node}/{graph.snake_case(service)}", service_class.Request(**fields), graph.ANSWER_S
    )
