"""Frames and intrinsics say at once what is wrong with their input, and turn depth into metres."""

import dataclasses

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.frames import DISTORTION_MODELS, CameraIntrinsics, RgbdFrame, depth_to_metres

D435 = {"width": 640, "height": 480, "fx": 615.17, "fy": 615.42, "cx": 323.46, "cy": 244.71}


def color_image(height: int = 4, width: int = 6) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def message_of(make) -> str:
    with pytest.raises(InvalidInputError) as caught:
        make()
    return str(caught.value)


class TestCameraIntrinsics:
    @pytest.mark.parametrize(
        ("changed", "expected", "actual"),
        [
            ({"width": 0}, "width: expected a positive integer", "got 0"),
            ({"height": -480}, "height: expected a positive integer", "got -480"),
            ({"width": 640.0}, "width: expected a positive integer", "got 640.0"),
            ({"width": True}, "width: expected a positive integer", "got True"),
            ({"height": None}, "height: expected a positive integer", "got None"),
            ({"height": "480"}, "height: expected a positive integer", "got '480'"),
            ({"fx": 0.0}, "fx: expected more than 0", "got 0.0"),
            ({"fy": -615.0}, "fy: expected more than 0", "got -615.0"),
            ({"fx": float("nan")}, "fx: expected a finite number", "got nan"),
            ({"cx": float("inf")}, "cx: expected a finite number", "got inf"),
            ({"cy": None}, "cy: expected a number", "got None"),
            ({"cy": "middle"}, "cy: expected a number", "got 'middle'"),
            ({"fx": 10**400}, "fx: expected a number", "got 1000"),
            ({"fy": [615.0]}, "fy: expected a number", "got [615.0]"),
            ({"distortion_model": "equidistant"}, "distortion_model: expected one of none, plumb_bob", "'equidistant'"),
            ({"distortion_model": ["plumb_bob"]}, "distortion_model: expected one of none", "['plumb_bob']"),
            ({"distortion_model": "none", "distortion": (0.1,)}, "distortion: expected 0 coefficients", "got 1"),
            ({"distortion_model": "plumb_bob", "distortion": (0.1,) * 3}, "4 or 5 coefficients for plumb_bob", "got 3"),
            ({"distortion_model": "plumb_bob", "distortion": (0.1,) * 8}, "4 or 5 coefficients for plumb_bob", "got 8"),
            ({"distortion_model": "rational_polynomial", "distortion": (0.1,) * 5}, "8 coefficients", "got 5"),
            ({"distortion_model": "inverse_brown_conrady", "distortion": (0.1,) * 4}, "5 coefficients", "got 4"),
            ({"distortion_model": "plumb_bob", "distortion": (0, 0, np.nan, 0)}, "distortion[2]: expected", "got nan"),
            ({"distortion_model": "plumb_bob", "distortion": (0, "a", 0, 0)}, "distortion[1]: expected", "got 'a'"),
            ({"distortion": None}, "distortion: expected a list of numbers", "got None"),
            ({"distortion": 0.1}, "distortion: expected a list of numbers", "got 0.1"),
            ({"distortion": "00000"}, "distortion: expected a list of numbers", "got '00000'"),
        ],
    )
    def test_refuses_and_names_field_expected_and_actual(self, changed, expected, actual):
        message = message_of(lambda: CameraIntrinsics(**D435 | changed))
        assert message.startswith("CameraIntrinsics.")
        assert expected in message and actual in message

    @pytest.mark.parametrize("model", sorted(set(DISTORTION_MODELS) - {"none"}))
    def test_takes_every_count_that_a_model_has(self, model):
        for count in DISTORTION_MODELS[model]:
            camera = CameraIntrinsics(**D435, distortion_model=model, distortion=np.linspace(0.1, 0.2, count))
            assert camera.distortion_model == model and len(camera.distortion) == count
            assert camera.is_distorted

    def test_zeros_are_no_distortion(self):
        camera = CameraIntrinsics(**D435, distortion_model="plumb_bob", distortion=(0.0,) * 5)
        assert not camera.is_distorted
        assert CameraIntrinsics(**D435, distortion_model="none", distortion=(0.0,) * 5).distortion == ()

    def test_empty_d_of_ros_is_an_ideal_lens(self):
        camera = CameraIntrinsics(**D435, distortion_model="plumb_bob", distortion=())
        assert camera.distortion_model == "none" and not camera.is_distorted
        assert CameraIntrinsics(**D435, distortion_model="").distortion_model == "none"

    def test_matrix_takes_a_ray_to_its_pixel(self):
        camera = CameraIntrinsics(**D435)
        x, y, z = 0.2, -0.1, 0.8
        pixel = camera.matrix() @ [x / z, y / z, 1.0]
        assert pixel == pytest.approx([615.17 * 0.25 + 323.46, 615.42 * -0.125 + 244.71, 1.0])

    def test_holds_plain_numbers_whatever_came(self):
        camera = CameraIntrinsics(np.int64(640), np.uint16(480), np.float32(600), 600, 320, 240)
        assert type(camera.width) is int and type(camera.height) is int
        assert all(type(getattr(camera, name)) is float for name in ("fx", "fy", "cx", "cy"))
        assert camera == CameraIntrinsics(640, 480, 600.0, 600.0, 320.0, 240.0)

    def test_size_is_in_the_order_of_an_arrays_shape(self):
        assert CameraIntrinsics(**D435).size == (480, 640)

    def test_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            CameraIntrinsics(**D435).fx = 1.0


