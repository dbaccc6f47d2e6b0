"""ManagedNode: a lifecycle node that starts itself and that a failed transition leaves configurable again."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sam_perception.errors import PerceptionError, in_one_sentence
from sam_perception.nodes.parameters import Parameter, declare

AUTOSTART = Parameter(
    "autostart",
    True,
    "Configure and activate as soon as the node runs; otherwise `ros2 lifecycle set` does.",
    changeable=False,
)


class ManagedNode(LifecycleNode):
    """Base of this package's nodes.

    A subclass overrides what it needs of ``configure``, ``activate``, ``deactivate`` and ``cleanup``. They raise to
    fail: the error is logged as one sentence and the node is unconfigured afterwards, everything let go of. What
    ``deactivate`` and ``cleanup`` release may be only half there: after a failure, and when the node ends, they are
    called whatever came before.

    Attributes:
        parameters: the values of the table, and `autostart`.
        steady_clock: runs on where simulated time stands still; for timers that must not.
        state: "unconfigured", "inactive" or "active"; while a transition runs, the one before.
        last_failure: the sentence of the last failed transition; empty after the next that succeeds.
    """

    def __init__(self, name: str, table: Sequence[Parameter], **options: Any) -> None:
        super().__init__(name, **options)
        self.state = "unconfigured"
        self.last_failure = ""
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._release_lock = threading.RLock()
        self._autostart_is_over = threading.Event()
        try:
            self.parameters = declare(self, [AUTOSTART, *table])
        except BaseException:
            self.destroy_node()
            raise
        if self.parameters.autostart:
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=self.steady_clock)
        else:
            self._autostart_is_over.set()

    # ---- for subclasses ----

    def configure(self) -> None:
        """Load what takes long and allocate memory."""

    def activate(self) -> None:
        """Subscribe, start timers and threads."""

    def deactivate(self) -> None:
        """Undo ``activate``."""

    def cleanup(self) -> None:
        """Undo ``configure``."""

    def wait_for_autostart(self, timeout_s: float) -> None:
        """Return as soon as the node has started itself, or has failed to, or the time is up."""
        self._autostart_is_over.wait(timeout_s)

    # ---- lifecycle ----

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See LifecycleNode."""
        self.parameters.locked = True
        return self._run(self.configure, "inactive", "configuring")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See LifecycleNode."""
        return self._run(self.activate, "active", "activating")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See LifecycleNode."""
        self.state = "inactive"  # at once: nothing more is answered or sent
        return self._run(self.deactivate, "inactive", "deactivating")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See LifecycleNode."""
        self.state = "unconfigured"
        result = self._run(self.cleanup, "unconfigured", "cleaning up")
        self.parameters.locked = False
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See LifecycleNode."""
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See LifecycleNode: whatever failed, the node is unconfigured afterwards."""
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def release(self) -> None:
        """Let go of everything, in whatever state the node is; safe to call twice."""
        self._autostart_is_over.set()
        with self._release_lock:
            self.state = "unconfigured"
            self._try(self.deactivate)
            self._try(self.cleanup)
            self.parameters.locked = False

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._log_failure(f"while letting go: {in_one_sentence(error)}", error)

    def _run(self, step: Callable[[], None], reached: str, doing: str) -> TransitionCallbackReturn:
        try:
            step()
        except Exception as error:
            self.last_failure = f"{doing} failed: {in_one_sentence(error)}"
            self._log_failure(f"{self.last_failure}; the node is unconfigured and can be configured again", error)
            return TransitionCallbackReturn.ERROR  # on_error then lets go of what was half done
        self.state, self.last_failure = reached, ""
        self.get_logger().info(f"{self.get_name()} is {reached}")
        return TransitionCallbackReturn.SUCCESS

    def _autostart(self) -> None:
        self.destroy_timer(self._autostart_timer)
        try:
            if self.state == "unconfigured" and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        finally:
            self._autostart_is_over.set()

    def _log_failure(self, sentence: str, error: Exception) -> None:
        self.get_logger().error(sentence)
        if not isinstance(error, PerceptionError):
            self.get_logger().debug("".join(traceback.format_exception(error)))
