"""SegmentationSession: prompts of people and programs on one camera's frames, from its first frame to its last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from sam_perception.background_jobs import BackgroundJobs
from sam_perception.engine import SegmentationEngine, SegmentationResult
from sam_perception.errors import FrameNotHeldError, in_one_sentence
from sam_perception.frame_intake import FrameIntake
from sam_perception.frames import RgbdFrame
from sam_perception.prompts import Prompt


class SegmentationSession:
    """Holds what belongs together while a camera is listened to: its frames, the last prompts, the clicks in line.

    Every answer on a frame of the camera goes to ``answered``, one after the other, before ``segment`` returns it.

    Args:
        engine: answers; stays open when the session is closed.
        answered: gets every answer.
        warn: gets the kind and the sentence of what went wrong without a caller who could be told.
        depth_slop_s: how far the stamps of colour and depth may differ, seconds.
        wait_s: how long a request waits for a frame of its stamp, or for the first, that is still on its way, seconds.
        continuous: ask the last prompts again on every new frame.
    """

    def __init__(
        self,
        engine: SegmentationEngine,
        answered: Callable[[SegmentationResult], object],
        warn: Callable[[str, str], object],
        *,
        depth_slop_s: float = 0.0,
        wait_s: float = 0.2,
        continuous: bool = False,
    ) -> None:
        self.wait_s = wait_s
        self.continuous = continuous
        self._engine = engine
        self._answered = answered
        self._warn = warn
        self._answering = RLock()
        self._last: tuple[list[Prompt], bool] | None = None
        self._jobs = BackgroundJobs(lambda error: warn("background", in_one_sentence(error)), "segmentation-session")
        self._intake = FrameIntake(self._take, lambda reason: warn(reason, reason), depth_slop_s)

    def add_color(self, stamp_ns: int, frame_id: str, color: NDArray[np.uint8]) -> None:
        """Take an (H, W, 3) RGB image; nothing is computed in the caller's thread."""
        self._intake.add_color(stamp_ns, frame_id, color)

    def add_depth(self, stamp_ns: int, frame_id: str, depth: NDArray[np.generic]) -> None:
        """Take an (H, W) depth image, uint16 millimetres or floating point metres."""
        self._intake.add_depth(stamp_ns, frame_id, depth)

    def set_depth_slop(self, seconds: float) -> None:
        """How far the stamps of colour and depth may differ from now on."""
        self._intake.set_depth_slop(seconds)

    def segment(self, prompts: Sequence[Prompt], stamp_ns: int | None, multimask: bool = False) -> SegmentationResult:
        """Answer prompts on the frame of a stamp, or on the newest; raises what the engine raises."""
        self._intake.wait_for(stamp_ns, self.wait_s)
        result = self._engine.segment(prompts, stamp_ns, multimask)
        with self._answering:
            self._last = list(prompts), multimask
            self._answered(result)
        return result

    def click(self, x: float, y: float, stamp_ns: int | None, *, or_newest: bool = False) -> None:
        """Answer a click in the background.

        Args:
            x: column in pixels of the full image.
            y: row in pixels of the full image.
            stamp_ns: of the frame that was clicked on; None: the newest.
            or_newest: when that frame is not held any more, answer on the newest.
        """
        if not self._jobs.submit(lambda: self._answer_click(x, y, stamp_ns, or_newest)):
            self._warn("clicks", f"the click at ({x:g}, {y:g}) is dropped: too many wait to be answered")

    def clear(self) -> int:
        """Forget the last prompts; how many objects they were."""
        with self._answering:
            last, self._last = self._last, None
        return 0 if last is None else len(last[0])

    def close(self) -> None:
        """Finish the answer that has begun, and forget frames, prompts and clicks. Safe to call twice."""
        self._jobs.close()
        self.clear()
        self._intake.clear()
        self._engine.clear()

    def _take(self, frame: RgbdFrame) -> None:
        self._engine.add_frame(frame)
        if self.continuous and self._last is not None:
            stamp_ns = frame.stamp_ns  # the job holds no frame
            self._jobs.submit_latest(lambda: self._answer_again(stamp_ns))

    def _answer_again(self, stamp_ns: int) -> None:
        last = self._last
        if last is None:
            return
        try:
            result = self._engine.segment(last[0], stamp_ns, last[1])
        except Exception as error:
            self._warn("continuous", f"the last prompts have no answer on the new frame: {in_one_sentence(error)}")
            return
        with self._answering:
            if self._last is last:  # not cleared, and no other prompts meanwhile
                self._answered(result)

    def _answer_click(self, x: float, y: float, stamp_ns: int | None, or_newest: bool) -> None:
        try:
            prompts = [Prompt(points=[[x, y]])]
            try:
                self.segment(prompts, stamp_ns)
            except FrameNotHeldError:
                if stamp_ns is None or not or_newest:
                    raise
                self.segment(prompts, None)
        except Exception as error:
            self._warn("clicks", f"the click at ({x:g}, {y:g}) has no answer: {in_one_sentence(error)}")
