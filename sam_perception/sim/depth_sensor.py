"""What a D435's stereo matcher makes of exact depth: noise, quantised disparity, fat edges, shadows and holes.

Everything happens in the left imager's pixels, which are about 1.5 times as large as those of the colour image, and in
disparities; the result is then carried into the colour image as librealsense's ``align`` does, block by block.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import CameraIntrinsics

BASELINE_M = 0.050
COLOR_TO_LEFT_M = 0.015
COLOR_FOCAL_PX = 613.0  # of the colour camera at 640x480
DISPARITY_STEPS_PER_PX = 32
MAX_DISPARITY_PX = 126
NEIGHBOUR_STEP_PX = 1.0
MEAN_BRIGHTNESS = 115.0  # that the infrared cameras' automatic exposure aims at

_LEANING = np.float32(0.6)  # how much farther near surfaces reach to the left, where the far one has no match
_FRAYING_PX = np.float32(0.6)

Image = NDArray[Any]  # float32, where nothing else is said
Flags = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class DepthConditions:
    """How well depth comes out in one capture; the defaults are those of a good day.

    Attributes:
        baseline_m: between the two imagers: 0.050 for a D435, 0.055 for a D415.
        pixel_ratio: size of a depth pixel in pixels of a colour image whose focal length is 613 px.
        fine_noise_px: error of a disparity that differs from pixel to pixel, depth pixels.
        patch_noise_px: error that neighbours share because their matching windows overlap.
        patch_px: sigma of these windows.
        waviness_px: error that changes slowly over the image.
        waviness_length_px: sigma of that change.
        gap_px: gaps in a near surface up to this wide are closed, such as a handle's hole; odd, 1 = none.
        thin_px: near surfaces up to this thin are lost; odd, 1 = none.
        fattening_px: how far a near surface reaches over a far one.
        smoothing_px: sigma of the spatial filter; 0 switches it off.
        flying: share of the pixels beside a depth edge that lie between near and far.
        hole_strength: 0 = every surface is matched .. 1 = dark, blown, shiny and grazing ones are mostly lost.
        speckle: share of pixels lost for no reason.
        margin_px: how far the imagers see beyond the left side of the colour image, colour pixels; what the right
            imager does not see has no depth. A D435 sees far enough, a D415 does not.
        misalignment_px: (x, y) error of the calibration between depth and colour, colour pixels.
        nearest_m: what is nearer has no depth.
        farthest_m: what is farther has no depth.
    """

    baseline_m: float = BASELINE_M
    pixel_ratio: float = 1.5
    fine_noise_px: float = 0.012
    patch_noise_px: float = 0.03
    patch_px: float = 4.0
    waviness_px: float = 0.025
    waviness_length_px: float = 16.0
    gap_px: int = 3
    thin_px: int = 1
    fattening_px: float = 1.0
    smoothing_px: float = 2.5
    flying: float = 0.05
    hole_strength: float = 0.35
    speckle: float = 0.0001
    margin_px: float = 150.0
    misalignment_px: tuple[float, float] = (0.0, 0.0)
    nearest_m: float = 0.2
    farthest_m: float = 10.0


def draw_depth_conditions(rng: np.random.Generator) -> DepthConditions:
    """Conditions of one of many captures: some nearly clean, most ordinary, some bad."""
    badness = rng.beta(1.3, 2.4)
    is_d415 = rng.random() < 0.35
    return DepthConditions(
        baseline_m=0.055 if is_d415 else BASELINE_M,
        pixel_ratio=rng.uniform(1.0, 1.2) if is_d415 else rng.uniform(1.35, 1.6),
        fine_noise_px=0.002 + 0.05 * badness * rng.uniform(0, 1),
        patch_noise_px=0.012 + 0.13 * badness * rng.uniform(0.5, 1),
        patch_px=rng.uniform(2.0, 6.0),
        waviness_px=0.010 + 0.10 * badness * rng.uniform(0.3, 1),
        waviness_length_px=rng.uniform(10, 40),
        gap_px=int(rng.choice([1, 3, 5, 7], p=[0.2, 0.3, 0.3, 0.2])),
        thin_px=int(rng.choice([1, 3, 5], p=[0.5, 0.35, 0.15])),
        fattening_px=rng.uniform(0.3, 1.2) + 0.9 * badness,
        smoothing_px=rng.uniform(1.0, 4.5) if rng.random() < 0.85 else 0.0,
        flying=rng.uniform(0, 0.2) if rng.random() < 0.5 else 0.0,
        hole_strength=float(np.clip(0.8 * badness + rng.normal(0, 0.12), 0, 1)),
        speckle=10 ** rng.uniform(-5.5, -3.5),
        margin_px=rng.uniform(0, 20) if is_d415 else rng.uniform(60, 200),
        misalignment_px=(float(rng.normal(0, 0.9)), float(rng.normal(0, 0.9))),
        nearest_m=rng.uniform(0.15, 0.28),
        farthest_m=rng.uniform(4, 12),
    )


def measure_depth(
    depth_m: Image,
    color: Image,
    gloss: Image,
    camera: CameraIntrinsics,
    conditions: DepthConditions,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """The depth image aligned to colour that a camera would publish.

    Args:
        depth_m: (H, W) exact z-depth in metres, 0 = nothing there.
        color: (H, W, 3) uint8, stands for the brightness that the matcher sees.
        gloss: (H, W) 0 = matt .. 1 = bare metal.
        camera: the colour camera.
        conditions: how well depth comes out.
        rng: where the noise comes from.

    Returns:
        (H, W) uint16 millimetres, 0 = no data.
    """
    grid = _DepthGrid.over(camera, conditions)
    z = grid.sampled(depth_m)
    z[(z < conditions.nearest_m) | (z > conditions.farthest_m)] = 0
    disparity = _disparity(z, grid.focal_px * conditions.baseline_m)
    disparity = fatten_edges(disparity, conditions, rng)
    lost = outside_or_shadowed(disparity, conditions, grid.color_pixel)
    lost |= unmatchable(z, grid.sampled(color), grid.sampled(gloss), grid, conditions, rng)
    disparity = smooth(disparity, conditions.smoothing_px)
    disparity = add_noise(disparity, conditions, rng)
    disparity = quantised(disparity)
    lost = frayed(lost, rng) | (rng.random(lost.shape, np.float32) < conditions.speckle)
    lost |= (disparity <= 0) | (disparity > MAX_DISPARITY_PX)
    metres = np.divide(grid.focal_px * conditions.baseline_m, disparity, out=np.zeros_like(disparity), where=~lost)
    return grid.in_color_image(in_millimetres(metres))


def outside_or_shadowed(disparity: Image, conditions: DepthConditions, color_pixel: float) -> Flags:
    """Says which pixels not both imagers see.

    A point at disparity d of the left image lies d to the left in the right one, where the nearest surface wins and
    the others have no match; so an edge casts a shadow on the far surface to its left. The colour camera stands 15 mm
    to the left of the left imager and sees behind it a little, too, which widens the shadow: it is that of a right
    imager ``baseline + 15 mm`` away (Intel RealSense D400 datasheet; the extrinsics that librealsense reports).
    What falls off the right image has no match either, the datasheet's "invalid depth band".
    """
    height, width = disparity.shape
    shift = disparity * np.float32(1 + COLOR_TO_LEFT_M / conditions.baseline_m)
    column = np.arange(width, dtype=np.float32) - shift
    row_start = (np.arange(height, dtype=np.intp) * (width + 2))[:, None]
    cell = np.clip(np.floor(column), -1, width - 1).astype(np.intp) + 1 + row_start
    nearest = np.zeros(height * (width + 2), np.float32)
    flat, values = cell.ravel(), shift.ravel()
    np.maximum.at(nearest, flat, values)
    np.maximum.at(nearest, flat + 1, values)
    nearest[row_start.ravel()] = 0
    hidden = (nearest[cell] > shift + NEIGHBOUR_STEP_PX) & (column >= 0)
    return hidden | (column < -conditions.margin_px / color_pixel)


def unmatchable(
    z: Image,
    color: Image,
    gloss: Image,
    grid: _DepthGrid,
    conditions: DepthConditions,
    rng: np.random.Generator,
) -> Flags:
    """Says which pixels give the matcher nothing to work with: dark, blown out, shiny or grazing ones.

    For slant see Nguyen, Izadi, Lovell, "Modeling Kinect sensor noise for improved 3D reconstruction and tracking",
    3DIMPVT 2012: the error rises steeply towards grazing. Each cause is a risk in 0..1, and a pixel is lost where the
    greatest exceeds a smooth random threshold, so that losses come in patches.
    """
    strength = conditions.hole_strength
    exposed = np.float32(MEAN_BRIGHTNESS / max(1.0, color[::2, ::2].mean()))
    brightest = exposed * cv2.blur(color.max(axis=2), (3, 3)).astype(np.float32)
    dimmest = exposed * cv2.blur(color.min(axis=2), (3, 3)).astype(np.float32)
    risk = 0.9 * np.clip((32 * strength - brightest + 2) / 24, 0, 1)
    risk = np.maximum(risk, 0.9 * np.clip((dimmest - (280 - 40 * strength)) / 10, 0, 1))
    risk = np.maximum(risk, 0.7 * np.clip((gloss - (1.05 - 0.35 * strength)) / 0.25, 0, 1))
    risk = np.maximum(risk, np.clip((0.10 + 0.18 * strength - _facing_cosine(z, grid)) / 0.12, 0, 1))
    threshold = 0.66 + 0.17 * patchy_noise(z.shape, 9.0, rng) + 0.08 * patchy_noise(z.shape, 3.0, rng)
    return risk * np.float32(0.4 + 0.6 * min(1.0, 2 * strength)) > np.maximum(threshold, 0.08)


def fatten_edges(disparity: Image, conditions: DepthConditions, rng: np.random.Generator) -> Image:
    """Closes gaps, loses thin things, and lets near surfaces reach over far ones.

    A matching window that straddles a depth edge mostly takes the disparity of the near side: "foreground fattening",
    Scharstein and Szeliski, "A taxonomy and evaluation of dense two-frame stereo correspondence algorithms", IJCV 2002.
    Here each pixel takes the disparity of the one a smooth random step away where that is nearer; to the left, where
    the right imager does not see the far surface, it reaches farther.
    """
    height, width = disparity.shape
    fat = disparity
    if conditions.thin_px > 1:
        fat = cv2.morphologyEx(fat, cv2.MORPH_OPEN, _disc(conditions.thin_px))
    if conditions.gap_px > 1:
        fat = cv2.morphologyEx(fat, cv2.MORPH_CLOSE, _disc(conditions.gap_px))
    reach = np.float32(conditions.fattening_px)
    u = np.arange(width, dtype=np.float32) + reach * (_LEANING + patchy_noise(disparity.shape, 3.0, rng))
    v = np.arange(height, dtype=np.float32)[:, None] + reach * patchy_noise(disparity.shape, 3.0, rng)
    fat = np.maximum(fat, cv2.remap(fat, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE))
    if conditions.flying <= 0:
        return fat
    near, far = cv2.dilate(fat, _disc(3)), cv2.erode(fat, _disc(3))
    flies = (near - far > 2 * NEIGHBOUR_STEP_PX) & (rng.random(fat.shape, np.float32) < conditions.flying) & (far > 0)
    return np.where(flies, 0.5 * (near + far), fat)


def smooth(disparity: Image, sigma_px: float) -> Image:
    """Smooths over steps of less than a pixel of disparity and keeps the others.

    It stands for the matching window and the D4's spatial filter, and makes objects melt into the table where they
    touch it. At half the size: the surfaces that remain have no finer detail.
    """
    if sigma_px <= 0:
        return disparity
    half = cv2.resize(disparity, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
    half = cv2.bilateralFilter(half, 9, 0.5 * NEIGHBOUR_STEP_PX, sigma_px / 2)
    smoothed = cv2.resize(half, disparity.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(np.abs(smoothed - disparity) < 0.7 * NEIGHBOUR_STEP_PX, smoothed, cv2.medianBlur(disparity, 3))


def add_noise(disparity: Image, conditions: DepthConditions, rng: np.random.Generator) -> Image:
    """Adds the matcher's disparity error, so that sigma_z = z^2 * error / (focal length * baseline).

    The formula is the "depth RMS error" of Grunnet-Jepsen, Sweetser, Woodfill, "Tuning depth cameras for best
    performance" (Intel RealSense D400 documentation), whose first author advises a subpixel error of about 0.08 px
    before any filter (librealsense issue 3904). Neighbours share most of their matching window, so most of the error is
    correlated; a part of it changes slowly over the image and makes planes wavy.
    """
    noisy = disparity + np.float32(conditions.fine_noise_px) * patchy_noise(disparity.shape, 1.0, rng)
    noisy += np.float32(conditions.patch_noise_px) * patchy_noise(disparity.shape, conditions.patch_px, rng)
    noisy += np.float32(conditions.waviness_px) * patchy_noise(disparity.shape, conditions.waviness_length_px, rng)
    return noisy


def quantised(disparity: Image) -> Image:
    """Disparities that the D4 vision processor can express, 1/32 px apart.

    1/32 px: Grunnet-Jepsen et al., "Subpixel linearity improvement for Intel RealSense depth cameras", and the
    fractional bits in librealsense's src/proc/disparity-transform.cpp.
    """
    return np.round(disparity * DISPARITY_STEPS_PER_PX) / np.float32(DISPARITY_STEPS_PER_PX)


def frayed(lost: Flags, rng: np.random.Generator) -> Flags:
    """Frays the outline of holes by about a pixel, as block-wise matching and filtering leave it."""
    height, width = lost.shape
    u = np.arange(width, dtype=np.float32) + _FRAYING_PX * patchy_noise(lost.shape, 1.5, rng)
    v = np.arange(height, dtype=np.float32)[:, None] + _FRAYING_PX * patchy_noise(lost.shape, 1.5, rng)
    moved = cv2.remap(lost.astype(np.uint8), u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return cv2.medianBlur(moved, 3) > 0


def patchy_noise(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> Image:
    """Gaussian noise of zero mean and unit variance, correlated over about ``sigma_px`` pixels; (H, W) float32.

    White noise on a grid ``1.3 sigma_px`` wide, blurred and enlarged: much cheaper than a blur at full size.
    """
    height, width = shape
    step = max(1.0, 1.3 * sigma_px)
    coarse: Image = rng.standard_normal((int(height / step) + 5, int(width / step) + 5), np.float32)
    if sigma_px >= 1:
        coarse = cv2.GaussianBlur(coarse, (5, 5), 0.7)
    corner = 1 + rng.random(2)
    place = np.array([[1 / step, 0, corner[0]], [0, 1 / step, corner[1]]])
    how = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if step < 4 else cv2.INTER_CUBIC)
    noise = cv2.warpAffine(coarse, place, (width, height), flags=how)
    return noise / np.float32(max(1e-6, noise.std()))


def in_millimetres(depth_m: Image) -> NDArray[np.uint16]:
    """Metres to uint16 millimetres; 0 and what does not fit 65.535 m become 0 = no data."""
    millimetres = np.round(depth_m * np.float32(1000))
    millimetres[millimetres > 65535] = 0
    return millimetres.astype(np.uint16)


@dataclasses.dataclass(frozen=True, eq=False)
class _DepthGrid:
    """The pixels of the depth imager, laid over the colour image.

    Attributes:
        focal_px: its focal length in its own pixels.
        color_pixel: width of one of its pixels in pixels of the colour image.
        maps: (columns, rows) of the colour image's pixel that each of its pixels shows.
        back: (columns, rows) of the pixel that each pixel of the colour image shows.
        x_z, y_z: tangents of its columns' and rows' directions.
    """

    focal_px: float
    color_pixel: float
    maps: tuple[NDArray[np.intp], NDArray[np.intp]]
    back: tuple[NDArray[np.intp], NDArray[np.intp]]
    x_z: Image
    y_z: Image

    @classmethod
    def over(cls, camera: CameraIntrinsics, conditions: DepthConditions) -> _DepthGrid:
        ratio = max(1.0, conditions.pixel_ratio * camera.fx / COLOR_FOCAL_PX)
        width, height = int(np.ceil(camera.width / ratio)), int(np.ceil(camera.height / ratio))
        columns = np.minimum((np.arange(width) + 0.5) * ratio, camera.width - 1).astype(np.intp)
        rows = np.minimum((np.arange(height) + 0.5) * ratio, camera.height - 1).astype(np.intp)
        off_x, off_y = conditions.misalignment_px
        back_columns = np.clip((np.arange(camera.width) + 0.5 + off_x) / ratio, 0, width - 1).astype(np.intp)
        back_rows = np.clip((np.arange(camera.height) + 0.5 + off_y) / ratio, 0, height - 1).astype(np.intp)
        return cls(
            focal_px=camera.fx / ratio,
            color_pixel=ratio,
            maps=(columns, rows),
            back=(back_columns, back_rows),
            x_z=((columns - camera.cx) / camera.fx).astype(np.float32),
            y_z=((rows - camera.cy) / camera.fy).astype(np.float32)[:, None],
        )

    def sampled(self, image: NDArray) -> NDArray:
        """An image of the colour camera in this grid."""
        columns, rows = self.maps
        return np.ascontiguousarray(image[rows][:, columns])

    def in_color_image(self, image: NDArray) -> NDArray:
        """An image of this grid in the colour camera's pixels."""
        columns, rows = self.back
        return np.ascontiguousarray(image[rows][:, columns])


def _disc(size_px: int) -> Image:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size_px, size_px))


def _disparity(z: Image, focal_baseline: float) -> Image:
    return np.divide(np.float32(focal_baseline), z, out=np.zeros_like(z), where=z > 0)


def _facing_cosine(z: Image, grid: _DepthGrid) -> Image:
    """Cosine of the angle between the surface normal and the line of sight, 1 = seen face on; (H, W).

    From central differences of depth; pixels at a depth edge count as face on: their slope is no surface's.
    """
    slope_u, slope_v = cv2.Sobel(z, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(z, cv2.CV_32F, 0, 1, scale=1 / 8)
    # The normal is the cross product of the tangents of (x_z, y_z, 1) z, scaled to meet that ray in z.
    n_x, n_y = -grid.focal_px * slope_u, -grid.focal_px * slope_v
    n_z = z - grid.x_z * n_x - grid.y_z * n_y
    length = np.sqrt((n_x * n_x + n_y * n_y + n_z * n_z) * (grid.x_z**2 + grid.y_z**2 + 1))
    cosine = np.divide(z, length, out=np.ones_like(z), where=length > 0)
    steep = np.abs(slope_u) + np.abs(slope_v) > 0.03 * z
    return np.where(steep, np.float32(1), cosine)
