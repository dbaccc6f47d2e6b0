"""A ring of recent frames, bounded in seconds and in bytes, looked up by stamp."""

from __future__ import annotations

import bisect
import dataclasses
import itertools

import numpy as np

from sam_perception.errors import FrameNotHeldError, InvalidInputError
from sam_perception.frames import NANOSECONDS, RgbdFrame

_AGES_SHOWN = 8
_FOREVER_S = 1e9


@dataclasses.dataclass(frozen=True, eq=False)
class HeldFrame:
    """A frame and the key under which its embedding is cached: a replaced frame gets a new key."""

    key: int | bytes
    frame: RgbdFrame


class FrameHistory:
    """Frames in the order of their stamps; not thread-safe, the engine guards it.

    Ages are differences of stamps, never of a clock, so recordings and simulated time behave as live streams do.
    The newest frame is always held, however large.

    Args:
        max_seconds: frames older than the newest by more than this are dropped.
        max_bytes: the oldest are dropped while the images hold more than this.
    """

    def __init__(self, max_seconds: float = 5.0, max_bytes: int = 512 << 20) -> None:
        if not max_seconds >= 0:
            raise InvalidInputError.for_field("history_seconds", "0 or more", max_seconds)
        if not max_bytes >= 0:
            raise InvalidInputError.for_field("history_bytes", "0 or more", max_bytes)
        self._max_age_ns = int(min(max_seconds, _FOREVER_S) * NANOSECONDS)
        self._max_bytes = max_bytes
        self._held: list[HeldFrame] = []
        self._bytes = 0
        self._keys = itertools.count(1)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, held: HeldFrame) -> bool:
        return any(other is held for other in self._held)

    @property
    def nbytes(self) -> int:
        """Memory that the held images take."""
        return self._bytes

    @property
    def newest(self) -> HeldFrame | None:
        """The frame with the latest stamp."""
        return self._held[-1] if self._held else None

    @property
    def ages_s(self) -> list[float]:
        """Age of every held frame in seconds before the newest, newest first."""
        newest = self._held[-1].frame.stamp_ns if self._held else 0
        return [(newest - held.frame.stamp_ns) / NANOSECONDS for held in reversed(self._held)]

    def add(self, frame: RgbdFrame) -> list[HeldFrame]:
        """Take a frame and return those that had to go.

        A frame with the stamp of a held one replaces it. A stamp before everything that could still be held means
        that time was set back (a recording that loops, a simulation that restarts): the history starts anew.
        """
        dropped: list[HeldFrame] = []
        if self._held and frame.stamp_ns < self._held[-1].frame.stamp_ns - self._max_age_ns:
            dropped, self._held, self._bytes = self._held, [], 0
        stamps = [held.frame.stamp_ns for held in self._held]
        place = bisect.bisect_left(stamps, frame.stamp_ns)
        if place < len(stamps) and stamps[place] == frame.stamp_ns:
            dropped.append(self._drop(place))
        self._held.insert(place, HeldFrame(next(self._keys), frame))
        self._bytes += frame.nbytes
        oldest_ns = self._held[-1].frame.stamp_ns - self._max_age_ns
        while len(self._held) > 1 and (self._held[0].frame.stamp_ns < oldest_ns or self._bytes > self._max_bytes):
            dropped.append(self._drop(0))
        return dropped

    def find(self, stamp_ns: int | None) -> HeldFrame:
        """The frame with exactly this stamp; None: the newest.

        Raises:
            FrameNotHeldError: there is none; the message lists the ages of those that are held.
            InvalidInputError: a stamp that is no integer, such as seconds.
        """
        if stamp_ns is not None and (isinstance(stamp_ns, bool) or not isinstance(stamp_ns, (int, np.integer))):
            raise InvalidInputError.for_field("stamp", "an integer of nanoseconds, or None", repr(stamp_ns))
        if not self._held:
            raise FrameNotHeldError("no frame is held yet: no image has arrived; check the camera's topic or add_frame")
        newest = self._held[-1]
        if stamp_ns is None:
            return newest
        stamps = [held.frame.stamp_ns for held in self._held]
        place = bisect.bisect_left(stamps, stamp_ns)
        if place < len(stamps) and stamps[place] == stamp_ns:
            return self._held[place]
        raise FrameNotHeldError(self._not_held(stamp_ns, newest.frame.stamp_ns))

    def clear(self) -> None:
        """Forget every frame."""
        self._held, self._bytes = [], 0

    def _drop(self, place: int) -> HeldFrame:
        held = self._held.pop(place)
        self._bytes -= held.frame.nbytes
        return held

    def _not_held(self, stamp_ns: int, newest_ns: int) -> str:
        age_s = (newest_ns - stamp_ns) / NANOSECONDS
        asked = f"{age_s:.3f} s older" if age_s >= 0 else f"{-age_s:.3f} s newer"
        ages = self.ages_s
        shown = ", ".join(f"{age:.3f}" for age in ages[:_AGES_SHOWN])
        if len(ages) > _AGES_SHOWN:
            shown += f", ... {ages[-1]:.3f}"
        return (
            f"no frame with stamp {format_stamp(stamp_ns)} is held: it would be {asked} than the newest, "
            f"{format_stamp(newest_ns)}; held are {len(ages)} frames of these ages in s: {shown}"
        )


def format_stamp(stamp_ns: int) -> str:
    """Seconds with all nine decimals, as ROS prints a time."""
    return f"{stamp_ns // NANOSECONDS}.{stamp_ns % NANOSECONDS:09d}"
