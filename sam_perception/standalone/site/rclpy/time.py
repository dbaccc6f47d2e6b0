"""Points in time."""

from __future__ import annotations

from enum import IntEnum
from functools import total_ordering
from typing import Any

from builtin_interfaces.msg import Time as TimeMsg

from rclpy.duration import Duration


class ClockType(IntEnum):
    """What a clock shows: simulated or system time (ROS), system time, or time since some start."""

    ROS_TIME = 1
    SYSTEM_TIME = 2
    STEADY_TIME = 3


@total_ordering
class Time:
    """Nanoseconds since the epoch of a type of clock; points of different types do not compare."""

    def __init__(
        self, *, seconds: float = 0, nanoseconds: int = 0, clock_type: ClockType = ClockType.SYSTEM_TIME
    ) -> None:
        if seconds < 0 or nanoseconds < 0:
            raise ValueError(f"{'Seconds' if seconds < 0 else 'Nanoseconds'} value must not be negative")
        self.nanoseconds, self.clock_type = int(seconds * 10**9) + int(nanoseconds), clock_type

    def __repr__(self) -> str:
        return f"Time(nanoseconds={self.nanoseconds}, clock_type={self.clock_type.name})"

    def _nanoseconds_of(self, other: Time) -> int:
        if self.clock_type != other.clock_type:
            raise TypeError("Can't compare or subtract times with different clock types")
        return other.nanoseconds

    def __eq__(self, other: object) -> bool:
        return self.nanoseconds == self._nanoseconds_of(other) if isinstance(other, Time) else NotImplemented

    def __lt__(self, other: Time) -> bool:
        return self.nanoseconds < self._nanoseconds_of(other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Duration) -> Time:
        return Time(nanoseconds=self.nanoseconds + other.nanoseconds, clock_type=self.clock_type)

    def __sub__(self, other: Time | Duration) -> Any:
        if isinstance(other, Duration):
            return self + Duration(nanoseconds=-other.nanoseconds)
        return Duration(nanoseconds=self.nanoseconds - self._nanoseconds_of(other))

    def to_msg(self) -> TimeMsg:
        sec, nanosec = divmod(self.nanoseconds, 10**9)
        return TimeMsg(sec=sec, nanosec=nanosec)

    @classmethod
    def from_msg(cls, msg: TimeMsg, clock_type: ClockType = ClockType.ROS_TIME) -> Time:
        return cls(seconds=msg.sec, nanoseconds=msg.nanosec, clock_type=clock_type)
