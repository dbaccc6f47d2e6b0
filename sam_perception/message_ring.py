"""MessageRing: the messages of the last seconds, to be written when something has happened."""

from __future__ import annotations

import threading
from collections import deque

from sam_perception.frames import NANOSECONDS
from sam_perception.recording_files import RecordingFile, Topic

_LATCHED_KEPT = 64
_Entry = tuple[Topic, int, bytes]


class MessageRing:
    """Holds messages until they are too old or too many; of latched topics it keeps the last ones for ever.

    Args:
        seconds: how far it goes back from the newest message.
        max_bytes: of all messages; the oldest go first.

    Attributes:
        is_cut_by_memory: messages had to go that were not too old.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self._max_age_ns = int(seconds * NANOSECONDS)
        self._max_bytes = max_bytes
        self._bytes = 0
        self.is_cut_by_memory = False
        self._held: deque[_Entry] = deque()
        self._latched: dict[str, deque[_Entry]] = {}
        self._lock = threading.Lock()

    @property
    def held_s(self) -> float:
        """Seconds between the oldest and the newest message."""
        with self._lock:
            return (self._held[-1][1] - self._held[0][1]) / NANOSECONDS if self._held else 0.0

    def put(self, topic: Topic, at_ns: int, data: bytes) -> None:
        """Take a message in CDR that came at this time."""
        with self._lock:
            self._held.append((topic, at_ns, data))
            self._bytes += len(data)
            while self._held[0][1] < at_ns - self._max_age_ns:
                self._drop_oldest()
            while self._bytes > self._max_bytes and len(self._held) > 1:
                self._drop_oldest()
                self.is_cut_by_memory = True

    def write_to(self, file: RecordingFile) -> None:
        """Write what is held, the latched messages from before with the time of the oldest."""
        with self._lock:
            latched = [entry for entries in self._latched.values() for entry in entries]
            held = list(self._held)
        for topic, _, data in latched if held else ():
            file.write(topic, held[0][1], data)
        for entry in held:
            file.write(*entry)

    def _drop_oldest(self) -> None:
        entry = self._held.popleft()
        topic, _, data = entry
        self._bytes -= len(data)
        if topic.latched:
            kept = self._latched.setdefault(topic.name, deque(maxlen=_LATCHED_KEPT))
            if all(data != other[2] for other in kept):
                kept.append(entry)
