"""The parameters of a node: declared, set and described in its own code, and from outside through services."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rcl_interfaces import srv
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterEvent,
    SetParametersResult,
)
from rclpy import exceptions
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

if TYPE_CHECKING:
    from rclpy.node import Node

_CLOSE = 1e-6  # relative: a float this near to an end of its range, or to a step, is on it


class NodeParameters:
    """Has those methods of rclpy.node.Node that deal with parameters; the node needs its clock before."""

    def __init__(self, node: Node, overrides: dict[str, Any], start_services: bool = True) -> None:
        self._node = node
        self._overrides = overrides
        self._parameters: dict[str, Parameter] = {}
        self._descriptors: dict[str, ParameterDescriptor] = {}
        self._callbacks: list[Callable[[list[Parameter]], SetParametersResult]] = []
        qos = QoSProfile(depth=1000)
        self._events = node.create_publisher(ParameterEvent, "/parameter_events", qos)
        self.declare_parameter("use_sim_time", False)
        if start_services:
            for name, type_, answer in (
                ("describe_parameters", srv.DescribeParameters, self._on_describe),
                ("get_parameters", srv.GetParameters, self._on_get),
                ("get_parameter_types", srv.GetParameterTypes, self._on_get_types),
                ("list_parameters", srv.ListParameters, self._on_list),
                ("set_parameters", srv.SetParameters, self._on_set),
                ("set_parameters_atomically", srv.SetParametersAtomically, self._on_set_atomically),
            ):
                node.create_service(type_, f"~/{name}", answer, qos_profile=qos)

    def declare_parameter(
        self, name: str, value: Any = None, descriptor: ParameterDescriptor | None = None
    ) -> Parameter:
        """Give the node a parameter; what the command line says about it counts more than the value here."""
        if not name:
            raise exceptions.InvalidParameterException(name)
        if name in self._parameters:
            raise exceptions.ParameterAlreadyDeclaredException([name])
        if value is None:
            raise ValueError(f"Cannot declare the statically typed parameter {name!r} without a value")
        descriptor = descriptor or ParameterDescriptor()
        descriptor.name, descriptor.type = name, Parameter.Type.from_parameter_value(value).value
        parameter = Parameter(name, value=self._overrides.get(name, value))
        result = self._apply([parameter], {name: descriptor})
        if result.reason.startswith("Wrong parameter type"):
            raise exceptions.InvalidParameterTypeException(parameter, Parameter.Type(descriptor.type).name)
        if not result.successful:
            raise exceptions.InvalidParameterValueException(name, parameter.value, result.reason)
        return parameter

    def has_parameter(self, name: str) -> bool:
        """Whether it was declared."""
        return name in self._parameters

    def get_parameter(self, name: str) -> Parameter:
        """The parameter as it stands."""
        self._check_declared([name])
        if self._parameters[name].value is None:
            raise exceptions.ParameterUninitializedException(name)
        return self._parameters[name]

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """Set each on its own; the results say which were refused, and why."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set all or none."""
        self._check_declared([parameter.name for parameter in parameter_list])
        return self._apply(parameter_list)

    def add_on_set_parameters_callback(self, callback: Callable[[list[Parameter]], SetParametersResult]) -> None:
        """Ask it before each change; the last one added is asked first."""
        self._callbacks.insert(0, callback)

    def remove_on_set_parameters_callback(self, callback: Callable[[list[Parameter]], SetParametersResult]) -> None:
        """Ask it no more."""
        self._callbacks.remove(callback)

    def _check_declared(self, names: list[str]) -> None:
        if undeclared := [name for name in names if name not in self._parameters]:
            raise exceptions.ParameterNotDeclaredException(undeclared)

    def _apply(
        self, parameters: list[Parameter], new: dict[str, ParameterDescriptor] | None = None
    ) -> SetParametersResult:
        """Set declared parameters, or, with their descriptors, new ones."""
        for parameter in parameters:
            if fault := _fault(parameter, (new or self._descriptors)[parameter.name], is_new=new is not None):
                return SetParametersResult(successful=False, reason=fault)
        for callback in self._callbacks:
            result = callback(parameters)
            if not result.successful:
                return result
        event = ParameterEvent(node=self._node.get_fully_qualified_name(), stamp=self._node.get_clock().now().to_msg())
        self._descriptors.update(new or {})
        for parameter in parameters:
            old = self._parameters.get(parameter.name)
            kind = event.changed_parameters if old and old.value is not None else event.new_parameters
            kind.append(parameter.to_parameter_msg())
            self._parameters[parameter.name] = parameter
        self._events.publish(event)
        return SetParametersResult(successful=True)

    def _on_describe(self, request: Any, response: Any) -> Any:
        response.descriptors = [self._descriptors[name] for name in self._all_or_none(request.names)]
        return response

    def _on_get(self, request: Any, response: Any) -> Any:
        names = self._all_or_none(request.names)
        response.values = [self._parameters[name].get_parameter_value() for name in names]
        return response

    def _on_get_types(self, request: Any, response: Any) -> Any:
        response.types = [self._parameters[name].type_.value for name in self._all_or_none(request.names)]
        return response

    def _all_or_none(self, names: list[str]) -> list[str]:
        return names if all(name in self._parameters for name in names) else []

    def _on_list(self, request: Any, response: Any) -> Any:
        prefixes = [f"{prefix}." for prefix in request.prefixes] or [""]
        depth = request.depth or math.inf
        names = [
            name
            for name in self._parameters
            if any(name.startswith(prefix) and name.count(".", len(prefix)) < depth for prefix in prefixes)
            or name in request.prefixes
        ]
        response.result.names = names
        response.result.prefixes = list(dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name))
        return response

    def _on_set(self, request: Any, response: Any) -> Any:
        response.results = [self._set_from_outside([message]) for message in request.parameters]
        return response

    def _on_set_atomically(self, request: Any, response: Any) -> Any:
        response.result = self._set_from_outside(request.parameters)
        return response

    def _set_from_outside(self, messages: list[Any]) -> SetParametersResult:
        try:
            return self.set_parameters_atomically([Parameter.from_parameter_msg(message) for message in messages])
        except (exceptions.ParameterNotDeclaredException, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))


