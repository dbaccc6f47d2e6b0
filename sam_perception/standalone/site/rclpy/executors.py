"""Executors: they run the callbacks of nodes, in one thread or in several."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.context import default_context

if TYPE_CHECKING:
    from rclpy.node import Node


class ExternalShutdownException(Exception):
    """The context was shut down while an executor was spinning."""


class Executor:
    """Base of both: finds work, in turn, and sleeps while there is none."""

    _limit = 1  # callbacks at the same time

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._nodes: list[Node] = []
        self._turn = self._running = 0
        self._busy_threads: set[int] = set()
        self._failure: BaseException | None = None
        self._is_shutdown = False
        default_context.executors.add(self)

    def add_node(self, node: Node) -> None:
        with self._condition:
            if node.executor:
                node.executor.remove_node(node)
            self._nodes.append(node)
            node.executor = self
            self._condition.notify_all()

    def remove_node(self, node: Node) -> None:
        with self._condition:
            if node in self._nodes:
                self._nodes.remove(node)
                node.executor = None

    def wake(self) -> None:
        """Let it look for work again."""
        with self._condition:
            self._condition.notify_all()

    def spin(self) -> None:
        while default_context.ok() and not self._is_shutdown:
            self.spin_once()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Start one callback, or wait so long for one."""
        work = self._wait_for_work(float("inf") if timeout_sec is None else time.monotonic() + timeout_sec)
        if work:
            self._start(work)

    def shutdown(self) -> None:
        """Start nothing more and wait for what is running, unless it is what called this."""
        with self._condition:
            self._is_shutdown = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._busy_threads <= {threading.get_ident()})
        for node in tuple(self._nodes):
            self.remove_node(node)

    def _start(self, work: Callable[[], None]) -> None:
        work()

    def _wait_for_work(self, end: float) -> Callable[[], None] | None:
        with self._condition:
            while not self._is_shutdown:
                if not default_context.ok():  # first: what fails now, as by sending something, fails because of it
                    raise ExternalShutdownException
                if self._failure:
                    failure, self._failure = self._failure, None
                    raise failure
                work, ready_in = self._find_work()
                left = end - time.monotonic()
                if work or left <= 0:
                    return work
                wait_sec = min(ready_in, left)
                self._condition.wait(wait_sec if wait_sec < threading.TIMEOUT_MAX else None)
        return None

    def _find_work(self) -> tuple[Callable[[], None] | None, float]:
        """The next piece of work that may start, and else the seconds until there may be some."""
        soonest = float("inf")
        entities = [entity for node in self._nodes for entity in node.entities]
        for offset in range(len(entities) if self._running < self._limit else 0):
            entity = entities[(self._turn + offset) % len(entities)]
            ready_in = entity.ready_in()
            if ready_in == 0 and entity.callback_group.running < entity.callback_group.limit:
                self._turn += offset + 1
                self._running += 1
                entity.callback_group.running += 1
                return partial(self._run, entity, entity.take()), 0.0
            if ready_in:
                soonest = min(soonest, ready_in)
        return None, soonest

    def _run(self, entity: Any, call: Callable[[], Any]) -> None:
        self._busy_threads.add(threading.get_ident())
        try:
            if not self._is_shutdown:
                call()
        finally:
            with self._condition:
                self._busy_threads.discard(threading.get_ident())
                self._running -= 1
                entity.callback_group.running -= 1
                self._condition.notify_all()


class SingleThreadedExecutor(Executor):
    """Runs callbacks in the thread that spins."""


class MultiThreadedExecutor(Executor):
    """Runs callbacks in a pool; what waits for a free thread stays in its queue, where newer messages replace it."""

    def __init__(self, num_threads: int | None = None) -> None:
        super().__init__()
        self._limit = num_threads or os.cpu_count() or 2
        self._pool = ThreadPoolExecutor(self._limit)

    def spin_once(self, timeout_sec: float | None = None) -> None:
        with contextlib.suppress(ExternalShutdownException):  # as in rclpy: only the other executor tells
            super().spin_once(timeout_sec)

    def _start(self, work: Callable[[], None]) -> None:
        try:
            self._pool.submit(self._run_in_pool, work)
        except RuntimeError as error:
            if "shutdown" not in str(error):  # the pool has not ended, with the executor or with the interpreter
                raise

    def _run_in_pool(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failure = error  # for the thread that spins
            self.wake()

    def shutdown(self) -> None:
        super().shutdown()
        self._pool.shutdown(wait=False)
