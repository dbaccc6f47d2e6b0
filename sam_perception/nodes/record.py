"""The life of a recording, from the command line to a whole file."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from sam_perception.errors import PerceptionError, in_one_sentence
from sam_perception.message_ring import MessageRing
from sam_perception.nodes.client import Client
from sam_perception.nodes.recorder import Recorder, about
from sam_perception.recording_files import RecordingFile, refuse_to_overwrite
from sam_perception.recording_queue import RecordingQueue

_LOOK_S = 0.5
_TICK_S = 0.1


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is asked of a recording.

    Attributes:
        path: of the file; None: named by the time at which it begins.
        topics: names of further topics.
        pictures: also what the nodes draw.
        compress: with zstd.
        last_s: hold so many seconds, and write them when the recording ends or on SIGUSR1; None: write everything.
        memory_mb: for what is held or waits for the disk.
        duration_s: end after so long; None: on Ctrl-C.
    """

    path: Path | None = None
    topics: tuple[str, ...] = ()
    pictures: bool = False
    compress: bool = False
    last_s: float | None = None
    memory_mb: int = 1024
    duration_s: float | None = None


@contextmanager
def spinning_client(name: str, signals: SignalHandlerOptions) -> Iterator[Client]:
    """A hidden node that spins, from ``rclpy.init`` to shutdown.

    Raises:
        PerceptionError: the runtime cannot start: a domain that is no number, an endpoint that does not work.
    """
    try:
        rclpy.init(args=[], signal_handler_options=signals)
        client = Client(f"_sam_perception_{name}_{os.getpid()}")
    except Exception as error:
        rclpy.try_shutdown()
        raise PerceptionError(" ".join(str(error).split())) from error
    try:
        yield client
    finally:
        client.close()
        rclpy.try_shutdown()


def record(settings: Settings) -> int:
    """Record until Ctrl-C or SIGTERM, or for as long as asked.

    Raises:
        PerceptionError: the file cannot be written, or nothing came.
    """
    refuse_to_overwrite(_named(settings))
    with _Requests() as requests, spinning_client("record", SignalHandlerOptions.NO) as client:
        (_record_all if settings.last_s is None else _record_last)(settings, requests, client)
    return 0


def _record_all(settings: Settings, requests: _Requests, client: Client) -> None:
    file = RecordingFile(_named(settings), compress=settings.compress, about=about())
    queue = RecordingQueue(file, settings.memory_mb << 20)
    recorder = Recorder(client, queue.put, _say, settings.topics, settings.pictures)
    _say(f"writes {file.path}; Ctrl-C ends it")
    try:
        _run(settings, requests, recorder, lambda: queue.failure is not None)
    finally:
        queue.close()
        _close(file, queue, recorder)


def _record_last(settings: Settings, requests: _Requests, client: Client) -> None:
    assert settings.last_s is not None
    ring = MessageRing(settings.last_s, settings.memory_mb << 20)
    recorder = Recorder(client, ring.put, _say, settings.topics, settings.pictures)
    _say(f"holds the last {settings.last_s:g} s; `kill -USR1 {os.getpid()}` writes them, Ctrl-C too, and ends it")

    def save_where_asked() -> bool:
        if requests.save and recorder.topics:
            requests.save = False
            _save(ring, settings, recorder)
        return False

    _run(settings, requests, recorder, save_where_asked)
    _save(ring, settings, recorder)


def _run(settings: Settings, requests: _Requests, recorder: Recorder, ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + (settings.duration_s or float("inf"))
    look_at = 0.0
    while not (requests.end or ended() or time.monotonic() > deadline):
        if time.monotonic() >= look_at:
            recorder.look_around()
            look_at = time.monotonic() + _LOOK_S
        time.sleep(_TICK_S)


def _close(file: RecordingFile, queue: RecordingQueue, recorder: Recorder) -> None:
    if queue.failure is not None:
        raise PerceptionError(
            f"{file.path}: writing failed ({in_one_sentence(queue.failure)}); "
            f"`sam-perception record --repair {file.part}` keeps what was written"
        ) from queue.failure
    if queue.dropped:
        counts = ", ".join(f"{count} of {topic}" for topic, count in queue.dropped.most_common())
        _say(f"the disk did not keep up, and messages were dropped: {counts}")
    _finish(file, recorder)


def _save(ring: MessageRing, settings: Settings, recorder: Recorder) -> None:
    file = RecordingFile(_free(_named(settings)), compress=settings.compress, about=about())
    ring.write_to(file)
    if settings.last_s is not None and ring.is_cut_by_memory:
        _say(f"only the last {ring.held_s:.1f} s fit into {settings.memory_mb} MB (--memory)")
    _finish(file, recorder)


def _finish(file: RecordingFile, recorder: Recorder) -> None:
    if not recorder.topics:
        file.discard()
        raise PerceptionError("nothing was recorded, and no file is written: no topic that is asked for was there")
    file.close()
    _say(f"wrote {file.path}: {file.message_count} messages, {file.byte_count / 1e6:.1f} MB")


def _named(settings: Settings) -> Path:
    return settings.path or Path(time.strftime("sam_%Y-%m-%d_%H-%M-%S.mcap"))


def _free(path: Path) -> Path:
    """This path, or the first of NAME-2, NAME-3 and so on that is not taken."""
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not name.exists())


def _say(line: str) -> None:
    print(line, flush=True)


class _Requests:
    """What signals ask of this process; a second Ctrl-C asks nothing more."""

    def __init__(self) -> None:
        self.end = self.save = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _Requests:
        handlers = {signal.SIGINT: self._on_end, signal.SIGTERM: self._on_end}
        if hasattr(signal, "SIGUSR1"):
            handlers[signal.SIGUSR1] = self._on_save
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _on_end(self, *_: object) -> None:
        self.end = True

    def _on_save(self, *_: object) -> None:
        self.save = True
