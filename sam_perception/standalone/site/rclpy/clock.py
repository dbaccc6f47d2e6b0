"""Clocks: the system's, a steady one, and ROS time, which a simulator may set."""

from __future__ import annotations

import time

from rclpy.time import ClockType, Time


class Clock:
    """A clock of one type."""

    def __init__(self, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> None:
        self.clock_type = clock_type
        self.set_to_ns: int | None = None  # by a simulator; None: it shows the system's time

    def now(self) -> Time:
        running_ns = time.monotonic_ns() if self.clock_type is ClockType.STEADY_TIME else time.time_ns()
        return Time(nanoseconds=running_ns if self.set_to_ns is None else self.set_to_ns, clock_type=self.clock_type)
