"""What a camera gives: intrinsics and one RGB-D image, each validated once."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError

# How many coefficients each model may carry. ROS writes trailing zeros, librealsense always writes five.
DISTORTION_MODELS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8,),
    "inverse_brown_conrady": (5,),
}

NANOSECONDS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class CameraIntrinsics:
    """Pinhole camera with lens distortion, in pixels; the centre of the top left pixel is (0, 0).

    ``distortion_model`` is one of

    - ``none``: a pure pinhole;
    - ``plumb_bob``: k1 k2 p1 p2 [k3], Brown-Conrady as OpenCV and ROS define it: the polynomial takes
      undistorted to distorted coordinates, so deprojecting inverts it numerically;
    - ``rational_polynomial``: k1 k2 p1 p2 k3 k4 k5 k6, OpenCV's rational model, inverted the same way;
    - ``inverse_brown_conrady``: k1 k2 p1 p2 k3 of RS2_DISTORTION_INVERSE_BROWN_CONRADY as librealsense
      computes it since 2.45: from undistorted to distorted coordinates as well, with the tangential terms taken of
      the radially distorted point; inverted numerically (see ``geometry.rays.deproject_pixels``).

    Raises:
        InvalidInputError: a size or focal length that is not positive, a value that is not finite, an
            unknown model, or a number of coefficients that the model does not have.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = "none"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value <= 0:
                raise InvalidInputError.for_field(f"CameraIntrinsics.{name}", "a positive integer", repr(value))
            object.__setattr__(self, name, int(value))
        for name in ("fx", "fy", "cx", "cy"):
            object.__setattr__(self, name, _finite(f"CameraIntrinsics.{name}", getattr(self, name)))
        for name in ("fx", "fy"):
            if getattr(self, name) <= 0:
                raise InvalidInputError.for_field(f"CameraIntrinsics.{name}", "more than 0", getattr(self, name))
        self._check_distortion()

    def _check_distortion(self) -> None:
        model = self.distortion_model or "none"
        if not isinstance(model, str) or model not in DISTORTION_MODELS:
            known = ", ".join(DISTORTION_MODELS)
            raise InvalidInputError.for_field("CameraIntrinsics.distortion_model", f"one of {known}", repr(model))
        if isinstance(self.distortion, str) or not isinstance(self.distortion, Iterable):
            raise InvalidInputError.for_field("CameraIntrinsics.distortion", "a list of numbers", repr(self.distortion))
        coefficients = tuple(
            _finite(f"CameraIntrinsics.distortion[{i}]", value) for i, value in enumerate(self.distortion)
        )
        counts = DISTORTION_MODELS[model]
        if model == "none" and not any(coefficients):
            coefficients = ()
        if len(coefficients) == 0 and model != "none":  # ROS: an empty D means an ideal lens
            model = "none"
        elif len(coefficients) not in counts:
            expected = f"{' or '.join(map(str, counts))} coefficients for {model}"
            raise InvalidInputError.for_field("CameraIntrinsics.distortion", expected, len(coefficients))
        object.__setattr__(self, "distortion_model", model)
        object.__setattr__(self, "distortion", coefficients)

    @property
    def is_distorted(self) -> bool:
        """Whether any distortion coefficient differs from zero."""
        return any(self.distortion)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels, in the order of an array's shape."""
        return self.height, self.width

    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 matrix K that takes normalised image coordinates to pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclasses.dataclass(frozen=True, eq=False)
