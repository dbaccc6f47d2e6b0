"""A parameter: its name, its type and its value."""

from __future__ import annotations

import array
from enum import Enum
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.msg import ParameterValue

_ELEMENTS = {"NOT_SET": type(None), "BOOL": bool, "INTEGER": int, "DOUBLE": float, "STRING": str, "BYTE": bytes}


class Parameter:
    """A name with a value of one of the types that ROS knows."""

    class Type(Enum):
        """The types; their numbers are those of rcl_interfaces/msg/ParameterType."""

        NOT_SET = 0
        BOOL = 1
        INTEGER = 2
        DOUBLE = 3
        STRING = 4
        BYTE_ARRAY = 5
        BOOL_ARRAY = 6
        INTEGER_ARRAY = 7
        DOUBLE_ARRAY = 8
        STRING_ARRAY = 9

        @classmethod
        def from_parameter_value(cls, parameter_value: Any) -> Parameter.Type:
            """The first type that the value has; TypeError if there is none."""
            for type_ in cls:
                if type_.check(parameter_value):
                    return type_
            raise TypeError(f"The given value is not one of the allowed types '{parameter_value}'.")

        def check(self, parameter_value: Any) -> bool:
            """Whether the value has this type."""
            element = _ELEMENTS[self.name.removesuffix("_ARRAY")]
            if not self.name.endswith("_ARRAY"):
                return isinstance(parameter_value, element)
            is_list = isinstance(parameter_value, (list, tuple, array.array))
            return is_list and all(isinstance(value, element) for value in parameter_value)

    @classmethod
    def from_parameter_msg(cls, param_msg: ParameterMsg) -> Parameter:
        """What a message says."""
        type_ = Parameter.Type(param_msg.value.type)
        value: Any = getattr(param_msg.value, f"{type_.name.lower()}_value", None)  # no field for NOT_SET
        return cls(param_msg.name, type_, value.tolist() if hasattr(value, "tolist") else value)

    def __init__(self, name: str, type_: Parameter.Type | None = None, value: Any = None) -> None:
        self.name = name
        self.type_ = Parameter.Type.from_parameter_value(value) if type_ is None else type_
        self.value = value
        if not self.type_.check(value):
            raise ValueError(f"Type '{self.type_}' and value '{value}' do not agree")

    def get_parameter_value(self) -> ParameterValue:
        """The message that carries type and value."""
        message = ParameterValue(type=self.type_.value)
        if self.value is not None:
            setattr(message, f"{self.type_.name.lower()}_value", self.value)
        return message

    def to_parameter_msg(self) -> ParameterMsg:
        """The message that carries name, type and value."""
        return ParameterMsg(name=self.name, value=self.get_parameter_value())