class TestRgbdFrame:
    @pytest.mark.parametrize(
        ("color", "expected", "actual"),
        [
            ([[[1, 2, 3]]], "a numpy array", "list"),
            (None, "a numpy array", "NoneType"),
            (np.zeros((4, 6, 3), np.float32), "dtype uint8", "float32"),
            (np.zeros((4, 6, 3), np.uint16), "dtype uint8", "uint16"),
            (np.zeros((4, 6), np.uint8), "shape (H, W, 3), RGB", "(4, 6)"),
            (np.zeros((4, 6, 4), np.uint8), "shape (H, W, 3), RGB", "(4, 6, 4)"),
            (np.zeros((3, 4, 6), np.uint8), "shape (H, W, 3), RGB", "(3, 4, 6)"),
            (np.zeros((0, 6, 3), np.uint8), "shape (H, W, 3), RGB", "(0, 6, 3)"),
            (np.zeros((1, 4, 6, 3), np.uint8), "shape (H, W, 3), RGB", "(1, 4, 6, 3)"),
        ],
    )
    def test_refuses_colour_of_another_kind(self, color, expected, actual):
        assert message_of(lambda: RgbdFrame(color)) == f"RgbdFrame.color: expected {expected}, got {actual}"

    @pytest.mark.parametrize(
        ("depth", "expected", "actual"),
        [
            ([[500]], "a numpy array", "list"),
            (np.zeros((4, 6), np.uint8), "dtype uint16", "uint8"),
            (np.zeros((4, 6), np.int32), "dtype uint16", "int32"),
            (np.zeros((4, 6), bool), "dtype uint16", "bool"),
            (np.zeros((6, 4), np.uint16), "the colour image's shape (4, 6)", "(6, 4)"),
            (np.zeros((4, 6, 1), np.uint16), "the colour image's shape (4, 6)", "(4, 6, 1)"),
            (np.zeros((8, 12), np.float32), "the colour image's shape (4, 6)", "(8, 12)"),
        ],
    )
    def test_refuses_depth_of_another_kind(self, depth, expected, actual):
        message = message_of(lambda: RgbdFrame(color_image(), depth))
        assert message.startswith(f"RgbdFrame.depth: expected {expected}") and message.endswith(f"got {actual}")

    def test_refuses_intrinsics_of_another_size(self):
        message = message_of(lambda: RgbdFrame(color_image(), intrinsics=CameraIntrinsics(**D435)))
        assert message == "RgbdFrame.intrinsics: expected the colour image's size 6x4, got 640x480"

    def test_refuses_intrinsics_that_are_none(self):
        assert "expected CameraIntrinsics, got dict" in message_of(lambda: RgbdFrame(color_image(), intrinsics=D435))

    @pytest.mark.parametrize("stamp", [-1, 1.5, "now", None, True])
    def test_refuses_a_stamp_that_is_no_time_in_nanoseconds(self, stamp):
        message = message_of(lambda: RgbdFrame(color_image(), stamp_ns=stamp))
        assert message == f"RgbdFrame.stamp_ns: expected an integer of nanoseconds, 0 or more, got {stamp!r}"

    @pytest.mark.parametrize("scale", [0, -0.001, float("nan"), float("inf"), None])
    def test_refuses_a_depth_scale_that_is_not_positive(self, scale):
        assert "RgbdFrame.depth_scale_m: expected" in message_of(lambda: RgbdFrame(color_image(), depth_scale_m=scale))

    def test_errors_are_caught_as_the_packages_or_as_pythons(self):
        with pytest.raises(PerceptionError):
            RgbdFrame(None)
        with pytest.raises(ValueError, match=r"RgbdFrame\.color"):
            RgbdFrame(None)

    def test_sees_the_images_read_only_and_leaves_the_callers_alone(self):
        color, depth = color_image(), np.ones((4, 6), np.uint16)
        frame = RgbdFrame(color, depth)
        assert np.shares_memory(frame.color, color) and np.shares_memory(frame.depth, depth)
        for image in (frame.color, frame.depth, frame.depth_m):
            with pytest.raises(ValueError, match="read-only"):
                image[0, 0] = 0
        color[0, 0] = 0
        assert color.flags.writeable and depth.flags.writeable

    def test_nbytes_counts_colour_and_depth(self):
        assert RgbdFrame(color_image()).nbytes == 4 * 6 * 3
        assert RgbdFrame(color_image(), np.zeros((4, 6), np.uint16)).nbytes == 4 * 6 * (3 + 2)
        assert RgbdFrame(color_image(), np.zeros((4, 6), np.float64)).nbytes == 4 * 6 * (3 + 8)

    def test_size_is_height_then_width(self):
        frame = RgbdFrame(color_image(4, 6))
        assert (frame.height, frame.width, frame.size) == (4, 6, (4, 6))

    def test_depth_in_metres_uses_the_scale_for_integers_only(self):
        units = np.full((4, 6), 8000, np.uint16)
        assert RgbdFrame(color_image(), units, depth_scale_m=0.0001).depth_m[0, 0] == pytest.approx(0.8)
        metres = np.full((4, 6), 0.8, np.float32)
        assert RgbdFrame(color_image(), metres, depth_scale_m=0.0001).depth_m[0, 0] == pytest.approx(0.8)

    def test_depth_in_metres_is_computed_once(self):
        frame = RgbdFrame(color_image(), np.ones((4, 6), np.uint16))
        assert frame.depth_m is frame.depth_m

    def test_depth_in_metres_of_a_frame_without_depth_says_so(self):
        with pytest.raises(InvalidInputError, match="this frame has no depth image"):
            _ = RgbdFrame(color_image()).depth_m


