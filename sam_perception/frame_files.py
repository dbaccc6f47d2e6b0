"""Reads colour, depth and camera files into an RgbdFrame."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics, RgbdFrame

SAMPLE_DIRECTORY = Path(__file__).parent / "samples" / "tabletop"

# What camera_info calls its models, and what others call the same ones.
_MODEL_NAMES = {
    "": "none",
    "none": "none",
    "plumb_bob": "plumb_bob",
    "brown_conrady": "plumb_bob",
    "rational_polynomial": "rational_polynomial",
    "inverse_brown_conrady": "inverse_brown_conrady",
}


def read_frame(
    color: Path | str,
    depth: Path | str | None = None,
    camera: Path | str | None = None,
    depth_scale_m: float | None = None,
    stamp_ns: int = 0,
) -> RgbdFrame:
    """Read one frame.

    Args:
        color: any 8-bit image that Pillow reads.
        depth: 16-bit PNG or TIFF in units of ``depth_scale_m``; float TIFF or .npy in metres.
        camera: see ``read_camera``.
        depth_scale_m: metres per unit; None: what the camera file says, else 0.001.
        stamp_ns: the frame's stamp.

    Raises:
        InvalidInputError: a file that is missing, damaged, of another kind, or of another size than the colour image.
    """
    intrinsics, extra = (None, {}) if camera is None else _read_camera_file(Path(camera))
    scale = depth_scale_m if depth_scale_m is not None else extra.get("depth_scale_m", 0.001)
    image = read_color(color)
    depth_image = None if depth is None else read_depth(depth)
    if depth_image is not None and depth_image.shape != image.shape[:2]:
        raise InvalidInputError.for_field(
            f"{depth}", f"depth aligned to colour, {_size(image.shape)}", _size(depth_image.shape)
        )
    if intrinsics is not None and intrinsics.size != image.shape[:2]:
        raise InvalidInputError.for_field(
            f"{camera}", f"intrinsics of the colour image, {_size(image.shape)}", _size(intrinsics.size)
        )
    return RgbdFrame(
        image, depth_image, intrinsics, stamp_ns, extra.get("frame_id", "camera_color_optical_frame"), scale
    )


def read_sample() -> RgbdFrame:
    """The tabletop scene that ships with the package."""
    return read_frame(SAMPLE_DIRECTORY / "color.png", SAMPLE_DIRECTORY / "depth.png", SAMPLE_DIRECTORY / "camera.json")


def read_color(path: Path | str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of an image file; alpha is dropped, grey is repeated."""
    with _open_image(path) as image:
        if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr"):
            raise InvalidInputError.for_field(f"{path}", "an 8-bit colour image", f"a {image.mode} image")
        return np.asarray(_loaded(image, path).convert("RGB"))


def read_depth(path: Path | str) -> NDArray[np.generic]:
    """(H, W) depth image: uint16 units from a 16-bit PNG or TIFF, float32 metres from a float TIFF or .npy."""
    path = Path(path)
    if path.suffix == ".npy":
        return _read_npy(path)
    with _open_image(path) as image:
        if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            array = np.asarray(_loaded(image, path))
        else:
            bands = f"{len(image.getbands())} band{'s' * (len(image.getbands()) > 1)}"
            raise InvalidInputError.for_field(
                f"{path}", "a 16-bit one-band depth image in millimetres, or float metres", f"8 bits in {bands}"
            )
    if array.dtype == np.int32:  # Pillow's mode I: 16-bit PNGs of some writers
        if array.min() < 0 or array.max() > np.iinfo(np.uint16).max:
            raise InvalidInputError.for_field(f"{path}", "depth of 16 bits", f"values {array.min()}..{array.max()}")
        array = array.astype(np.uint16)
    return array.astype(array.dtype.newbyteorder("="))


def read_label_image(path: Path | str) -> NDArray[np.generic]:
    """(H, W) integer image of object ids, 0 for none."""
    with _open_image(path) as image:
        if image.mode not in ("L", "P", "I;16", "I"):
            raise InvalidInputError.for_field(f"{path}", "a one-band image of object ids", f"a {image.mode} image")
        return np.asarray(_loaded(image, path))


def read_camera(path: Path | str) -> CameraIntrinsics:
    """Intrinsics from a JSON or YAML file.

    Understood are this package's own form (width, height, fx, fy, cx, cy, distortion_model, distortion),
    sensor_msgs/CameraInfo as ``ros2 topic echo --once`` prints it (k, d), and the file of camera_calibration
    (camera_matrix, distortion_coefficients).

    Raises:
        InvalidInputError: the file is missing, cannot be parsed, or lacks a field; the message names it.
    """
    return _read_camera_file(Path(path))[0]


