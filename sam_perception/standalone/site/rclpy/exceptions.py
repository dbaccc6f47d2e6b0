"""The exceptions that rclpy raises."""

from typing import Any


class ParameterException(Exception):
    """Base of what goes wrong with parameters."""

    def __init__(self, error_msg: str, parameters: str | list[str]) -> None:
        super().__init__(f"{error_msg}: {parameters}")


class ParameterNotDeclaredException(ParameterException):
    """Nobody declared it."""

    def __init__(self, parameters: str | list[str]) -> None:
        super().__init__("Invalid access to undeclared parameter(s)", parameters)


class ParameterAlreadyDeclaredException(ParameterException):
    """It is declared only once."""

    def __init__(self, parameters: str | list[str]) -> None:
        super().__init__("Parameter(s) already declared", parameters)


class InvalidParameterException(ParameterException):
    """Its name breaks the rules."""

    def __init__(self, parameter_name: str) -> None:
        super().__init__("Invalid parameter name", parameter_name)


class InvalidParameterTypeException(ParameterException):
    """The value has another type."""

    def __init__(self, desired: Any, expected_type: Any) -> None:
        what = f"'{desired.name}' to '{desired.value}' of type '{desired.type_.name}', expecting type '{expected_type}'"
        super().__init__(f"Trying to set parameter {what}", desired.name)


class InvalidParameterValueException(ParameterException):
    """Its descriptor, or a callback of the node, refused the value."""

    def __init__(self, parameter: str, value: Any, reason: str) -> None:
        super().__init__(f"Invalid parameter value ({value}) for parameter. Reason: {reason}", parameter)


class ParameterUninitializedException(ParameterException):
    """It has no value yet."""

    def __init__(self, parameter_name: str) -> None:
        super().__init__(f"The parameter '{parameter_name}' is not initialized", parameter_name)
