"""Loggers that write to stderr as rcl's do."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from enum import IntEnum
from functools import cache, partialmethod


class LoggingSeverity(IntEnum):
    """How bad it is."""

    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50


_levels: dict[str, int] = {}  # by logger; "" is every other one's


def set_levels(levels: Mapping[str, int]) -> None:
    """Forget all levels, and take those of a command line."""
    _levels.clear()
    _levels.update(levels)


class Logger:
    """A logger; `a.b` has the level of `a` unless it has its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._last_written: dict[tuple[str, int], float] = {}  # by place of a call that is throttled

    def _level(self) -> int:
        name = self.name
        while name and not _levels.get(name):
            name = name.rpartition(".")[0]
        return _levels.get(name) or LoggingSeverity.INFO

    def _log(self, severity: LoggingSeverity, message: str, *, throttle_duration_sec: float = 0.0) -> bool:
        """Write it, if the level allows it, and so many seconds after the last time that this line did."""
        if severity < self._level() or not self._is_due(throttle_duration_sec):
            return False
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        sys.stderr.write(f"[{severity.name}] [{seconds}.{nanoseconds:09}] [{self.name}]: {message}\n")
        sys.stderr.flush()
        return True

    debug = partialmethod(_log, LoggingSeverity.DEBUG)
    info = partialmethod(_log, LoggingSeverity.INFO)
    warning = warn = partialmethod(_log, LoggingSeverity.WARN)
    error = partialmethod(_log, LoggingSeverity.ERROR)
    fatal = partialmethod(_log, LoggingSeverity.FATAL)

    def _is_due(self, period_sec: float) -> bool:
        if not period_sec:
            return True
        caller = sys._getframe(2)
        place, now = (caller.f_code.co_filename, caller.f_lasti), time.monotonic()
        if now - self._last_written.get(place, float("-inf")) < period_sec:
            return False
        self._last_written[place] = now
        return True


get_logger = cache(Logger)
