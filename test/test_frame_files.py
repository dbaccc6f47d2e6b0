"""Colour, depth and camera files become frames; whatever is wrong with one is a single error that names the file."""

import io
import json
import re

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import read_camera, read_color, read_depth, read_frame, read_label_image, read_sample

HEIGHT, WIDTH = 24, 32
CAMERA = {"width": WIDTH, "height": HEIGHT, "fx": 615.17, "fy": 615.42, "cx": 15.5, "cy": 11.5}

# What `ros2 topic echo --once /camera/camera/color/camera_info` prints.
CAMERA_INFO_YAML = """\
header:
  stamp:
    sec: 1714652389
    nanosec: 501234567
  frame_id: camera_color_optical_frame
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.14625
- -0.4617
- 0.0003
- 1.0e-05
- 0.418
k:
- 615.17
- 0.0
- 323.46
- 0.0
- 615.42
- 244.71
- 0.0
- 0.0
- 1.0
r:
- 1.0
- 0.0
- 0.0
- 0.0
- 1.0
- 0.0
- 0.0
- 0.0
- 1.0
p:
- 611.0
- 0.0
- 320.0
- 0.0
- 0.0
- 611.0
- 240.0
- 0.0
- 0.0
- 0.0
- 1.0
- 0.0
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
---
"""

# What camera_calibration's cameracalibrator saves.
OST_YAML = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [431.62618,   0.     , 323.27749,
           0.     , 430.93437, 240.81151,
           0.     ,   0.     ,   1.     ]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.368584, 0.145041, -0.000462, 0.000851, 0.000000]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0.,
         0., 1., 0.,
         0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [338.88644,   0.     , 325.24847,   0.     ,
           0.     , 384.79852, 240.69524,   0.     ,
           0.     ,   0.     ,   1.     ,   0.     ]
"""


def refusal(path, read, *arguments) -> str:
    """The message with which a file is refused; one line that starts with the file's name."""
    with pytest.raises(InvalidInputError) as caught:
        read(*arguments or [path])
    message = str(caught.value)
    assert message.startswith(f"{path}: "), message
    assert "\n" not in message
    return message[len(str(path)) + 2 :]


