"""A child process that can be started again, whose output is read line by line, and that never outlives its parent."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

NEVER = float("inf")
LAST_LINES = 15
LONGEST_LINE = 65_536
PR_SET_PDEATHSIG = 1  # of Linux' prctl: the signal that a process gets when its parent dies

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclasses.dataclass(frozen=True)
class Command:
    """What to run, and the name under which its output appears."""

    name: str
    arguments: tuple[str, ...]


class Child:
    """One command's process, of which there may be several, one after another.

    Attributes:
        output: what to poll for reading; None when there is nothing more to read.
        started_at: when the process was started, by the monotonic clock.
        start_at: when it is to be started again; ``NEVER`` for not at all.
        deaths: in a row; the supervisor counts.
        last_lines: of the output.
    """

    def __init__(self, command: Command, on_line: Callable[[str, str], None]) -> None:
        self.name = command.name
        self.output: int | None = None
        self.started_at = self.start_at = NEVER
        self.deaths = 0
        self.last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._arguments = command.arguments
        self._on_line = on_line
        self._process: subprocess.Popen[bytes] | None = None
        self._partial = b""

    @property
    def is_running(self) -> bool:
        """Whether its process is there, as far as ``end`` has seen."""
        return self._process is not None

    def start(self) -> None:
        """Start it, in a session of its own: a terminal's Ctrl-C reaches it only through ``send``."""
        parent = os.getpid()
        self._process = subprocess.Popen(
            self._arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _die_with(parent),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        os.set_blocking(self.output, False)
        self.started_at, self.start_at = time.monotonic(), NEVER
        self.last_lines.clear()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; SIGKILL goes to what it has started, too."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def end(self) -> int | None:
        """The exit code, once, after the process has ended and all that it said has been read."""
        if self._process is None or self._process.poll() is None:
            return None
        process, self._process = self._process, None
        self.read()
        self._finish_line()
        self.output = None
        if process.stdout is not None:
            process.stdout.close()
        return process.returncode

    def kill(self) -> None:
        """End it now, if it still runs."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self.end()

    def read(self) -> None:
        """Pass on what it has said."""
        while self.output is not None:
            try:
                data = os.read(self.output, LONGEST_LINE)
            except BlockingIOError:
                return
            if not data:
                self.output = None
            self._partial += data
            *lines, self._partial = self._partial.split(b"\n")
            for line in lines:
                self._pass_on(line)
            if len(self._partial) > LONGEST_LINE:
                self._finish_line()

    def _finish_line(self) -> None:
        if self._partial:
            self._pass_on(self._partial)
        self._partial = b""

    def _pass_on(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]  # of a progress bar, what it ends with
        self.last_lines.append(text)
        self._on_line(self.name, text)


def _die_with(parent: int) -> None:
    """In the child, before it becomes the command: whatever ends the parent ends this."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
