"""FramePairing: which colour image and which depth image belong together."""

from __future__ import annotations

import dataclasses
from typing import Any

_SLACK_MS = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class TimedFrame:
    """A frame with what tells it from others.

    Attributes:
        frame: rs.frame.
        number: counts up.
        timestamp_ms: as librealsense gives it.
        domain: of the time stamp.
        arrival_ns: ROS time.
    """

    frame: Any
    number: int
    timestamp_ms: float
    domain: str
    arrival_ns: int

    def is_repeated_by(self, other: TimedFrame) -> bool:
        """Whether the other is the same frame once more."""
        mine = (self.number, self.timestamp_ms, self.domain)
        return mine == (other.number, other.timestamp_ms, other.domain)


Pair = tuple[TimedFrame | None, TimedFrame | None]


class FramePairing:
    """Pairs frames as they come; each frame leaves once, alone when it has no partner.

    librealsense's framesets repeat the last frame of a slower stream, and in recordings the two streams come one after
    the other; so framesets are taken apart here.

    Args:
        fps: of the faster stream. Frames within half its period belong together.
    """

    def __init__(self, fps: float) -> None:
        self._tolerance_ms = 500.0 / fps + _SLACK_MS
        self._seen: dict[str, TimedFrame] = {}
        self._color: TimedFrame | None = None
        self._depth: TimedFrame | None = None

    def add(self, color: TimedFrame | None, depth: TimedFrame | None) -> list[Pair]:
        """Take what arrived together; returns what is complete, and what will not be completed, in order."""
        color, depth = self._if_new("color", color), self._if_new("depth", depth)
        leaving: list[Pair] = []
        if color is not None:
            if self._color is not None:
                leaving.append((self._color, None))
            self._color = color
        if depth is not None:
            if self._depth is not None:
                leaving.append((None, self._depth))
            self._depth = depth
        if self._color is not None and self._depth is not None:
            leaving.append(self._match(self._color, self._depth))
        return leaving

    def _if_new(self, stream: str, frame: TimedFrame | None) -> TimedFrame | None:
        last = self._seen.get(stream)
        if frame is None or (last is not None and last.is_repeated_by(frame)):
            return None
        self._seen[stream] = dataclasses.replace(frame, frame=None)  # librealsense has few buffers
        return frame

    def _match(self, color: TimedFrame, depth: TimedFrame) -> Pair:
        """The two together, or else the older one alone; the other waits on."""
        late_ms = color.timestamp_ms - depth.timestamp_ms if color.domain == depth.domain else 0.0
        if abs(late_ms) <= self._tolerance_ms:
            self._color = self._depth = None
            return color, depth
        if late_ms > 0:
            self._depth = None
            return None, depth
        self._color = None
        return color, None
