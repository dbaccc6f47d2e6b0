"""A result that is there later."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any


class Future:
    """What a service will answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_done = self._is_cancelled = False
        self._result: Any = None
        self._exception: BaseException | None = None
        self._callbacks: list[Callable[[Future], Any]] = []

    def done(self) -> bool:
        return self._is_done

    def cancelled(self) -> bool:
        return self._is_cancelled

    def result(self) -> Any:
        """The result, None as long as there is none, or the exception raised."""
        if self._exception:
            raise self._exception
        return self._result

    def exception(self) -> BaseException | None:
        return self._exception

    def cancel(self) -> None:
        """Wait no longer."""
        self._end(_is_cancelled=True)

    def set_result(self, result: Any) -> None:
        self._end(_is_done=True, _result=result)

    def set_exception(self, exception: BaseException) -> None:
        self._end(_is_done=True, _exception=exception)

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Call it with this future when it ends, at once if it has."""
        with self._lock:
            if not (self._is_done or self._is_cancelled):
                self._callbacks.append(callback)
                return
        callback(self)

    def _end(self, **state: Any) -> None:
        with self._lock:
            if self._is_done or self._is_cancelled:
                return
            vars(self).update(state)
        for callback in self._callbacks:
            self._call(callback)
        self._callbacks.clear()

    def _call(self, callback: Callable[[Future], Any]) -> None:
        try:
            callback(self)
        except Exception:
            traceback.print_exc()
