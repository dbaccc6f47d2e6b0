"""What a D435's colour camera makes of a clean picture: exposure, colour cast, blur, noise and sharpening."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MEAN_BRIGHTNESS = 0.44
GAINS = (0.5, 3.0)
_METERING = 0.8

Image = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class ColorConditions:
    """How one picture is taken; the defaults are those of a good day.

    Attributes:
        exposure: mean brightness that the automatic exposure aims at, relative to a usual one.
        gamma: of the tone curve; below 1 lifts the shadows.
        contrast: of the tone curve about the middle.
        saturation: 0 = grey, 1 = as rendered.
        white_balance: gains of red, green and blue.
        vignetting: share of the light that is missing in the corners.
        occlusion: how much corners and contacts between surfaces are darkened.
        blur_px: sigma of the lens and the demosaicking.
        motion_px: (x, y) way of the image during the exposure, pixels.
        noise: standard deviation at mid grey, of 255.
        chroma_noise: the same of coarse coloured blotches.
        sharpening: strength of the camera's own sharpening.
        jpeg_quality: of a compressed stream, or None for a raw one.
    """

    exposure: float = 1.0
    gamma: float = 0.8
    contrast: float = 1.0
    saturation: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignetting: float = 0.15
    occlusion: float = 0.5
    blur_px: float = 0.5
    motion_px: tuple[float, float] = (0.0, 0.0)
    noise: float = 2.0
    chroma_noise: float = 1.0
    sharpening: float = 0.6
    jpeg_quality: int | None = None


def draw_color_conditions(rng: np.random.Generator) -> ColorConditions:
    """Conditions of one of many pictures."""
    warmth, tint = rng.normal(0, 0.07), rng.normal(0, 0.03)
    moving = rng.random() < 0.2
    way, direction = rng.uniform(1, 7) * moving, rng.uniform(0, np.pi)
    return ColorConditions(
        exposure=float(np.exp(rng.normal(0, 0.28))),
        gamma=rng.uniform(0.6, 1.05),
        contrast=rng.uniform(0.8, 1.25),
        saturation=rng.uniform(0.55, 1.35),
        white_balance=(float(np.exp(warmth)), float(np.exp(tint)), float(np.exp(-warmth))),
        vignetting=rng.uniform(0, 0.35),
        occlusion=rng.uniform(0, 1),
        blur_px=rng.uniform(0.3, 1.0),
        motion_px=(float(way * np.cos(direction)), float(way * np.sin(direction))),
        noise=float(rng.gamma(2.0, 1.5)),
        chroma_noise=float(rng.gamma(1.5, 0.9)),
        sharpening=rng.uniform(0, 1.2),
        jpeg_quality=int(rng.integers(45, 95)) if rng.random() < 0.15 else None,
    )


def take_picture(color: Image, depth_m: Image, conditions: ColorConditions, rng: np.random.Generator) -> Image:
    """The picture that a camera would publish.

    Args:
        color: (H, W, 3) uint8, RGB, clean.
        depth_m: (H, W) exact z-depth, metres: says where surfaces meet.
        conditions: how it is taken.
        rng: where the noise comes from.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    picture = cv2.LUT(color, tone_curves(conditions, automatic_gain(color, conditions)))
    picture = saturated(picture, conditions.saturation)
    picture *= shading(depth_m, conditions)[..., None]
    picture = blurred(picture, conditions)
    add_noise(picture, conditions, rng)
    if conditions.sharpening > 0:
        soft = cv2.GaussianBlur(picture, (5, 5), 1.2)
        picture = cv2.addWeighted(picture, 1 + conditions.sharpening, soft, -conditions.sharpening, 0)
    return compressed(cv2.convertScaleAbs(np.maximum(picture, 0, out=picture)), conditions.jpeg_quality)


def automatic_gain(color: Image, conditions: ColorConditions) -> float:
    """What brings the mean of a picture nearer to the brightness aimed at, as far as the exposure can be changed."""
    mean = float(cv2.mean(color[::4, ::4])[1]) / 255
    aim = MEAN_BRIGHTNESS * conditions.exposure
    return float(np.clip((aim ** (1 / conditions.gamma) / max(mean, 1e-3)) ** _METERING, *GAINS))