def _fault(parameter: Parameter, descriptor: ParameterDescriptor, is_new: bool) -> str:
    """Why its descriptor forbids a value; empty if it does not."""
    if descriptor.read_only and not is_new:
        return f"Trying to set a read-only parameter: {parameter.name}."
    if parameter.value is None:
        return "" if is_new else "Static parameter cannot be undeclared"
    if parameter.type_.value != descriptor.type:
        return f"Wrong parameter type, expected '{Parameter.Type(descriptor.type)}' got '{parameter.type_}'"
    if parameter.type_ is Parameter.Type.INTEGER and descriptor.integer_range:
        return _range_fault(parameter, descriptor.integer_range[0], 0.0)
    if parameter.type_ is Parameter.Type.DOUBLE and descriptor.floating_point_range:
        return _range_fault(parameter, descriptor.floating_point_range[0], _CLOSE)
    return ""


def _range_fault(parameter: Parameter, allowed: IntegerRange | FloatingPointRange, tolerance: float) -> str:
    name, value, step = parameter.name, parameter.value, allowed.step
    low, high = sorted((allowed.from_value, allowed.to_value))
    if any(math.isclose(value, end, rel_tol=tolerance) for end in (low, high)):
        return ""
    if not low < value < high:
        return f"Parameter {name} out of range. Min: {low}, Max: {high}, value: {value}"
    if step and not math.isclose(low + round((value - low) / step) * step, value, rel_tol=tolerance):
        return (
            f"The parameter value for {name} is not a valid step. Min: {low}, max: {high}, value: {value}, step: {step}"
        )
    return ""
