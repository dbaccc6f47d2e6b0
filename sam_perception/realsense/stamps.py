"""StampClock: time stamps of a camera's frames as ROS time."""

from __future__ import annotations

import math
from collections import deque

# The counter in a frame's metadata has 32 bits of microseconds: it begins again after 71.6 minutes.
WRAP_MS = 2**32 / 1000.0
WINDOW_S = 10.0
_RESTART_MS = 1000.0
_HOST_DOMAINS = ("global_time", "system_time")
_MS = 1_000_000
_NANOSECONDS = 1_000_000_000


class StampClock:
    """Turns the time stamps of one device, in milliseconds of one of librealsense's domains, into ROS time.

    Stamps of the domains global_time and system_time are of this computer's clock, which is ROS's clock, too, unless
    that is simulated or the frames come from a recording. All others are of a clock whose offset is not known: it is
    the smallest difference between arrival and stamp over the last seconds, which follows a drifting clock and leaves
    out what delays single frames. The delay that no frame escapes (readout and transfer) stays in the stamps.

    Args:
        host_is_ros: whether this computer's clock is ROS's.
    """

    def __init__(self, host_is_ros: bool = True) -> None:
        self._host_is_ros = host_is_ros
        self._offsets: dict[str, _Offset] = {}

    def is_direct(self, domain: str) -> bool:
        """Whether stamps of a domain are ROS time as they are."""
        return self._host_is_ros and domain in _HOST_DOMAINS

    def stamp_ns(self, timestamp_ms: float, domain: str, arrival_ns: int) -> int:
        """ROS time of a frame.

        Args:
            timestamp_ms: as librealsense gives it.
            domain: global_time, system_time or hardware_clock.
            arrival_ns: ROS time at which the frame arrived.
        """
        if not math.isfinite(timestamp_ms) or timestamp_ms < 0:
            return arrival_ns
        if self.is_direct(domain):
            return _nanoseconds(timestamp_ms)
        return self._offsets.setdefault(domain, _Offset()).stamp_ns(timestamp_ms, arrival_ns)


class _Offset:
    """Of a clock that is not known, from the frames that came fastest."""

    def __init__(self) -> None:
        self._last_ms = 0.0
        self._wrapped_ms = 0.0
        # Arrival and offset; the offsets rise, for a later and smaller one makes those before it superfluous.
        self._window: deque[tuple[int, int]] = deque()

    def stamp_ns(self, timestamp_ms: float, arrival_ns: int) -> int:
        back_ms = self._last_ms - timestamp_ms
        if back_ms > WRAP_MS / 2 and self._last_ms <= WRAP_MS:
            self._wrapped_ms += WRAP_MS
        elif back_ms > _RESTART_MS:  # the device, or a recording, has begun again
            self._window.clear()
        self._last_ms = timestamp_ms
        device_ns = _nanoseconds(timestamp_ms + self._wrapped_ms)
        return device_ns + self._smallest(arrival_ns - device_ns, arrival_ns)

    def _smallest(self, offset_ns: int, arrival_ns: int) -> int:
        oldest = arrival_ns - WINDOW_S * _NANOSECONDS
        # Arrivals after now: ROS time went back.
        while self._window and not oldest <= self._window[0][0] <= arrival_ns:
            self._window.popleft()
        while self._window and self._window[-1][1] >= offset_ns:
            self._window.pop()
        self._window.append((arrival_ns, offset_ns))
        return self._window[0][1]


def later_than(last_ns: int, stamp_ns: int) -> int:
    """The stamp, or the first instant after the last one where it is not later by a little.

    A change of the domain may turn time back by the delay that one of them has in it, and two frames must not share a
    stamp. Where it goes back further, the clock was set.
    """
    return last_ns + 1 if 0 <= last_ns - stamp_ns < _NANOSECONDS else stamp_ns


def _nanoseconds(milliseconds: float) -> int:
    whole = math.floor(milliseconds)
    return whole * _MS + round((milliseconds - whole) * _MS)
