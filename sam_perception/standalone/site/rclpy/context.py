"""What all nodes of a process share: the session, the graph, the arguments, and whether it is to go on."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from collections.abc import Sequence
from types import FrameType
from typing import Any

import zenoh

from rclpy.logging import set_levels
from sam_perception.errors import InvalidInputError
from sam_perception.standalone.arguments import Arguments, parse_ros_arguments
from sam_perception.standalone.graph import Graph
from sam_perception.standalone.session import open_session

_MAX_DOMAIN = 232


class Context:
    """Valid from init to shutdown, or to the first SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self._is_valid = False
        self._session: zenoh.Session | None = None
        self._graph: Graph | None = None
        self._previous_handlers: dict[int, Any] = {}
        self.executors: weakref.WeakSet[Any] = weakref.WeakSet()
        self.arguments = Arguments()

    def init(self, args: Sequence[str] | None, domain_id: int | None, handle_signals: bool) -> None:
        """Read the arguments and open the session."""
        if self._session:
            raise RuntimeError("Context.init() must only be called once")
        self.arguments = parse_ros_arguments(sys.argv if args is None else args)
        domain = str(domain_id if domain_id is not None else os.environ.get("ROS_DOMAIN_ID") or 0)
        if not domain.isdecimal() or int(domain) > _MAX_DOMAIN:
            raise InvalidInputError.for_field("ROS_DOMAIN_ID", f"a number from 0 to {_MAX_DOMAIN}", repr(domain))
        set_levels(self.arguments.log_levels)
        self._session = open_session()
        self._graph = Graph(self._session, int(domain))
        self._is_valid = True
        if handle_signals and threading.current_thread() is threading.main_thread():
            signals = (signal.SIGINT, signal.SIGTERM)
            self._previous_handlers = {number: signal.signal(number, self._on_signal) for number in signals}

    def ok(self) -> bool:
        return self._is_valid

    @property
    def graph(self) -> Graph:
        """The graph, while the context is valid."""
        if not self._graph or not self._is_valid:
            raise RuntimeError("the context is not valid: rclpy.init() was not called, or rclpy was shut down")
        return self._graph

    def try_shutdown(self) -> None:
        self._invalidate()
        session, self._session, self._graph = self._session, None, None
        if session:
            session.close()
        for number, previous in self._previous_handlers.items():
            if signal.getsignal(number) == self._on_signal:  # whoever set another one since then keeps it
                signal.signal(number, previous)
        self._previous_handlers = {}

    def _invalidate(self) -> None:
        """Let all that waits see that it is over."""
        self._is_valid = False
        if graph := self._graph:
            with graph.changed:
                graph.changed.notify_all()
        for executor in tuple(self.executors):
            executor.wake()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._invalidate()
        previous = self._previous_handlers.get(number)
        if callable(previous):  # for SIGINT, Python's, which raises KeyboardInterrupt
            previous(number, frame)


default_context = Context()
atexit.register(default_context.try_shutdown)  # zenoh's threads must not call into an interpreter that is ending
