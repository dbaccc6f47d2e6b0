"""Random changes of a simulated view, so that the network does not learn the renderer or the sensor model."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_MAX_ROTATION_DEG = 25.0
_ROTATED_SHARE = 0.3
WHOLE_VIEWS = (0.45, 1.0)
"""Windows that show about as much as a camera does: their smallest and largest share of the image's side."""

_WHOLE_SHARE = 0.25
_MAX_ASPECT = 1.35  # of a crop, beside the image's own

_NO_DEPTH_SHARE = 0.12
_NO_COLOR_SHARE = 0.08
_GREY_SHARE = 0.1
_SWAPPED_SHARE = 0.15  # with the colour channels in another order
_PATCHES_SHARE = 0.3  # with further holes in depth
_SMALLEST_PATCHED = 40  # px
_NO_COLOR = 124  # the grey that the network's input turns to about 0
_COARSE = 8  # px between the pixels that objects are looked for at


@dataclasses.dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera: focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclasses.dataclass(frozen=True)
class TrainingView:
    """One view and its truth.

    Attributes:
        color: (H, W, 3) uint8 RGB.
        depth_m: (H, W) float32 metres, 0 for no data; None where the network is to do without.
        labels: (H, W) uint8 object numbers, 0 for none.
        camera: of the view.
    """

    color: NDArray[Any]
    depth_m: NDArray[Any] | None
    labels: NDArray[Any]
    camera: Intrinsics


def augment(
    view: TrainingView, rng: np.random.Generator, side: int, window: tuple[float, float] = WHOLE_VIEWS
) -> TrainingView:
    """Rotate, crop, mirror and recolour a view; now and then it loses its depth, or its colour.

    Args:
        view: as it was rendered.
        rng: decides everything.
        side: of the network's input; colour comes back already stretched to (side, side), where most changes cost less.
        window: smallest and largest share of the image's side that is cropped.
    """
    view = _cropped(_rotated(view, rng), rng, window)
    color = cv2.resize(np.ascontiguousarray(view.color), (side, side), interpolation=cv2.INTER_AREA)
    view = dataclasses.replace(view, color=color)
    if rng.random() < 0.5:
        view = _mirrored(view)
    fate = rng.random()
    if fate < _NO_DEPTH_SHARE:
        return dataclasses.replace(view, color=recolored(view.color, rng), depth_m=None)
    no_color = fate < _NO_DEPTH_SHARE + _NO_COLOR_SHARE
    color = np.full_like(view.color, _NO_COLOR) if no_color else recolored(view.color, rng)
    assert view.depth_m is not None
    return dataclasses.replace(view, color=color, depth_m=_worn(view.depth_m, rng))


def recolored(color: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Another white balance, brightness, contrast, gamma, saturation and hue; blur and noise."""
    image = color.astype(np.float32) / 255
    if rng.random() < _SWAPPED_SHARE:
        image = image[..., rng.permutation(3)]
    if rng.random() < _GREY_SHARE:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    grey = image @ np.array([0.3, 0.59, 0.11], np.float32)
    image = grey[..., None] + np.float32(rng.uniform(0.4, 1.6)) * (image - grey[..., None])
    gain = rng.uniform(0.55, 1.45) * rng.uniform(0.85, 1.15, 3)
    middle = float(image.mean())
    image = (image - middle) * np.float32(rng.uniform(0.6, 1.4)) + middle * gain.astype(np.float32)
    image = np.clip(image, 0, 1) ** np.float32(rng.uniform(0.65, 1.5))
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.4:
        image = image + np.float32(rng.uniform(0.005, 0.05)) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image * 255, 0, 255).astype(np.uint8)


def _mirrored(view: TrainingView) -> TrainingView:
    assert view.depth_m is not None
    color, depth_m, labels = (np.ascontiguousarray(each[:, ::-1]) for each in (view.color, view.depth_m, view.labels))
    camera = dataclasses.replace(view.camera, cx=labels.shape[1] - 1 - view.camera.cx)
    return TrainingView(color, depth_m, labels, camera)


def _rotated(view: TrainingView, rng: np.random.Generator) -> TrainingView:
    """Turned about the principal point: there a rotation of the image is one of the camera, and depth stays."""
    if rng.random() >= _ROTATED_SHARE:
        return view
    assert view.depth_m is not None
    height, width = view.labels.shape
    angle = rng.uniform(-_MAX_ROTATION_DEG, _MAX_ROTATION_DEG)
    matrix = cv2.getRotationMatrix2D((view.camera.cx, view.camera.cy), angle, 1.0)
    size = (width, height)
    return TrainingView(
        cv2.warpAffine(view.color, matrix, size, flags=cv2.INTER_LINEAR),
        cv2.warpAffine(view.depth_m, matrix, size, flags=cv2.INTER_NEAREST),
        cv2.warpAffine(view.labels, matrix, size, flags=cv2.INTER_NEAREST),
        view.camera,
    )


def _cropped(view: TrainingView, rng: np.random.Generator, window: tuple[float, float]) -> TrainingView:
    """A window around a random pixel of a random object; now and then the whole, where windows get that large."""
    if window[1] >= 1 and rng.random() < _WHOLE_SHARE:
        return view
    assert view.depth_m is not None
    height, width = view.labels.shape
    scale, aspect = rng.uniform(*window), _MAX_ASPECT ** rng.uniform(-0.5, 0.5)
    crop_width = int(min(width, width * scale * aspect))
    crop_height = int(min(height, height * scale / aspect))
    center_x, center_y = _any_pixel_of_an_object(view.labels, rng)
    # The object is anywhere in the window, not always in its middle.
    left = int(np.clip(center_x - rng.uniform(0.15, 0.85) * crop_width, 0, width - crop_width))
    top = int(np.clip(center_y - rng.uniform(0.15, 0.85) * crop_height, 0, height - crop_height))
    part = (slice(top, top + crop_height), slice(left, left + crop_width))
    camera = dataclasses.replace(view.camera, cx=view.camera.cx - left, cy=view.camera.cy - top)
    return TrainingView(view.color[part], view.depth_m[part], view.labels[part], camera)


def _any_pixel_of_an_object(labels: NDArray[Any], rng: np.random.Generator) -> tuple[float, float]:
    """x, y; of every object as likely. Anywhere in a view without objects."""
    coarse = labels[::_COARSE, ::_COARSE]
    numbers = np.unique(coarse[coarse > 0])
    if not numbers.size:
        return rng.uniform(0, labels.shape[1]), rng.uniform(0, labels.shape[0])
    rows, columns = np.nonzero(coarse == rng.choice(numbers))
    pick = rng.integers(len(rows))
    return float(_COARSE * columns[pick]), float(_COARSE * rows[pick])


def _worn(depth_m: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Depth with a slightly wrong scale and, now and then, further holes."""
    depth_m = np.ascontiguousarray(depth_m * np.float32(rng.uniform(0.9, 1.1)))
    height, width = depth_m.shape
    if rng.random() < _PATCHES_SHARE and min(height, width) >= _SMALLEST_PATCHED:
        for _ in range(rng.integers(1, 8)):
            center = (int(rng.integers(width)), int(rng.integers(height)))
            axes = (int(rng.integers(2, width // 10)), int(rng.integers(2, height // 10)))
            cv2.ellipse(depth_m, center, axes, float(rng.uniform(0, 180)), 0, 360, 0.0, cv2.FILLED)
    return depth_m
