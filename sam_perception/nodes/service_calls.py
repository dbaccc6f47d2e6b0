"""Calls of services from within callbacks, which wait for the answer but never for ever."""

from __future__ import annotations

import threading
from typing import Any

from sam_perception.errors import PerceptionError


class ServiceCalls:
    """Waits for the answers of services, until ``close`` says that nobody may wait any more.

    The client needs a callback group that lets it work while the caller's callback waits, and the node an executor
    with a thread left to do so.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[threading.Event] = set()
        self._closed = False

    def call(self, client: Any, request: Any, name: str, timeout_s: float) -> Any:
        """The answer of a service.

        Args:
            client: of the service.
            request: its request.
            name: of the service, for people.
            timeout_s: how long to wait.

        Raises:
            PerceptionError: it is not there, went away, or did not answer in time, or ``close`` was called.
        """
        if not client.service_is_ready():
            raise PerceptionError(f"the service {name} is not there: start sam, or remap it")
        news = threading.Event()
        with self._lock:
            if self._closed:
                raise PerceptionError(f"{name} was not asked: the node is being deactivated")
            self._waiting.add(news)
        try:
            future = client.call_async(request)
            future.add_done_callback(lambda _: news.set())
            has_news = news.wait(timeout_s)
        finally:
            with self._lock:
                self._waiting.discard(news)
        if future.done():
            return _result(future, name)
        future.cancel()
        if has_news:
            raise PerceptionError(f"{name} was not waited for: the node is being deactivated")
        raise PerceptionError(f"{name} did not answer within {timeout_s:g} s (parameter segment_timeout_s)")

    def close(self) -> None:
        """End every wait, and refuse further calls."""
        with self._lock:
            self._closed = True
            for news in self._waiting:
                news.set()


def _result(future: Any, name: str) -> Any:
    try:
        return future.result()
    except Exception as error:  # whatever the transport raises when a node goes away
        raise PerceptionError(f"{name} did not answer: {error}") from None
