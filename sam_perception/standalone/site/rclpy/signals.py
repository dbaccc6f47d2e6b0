"""Whether rclpy.init handles signals."""

from enum import Enum


class SignalHandlerOptions(Enum):
    """Which signals end the context."""

    NO = 0
    ALL = 3
