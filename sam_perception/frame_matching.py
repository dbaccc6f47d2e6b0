"""FrameMatcher: pairs the colour and depth images of a camera by their stamps."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frame_history import format_stamp
from sam_perception.frames import RgbdFrame

# Depth counts as arriving until so many colour images in a row came without any.
COLORS_BEFORE_DEPTH_IS_GONE = 5
DEPTHS_HELD = 8
# So many images that went out without depth can get it when it comes late: half a second at 60 Hz.
LATE_COLORS = 30
_GREY = 128


@dataclasses.dataclass(frozen=True, eq=False)
class _Image:
    stamp_ns: int
    frame_id: str
    pixels: NDArray

    @property
    def size(self) -> str:
        return f"{self.pixels.shape[1]}x{self.pixels.shape[0]}"


class FrameMatcher:
    """Turns two streams of images into frames; holds a bounded number of images; not thread-safe.

    A colour image goes out as a frame at once when no depth has been arriving, or when its depth is there already.
    Otherwise it waits for its depth, until the next colour image comes. Depth that lies in another frame than the
    colour image, or has another size, is left out, and ``refuse`` is called with a sentence that names both.

    Args:
        depth_slop_ns: how far the stamps of colour and depth may differ.
        late_colors: how many colour images that went out without depth are kept for depth that comes late; such a
            frame goes out a second time, now with depth.
        refuse: called with the reason for each depth image that does not fit the colour image.
    """

    def __init__(
        self, depth_slop_ns: int = 0, *, late_colors: int = 0, refuse: Callable[[str], object] = lambda reason: None
    ) -> None:
        for name, value in (("depth_slop_ns", depth_slop_ns), ("late_colors", late_colors)):
            if value < 0:
                raise InvalidInputError.for_field(name, "0 or more", value)
        self.depth_slop_ns = depth_slop_ns
        self._refuse = refuse
        self._waiting: _Image | None = None
        self._late: deque[_Image] = deque(maxlen=late_colors)
        self._depths: deque[_Image] = deque(maxlen=max(DEPTHS_HELD, late_colors))
        self._newest_color: _Image | None = None
        self._newest_depth_ns: int | None = None
        self._colors_without_depth = COLORS_BEFORE_DEPTH_IS_GONE

    @property
    def expects_depth(self) -> bool:
        """Whether depth has been arriving."""
        return self._colors_without_depth < COLORS_BEFORE_DEPTH_IS_GONE

    def add_color(self, stamp_ns: int, frame_id: str, color: NDArray[np.uint8]) -> list[RgbdFrame]:
        """Take an (H, W, 3) RGB image; the frames that go out now, oldest first.

        Raises:
            InvalidInputError: an image that is none, or a stamp below 0.
        """
        RgbdFrame(color, stamp_ns=stamp_ns, frame_id=frame_id)  # its checks, before anything is kept
        image = self._newest_color = _Image(stamp_ns, frame_id, color)
        frames = self.release()
        depth = self._take(self._depths, stamp_ns)
        if depth is not None and self._fits(image, depth):
            return [*frames, _frame(image, depth)]
        self._colors_without_depth += 1
        self._waiting = image
        return frames if self.expects_depth else [*frames, *self.release()]

    def add_depth(self, stamp_ns: int, frame_id: str, depth: NDArray[np.generic]) -> list[RgbdFrame]:
        """Take an (H, W) depth image, uint16 millimetres or floating point metres; the frame that it completes."""
        image = _Image(stamp_ns, frame_id, depth)
        if self._newest_color is not None and not self._fits(self._newest_color, image):
            return []
        self._colors_without_depth = 0
        self._newest_depth_ns = stamp_ns
        waiting = [] if self._waiting is None else [self._waiting]
        color = self._take(waiting, stamp_ns)
        if color is not None:
            self._waiting = None
        else:
            color = self._take(self._late, stamp_ns)
        if color is None or not self._fits(color, image):
            self._depths.append(image)
            return []
        return [_frame(color, image)]

    def release(self) -> list[RgbdFrame]:
        """Let the colour image that waits for its depth go out without it."""
        color, self._waiting = self._waiting, None
        if color is None:
            return []
        self._late.append(color)
        return [_frame(color)]

    def depth_alone(self, stamp_ns: int) -> RgbdFrame | None:
        """A frame of held depth whose colour image did not come, grey all over; None where there is no such depth."""
        depth = _nearest(self._depths, stamp_ns, self.depth_slop_ns)
        if depth is None:
            return None
        return _frame(_Image(stamp_ns, depth.frame_id, np.full((*depth.pixels.shape, 3), _GREY, np.uint8)), depth)

    def why_no_depth(self, stamp_ns: int) -> str:
        """Why there is no depth for a stamp: none ever came, or which came last."""
        if self._newest_depth_ns is None:
            return "no depth that fits the image has arrived"
        difference_s = (self._newest_depth_ns - stamp_ns) / 1e9
        when = f"{abs(difference_s):.3f} s {'later' if difference_s > 0 else 'earlier'}"
        return f"no depth of this stamp is held; the newest is of {format_stamp(self._newest_depth_ns)}, {when}"

    def clear(self) -> None:
        """Forget every image."""
        self._waiting = self._newest_color = self._newest_depth_ns = None
        self._late.clear()
        self._depths.clear()
        self._colors_without_depth = COLORS_BEFORE_DEPTH_IS_GONE

    def _take(self, images: deque[_Image] | list[_Image], stamp_ns: int) -> _Image | None:
        image = _nearest(images, stamp_ns, self.depth_slop_ns)
        if image is not None:
            images.remove(image)
        return image

    def _fits(self, color: _Image, depth: _Image) -> bool:
        if depth.frame_id != color.frame_id:
            self._refuse(
                f"depth in frame {depth.frame_id!r} is left out: the image is in frame {color.frame_id!r}; give depth "
                "aligned to colour (realsense-ros: align_depth.enable:=true, aligned_depth_to_color/image_raw)"
            )
        elif depth.pixels.shape != color.pixels.shape[:2]:
            self._refuse(
                f"depth of {depth.size} is left out: the image has {color.size}; give depth aligned to colour, so that "
                "both have one size"
            )
        else:
            return True
        return False


def _nearest(images: Iterable[_Image], stamp_ns: int, slop_ns: int) -> _Image | None:
    near = [image for image in images if abs(image.stamp_ns - stamp_ns) <= slop_ns]
    return min(near, key=lambda image: abs(image.stamp_ns - stamp_ns), default=None)


def _frame(color: _Image, depth: _Image | None = None) -> RgbdFrame:
    pixels = None if depth is None else depth.pixels
    return RgbdFrame(color.pixels, pixels, stamp_ns=color.stamp_ns, frame_id=color.frame_id)
