"""Image messages to numpy arrays, and back."""

from __future__ import annotations

import array
import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from sam_perception.errors import InvalidInputError

# The pixel of each encoding: its type and its channels.
_PIXELS: dict[str, tuple[str, int]] = {
    "rgb8": ("u1", 3),
    "bgr8": ("u1", 3),
    "rgba8": ("u1", 4),
    "bgra8": ("u1", 4),
    "mono8": ("u1", 1),
    "8UC1": ("u1", 1),
    "mono16": ("u2", 1),
    "16UC1": ("u2", 1),
    "32FC1": ("f4", 1),
}

_TO_RGB: dict[str, Callable[[NDArray], NDArray]] = {
    "rgb8": lambda pixels: pixels,
    "bgr8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB),
    "rgba8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB),
    "bgra8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB),
    "mono8": lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB),
    "mono16": lambda pixels: cv2.cvtColor(cv2.convertScaleAbs(pixels, alpha=255 / 65535), cv2.COLOR_GRAY2RGB),
}
COLOR_ENCODINGS = tuple(_TO_RGB)
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
MASK_ENCODINGS = ("mono8", "8UC1")


def color_from_message(message: Any, field: str = "image") -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a colour or grey image; a view of the message where it is rgb8 without padding.

    Encodings other than COLOR_ENCODINGS go through cv_bridge where that can be imported.

    Raises:
        InvalidInputError: an encoding that is not understood, or a size, step and data that do not fit each other.
    """
    if message.encoding not in COLOR_ENCODINGS:
        return _color_through_cv_bridge(message, field)
    return np.asarray(_TO_RGB[message.encoding](_pixels(message, field)), dtype=np.uint8)


def depth_from_message(message: Any, field: str = "depth") -> NDArray[Any]:
    """(H, W) depth: uint16 millimetres of 16UC1 and mono16, float32 metres of 32FC1.

    Raises:
        InvalidInputError: another encoding, or a size, step and data that do not fit each other.
    """
    return _pixels_of(DEPTH_ENCODINGS, message, field)


def mask_pixels_from_message(message: Any, field: str = "mask") -> NDArray[np.bool_] | None:
    """(H, W) bool, pixels above 0; None when the message has no data.

    Raises:
        InvalidInputError: an encoding other than mono8, or a size, step and data that do not fit each other.
    """
    if len(message.data) == 0:
        return None
    return _pixels_of(MASK_ENCODINGS, message, field) > 0


def image_message(pixels: NDArray, encoding: str, header: Any) -> Any:
    """A sensor_msgs/Image of an (H, W) or (H, W, channels) array of that encoding's type."""
    height, width = pixels.shape[:2]
    contiguous = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    data = array.array("B")  # the one type that rclpy takes without looking at every byte
    data.frombytes(contiguous.reshape(-1).view(np.uint8).data)
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=len(data) // height if height else 0,
        data=data,
    )


def _pixels_of(encodings: tuple[str, ...], message: Any, field: str) -> NDArray[Any]:
    if message.encoding not in encodings:
        raise _unknown_encoding(field, encodings, message.encoding)
    return _pixels(message, field)


def _pixels(message: Any, field: str) -> NDArray[Any]:
    """(H, W) or (H, W, channels) in this machine's byte order, rows without padding; a view where that is possible."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    kind, channels = _PIXELS[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = width * channels * dtype.itemsize
    if not height or not width:
        raise InvalidInputError.for_field(f"{field}.height and width", "an image with pixels", f"{width}x{height}")
    if step < row_bytes:
        raise InvalidInputError.for_field(
            f"{field}.step", f"at least {row_bytes} bytes for {width} pixels of {message.encoding}", step
        )
    if len(message.data) < step * height:
        raise InvalidInputError.for_field(
            f"{field}.data", f"{step * height} bytes, step {step} x height {height}", len(message.data)
        )
    rows = np.frombuffer(message.data, np.uint8, count=step * height).reshape(height, step)
    pixels = rows[:, :row_bytes].view(dtype)
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.ascontiguousarray(pixels.reshape(shape), dtype=dtype.newbyteorder("="))


def _color_through_cv_bridge(message: Any, field: str) -> NDArray[np.uint8]:
    bridge = _cv_bridge()
    if bridge is None:
        raise _unknown_encoding(field, COLOR_ENCODINGS, message.encoding)
    try:
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, "rgb8"))
    except Exception as error:  # KeyError, RuntimeError and its own, by version and by what is wrong
        reason = " ".join(str(error).split())
        raise InvalidInputError(
            f"{_unknown_encoding(field, COLOR_ENCODINGS, message.encoding)}; cv_bridge says: {reason}"
        ) from None


@functools.cache
def _cv_bridge() -> Any | None:
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # its compiled half fails in many ways when it was built for another numpy or OpenCV
        return None


def _unknown_encoding(field: str, understood: tuple[str, ...], encoding: str) -> InvalidInputError:
    return InvalidInputError.for_field(f"{field}.encoding", f"one of {', '.join(understood)}", repr(encoding))
