"""Several processes run as one: prefixed output, one Ctrl-C for all, a new start for one that dies."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from sam_perception.commands.child_process import NEVER, Child, Command
from sam_perception.errors import PerceptionError

OWN_NAME = "up"
EXIT_BAD_INPUT = 2  # of a child: a new start would find the same input
STAGES = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)

_ASK_FOR_THE_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NAME_COLORS = (36, 32, 35, 34)
_LEVEL_COLORS = {"[WARN]": 33, "[ERROR]": 31, "[FATAL]": 31}


@dataclasses.dataclass(frozen=True)
class Policy:
    """How patient to be.

    Attributes:
        first_pause_s: before the first new start; it doubles with each further death.
        longest_pause_s: it is never longer than this.
        attempts: deaths in a row after which everything is given up.
        steady_s: a process that has lived so long begins a new row.
        stop_s: what processes get to end after SIGINT, and after SIGTERM.
    """

    first_pause_s: float = 0.5
    longest_pause_s: float = 8.0
    attempts: int = 5
    steady_s: float = 20.0
    stop_s: tuple[float, float] = (5.0, 3.0)


class Supervisor:
    """Runs commands side by side until all have finished, one cannot live, or a signal asks for the end.

    They are ended by SIGINT, then SIGTERM, then SIGKILL, each after a while or as soon as one asks again. A command
    that exits with 0 has finished, and is not started again.
    """

    def __init__(self, commands: Sequence[Command], policy: Policy = Policy(), output: TextIO | None = None) -> None:
        self._printer = Printer(output or sys.stdout, [OWN_NAME, *(command.name for command in commands)])
        self._children = [Child(command, self._printer.print) for command in commands]
        self._policy = policy
        self._asked = False
        self._failure: str | None = None
        self._stage = -1  # of STAGES; -1: nobody has been told to end
        self._next_stage_at = NEVER

    def run(self) -> int:
        """Run until the end. To be called in the main thread, which alone receives signals.

        Returns:
            0 when all ended by themselves, or in time when asked; 1 when one had to be killed.

        Raises:
            PerceptionError: a command cannot live; the message says how it ended, with its last lines.
            BrokenPipeError: the reader of the output left, as `| head` does.
        """
        try:
            with _signals_wake(self._ask_for_the_end) as wakeup:
                for child in self._children:
                    child.start()
                while any(child.is_running or child.start_at < NEVER for child in self._children):
                    self._wait(wakeup)
                    self._look_after_children()
                    self._look_after_the_end()
        finally:
            for child in self._children:
                child.kill()
        if self._failure:
            raise PerceptionError(self._failure)
        if self._printer.is_broken:
            raise BrokenPipeError
        return 1 if self._stage == STAGES.index(signal.SIGKILL) else 0

    def _ask_for_the_end(self) -> None:
        self._asked = True

    def _wait(self, wakeup: int) -> None:
        """Until a child says something or ends, a signal comes, the reader leaves, or something is due."""
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        for child in self._children:
            if child.output is not None:
                poll.register(child.output, select.POLLIN)
        if self._printer.descriptor is not None:
            poll.register(self._printer.descriptor, 0)  # errors only: nobody reads any more
        due = min([self._next_stage_at, *(child.start_at for child in self._children)])
        timeout_ms = None if due == NEVER else max(math.ceil((due - time.monotonic()) * 1e3), 0)
        ready = [descriptor for descriptor, _ in poll.poll(timeout_ms)]
        if wakeup in ready:
            os.read(wakeup, 4096)
        if self._printer.descriptor in ready:
            self._printer.give_up()
        for child in self._children:
            if child.output in ready:
                child.read()

    def _look_after_children(self) -> None:
        for child in self._children:
            code = child.end()
            if code is not None and self._stage < 0:
                self._after_death(child, code)
            if child.start_at <= time.monotonic():
                child.start()

    def _after_death(self, child: Child, code: int) -> None:
        if code == 0:
            self._say(f"{child.name} has finished")
            return
        lived_s = time.monotonic() - child.started_at
        child.deaths = 1 if lived_s >= self._policy.steady_s else child.deaths + 1
        if code == EXIT_BAD_INPUT:
            self._failure = _last_words(child, f"{_how(code)}, and would again")
        elif child.deaths >= self._policy.attempts:
            self._failure = _last_words(child, f"has died {child.deaths} times in a row; at last it {_how(code)}")
        else:
            pause_s = min(self._policy.first_pause_s * 2 ** (child.deaths - 1), self._policy.longest_pause_s)
            child.start_at = time.monotonic() + pause_s
            self._say(f"{child.name} {_how(code)}; starting it again in {pause_s:g} s")

    def _look_after_the_end(self) -> None:
        """Begin the end, or go on to the next stage of it."""
        if self._stage < 0 and not (self._asked or self._failure or self._printer.is_broken):
            return
        if self._stage >= 0 and not (self._asked or time.monotonic() >= self._next_stage_at):
            return
        self._asked = False
        self._stage = min(self._stage + 1, len(STAGES) - 1)
        self._next_stage_at = time.monotonic() + (*self._policy.stop_s, NEVER)[self._stage]
        running = ", ".join(child.name for child in self._children if child.is_running)
        if running:
            self._say(f"still here, so {STAGES[self._stage].name}: {running}" if self._stage else f"ending {running}")
        for child in self._children:
            child.start_at = NEVER
            child.send(STAGES[self._stage])

    def _say(self, text: str) -> None:
        self._printer.print(OWN_NAME, text)


class Printer:
    """Writes lines behind the name of who said them, coloured where a person looks."""

    def __init__(self, output: TextIO, names: Sequence[str]) -> None:
        self._output = output
        self._colors = {name: _NAME_COLORS[i % len(_NAME_COLORS)] for i, name in enumerate(names)}
        self._width = max(map(len, names)) + 2
        self._has_color = output.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self.is_broken = False
        self.descriptor: int | None = None
        with contextlib.suppress(OSError):  # not every stream is a file
            self.descriptor = output.fileno()

    def print(self, name: str, text: str) -> None:
        """Write one line, unless nobody reads any more."""
        if self.is_broken:
            return
        prefix = f"[{name}]".ljust(self._width)
        level = next((color for mark, color in _LEVEL_COLORS.items() if text.startswith(mark)), None)
        if self._has_color:
            prefix = _colored(prefix, self._colors[name])
            text = _colored(text, level) if level else text
        encoding = self._output.encoding or "utf-8"
        line = f"{prefix} {text}".encode(encoding, "backslashreplace").decode(encoding)
        try:
            print(line, file=self._output, flush=True)
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Nobody reads any more."""
        self.is_broken = True
        self.descriptor = None


def _colored(text: str, color: int) -> str:
    return f"\033[{color}m{text}\033[0m"


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _last_words(child: Child, how: str) -> str:
    if not child.last_lines:
        return f"{child.name} {how}; it said nothing"
    return "\n  ".join([f"{child.name} {how}; its last lines:", *child.last_lines])


@contextlib.contextmanager
def _signals_wake(ask_for_the_end: Callable[[], None]) -> Iterator[int]:
    """A descriptor that becomes readable at every signal of interest; a hangup that was ignored stays so."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda number, frame: None)}
    for number in _ASK_FOR_THE_END:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, lambda number, frame: ask_for_the_end())
    wakeup_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
