"""FrameIntake: a camera's images, from whichever threads, become frames that somebody can wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sam_perception.frame_matching import LATE_COLORS, FrameMatcher
from sam_perception.frames import NANOSECONDS, RgbdFrame


class FrameIntake:
    """Pairs colour with depth, hands every frame on, and knows which stamp came last.

    A frame whose depth comes late is handed on a second time, with it.

    Args:
        take: gets every frame, with its depth where that came.
        refuse: gets a sentence for each depth image that does not fit.
        depth_slop_s: how far the stamps of colour and depth may differ, seconds.
    """

    def __init__(
        self, take: Callable[[RgbdFrame], object], refuse: Callable[[str], object], depth_slop_s: float = 0.0
    ) -> None:
        self._take = take
        self._news = threading.Condition()
        self._matcher = FrameMatcher(_nanoseconds(depth_slop_s), late_colors=LATE_COLORS, refuse=refuse)
        self._newest_color_ns: int | None = None
        self._newest_taken_ns: int | None = None

    def set_depth_slop(self, seconds: float) -> None:
        """How far the stamps of colour and depth may differ from now on."""
        with self._news:
            self._matcher.depth_slop_ns = _nanoseconds(seconds)

    def add_color(self, stamp_ns: int, frame_id: str, color: NDArray[np.uint8]) -> None:
        """Take an (H, W, 3) RGB image.

        Raises:
            InvalidInputError: an image that is none.
        """
        with self._news:
            frames = self._matcher.add_color(stamp_ns, frame_id, color)
            self._newest_color_ns = stamp_ns
            self._hand_on(frames)

    def add_depth(self, stamp_ns: int, frame_id: str, depth: NDArray[np.generic]) -> None:
        """Take an (H, W) depth image, uint16 millimetres or floating point metres."""
        with self._news:
            self._hand_on(self._matcher.add_depth(stamp_ns, frame_id, depth))

    def wait_for(self, stamp_ns: int | None, timeout_s: float) -> None:
        """Return as soon as a frame of this stamp, or of a later one, was handed on, or the time is up; None: any.

        An image reaches those who listen to it at different moments: who asks about it at once may be faster than it
        is here. When the time is up, an image of this stamp that still waits for its depth is handed on without.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._has_come(stamp_ns), timeout_s):
                self._release(stamp_ns)

    def clear(self) -> None:
        """Forget every image."""
        with self._news:
            self._matcher.clear()
            self._newest_color_ns = self._newest_taken_ns = None

    def _has_come(self, stamp_ns: int | None) -> bool:
        newest_ns = self._newest_taken_ns
        return newest_ns is not None and (stamp_ns is None or stamp_ns <= newest_ns)

    def _release(self, stamp_ns: int | None) -> None:
        if self._newest_color_ns == stamp_ns:
            self._hand_on(self._matcher.release())

    def _hand_on(self, frames: list[RgbdFrame]) -> None:
        for frame in frames:
            self._take(frame)
            if frame.depth is None or frame.stamp_ns == self._newest_color_ns:  # not one whose depth came late
                self._newest_taken_ns = frame.stamp_ns
            self._news.notify_all()


def _nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
