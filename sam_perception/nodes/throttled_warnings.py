"""Warnings of a node, each kind at most once in a while."""

from __future__ import annotations

import threading
import time
from typing import Any

PERIOD_S = 5.0


class ThrottledWarnings:
    """Logs the first warning of a kind, then at most one each period; a kind never holds another one back.

    Args:
        logger: of the node.
        period_s: see above.
    """

    def __init__(self, logger: Any, period_s: float = PERIOD_S) -> None:
        self._logger = logger
        self._period_s = period_s
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def warn(self, kind: str, text: str) -> None:
        """Log a sentence, unless one of its kind was logged just now."""
        now = time.monotonic()
        with self._lock:
            self._last = {known: at for known, at in self._last.items() if now - at < self._period_s}
            if kind in self._last:
                return
            self._last[kind] = now
        self._logger.warning(text)
