"""Timers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock

if TYPE_CHECKING:
    from rclpy.node import Node


class Timer:
    """Calls back once a period; what comes too late is left out."""

    def __init__(
        self, node: Node, period_ns: int, callback: Callable[[], Any], group: CallbackGroup | None, clock: Clock
    ) -> None:
        self.node, self.timer_period_ns, self.callback, self.clock = node, period_ns, callback, clock
        self.callback_group = group or node.default_callback_group
        self.reset()

    def reset(self) -> None:
        """Start anew: the next call is one period from now."""
        self._last_seen_ns = self.clock.now().nanoseconds
        self._next_ns = self._last_seen_ns + self.timer_period_ns
        self._is_canceled = False
        self.node.wake_executor()

    def cancel(self) -> None:
        self._is_canceled = True

    destroy = cancel

    def ready_in(self) -> float | None:
        """Seconds until the next call, None where only a simulator knows."""
        now_ns = self.clock.now().nanoseconds
        if now_ns < self._last_seen_ns:  # the clock was set back
            self._next_ns = now_ns + self.timer_period_ns
        self._last_seen_ns = now_ns
        if self._is_canceled or (now_ns < self._next_ns and self.clock.set_to_ns is not None):
            return None
        return max(self._next_ns - now_ns, 0) / 1e9

    def take(self) -> Callable[[], Any]:
        """The call that is due."""
        missed = (self._last_seen_ns - self._next_ns) // self.timer_period_ns if self.timer_period_ns else 0
        self._next_ns += (missed + 1) * self.timer_period_ns
        return self._call

    def _call(self) -> None:
        if not self._is_canceled:
            self.callback()
