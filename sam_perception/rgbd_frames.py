"""RgbdFrames: recent frames with depth and intrinsics, and a way to wait for the one of a stamp."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import FrameNotHeldError, InvalidInputError
from sam_perception.frame_history import FrameHistory, format_stamp
from sam_perception.frame_matching import LATE_COLORS, FrameMatcher
from sam_perception.frames import CameraIntrinsics, RgbdFrame


class RgbdFrames:
    """Takes a camera's images as they come, each from whichever thread, and gives frames that can become metres.

    Args:
        depth_slop_ns: how far the stamps of colour and depth may differ.
        history_seconds: how long a frame is held, in seconds of the frames' own stamps.
        history_bytes: memory for the frames.
        warn: called with a sentence for input that does not fit.
    """

    def __init__(
        self,
        *,
        depth_slop_ns: int = 0,
        history_seconds: float = 5.0,
        history_bytes: int = 512 << 20,
        warn: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self._warn = warn
        self._matcher = FrameMatcher(depth_slop_ns, late_colors=LATE_COLORS, refuse=warn)
        self._history = FrameHistory(history_seconds, history_bytes)
        self._intrinsics: CameraIntrinsics | None = None
        self._intrinsics_frame_id = ""
        self._news = threading.Condition()
        self._closed = False

    @property
    def newest(self) -> RgbdFrame | None:
        """The frame with the latest stamp, with depth and intrinsics; None before there is one.

        Raises:
            InvalidInputError: the intrinsics are of another camera.
        """
        with self._news:
            held = self._history.newest
            return None if held is None or self._intrinsics is None else self._complete(held.frame)

    def add_color(self, stamp_ns: int, frame_id: str, color: NDArray[np.uint8]) -> None:
        """Take an (H, W, 3) RGB image."""
        with self._news:
            self._hold(self._matcher.add_color(stamp_ns, frame_id, color))

    def add_depth(self, stamp_ns: int, frame_id: str, depth: NDArray[np.generic]) -> None:
        """Take an (H, W) depth image, uint16 millimetres or floating point metres."""
        with self._news:
            self._hold(self._matcher.add_depth(stamp_ns, frame_id, depth))
            self._news.notify_all()  # depth alone will do when its colour image is lost

    def set_intrinsics(self, frame_id: str, intrinsics: CameraIntrinsics) -> None:
        """Take the camera's intrinsics; the newest count for all frames."""
        with self._news:
            self._intrinsics, self._intrinsics_frame_id = intrinsics, frame_id
            self._news.notify_all()

    def wait_for(self, stamp_ns: int, timeout_s: float) -> RgbdFrame:
        """The frame of a stamp, with depth and intrinsics, as soon as it is there.

        When its colour image did not come in time, but its depth did, the frame is grey, and ``warn`` is told.

        Raises:
            FrameNotHeldError: it did not come in time, or ``close`` was called; the message says what is missing.
            InvalidInputError: the intrinsics are of another camera.
        """
        with self._news:
            self._news.wait_for(lambda: self._closed or self._find(stamp_ns) is not None, timeout_s)
            frame = self._find(stamp_ns)
            if frame is None and self._intrinsics is not None:
                frame = self._matcher.depth_alone(stamp_ns)
                if frame is not None:
                    self._warn(f"no image of stamp {format_stamp(stamp_ns)} has arrived: the points are grey")
            if frame is None:
                raise FrameNotHeldError(self._missing(stamp_ns))
            return self._complete(frame)

    def close(self) -> None:
        """Forget all, and end every ``wait_for``."""
        with self._news:
            self._closed = True
            self._history.clear()
            self._matcher.clear()
            self._news.notify_all()

    def _hold(self, frames: list[RgbdFrame]) -> None:
        for frame in frames:
            if frame.depth is not None:
                self._history.add(frame)
                self._news.notify_all()

    def _find(self, stamp_ns: int) -> RgbdFrame | None:
        if self._intrinsics is None:
            return None
        try:
            return self._history.find(stamp_ns).frame
        except FrameNotHeldError:
            return None

    def _complete(self, frame: RgbdFrame) -> RgbdFrame:
        intrinsics = self._intrinsics
        if intrinsics is None:
            raise FrameNotHeldError("no camera_info has arrived")
        if self._intrinsics_frame_id not in ("", frame.frame_id):
            raise InvalidInputError(
                f"camera_info is of frame {self._intrinsics_frame_id!r}, the image of {frame.frame_id!r}: give the "
                "camera_info of this image"
            )
        if intrinsics.size != frame.size:
            raise InvalidInputError(
                f"camera_info is of {intrinsics.width}x{intrinsics.height}, the image of {frame.width}x{frame.height}: "
                "give the camera_info of this image"
            )
        return dataclasses.replace(frame, intrinsics=intrinsics)

    def _missing(self, stamp_ns: int) -> str:
        missing = [] if self._intrinsics is not None else ["no camera_info has arrived"]
        try:
            self._history.find(stamp_ns)
        except FrameNotHeldError:
            missing.append(self._matcher.why_no_depth(stamp_ns))
        return f"no frame of stamp {format_stamp(stamp_ns)} can become metres: {' and '.join(missing)}"
