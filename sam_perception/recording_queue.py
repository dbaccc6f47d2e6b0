"""RecordingQueue: messages on their way into a file, written by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

from sam_perception.recording_files import RecordingFile, Topic

FLUSH_S = 1.0
"""What SIGKILL can take: the messages of so long."""


class RecordingQueue:
    """Takes messages at once, however slow the disk is; what does not fit into its memory is dropped, and counted.

    Args:
        file: to write into; closed by whoever made it.
        max_bytes: of the messages that wait.

    Attributes:
        dropped: how many messages of each topic.
        failure: why nothing more is written; None as long as all is well.
    """

    def __init__(self, file: RecordingFile, max_bytes: int = 256 << 20) -> None:
        self.dropped: Counter[str] = Counter()
        self.failure: Exception | None = None
        self._file = file
        self._max_bytes = max_bytes
        self._bytes = 0
        self._waiting: deque[tuple[Topic, int, bytes]] = deque()
        self._news = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="recording-queue", daemon=True)
        self._thread.start()

    def put(self, topic: Topic, at_ns: int, data: bytes) -> None:
        """Take a message in CDR that came at this time; after ``close``, nothing more."""
        with self._news:
            if self._is_closed:
                return
            if self.failure is not None or self._bytes + len(data) > self._max_bytes:
                self.dropped[topic.name] += 1
                return
            self._waiting.append((topic, at_ns, data))
            self._bytes += len(data)
            self._news.notify_all()

    def close(self) -> None:
        """Write what waits, and end; safe to call twice."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            flushed_at = time.monotonic()
            while self._wait():
                while self._waiting:
                    topic, at_ns, data = self._waiting.popleft()
                    self._file.write(topic, at_ns, data)
                    with self._news:
                        self._bytes -= len(data)
                if time.monotonic() >= flushed_at + FLUSH_S:
                    self._file.flush()
                    flushed_at = time.monotonic()
        except Exception as error:  # the disk is full, most likely: whoever records looks at `failure`
            with self._news:
                self.failure = error

    def _wait(self) -> bool:
        """Until there is something to write, or a flush is due; False: it is over."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._is_closed, FLUSH_S)
            return bool(self._waiting) or not self._is_closed
