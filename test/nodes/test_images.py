"""Image messages as cameras and drivers send them: colour orders, padding, byte orders, and what fits nothing."""

import array
import sys
import types

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_perception.errors import InvalidInputError
from sam_perception.nodes import images
from sam_perception.nodes.images import (
    color_from_message,
    depth_from_message,
    image_message,
    mask_pixels_from_message,
)

# Width 5 and height 3: no size is a multiple of another.
RGB = np.random.default_rng(3).integers(0, 256, (3, 5, 3), dtype=np.uint8)
DEPTH = np.array([[0, 1, 500, 1000, 65535]] * 3, np.uint16)


def message(pixels, encoding, pad=0, big_endian=False):
    """A message made from bytes alone, apart from the code under test."""
    rows = [row.tobytes() + b"\xa5" * pad for row in np.ascontiguousarray(pixels)]
    return Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=len(rows[0]),
        data=array.array("B", b"".join(rows)),
    )


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 77, np.uint8)])


@pytest.mark.parametrize("pad", [0, 1, 13])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [("rgb8", RGB), ("bgr8", RGB[..., ::-1]), ("rgba8", with_alpha(RGB)), ("bgra8", with_alpha(RGB[..., ::-1]))],
)
def test_every_colour_order_gives_the_same_rgb(encoding, pixels, pad):
    color = color_from_message(message(pixels, encoding, pad))
    np.testing.assert_array_equal(color, RGB)
    assert color.dtype == np.uint8


@pytest.mark.parametrize("pad", [0, 3])
def test_grey_of_8_and_16_bits_becomes_three_equal_channels(pad):
    grey = RGB[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(color_from_message(message(grey, "mono8", pad)), expected)
    wide = grey.astype("<u2") * 257
    np.testing.assert_array_equal(color_from_message(message(wide, "mono16", pad)), expected)
    np.testing.assert_array_equal(color_from_message(message(wide.astype(">u2"), "mono16", pad, True)), expected)


def test_rgb8_without_padding_is_not_copied():
    sent = message(RGB, "rgb8")
    color = color_from_message(sent)
    sent.data[0] ^= 255
    assert color[0, 0, 0] == RGB[0, 0, 0] ^ 255


@pytest.mark.parametrize("pad", [0, 2, 7])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_depth_in_millimetres_in_both_byte_orders(encoding, order, pad):
    depth = depth_from_message(message(DEPTH.astype(f"{order}u2"), encoding, pad, order == ">"))
    np.testing.assert_array_equal(depth, DEPTH)
    assert depth.dtype == np.dtype("=u2")


@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_depth_in_metres_in_both_byte_orders(order, pad):
    metres = np.array([[0.0, 0.25, np.nan, np.inf, -1.0]] * 3)
    depth = depth_from_message(message(metres.astype(f"{order}f4"), "32FC1", pad, order == ">"))
    np.testing.assert_array_equal(depth, metres.astype(np.float32))
    assert depth.dtype == np.dtype("=f4")


def test_byte_order_does_not_touch_single_bytes():
    np.testing.assert_array_equal(color_from_message(message(RGB, "rgb8", big_endian=True)), RGB)


def test_a_mask_counts_where_it_is_above_0():
    pixels = np.array([[0, 1, 128, 255]], np.uint8)
    for encoding in ("mono8", "8UC1"):
        np.testing.assert_array_equal(
            mask_pixels_from_message(message(pixels, encoding, 2)), [[False, True, True, True]]
        )
    assert mask_pixels_from_message(Image()) is None


def broken(**changes):
    sent = message(RGB, "rgb8")
    for name, value in changes.items():
        setattr(sent, name, value)
    return sent


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (broken(step=14), r"photo\.step: expected at least 15 bytes"),
        (broken(step=0), r"photo\.step"),
        (broken(data=array.array("B", bytes(44))), r"photo\.data: expected 45 bytes, step 15 x height 3, got 44"),
        (broken(data=array.array("B")), r"photo\.data"),
        (broken(height=0), r"photo\.height and width: .* got 5x0"),
        (broken(width=0), r"photo\.height and width"),
        (broken(height=4294967295, width=4294967295, step=4294967295), r"photo\.step"),
        (broken(height=4294967295), r"photo\.data"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused_by_the_name_of_the_field(sent, named):
    with pytest.raises(InvalidInputError, match=named):
        color_from_message(sent, "photo")


@pytest.mark.parametrize(
    ("read", "sent", "understood"),
    [
        (color_from_message, message(DEPTH, "16UC1"), "rgb8, bgr8, rgba8, bgra8, mono8, mono16"),
        (color_from_message, message(RGB, "sepia5"), "rgb8"),
        (color_from_message, message(RGB, ""), "rgb8"),
        (depth_from_message, message(RGB, "rgb8"), "16UC1, mono16, 32FC1"),
        (mask_pixels_from_message, message(DEPTH, "mono16"), "mono8"),
    ],
)
def test_an_encoding_that_is_not_understood_is_named_beside_those_that_are(read, sent, understood, without_cv_bridge):
    with pytest.raises(InvalidInputError, match=f"encoding: expected one of {understood}.* got '{sent.encoding}'"):
        read(sent)


@pytest.fixture
def without_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    images._cv_bridge.cache_clear()
    yield
    images._cv_bridge.cache_clear()


class Bridge:
    """As cv_bridge behaves on one of its encodings."""

    def imgmsg_to_cv2(self, sent, encoding):
        if sent.encoding != "bayer_rggb8":
            raise KeyError(16)
        pixels = np.frombuffer(sent.data, np.uint8).reshape(sent.height, sent.step)
        return cv2.cvtColor(pixels, cv2.COLOR_BayerRGGB2RGB if encoding == "rgb8" else cv2.COLOR_BayerRGGB2BGR)


def test_other_encodings_go_through_cv_bridge_where_it_imports(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=Bridge))
    images._cv_bridge.cache_clear()
    raw = np.random.default_rng(1).integers(0, 256, (8, 10), dtype=np.uint8)
    color = color_from_message(message(raw, "bayer_rggb8"))
    np.testing.assert_array_equal(color, cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB))
    with pytest.raises(InvalidInputError, match="'yuv422'; cv_bridge says: 16"):
        color_from_message(message(raw, "yuv422"))
    images._cv_bridge.cache_clear()


def test_a_cv_bridge_that_is_broken_is_as_none(monkeypatch):
    def explode():
        raise AttributeError("_ARRAY_API not found")

    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=explode))
    images._cv_bridge.cache_clear()
    with pytest.raises(InvalidInputError, match="encoding"):
        color_from_message(message(RGB, "yuv422"))
    images._cv_bridge.cache_clear()


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (RGB, "rgb8"),
        (RGB[:, ::-1], "bgr8"),
        (RGB[..., 0], "mono8"),
        (DEPTH, "16UC1"),
        (DEPTH.astype(">u2"), "mono16"),
        (DEPTH.astype(np.float32) / 1000, "32FC1"),
        (np.zeros((0, 0), np.uint8), "mono8"),
    ],
)
def test_a_message_carries_an_array_in_rows_without_padding_little_endian(pixels, encoding):
    sent = image_message(pixels, encoding, Header(frame_id="camera"))
    assert (sent.height, sent.width, sent.encoding, sent.is_bigendian) == (*pixels.shape[:2], encoding, 0)
    assert sent.header.frame_id == "camera"
    assert bytes(sent.data) == np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
    assert sent.step * sent.height == len(sent.data)