def tone_curves(conditions: ColorConditions, gain: float = 1.0) -> Image:
    """(1, 256, 3) float32: what each channel makes of each value, 0..255."""
    value = np.linspace(0, 1, 256)[:, None] * gain * np.array(conditions.white_balance)
    toned = (1.05 * value / np.cbrt(1 + value**3)) ** conditions.gamma  # highlights roll off
    toned = 0.5 + (toned - 0.5) * conditions.contrast
    return (255 * np.clip(toned, 0, 1)).astype(np.float32)[None]


def saturated(picture: Image, saturation: float) -> Image:
    """The picture with its colours moved away from grey, or towards it."""
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    matrix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey[None]
    return cv2.transform(picture, matrix)


def shading(depth_m: Image, conditions: ColorConditions) -> Image:
    """(H, W) gain: the lens' vignetting, and the dark that gathers where a surface lies behind its surroundings.

    The latter stands for ambient occlusion, which the renderer has not: Luft, Colditz, Deussen, "Image enhancement by
    unsharp masking the depth buffer", SIGGRAPH 2006.
    """
    height, width = depth_m.shape
    gain = 1 - conditions.vignetting * _radius_squared(height, width)
    if conditions.occlusion > 0:
        small = cv2.resize(depth_m, (width // 4, height // 4), interpolation=cv2.INTER_NEAREST)
        behind = small - cv2.GaussianBlur(small, (0, 0), 5)
        step = small - cv2.erode(small, np.ones((21, 21), np.uint8))  # not the floor beside the table
        dark = np.clip(behind / 0.05, 0, 1) * np.clip((0.35 - step) / 0.1, 0, 1)
        dark = cv2.resize(cv2.GaussianBlur(dark, (0, 0), 1.2), (width, height), interpolation=cv2.INTER_LINEAR)
        gain = gain * (1 - np.float32(0.45 * conditions.occlusion) * dark)
    return gain


def blurred(picture: Image, conditions: ColorConditions) -> Image:
    """The picture through the lens, with the motion of the camera."""
    if conditions.blur_px > 0:
        picture = cv2.GaussianBlur(picture, (5, 5), conditions.blur_px)
    if np.hypot(*conditions.motion_px) >= 0.5:
        picture = cv2.filter2D(picture, -1, motion_kernel(conditions.motion_px))
    return picture


def motion_kernel(motion_px: tuple[float, float]) -> Image:
    """A line through the middle of a kernel, of sum 1: the mean over the exposure stays where the object is."""
    half = int(np.ceil(max(abs(motion_px[0]), abs(motion_px[1])) / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for along in np.linspace(-0.5, 0.5, 8 * half + 1):
        x, y = half + along * motion_px[0], half + along * motion_px[1]
        column, row = int(x), int(y)
        across, down = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - down, down], [1 - across, across])
    return kernel / kernel.sum()


def add_noise(picture: Image, conditions: ColorConditions, rng: np.random.Generator) -> None:
    """Adds, in place, fine noise that grows with the square root of the light, and coarse coloured blotches."""
    height, width = picture.shape[:2]
    if conditions.noise > 0:
        fine = rng.standard_normal(picture.shape, np.float32)
        fine *= np.float32(conditions.noise) * np.sqrt(0.15 + np.maximum(picture, 0) * np.float32(0.85 / 128))
        picture += fine
    if conditions.chroma_noise > 0:
        coarse = rng.standard_normal((height // 4, width // 4, 3), np.float32) * np.float32(conditions.chroma_noise)
        coarse -= coarse.mean(axis=2, keepdims=True)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def compressed(picture: Image, quality: int | None) -> Image:
    """The picture after JPEG, as image_transport's compressed stream delivers it."""
    if quality is None:
        return picture
    data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: Image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1])


@functools.lru_cache(maxsize=4)
def _radius_squared(height: int, width: int) -> Image:
    """(H, W) squared distance to the middle, 1 in the corners."""
    v, u = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    return (u[None] ** 2 + v[:, None] ** 2) / 2
