"""Where each pixel of a camera looks: rays, and the projection between pixels and points, lens distortion honoured."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics

# Residual, in normalised image coordinates, below which an inverted distortion counts as solved.
CONVERGED = 1e-10
MAX_NEWTON_STEPS = 25

_RADIAL_SAMPLES = 2048
_WIDEST_RAY = 1e3  # tan of the angle to the optical axis; 89.94 degrees

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class RayTable:
    """The rays of one camera.

    Attributes:
        points: (H, W, 3) float32, read-only: the point at z = 1 that the middle of each pixel sees; NaN where the lens
            model maps no ray to the pixel.
        complete: whether no ray is NaN.
    """

    points: NDArray[np.float32]
    complete: bool


def ray_table(intrinsics: CameraIntrinsics) -> NDArray[np.float32]:
    """(H, W, 2) float32 x/z and y/z of every pixel's middle; read-only, made once for each camera.

    NaN marks a pixel that no ray reaches, because the lens model folds before it. See ``deproject_pixels`` for
    what each distortion model means.
    """
    return cached_rays(intrinsics).points[..., :2]


@functools.lru_cache(maxsize=8)
def cached_rays(intrinsics: CameraIntrinsics) -> RayTable:
    """The rays of a camera with what ``deproject_mask`` wants to know about them; the last 8 cameras are kept."""
    x = np.broadcast_to((np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx, intrinsics.size)
    y = np.broadcast_to(((np.arange(intrinsics.height) - intrinsics.cy) / intrinsics.fy)[:, None], intrinsics.size)
    x, y = _undistort(x, y, intrinsics)
    points = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32)
    points.flags.writeable = False
    return RayTable(points, bool(np.isfinite(x).all()))


def deproject_pixels(pixels_xy: ArrayLike, depth_m: ArrayLike, intrinsics: CameraIntrinsics) -> Array:
    """Points that pixels show, in the camera's optical frame.

    What the models mean:

    - ``none``: a pinhole. librealsense: RS2_DISTORTION_NONE.
    - ``plumb_bob``, ``rational_polynomial``: OpenCV's and ROS's models ("Camera Calibration and 3D
      Reconstruction"). Their polynomial takes rays to pixels, so it is inverted numerically here.
      librealsense: RS2_DISTORTION_BROWN_CONRADY is plumb_bob.
    - ``inverse_brown_conrady``: what librealsense does for RS2_DISTORTION_INVERSE_BROWN_CONRADY since 2.45 (its
      pull request 8523): like plumb_bob with the tangential terms taken of the radially distorted point
      (RS2_DISTORTION_MODIFIED_BROWN_CONRADY), from rays to pixels, inverted numerically in
      rs2_deproject_pixel_to_point. Up to 2.44 that function evaluated the polynomial once from pixels to rays
      instead, contradicting rs2_project_point_to_pixel, with which depth is aligned to colour; at the corner
      of a D455 the two differ by 16 mm at 1 m.

    Args:
        pixels_xy: (..., 2) pixels, x right, y down; need not be whole numbers.
        depth_m: (...,) metres along the optical axis; 0, negative, NaN and inf mean no data.
        intrinsics: the camera.

    Returns:
        (..., 3) float64 metres; NaN where there is no data, or no ray that reaches the pixel.

    Raises:
        InvalidInputError: shapes that do not fit together.
    """
    pixels = np.asarray(pixels_xy, dtype=np.float64)
    depth = np.asarray(depth_m, dtype=np.float64)
    if pixels.ndim == 0 or pixels.shape[-1] != 2:
        raise InvalidInputError.for_field("pixels_xy", "shape (..., 2)", pixels.shape)
    if depth.shape not in ((), pixels.shape[:-1]):
        raise InvalidInputError.for_field("depth_m", f"shape {pixels.shape[:-1]}, as pixels_xy", depth.shape)
    x, y = _undistort(
        (pixels[..., 0] - intrinsics.cx) / intrinsics.fx, (pixels[..., 1] - intrinsics.cy) / intrinsics.fy, intrinsics
    )
    depth = np.where((depth > 0) & np.isfinite(depth), depth, np.nan)
    return np.stack(np.broadcast_arrays(x * depth, y * depth, depth + 0 * x), axis=-1)


def project(points_camera: ArrayLike, intrinsics: CameraIntrinsics) -> Array:
    """Pixels where points appear, whether or not they lie inside the image.

    Args:
        points_camera: (..., 3) metres in the camera's optical frame.
        intrinsics: the camera.

    Returns:
        (..., 2) float64 pixels; NaN for points behind the camera, and for those so far off the axis that the
        lens model has folded over (its formula would put them back into the image).

    Raises:
        InvalidInputError: points of another shape.
    """
    points = np.asarray(points_camera, dtype=np.float64)
    if points.ndim == 0 or points.shape[-1] != 3:
        raise InvalidInputError.for_field("points_camera", "shape (..., 3)", points.shape)
    z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
    x, y = points[..., 0] / z, points[..., 1] / z
    if intrinsics.is_distorted:
        lens = _Lens.of(intrinsics)
        folded = ~(x * x + y * y < lens.fold_r2)
        x, y = lens.distort(x, y)
        x, y = np.where(folded, np.nan, x), np.where(folded, np.nan, y)
    return np.stack([x * intrinsics.fx + intrinsics.cx, y * intrinsics.fy + intrinsics.cy], axis=-1)


def _undistort(x: Array, y: Array, intrinsics: CameraIntrinsics) -> tuple[Array, Array]:
    """Rays of distorted normalised coordinates, of any shape."""
    if not intrinsics.is_distorted:
        return x, y
    return _Lens.of(intrinsics).undistort(x, y)


@dataclasses.dataclass(frozen=True)
class _Lens:
    """Distortion from rays to pixels, both in normalised coordinates.

    With r2 = x^2 + y^2 and f = (1 + k1 r2 + k2 r2^2 + k3 r2^3) / (1 + k4 r2 + k5 r2^2 + k6 r2^3), the distorted point
    is x f + 2 p1 a b + p2 (r2 + 2 a^2), y f + 2 p2 a b + p1 (r2 + 2 b^2), where (a, b) is (x, y) in OpenCV's models
    and (x f, y f) where ``tangential_of_distorted`` (librealsense's modified Brown-Conrady).
    """

    numerator: tuple[float, ...]  # coefficients of r2 from the constant up
    denominator: tuple[float, ...]
    p1: float
    p2: float
    tangential_of_distorted: bool

    @classmethod
    @functools.lru_cache(maxsize=8)
    def of(cls, intrinsics: CameraIntrinsics) -> _Lens:
        k1, k2, p1, p2, k3, k4, k5, k6 = (*intrinsics.distortion, 0.0, 0.0, 0.0, 0.0)[:8]
        tangential_of_distorted = intrinsics.distortion_model == "inverse_brown_conrady"
        return cls((1.0, k1, k2, k3), (1.0, k4, k5, k6), p1, p2, tangential_of_distorted)

    def distort(self, x: Array, y: Array) -> tuple[Array, Array]:
        r2 = x * x + y * y
        f, _ = self._radial(r2)
        a, b = (x * f, y * f) if self.tangential_of_distorted else (x, y)
        distorted_x = x * f + 2 * self.p1 * a * b + self.p2 * (r2 + 2 * a * a)
        distorted_y = y * f + 2 * self.p2 * a * b + self.p1 * (r2 + 2 * b * b)
        return distorted_x, distorted_y

    def undistort(self, x_distorted: Array, y_distorted: Array) -> tuple[Array, Array]:
        """Invert ``distort`` by Newton's method, started from the radial part alone; NaN where that has no answer."""
        shape = np.shape(x_distorted)
        goal_x, goal_y = np.ravel(x_distorted), np.ravel(y_distorted)
        x, y = self._radial_inverse(goal_x, goal_y)
        solved = np.zeros(x.shape, dtype=np.bool_)
        todo = np.arange(x.size)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # diverging ones become NaN below
            for _ in range(MAX_NEWTON_STEPS):
                px, py = self.distort(x[todo], y[todo])
                error_x, error_y = px - goal_x[todo], py - goal_y[todo]
                close = np.hypot(error_x, error_y) < CONVERGED
                solved[todo[close]] = True
                todo, error_x, error_y = todo[~close], error_x[~close], error_y[~close]
                if todo.size == 0:
                    break
                xx, xy, yx, yy = self._jacobian(x[todo], y[todo])
                determinant = xx * yy - xy * yx
                x[todo] -= (yy * error_x - xy * error_y) / determinant
                y[todo] -= (xx * error_y - yx * error_x) / determinant
            xx, xy, yx, yy = self._jacobian(x, y)
            valid = solved & (x * x + y * y < self.fold_r2) & (xx * yy - xy * yx > 0)
        x[~valid] = np.nan
        y[~valid] = np.nan
        return x.reshape(shape), y.reshape(shape)

    @functools.cached_property
    def fold_r2(self) -> float:
        """r2 at which the distorted radius r f(r2) stops growing with r, or f has a pole; inf if never.

        d(r f)/dr = (N D + 2 r2 (N' D - N D')) / D^2 for f = N / D.
        """
        n, d = np.polynomial.Polynomial(self.numerator), np.polynomial.Polynomial(self.denominator)
        slope = n * d + np.polynomial.Polynomial([0, 2]) * (n.deriv() * d - n * d.deriv())
        roots = np.concatenate([slope.trim().roots(), d.trim().roots()])
        real = roots.real[np.abs(roots.imag) < 1e-9 * np.maximum(1, np.abs(roots))]
        return float(min((root for root in real if root > 0), default=np.inf))

    def _radial(self, r2: Array) -> tuple[Array, Array]:
        """The radial factor f, then its derivative by r2."""
        _, k1, k2, k3 = self.numerator
        numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)
        if not any(self.denominator[1:]):
            return numerator, slope
        _, k4, k5, k6 = self.denominator
        denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        f = numerator / denominator
        return f, (slope - f * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / denominator

    def _jacobian(self, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
        """dx'/dx, dx'/dy, dy'/dx, dy'/dy of ``distort``."""
        f, slope = self._radial(x * x + y * y)
        ax, ay, by = f + 2 * x * x * slope, 2 * x * y * slope, f + 2 * y * y * slope  # of (x f, y f); bx is ay
        p1, p2 = self.p1, self.p2
        if not self.tangential_of_distorted:
            mixed = ay + 2 * p1 * x + 2 * p2 * y
            return ax + 2 * p1 * y + 6 * p2 * x, mixed, mixed, by + 6 * p1 * y + 2 * p2 * x
        a, b = x * f, y * f
        xa, xb = 1 + 2 * p1 * b + 4 * p2 * a, 2 * p1 * a
        ya, yb = 2 * p2 * b, 1 + 2 * p2 * a + 4 * p1 * b
        return (
            xa * ax + xb * ay + 2 * p2 * x,
            xa * ay + xb * by + 2 * p2 * y,
            ya * ax + yb * ay + 2 * p1 * x,
            ya * ay + yb * by + 2 * p1 * y,
        )

    def _radial_inverse(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Invert the radial part by a table: near enough for Newton to stay on the branch that holds the axis."""
        distorted = np.hypot(x, y)
        r_max = min(np.sqrt(self.fold_r2), _WIDEST_RAY)
        reach = min(r_max, 2 * float(np.nanmax(distorted, initial=1e-6)))
        while reach < r_max and reach * self._radial(np.square(reach))[0] < np.nanmax(distorted, initial=0):
            reach = min(2 * reach, r_max)
        r = np.linspace(0, reach, _RADIAL_SAMPLES)
        table = r * self._radial(r * r)[0]
        scale = np.interp(distorted, table, r) / np.maximum(distorted, np.finfo(np.float64).tiny)
        return x * scale, y * scale