class TestDepthToMetres:
    def test_uint16_is_scaled_and_zero_stays_no_data(self):
        metres = depth_to_metres(np.array([[0, 1, 803, 65535]], np.uint16))
        assert metres.dtype == np.float32
        assert metres == pytest.approx(np.array([[0.0, 0.001, 0.803, 65.535]]))
        assert metres[0, 0] == 0.0

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
    def test_floats_keep_their_values_and_lose_what_is_no_data(self, dtype):
        metres = depth_to_metres(np.array([0.75, 0.0, -0.5, np.nan, np.inf, -np.inf], dtype))
        assert metres.dtype == np.float32
        assert metres.tolist() == [0.75, 0.0, 0.0, 0.0, 0.0, 0.0]

    @pytest.mark.filterwarnings("error")
    def test_what_float32_cannot_hold_is_no_data(self):
        assert depth_to_metres(np.array([1e300, 1.0])).tolist() == [0.0, 1.0]

    def test_negative_integers_are_no_data(self):
        assert depth_to_metres(np.array([-5, 500], np.int16)) == pytest.approx([0.0, 0.5])

    def test_does_not_change_its_input(self):
        depth = np.array([np.nan, 1.0], np.float32)
        depth_to_metres(depth)
        assert np.isnan(depth[0])