@pytest.fixture
def color() -> np.ndarray:
    """(H, W, 3) RGB; the left half is pure red, the right a smooth blue-green."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2] = (255, 0, 0)
    image[:, WIDTH // 2 :] = (0, 60, 200)
    return image


@pytest.fixture
def depth_mm() -> np.ndarray:
    """(H, W) uint16 with holes and with values beyond 32767."""
    depth = np.random.default_rng(0).integers(400, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    depth[::5] = 0
    return depth


@pytest.fixture
def color_file(tmp_path, color):
    cv2.imwrite(str(tmp_path / "color.png"), color[..., ::-1])
    return tmp_path / "color.png"


def camera_file(folder, content, name="camera.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


class TestColor:
    @pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "jpg", "webp"])
    def test_written_by_opencv_is_read_as_rgb(self, tmp_path, color, suffix):
        path = tmp_path / f"color.{suffix}"
        cv2.imwrite(str(path), color[..., ::-1])
        image = read_color(path)
        assert image.dtype == np.uint8 and image.shape == color.shape
        away_from_the_edge = np.r_[0 : WIDTH // 2 - 8, WIDTH // 2 + 8 : WIDTH]
        difference = np.abs(image.astype(int) - color)[:, away_from_the_edge]
        assert difference.max() <= (0 if suffix in ("png", "tiff", "bmp") else 6)

    def test_takes_a_path_as_text(self, color_file, color):
        assert np.array_equal(read_color(str(color_file)), color)

    def test_alpha_is_dropped_and_not_blended(self, tmp_path, color):
        alpha = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
        Image.fromarray(np.concatenate([color, alpha], axis=2)).save(tmp_path / "rgba.png")
        assert np.array_equal(read_color(tmp_path / "rgba.png"), color)

    def test_grey_is_repeated(self, tmp_path, color):
        Image.fromarray(color[..., 2]).save(tmp_path / "grey.png")
        assert np.array_equal(read_color(tmp_path / "grey.png"), np.repeat(color[..., 2:], 3, axis=2))

    def test_a_palette_is_looked_up(self, tmp_path, color):
        Image.fromarray(color).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
        assert np.array_equal(read_color(tmp_path / "palette.png"), color)

    def test_refuses_a_depth_image(self, tmp_path, depth_mm):
        cv2.imwrite(str(tmp_path / "depth.png"), depth_mm)
        assert "expected an 8-bit colour image, got a I;16 image" in refusal(tmp_path / "depth.png", read_color)


class TestDepth:
    @pytest.mark.parametrize("suffix", ["png", "tiff"])
    def test_16_bit_is_units(self, tmp_path, depth_mm, suffix):
        path = tmp_path / f"depth.{suffix}"
        cv2.imwrite(str(path), depth_mm)
        depth = read_depth(path)
        assert depth.dtype == np.uint16 and np.array_equal(depth, depth_mm)

    def test_big_endian_tiff_is_read_in_native_order(self, tmp_path, depth_mm):
        path = tmp_path / "depth.tiff"
        path.write_bytes(big_endian_tiff(depth_mm))
        depth = read_depth(path)
        assert depth.dtype == np.dtype("=u2") and np.array_equal(depth, depth_mm)

    @pytest.mark.parametrize("suffix", ["tiff", "npy"])
    def test_floats_are_metres(self, tmp_path, color_file, suffix):
        metres = np.linspace(0.3, 2.0, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
        metres[0, :5] = np.nan
        path = tmp_path / f"depth.{suffix}"
        if suffix == "npy":
            np.save(path, metres)
        else:
            cv2.imwrite(str(path), metres)
        frame = read_frame(color_file, path)
        assert np.array_equal(frame.depth_m, np.nan_to_num(metres))

    @pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", ">f4", "<f8", "<f2"])
    def test_npy_of_any_byte_order_and_width(self, tmp_path, dtype):
        expected = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 2048
        np.save(tmp_path / "depth.npy", expected.astype(dtype))
        depth = read_depth(tmp_path / "depth.npy")
        assert depth.dtype.isnative and depth.dtype.kind == dtype[1]
        assert np.array_equal(depth, expected)

    def test_8_bits_are_refused(self, tmp_path, depth_mm):
        cv2.imwrite(str(tmp_path / "depth.png"), (depth_mm // 256).astype(np.uint8))
        message = refusal(tmp_path / "depth.png", read_depth)
        assert message == "expected a 16-bit one-band depth image in millimetres, or float metres, got 8 bits in 1 band"

    def test_three_bands_are_refused(self, tmp_path, color):
        cv2.imwrite(str(tmp_path / "depth.png"), color)
        assert "got 8 bits in 3 bands" in refusal(tmp_path / "depth.png", read_depth)

    def test_32_bit_integers_are_taken_while_they_fit_16(self, tmp_path, depth_mm):
        Image.fromarray(depth_mm.astype(np.int32)).save(tmp_path / "fits.tiff")
        assert np.array_equal(read_depth(tmp_path / "fits.tiff"), depth_mm)
        assert read_depth(tmp_path / "fits.tiff").dtype == np.uint16
        Image.fromarray(np.array([[-1, 70000]], np.int32)).save(tmp_path / "beyond.tiff")
        assert "expected depth of 16 bits, got values -1..70000" in refusal(tmp_path / "beyond.tiff", read_depth)

    @pytest.mark.parametrize(
        ("array", "complaint"),
        [
            (np.zeros((HEIGHT, WIDTH, 1), np.uint16), "shape (H, W), got (24, 32, 1)"),
            (np.zeros((HEIGHT, WIDTH), np.int64), "uint16 or floating point depth, got int64"),
            (np.zeros((HEIGHT, WIDTH), np.uint8), "uint16 or floating point depth, got uint8"),
            (np.zeros((HEIGHT, WIDTH), complex), "uint16 or floating point depth, got complex128"),
            (np.full((HEIGHT, WIDTH), None), "a .npy file with depth, got Object arrays cannot be loaded"),
        ],
    )
    def test_npy_of_another_kind_is_refused(self, tmp_path, array, complaint):
        np.save(tmp_path / "depth.npy", array)
        assert f"expected {complaint}" in refusal(tmp_path / "depth.npy", read_depth)

    def test_npz_called_npy_is_refused(self, tmp_path):
        with (tmp_path / "depth.npy").open("wb") as file:
            np.savez(file, depth=np.zeros((HEIGHT, WIDTH)))
        assert "expected a .npy file with depth" in refusal(tmp_path / "depth.npy", read_depth)


class TestLabelImage:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_gives_the_ids(self, tmp_path, dtype):
        labels = np.arange(HEIGHT * WIDTH, dtype=dtype).reshape(HEIGHT, WIDTH)
        cv2.imwrite(str(tmp_path / "labels.png"), labels)
        assert np.array_equal(read_label_image(tmp_path / "labels.png"), labels)

    def test_refuses_colour(self, color_file):
        assert "expected a one-band image of object ids, got a RGB image" in refusal(color_file, read_label_image)


class TestCamera:
    def test_own_form(self, tmp_path):
        content = CAMERA | {"distortion_model": "rational_polynomial", "distortion": [0.1] * 8}
        for path in (
            camera_file(tmp_path, content),
            camera_file(tmp_path, yaml.safe_dump(content), "camera.yaml"),
        ):
            camera = read_camera(path)
            assert (camera.width, camera.height) == (WIDTH, HEIGHT)
            assert (camera.fx, camera.fy, camera.cx, camera.cy) == (615.17, 615.42, 15.5, 11.5)
            assert camera.distortion_model == "rational_polynomial" and camera.distortion == (0.1,) * 8

    def test_what_ros2_topic_echo_prints(self, tmp_path):
        camera = read_camera(camera_file(tmp_path, CAMERA_INFO_YAML, "info.yaml"))
        assert (camera.width, camera.height) == (640, 480)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (615.17, 615.42, 323.46, 244.71)
        assert camera.distortion_model == "plumb_bob"
        assert camera.distortion == (0.14625, -0.4617, 0.0003, 1e-05, 0.418)

    def test_camera_info_as_json_with_the_old_upper_case_names(self, tmp_path):
        content = {"width": 640, "height": 480, "K": [600, 0, 320, 0, 601, 240, 0, 0, 1], "D": [0.1, 0, 0, 0, 0]}
        camera = read_camera(camera_file(tmp_path, content))
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (600, 601, 320, 240)
        assert camera.distortion_model == "plumb_bob" and camera.distortion[0] == 0.1

    def test_file_of_camera_calibration(self, tmp_path):
        camera = read_camera(camera_file(tmp_path, OST_YAML, "ost.yaml"))
        assert (camera.width, camera.height) == (640, 480)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (431.62618, 430.93437, 323.27749, 240.81151)
        assert camera.distortion == (-0.368584, 0.145041, -0.000462, 0.000851, 0.0)

    def test_numbers_that_yaml_takes_for_text(self, tmp_path):
        """YAML 1.1 reads 1e-05 as a string; Python and C++ print such numbers."""
        text = CAMERA_INFO_YAML.replace("1.0e-05", "1e-05")
        assert yaml.safe_load(text.replace("---", ""))["d"][3] == "1e-05"
        assert read_camera(camera_file(tmp_path, text, "info.yaml")).distortion[3] == 1e-05

    def test_without_distortion_is_a_pinhole(self, tmp_path):
        assert read_camera(camera_file(tmp_path, CAMERA)).distortion_model == "none"

    def test_realsense_names_of_the_models(self, tmp_path):
        for name, expected in (("brown_conrady", "plumb_bob"), ("INVERSE_BROWN_CONRADY", "inverse_brown_conrady")):
            path = camera_file(tmp_path, CAMERA | {"distortion_model": name, "distortion": [0.1] * 5})
            assert read_camera(path).distortion_model == expected

    @pytest.mark.parametrize("missing", sorted(CAMERA))
    def test_a_missing_field_is_named(self, tmp_path, missing):
        path = camera_file(tmp_path, {name: value for name, value in CAMERA.items() if name != missing})
        expected = (
            "intrinsics: expected fx fy cx cy, k, or camera_matrix" if missing == "fx" else f"{missing}: expected"
        )
        assert refusal(path, read_camera).startswith(expected)

    @pytest.mark.parametrize(
        ("changed", "complaint"),
        [
            ({"fx": None}, "fx: expected a number, got None"),
            ({"fx": "wide"}, "fx: expected a number, got 'wide'"),
            ({"fx": [615.17]}, "fx: expected a number, got [615.17]"),
            ({"fx": float("nan")}, "fx: expected a finite number, got nan"),
            ({"fy": 10**400}, "fy: expected a number, got 1000"),
            ({"fy": -1}, "fy: expected more than 0, got -1.0"),
            ({"width": "32"}, "width: expected a positive integer, got '32'"),
            ({"height": 24.5}, "height: expected a positive integer, got 24.5"),
            ({"height": None}, "height: expected a positive integer, got None"),
            ({"distortion": None}, "distortion: expected a list of numbers, got None"),
            ({"distortion": "00000"}, "distortion: expected a list of numbers, got '00000'"),
            ({"distortion": ["k1", "k2", "p1", "p2"]}, "distortion: expected a list of numbers, got ['k1'"),
            ({"distortion": [10**400]}, "distortion: expected a list of numbers, got [1000"),
            ({"distortion": {"k1": 0.1}}, "distortion: expected a list of numbers, got {'k1': 0.1}"),
            ({"distortion": [0.1, 0.2]}, "distortion: expected 4 or 5 coefficients for plumb_bob, got 2"),
            ({"distortion_model": "equidistant", "distortion": [0.1] * 4}, "distortion_model: expected one of none"),
            ({"distortion_model": ["plumb_bob"]}, "distortion_model: expected one of none"),
            ({"depth_scale_m": None}, "depth_scale_m: expected a list of numbers, got [None]"),
            ({"depth_scale_m": 0}, "depth_scale_m: expected metres per unit, more than 0, got 0.0"),
            ({"depth_scale_m": float("nan")}, "depth_scale_m: expected metres per unit, more than 0, got nan"),
        ],
    )
    def test_a_wrong_value_is_named(self, tmp_path, changed, complaint):
        assert complaint in refusal(camera_file(tmp_path, CAMERA | changed), read_camera)

    @pytest.mark.parametrize(
        ("changed", "complaint"),
        [
            ({"k": [600, 0, 320]}, "k: expected the 9 values of the camera matrix, got 3"),
            ({"k": "600 0 320 0 600 240 0 0 1"}, "k: expected a list of numbers"),
            ({"k": [[600, 0, 320], [0, 600, 240], [0, 0, 1]]}, "k: expected a list of numbers"),
            ({"k": None}, "k: expected a list of numbers, got None"),
            ({"k": {"rows": 3, "cols": 3}}, "k: expected the 9 values of the camera matrix, got 0"),
            ({"d": {"rows": 1, "cols": 5}}, "distortion_coefficients.data: expected a value, got nothing"),
            ({"d": 0.1}, "distortion: expected a list of numbers, got 0.1"),
            ({"k": [0] * 9}, "fx: expected more than 0, got 0.0"),
        ],
    )
    def test_a_wrong_value_of_camera_info_is_named(self, tmp_path, changed, complaint):
        content = {"width": 640, "height": 480, "k": [600, 0, 320, 0, 600, 240, 0, 0, 1], "d": [0.0] * 5} | changed
        assert complaint in refusal(camera_file(tmp_path, content), read_camera)

    @pytest.mark.parametrize(
        ("name", "text", "complaint"),
        [
            ("a.json", "", "expected JSON (.json) or YAML"),
            ("a.json", '{"width": 640, ', "expected JSON (.json) or YAML"),
            ("a.json", "[1, 2]", "expected a mapping with the camera's intrinsics, got list"),
            ("a.json", "null", "expected a mapping with the camera's intrinsics, got NoneType"),
            ("a.json", "[" * 100_000, "expected JSON (.json) or YAML"),
            ("a.json", "{}", "intrinsics: expected fx fy cx cy, k, or camera_matrix, got only nothing"),
            ("a.yaml", "", "expected a mapping with the camera's intrinsics, got NoneType"),
            ("a.yaml", "just words", "expected a mapping with the camera's intrinsics, got str"),
            ("a.yaml", "fx: [1, 2\nfy: }", "expected JSON (.json) or YAML"),
            ("a.yaml", "fx: !!bool perhaps", "expected JSON (.json) or YAML"),
            ("a.yaml", "fx: 2026-99-99", "expected JSON (.json) or YAML"),
            ("a.yaml", "? {a: b}\n: c", "expected JSON (.json) or YAML"),
            ("a.yaml", "fx: !!python/object/apply:os.getcwd []", "expected JSON (.json) or YAML"),
            ("a.yaml", "[" * 1000, "expected JSON (.json) or YAML"),
            ("a.yaml", "\x00\x01", "expected JSON (.json) or YAML"),
        ],
        ids=range(15),
    )
    def test_what_is_no_camera_file_is_refused(self, tmp_path, name, text, complaint):
        assert complaint in refusal(camera_file(tmp_path, text, name), read_camera)

    def test_binary_junk_is_refused(self, tmp_path):
        for name in ("camera.json", "camera.yaml"):
            (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(300))
            assert "expected a readable camera file" in refusal(tmp_path / name, read_camera)

    @pytest.mark.parametrize("name", ["none.json", "none.yaml"])
    def test_a_missing_file_is_named(self, tmp_path, name):
        assert "No such file or directory" in refusal(tmp_path / name, read_camera)

    def test_a_folder_is_no_file(self, tmp_path):
        assert "Is a directory" in refusal(tmp_path, read_camera)


class TestFrame:
    def test_joins_colour_depth_and_camera(self, tmp_path, color_file, color, depth_mm):
        cv2.imwrite(str(tmp_path / "depth.png"), depth_mm)
        path = camera_file(tmp_path, CAMERA | {"depth_scale_m": 0.0005, "frame_id": "wrist_optical"})
        frame = read_frame(color_file, tmp_path / "depth.png", path, stamp_ns=5)
        assert np.array_equal(frame.color, color) and np.array_equal(frame.depth, depth_mm)
        assert (frame.stamp_ns, frame.frame_id, frame.intrinsics.fx) == (5, "wrist_optical", 615.17)
        assert frame.depth_m.max() == pytest.approx(depth_mm.max() * 0.0005)

    def test_the_callers_depth_scale_wins(self, tmp_path, color_file, depth_mm):
        cv2.imwrite(str(tmp_path / "depth.png"), depth_mm)
        path = camera_file(tmp_path, CAMERA | {"depth_scale_m": 0.0005})
        assert read_frame(color_file, tmp_path / "depth.png", path, depth_scale_m=0.002).depth_scale_m == 0.002
        assert read_frame(color_file, tmp_path / "depth.png").depth_scale_m == 0.001

    def test_frame_of_camera_info_is_the_one_in_its_header(self, tmp_path):
        Image.new("RGB", (640, 480)).save(tmp_path / "color.png")
        text = CAMERA_INFO_YAML.replace("camera_color_optical_frame", "wrist_optical")
        frame = read_frame(tmp_path / "color.png", camera=camera_file(tmp_path, text, "info.yaml"))
        assert frame.frame_id == "wrist_optical"
        assert read_frame(tmp_path / "color.png").frame_id == "camera_color_optical_frame"

    def test_colour_alone_is_enough(self, color_file):
        frame = read_frame(color_file)
        assert frame.depth is None and frame.intrinsics is None

    def test_depth_of_another_size_is_named(self, tmp_path, color_file, depth_mm):
        path = tmp_path / "depth.png"
        cv2.imwrite(str(path), np.ascontiguousarray(depth_mm.T))
        message = refusal(path, read_frame, color_file, path)
        assert message == "expected depth aligned to colour, 32x24, got 24x32"

    def test_camera_of_another_size_is_named(self, tmp_path, color_file):
        path = camera_file(tmp_path, OST_YAML, "ost.yaml")
        message = refusal(path, read_frame, color_file, None, path)
        assert message == "expected intrinsics of the colour image, 32x24, got 640x480"

    def test_the_sample_is_the_shipped_scene(self, sample):
        frame = read_sample()
        assert frame.size == (480, 640) and frame.depth.dtype == np.uint16
        assert frame.intrinsics.size == (480, 640) and frame.intrinsics.fx == 615.17
        orange = frame.color[sample.truth(sample.named("orange"))].mean(axis=0)
        assert orange[0] > orange[1] > orange[2], "the orange is not orange: red and blue are swapped"


class TestDamagedImages:
    @pytest.mark.parametrize("read", [read_color, read_depth, read_label_image])
    def test_a_missing_file_is_named(self, tmp_path, read):
        assert "No such file or directory" in refusal(tmp_path / "none.png", read)

    def test_a_missing_npy_is_named(self, tmp_path):
        assert "No such file or directory" in refusal(tmp_path / "none.npy", read_depth)

    @pytest.mark.parametrize("read", [read_color, read_depth, read_label_image])
    def test_a_folder_is_no_image(self, tmp_path, read):
        assert "Is a directory" in refusal(tmp_path, read)

    @pytest.mark.parametrize("read", [read_color, read_depth])
    @pytest.mark.parametrize("content", [b"", b"width: 640\n", b"\x00" * 100])
    def test_text_called_png_is_refused(self, tmp_path, read, content):
        (tmp_path / "color.png").write_bytes(content)
        message = refusal(tmp_path / "color.png", read)
        assert message == "expected an image file, got content of no known image format"

    @pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "bmp"])
    def test_a_truncated_image_is_refused(self, tmp_path, suffix):
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        path = tmp_path / f"color.{suffix}"
        content = encoded(Image.fromarray(noise), suffix)
        path.write_bytes(content[: len(content) * 2 // 3])
        assert re.match("expected (a whole image file, got a damaged one|an image file)", refusal(path, read_color))

    @pytest.mark.filterwarnings("ignore")
    def test_no_damage_raises_anything_else(self, tmp_path, color, depth_mm):
        rng = np.random.default_rng(11)
        outcomes = []
        files = originals(color, depth_mm)
        for _ in range(60):
            for name, content in files.items():
                path = tmp_path / name
                path.write_bytes(damaged(content, rng))
                readers = (read_camera,) if name.startswith("camera") else (read_color, read_depth)
                outcomes += [refused(path, read) for read in readers]
        assert 100 < sum(outcomes) < len(outcomes) - 100

    @pytest.mark.filterwarnings("ignore")
    def test_no_truncation_raises_anything_else(self, tmp_path, color, depth_mm):
        for name, content in originals(color, depth_mm).items():
            path = tmp_path / name
            read = read_camera if name.startswith("camera") else read_depth if name.startswith("depth") else read_color
            outcomes = []
            for length in np.unique(np.linspace(0, len(content), 60).astype(int)):
                path.write_bytes(content[:length])
                outcomes.append(refused(path, read))
            assert sum(outcomes) >= 20 and not outcomes[-1], name


def refused(path, read) -> bool:
    """Whether a file is refused, by an error that names it; any other error fails the test."""
    try:
        read(path)
    except InvalidInputError as error:
        return str(error).startswith(f"{path}: ") or pytest.fail(f"the file is not named: {error}")
    return False


def encoded(image: Image.Image, suffix: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, {"jpg": "jpeg"}.get(suffix, suffix), **options)
    return file.getvalue()


def originals(color: np.ndarray, depth_mm: np.ndarray) -> dict[str, bytes]:
    """Whole files of every kind that is read."""
    noisy = color ^ np.random.default_rng(1).integers(0, 32, color.shape, dtype=np.uint8)
    files = {
        f"color.{suffix}": encoded(Image.fromarray(noisy), suffix)
        for suffix in ("png", "jpg", "tiff", "bmp", "gif", "webp")
    }
    metres = depth_mm.astype(np.float32) / 1000
    npy = io.BytesIO()
    np.save(npy, metres)
    return files | {
        "depth.png": encoded(Image.fromarray(depth_mm), "png"),
        "depth.tiff": encoded(Image.fromarray(metres), "tiff"),
        "depth-packed.tiff": encoded(Image.fromarray(metres), "tiff", compression="tiff_lzw"),
        "depth.npy": npy.getvalue(),
        "camera.json": json.dumps(CAMERA | {"distortion": [0.1, 0, 0, 0, 0], "depth_scale_m": 0.001}).encode(),
        "camera.yaml": OST_YAML.encode(),
        "camera-info.yaml": CAMERA_INFO_YAML.encode(),
    }


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A part of it lost, overwritten or replaced by something of another length."""
    data = bytearray(content)
    start = int(rng.integers(len(data)))
    match rng.integers(4):
        case 0:
            return bytes(data[:start])
        case 1:  # headers are where decoders trip
            for place in rng.integers(0, min(len(data), 120), rng.integers(1, 6)):
                data[place] = rng.integers(256)
        case 2:
            for place in rng.integers(0, len(data), rng.integers(1, 20)):
                data[place] = rng.integers(256)
        case 3:
            data[start : start + rng.integers(9)] = rng.bytes(rng.integers(9))
    return bytes(data)


def big_endian_tiff(image: np.ndarray) -> bytes:
    """The smallest TIFF of the Motorola byte order, uncompressed, one strip."""
    height, width = image.shape
    pixels = image.astype(">u2").tobytes()
    # tag, value; all are shorts (type 3) or longs (type 4) with count 1
    tags = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8),
            (277, 3, 1), (278, 3, height), (279, 4, len(pixels))]  # fmt: skip
    entries = b"".join(
        tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big")
        + (value.to_bytes(4, "big") if kind == 4 else value.to_bytes(2, "big") + b"\0\0")
        for tag, kind, value in tags
    )  # fmt: skip
    directory = len(tags).to_bytes(2, "big") + entries + b"\0" * 4
    return b"MM\0*" + (8 + len(pixels)).to_bytes(4, "big") + pixels + directory
