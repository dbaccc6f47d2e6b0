"""A thread that works on the newest item given to it, and skips those that came in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestWorker(Generic[Item]):
    """Calls ``work`` in a thread of its own; an item that is begun is finished, of those that wait only the newest.

    Args:
        work: what to do with an item.
        failed: called with whatever ``work`` raises; the thread goes on.
        name: of the thread.
    """

    def __init__(self, work: Callable[[Item], object], failed: Callable[[Exception], object], name: str) -> None:
        self._work = work
        self._failed = failed
        self._wake = threading.Condition()
        self._waiting: list[Item] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Give it something to do; what waits and is not begun yet is forgotten."""
        with self._wake:
            self._waiting = [item]
            self._wake.notify()

    def close(self) -> None:
        """Finish what is begun, forget what waits, and end the thread. Safe to call twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._closed):
                    self._wake.wait()
                if self._closed:
                    return
                item = self._waiting.pop()
            try:
                self._work(item)
            except Exception as error:
                self._failed(error)
            del item
