"""A node's parameters: one table that declares, describes, checks and reads them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from sam_perception.errors import InvalidInputError

Value = bool | int | float | str

_INT64 = 2**63 - 1
_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a decimal point, such as 2.0",
    str: "text",
}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One row of a node's table; the default's type is the parameter's.

    Attributes:
        name: as in `ros2 param list`.
        default: bool, int, float or str.
        description: one sentence, with the unit.
        minimum: smallest number allowed.
        maximum: largest number allowed.
        choices: the only texts allowed.
        changeable: at run time; False: only while the node is unconfigured.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    changeable: bool = True

    @property
    def constraint(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return f"one of {', '.join(map(repr, self.choices))}"
        kind = _TYPE_NAMES[type(self.default)]
        if self.minimum is not None and self.maximum is not None:
            return f"{kind} from {self.minimum} to {self.maximum}"
        if self.minimum is not None:
            return f"{kind}, {self.minimum} or more"
        if self.maximum is not None:
            return f"{kind}, {self.maximum} or less"
        return kind

    def allows(self, value: object) -> bool:
        """Whether a value has the type and lies in the range."""
        if type(value) is not type(self.default):
            return False
        if isinstance(value, str):
            return not self.choices or value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def descriptor(self) -> ParameterDescriptor:
        """What `ros2 param describe` shows."""
        limits = [] if self.changeable else ["can be set only while the node is unconfigured"]
        if self.choices:
            limits.insert(0, self.constraint)
        descriptor = ParameterDescriptor(description=self.description, additional_constraints="; ".join(limits))
        if self.minimum is not None or self.maximum is not None:
            largest = _INT64 if isinstance(self.default, int) else sys.float_info.max
            low = -largest if self.minimum is None else self.minimum
            high = largest if self.maximum is None else self.maximum
            if isinstance(self.default, int):
                descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
            else:
                descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        return descriptor


class Parameters:
    """The declared parameters of one node; ``parameters.<name>`` is the current value.

    Attributes:
        locked: while True, parameters that are not changeable are refused.
    """

    def __init__(self, node: Node, table: Sequence[Parameter]) -> None:
        self.locked = False
        self._table = {parameter.name: parameter for parameter in table}
        self._values: dict[str, Value] = {}
        self._listeners: list[Callable[[str, Any], None]] = []
        # Before the declarations, so that what comes from the command line or a file is checked as well.
        node.add_on_set_parameters_callback(self._on_set)
        for parameter in table:
            _declare(node, parameter)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"no parameter {name!r} was declared") from None

    def on_change(self, listener: Callable[[str, Any], None]) -> None:
        """Call ``listener(name, value)`` for every parameter that is set from now on, in the thread that sets it."""
        self._listeners.append(listener)

    def _on_set(self, changes: Sequence[Any]) -> SetParametersResult:
        ours = [change for change in changes if change.name in self._table]  # others, such as use_sim_time, pass
        for change in ours:
            refusal = self._refusal(self._table[change.name], change.value)
            if refusal:
                return SetParametersResult(successful=False, reason=refusal)
        for change in ours:
            self._values[change.name] = change.value
        for change in ours:
            for listener in self._listeners:
                listener(change.name, change.value)
        return SetParametersResult(successful=True)

    def _refusal(self, parameter: Parameter, value: object) -> str:
        if not parameter.allows(value):
            return f"{parameter.name} takes {parameter.constraint}, not {value!r}"
        if self.locked and not parameter.changeable and value != self._values[parameter.name]:
            return f"{parameter.name} can be set only while the node is unconfigured: deactivate and clean it up first"
        return ""


def declare(node: Node, table: Sequence[Parameter]) -> Parameters:
    """Declare every parameter of the table on the node.

    Raises:
        InvalidInputError: the command line or a parameter file gives a value that the table does not allow.
    """
    return Parameters(node, table)


def _declare(node: Node, parameter: Parameter) -> None:
    try:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())
    except ParameterException as error:
        raise InvalidInputError(f"{error}; it takes {parameter.constraint}") from None
