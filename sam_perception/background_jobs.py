"""BackgroundJobs: a thread for work that nobody waits for, with a bounded number of jobs in line."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], object]


class BackgroundJobs:
    """Runs jobs one after the other in a thread of its own; those in line come before the one that stands back.

    Args:
        failed: gets whatever a job raises; the thread goes on.
        name: of the thread.
        limit: how many jobs may wait in line.
    """

    def __init__(self, failed: Callable[[Exception], object], name: str, limit: int = 8) -> None:
        self._failed = failed
        self._limit = limit
        self._wake = threading.Condition()
        self._line: deque[Job] = deque()
        self._standing_back: Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Put a job at the end of the line; False when the line is full, and the job is not done."""
        with self._wake:
            if len(self._line) >= self._limit:
                return False
            self._line.append(job)
            self._wake.notify()
            return True

    def submit_latest(self, job: Job) -> None:
        """Do this job when nothing is in line; it replaces an earlier one of this kind that has not begun."""
        with self._wake:
            self._standing_back = job
            self._wake.notify()

    def close(self) -> None:
        """Finish the job that has begun, forget the others, and end the thread. Safe to call twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:
                self._failed(error)
            del job  # held over the wait, it would keep a frame alive

    def _next(self) -> Job | None:
        with self._wake:
            while not (self._line or self._standing_back or self._closed):
                self._wake.wait()
            if self._closed:
                return None
            if self._line:
                return self._line.popleft()
            job, self._standing_back = self._standing_back, None
            return job
