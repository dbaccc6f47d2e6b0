"""The parameters of running nodes, read through their services."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import Parameter, ParameterEvent
from rcl_interfaces.srv import GetParameters, ListParameters

from sam_perception.nodes.client import Client, NoAnswerError

_TYPES = (
    *("", "bool_value", "integer_value", "double_value", "string_value", "byte_array_value"),
    *("bool_array_value", "integer_array_value", "double_array_value", "string_array_value"),
)


def read_parameters(client: Client, node: str, timeout_s: float) -> ParameterEvent:
    """All parameters of a node, as a message that could go out on /parameter_events.

    Raises:
        NoAnswerError: the node does not answer.
    """
    try:
        names = list(client.call(ListParameters, f"{node}/list_parameters", timeout_s).result.names)
        values = client.call(GetParameters, f"{node}/get_parameters", timeout_s, names=names).values
    except RuntimeError as error:  # the runtime saw it go
        raise NoAnswerError(str(error)) from error
    pairs = zip(names, values, strict=True)
    parameters = [Parameter(name=name, value=value) for name, value in sorted(pairs, key=lambda pair: pair[0])]
    return ParameterEvent(node=node, stamp=client.node.get_clock().now().to_msg(), new_parameters=parameters)


def plain_values(event: Any) -> dict[str, Any]:
    """The values of such a message by their names; None for one that is not set."""
    values = {}
    for parameter in event.new_parameters:
        field = _TYPES[parameter.value.type]
        value: Any = getattr(parameter.value, field) if field else None
        values[parameter.name] = list(value) if field.endswith("array_value") else value
    return values