class RgbdFrame:
    """One colour image with the depth aligned to it, both of the instant ``stamp_ns``.

    Attributes:
        color: (H, W, 3) uint8, RGB.
        depth: (H, W) uint16 in units of ``depth_scale_m``, or floating point metres; 0, negative, NaN and inf mean
            no data. None: colour only.
        intrinsics: of both images. None: results stay in pixels.
        stamp_ns: time of the exposure in nanoseconds, the key by which prompts name the frame.
        frame_id: name of the optical frame (x right, y down, z forward).
        depth_scale_m: metres per unit of an integer depth; 0.001 for 16UC1.

    The arrays are kept, not copied, and seen through read-only views: give the frame arrays that nobody writes to
    later.

    Raises:
        InvalidInputError: wrong shape or dtype, depth or intrinsics of another size, a stamp below 0.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.generic] | None = None
    intrinsics: CameraIntrinsics | None = None
    stamp_ns: int = 0
    frame_id: str = ""
    depth_scale_m: float = 0.001

    def __post_init__(self) -> None:
        self._check_color()
        self._check_depth()
        if self.intrinsics is not None and not isinstance(self.intrinsics, CameraIntrinsics):
            raise InvalidInputError.for_field(
                "RgbdFrame.intrinsics", "CameraIntrinsics", type(self.intrinsics).__name__
            )
        if self.intrinsics is not None and self.intrinsics.size != self.size:
            raise InvalidInputError.for_field(
                "RgbdFrame.intrinsics",
                f"the colour image's size {self.width}x{self.height}",
                f"{self.intrinsics.width}x{self.intrinsics.height}",
            )
        if isinstance(self.stamp_ns, bool) or not isinstance(self.stamp_ns, (int, np.integer)) or self.stamp_ns < 0:
            raise InvalidInputError.for_field(
                "RgbdFrame.stamp_ns", "an integer of nanoseconds, 0 or more", repr(self.stamp_ns)
            )
        object.__setattr__(self, "stamp_ns", int(self.stamp_ns))
        if not _finite("RgbdFrame.depth_scale_m", self.depth_scale_m) > 0:
            raise InvalidInputError.for_field("RgbdFrame.depth_scale_m", "more than 0", self.depth_scale_m)

    def _check_color(self) -> None:
        color = self.color
        if not isinstance(color, np.ndarray):
            raise InvalidInputError.for_field("RgbdFrame.color", "a numpy array", type(color).__name__)
        if color.dtype != np.uint8:
            raise InvalidInputError.for_field("RgbdFrame.color", "dtype uint8", color.dtype)
        if color.ndim != 3 or color.shape[2] != 3 or 0 in color.shape:
            raise InvalidInputError.for_field("RgbdFrame.color", "shape (H, W, 3), RGB", color.shape)
        object.__setattr__(self, "color", _read_only(color))

    def _check_depth(self) -> None:
        depth = self.depth
        if depth is None:
            return
        if not isinstance(depth, np.ndarray):
            raise InvalidInputError.for_field("RgbdFrame.depth", "a numpy array", type(depth).__name__)
        if depth.dtype != np.uint16 and depth.dtype.kind != "f":
            raise InvalidInputError.for_field(
                "RgbdFrame.depth", "dtype uint16 (units of depth_scale_m) or floating point (metres)", depth.dtype
            )
        if depth.shape != self.size:
            raise InvalidInputError.for_field("RgbdFrame.depth", f"the colour image's shape {self.size}", depth.shape)
        object.__setattr__(self, "depth", _read_only(depth))

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.color.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.color.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def nbytes(self) -> int:
        """Memory that the images hold."""
        return int(self.color.nbytes + (0 if self.depth is None else self.depth.nbytes))

    @functools.cached_property
    def depth_m(self) -> NDArray[np.float32]:
        """(H, W) float32 depth in metres, 0 where there is no data; computed once.

        Raises:
            InvalidInputError: the frame has no depth.
        """
        if self.depth is None:
            raise InvalidInputError("RgbdFrame.depth: this frame has no depth image; give one aligned to colour")
        return _read_only(depth_to_metres(self.depth, self.depth_scale_m))


def depth_to_metres(depth: NDArray[np.generic], scale_m: float = 0.001) -> NDArray[np.float32]:
    """Depth of any shape in metres: integers times ``scale_m``, floats as they are, 0 for whatever is no data."""
    if depth.dtype.kind == "u":
        return np.multiply(depth, np.float32(scale_m), dtype=np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold is no data either
        metres = depth.astype(np.float32)
    if depth.dtype.kind == "i":
        metres *= np.float32(scale_m)
    metres[~np.isfinite(metres) | (metres < 0)] = 0
    return metres


def _finite(field: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError.for_field(field, "a number", f"{value!r:.60}") from None
    if not math.isfinite(number):
        raise InvalidInputError.for_field(field, "a finite number", number)
    return number


def _read_only(array: NDArray) -> NDArray:
    view = array.view()
    view.flags.writeable = False
    return view