def _read_camera_file(path: Path) -> tuple[CameraIntrinsics, dict[str, Any]]:
    """The intrinsics, and depth_scale_m and frame_id where the file has them."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInputError.for_field(f"{path}", "a readable camera file", _reason(error)) from None
    try:
        content = json.loads(text) if path.suffix == ".json" else next(iter(yaml.safe_load_all(text)), None)
    except Exception as error:  # PyYAML lets through whatever its constructors raise (`!!bool x`: KeyError)
        raise InvalidInputError.for_field(
            f"{path}", "JSON (.json) or YAML", _reason(error).replace("\n", " ")
        ) from None
    if not isinstance(content, Mapping):
        raise InvalidInputError.for_field(f"{path}", "a mapping with the camera's intrinsics", type(content).__name__)
    try:
        return _intrinsics(content), _extra(content)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None


def _extra(content: Mapping[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if "depth_scale_m" in content:
        (extra["depth_scale_m"],) = _floats("depth_scale_m", [content["depth_scale_m"]])
        if not 0 < extra["depth_scale_m"] < float("inf"):
            raise InvalidInputError.for_field("depth_scale_m", "metres per unit, more than 0", extra["depth_scale_m"])
    header = content.get("header")
    frame_id = content.get("frame_id", header.get("frame_id") if isinstance(header, Mapping) else None)
    if frame_id:
        extra["frame_id"] = str(frame_id)
    return extra


def _intrinsics(content: Mapping[str, Any]) -> CameraIntrinsics:
    if "fx" in content:
        values = {name: _field(content, name) for name in ("fx", "fy", "cx", "cy")}
        coefficients = content.get("distortion", ())
    else:
        matrix = _matrix(content)
        values = {"fx": matrix[0], "fy": matrix[4], "cx": matrix[2], "cy": matrix[5]}
        coefficients = content.get("d", content.get("D", content.get("distortion_coefficients", ())))
        if isinstance(coefficients, Mapping):
            coefficients = _field(coefficients, "data", "distortion_coefficients.data")
    width = content["image_width"] if "image_width" in content else _field(content, "width")
    height = content["image_height"] if "image_height" in content else _field(content, "height")
    coefficients = _floats("distortion", coefficients)
    name = str(content.get("distortion_model", "plumb_bob" if coefficients else "none")).lower()
    model = _MODEL_NAMES.get(name, name)
    return CameraIntrinsics(width, height, **values, distortion_model=model, distortion=tuple(coefficients))


def _matrix(content: Mapping[str, Any]) -> list[float]:
    for key in ("k", "K", "camera_matrix"):
        if key in content:
            data = content[key]
            matrix = _floats(key, data.get("data", ()) if isinstance(data, Mapping) else data)
            if len(matrix) != 9:
                raise InvalidInputError.for_field(key, "the 9 values of the camera matrix", len(matrix))
            return matrix
    raise InvalidInputError.for_field(
        "intrinsics", "fx fy cx cy, k, or camera_matrix", f"only {', '.join(map(str, content)) or 'nothing'}"
    )


def _field(content: Mapping[str, Any], name: str, shown_as: str = "") -> Any:
    if name not in content:
        raise InvalidInputError.for_field(shown_as or name, "a value", "nothing: the field is missing")
    return content[name]


def _floats(name: str, values: Any) -> list[float]:
    try:
        if isinstance(values, (str, Mapping)):
            raise TypeError
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError.for_field(name, "a list of numbers", reprlib.repr(values)) from None


def _read_npy(path: Path) -> NDArray[np.generic]:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # a damaged header ends in whatever numpy's parser raises
        raise InvalidInputError.for_field(f"{path}", "a .npy file with depth", _reason(error)) from None
    if array.ndim != 2:
        raise InvalidInputError.for_field(f"{path}", "shape (H, W)", array.shape)
    if array.dtype.kind != "f" and array.dtype.newbyteorder("=") != np.uint16:
        raise InvalidInputError.for_field(f"{path}", "uint16 or floating point depth", array.dtype)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _open_image(path: Path | str) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        raise InvalidInputError.for_field(f"{path}", "an image file", "content of no known image format") from None
    except Exception as error:  # Pillow's formats differ in what damage makes them raise
        raise InvalidInputError.for_field(f"{path}", "a readable image file", _reason(error)) from None


def _loaded(image: Image.Image, path: Path | str) -> Image.Image:
    """Decode all of it now: a truncated file is found here and not in the middle of the work."""
    try:
        image.load()
    except Exception as error:
        raise InvalidInputError.for_field(
            f"{path}", "a whole image file", f"a damaged one ({_reason(error)})"
        ) from None
    return image


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
