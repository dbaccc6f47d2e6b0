"""Deprojecting a mask beside the per-pixel loop and beside comparable libraries where they are installed."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from sam_perception.evaluation.benchmarks.timing import Row, compared, median_ms
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.clouds import deproject_mask
from sam_perception.geometry.objects import measure_object
from sam_perception.masks import Mask

MASK_PIXELS = 30_000


def measure(frame: RgbdFrame, repeats: int) -> list[Row]:
    """Rows for a 640x480-like frame with a mask of 30,000 pixels that all have depth."""
    mask = disk_with_depth(frame)
    array = mask.to_array()
    subject = f"deproject {mask.area} px of {frame.width}x{frame.height}"
    quick = max(10 * repeats, 50)
    rows = [
        Row(subject, "sam_perception", median_ms(lambda: deproject_mask(frame, mask), quick), quick),
        Row(
            subject, "sam_perception, with colours", median_ms(lambda: deproject_mask(frame, mask).colors, quick), quick
        ),
    ]
    realsense = _module("pyrealsense2")
    if realsense is None:
        loop_ms = median_ms(lambda: loop_in_python(frame, array), repeats)
        rows.append(
            Row(subject, "loop over pixels, pure Python", loop_ms, repeats, note="pyrealsense2 is not installed")
        )
    else:
        loop_ms = median_ms(lambda: loop_over_realsense(frame, array, realsense), repeats)
        rows.append(Row(subject, "loop over rs2_deproject_pixel_to_point", loop_ms, repeats))
    rows += _open3d(subject, frame, array, quick)
    rows += _kornia(subject, frame, array, quick)
    rows = compared(rows)
    rows.append(
        Row(
            "measure an object",
            "cloud, clean-up, plane, box",
            median_ms(lambda: measure_object(frame, mask), quick),
            quick,
        )
    )
    return rows


def disk_with_depth(frame: RgbdFrame, pixels: int = MASK_PIXELS) -> Mask:
    """The pixels with depth that are nearest to the image's centre, ``pixels`` of them."""
    rows, columns = np.nonzero(frame.depth_m > 0)
    distance = (rows - frame.height / 2) ** 2 + (columns - frame.width / 2) ** 2
    chosen = np.argsort(distance, kind="stable")[:pixels]
    array = np.zeros(frame.size, dtype=bool)
    array[rows[chosen], columns[chosen]] = True
    return Mask.from_array(array)


def loop_over_realsense(frame: RgbdFrame, mask: np.ndarray, realsense: Any) -> list[list[float]]:
    """The code that this package replaces: librealsense's own function, pixel by pixel."""
    intrinsics = _realsense_intrinsics(frame.intrinsics, realsense)
    depth, scale = np.asarray(frame.depth), frame.depth_scale_m
    points = []
    for y, x in np.argwhere(mask):
        points.append(
            realsense.rs2_deproject_pixel_to_point(intrinsics, [float(x), float(y)], float(depth[y, x]) * scale)
        )
    return points


def loop_in_python(frame: RgbdFrame, mask: np.ndarray) -> list[list[float]]:
    """The same loop without librealsense, for a pinhole camera."""
    camera, depth, scale = frame.intrinsics, np.asarray(frame.depth), frame.depth_scale_m
    assert camera is not None
    points = []
    for y, x in np.argwhere(mask):
        z = float(depth[y, x]) * scale
        points.append([(float(x) - camera.cx) / camera.fx * z, (float(y) - camera.cy) / camera.fy * z, z])
    return points


def _realsense_intrinsics(camera: CameraIntrinsics | None, realsense: Any) -> Any:
    assert camera is not None
    intrinsics = realsense.intrinsics()
    intrinsics.width, intrinsics.height = camera.width, camera.height
    intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy = camera.fx, camera.fy, camera.cx, camera.cy
    intrinsics.model = realsense.distortion.inverse_brown_conrady
    intrinsics.coeffs = [*camera.distortion, 0.0, 0.0, 0.0, 0.0, 0.0][:5]
    return intrinsics


def _open3d(subject: str, frame: RgbdFrame, mask: np.ndarray, repeats: int) -> list[Row]:
    open3d = _module("open3d")
    if open3d is None:
        return []
    camera = frame.intrinsics
    assert camera is not None
    metric = np.asarray(frame.depth)
    pinhole = open3d.camera.PinholeCameraIntrinsic(
        camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy
    )
    color = open3d.geometry.Image(np.ascontiguousarray(frame.color))

    def rgbd() -> Any:
        depth = open3d.geometry.Image(np.where(mask, metric, 0).astype(np.uint16))
        return open3d.geometry.RGBDImage.create_from_color_and_depth(
            color, depth, depth_scale=1 / frame.depth_scale_m, depth_trunc=1e3, convert_rgb_to_intensity=False
        )

    def deproject(image: Any) -> object:
        return open3d.geometry.PointCloud.create_from_rgbd_image(image, pinhole)

    name, ready = f"Open3D {open3d.__version__} create_from_rgbd_image", rgbd()
    return [
        Row(subject, name, median_ms(lambda: deproject(ready), repeats), repeats, note="with colours"),
        Row(
            subject, f"{name}, from numpy", median_ms(lambda: deproject(rgbd()), repeats), repeats, note="with colours"
        ),
    ]


def _kornia(subject: str, frame: RgbdFrame, mask: np.ndarray, repeats: int) -> list[Row]:
    kornia = _module("kornia")
    if kornia is None:
        return []
    import torch
    from kornia.geometry.depth import depth_to_3d

    assert frame.intrinsics is not None
    depth = torch.from_numpy(frame.depth_m.copy())[None, None]
    matrix = torch.from_numpy(frame.intrinsics.matrix()).float()[None]
    pixels = torch.from_numpy(mask)

    def run() -> object:
        return depth_to_3d(depth, matrix)[0, :, pixels].T.contiguous()

    return [Row(subject, f"kornia {kornia.__version__} depth_to_3d", median_ms(run, repeats), repeats)]


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):
        return None
