"""CameraInfo messages to CameraIntrinsics, and back."""

from __future__ import annotations

from typing import Any

from sensor_msgs.msg import CameraInfo

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics

# What drivers call the models of frames.DISTORTION_MODELS.
_MODELS = {"": "none", "none": "none", "plumb_bob": "plumb_bob", "brown_conrady": "plumb_bob"}


def intrinsics_from_message(info: Any) -> CameraIntrinsics:
    """The camera of an image that is not rectified: K and D.

    Raises:
        InvalidInputError: a distortion model that is not known, a size or K of zeros (a camera without calibration),
            or pixels that were binned or cut out.
    """
    _refuse_binned("camera_info.binning", info)
    try:
        coefficients = [float(value) for value in info.d]
        model = _MODELS.get(info.distortion_model.lower(), info.distortion_model.lower())
        if model == "rational_polynomial":
            coefficients = _eight(coefficients)
        fx, _, cx, _, fy, cy = (float(value) for value in info.k[:6])
        return CameraIntrinsics(
            int(info.width), int(info.height), fx, fy, cx, cy, model if coefficients else "none", tuple(coefficients)
        )
    except InvalidInputError as error:
        raise InvalidInputError(str(error).replace("CameraIntrinsics.", "camera_info.")) from None


def camera_info_message(intrinsics: CameraIntrinsics, header: Any) -> Any:
    """A CameraInfo of a single camera: R is the identity and P is K without distortion."""
    info = CameraInfo(header=header, width=intrinsics.width, height=intrinsics.height)
    ideal = intrinsics.distortion_model == "none"
    info.distortion_model = "plumb_bob" if ideal else intrinsics.distortion_model
    info.d = [0.0] * 5 if ideal else list(intrinsics.distortion)
    info.k = intrinsics.matrix().ravel().tolist()
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    k = info.k
    info.p = [k[0], k[1], k[2], 0.0, k[3], k[4], k[5], 0.0, k[6], k[7], k[8], 0.0]
    return info


def _refuse_binned(field: str, info: Any) -> None:
    binned = info.binning_x > 1 or info.binning_y > 1
    whole = (info.roi.width in (0, info.width)) and (info.roi.height in (0, info.height))
    if binned or not whole or info.roi.x_offset or info.roi.y_offset:
        actual = (
            f"binning {info.binning_x}x{info.binning_y}, roi {info.roi.width}x{info.roi.height} at "
            f"({info.roi.x_offset}, {info.roi.y_offset})"
        )
        raise InvalidInputError.for_field(field, "pixels of the full image, without binning or roi", actual)


def _eight(coefficients: list[float]) -> list[float]:
    """OpenCV's rational model without the thin prism and tilt terms that camera_calibration writes as zeros."""
    return coefficients if any(coefficients[8:]) else coefficients[:8]
