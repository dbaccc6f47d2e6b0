"""A camera made of librealsense's software_device: the tests push its frames in."""

import time

import numpy as np
import pytest

rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)

WIDTH, HEIGHT = 160, 120
BASELINE_MM = 50.0


def rs_intrinsics(width, height, focal, model=rs.distortion.none, coefficients=(0.0,) * 5, centre=None):
    """An rs.intrinsics; the principal point is the image's middle unless told."""
    result = rs.intrinsics()
    result.width, result.height = width, height
    result.fx = result.fy = focal
    result.ppx, result.ppy = centre or ((width - 1) / 2, (height - 1) / 2)
    result.model, result.coeffs = model, list(coefficients)
    return result


class SoftwareCamera:
    """A device with a stereo module and a colour camera."""

    def __init__(self, serial="101", color=None, depth=None, color_T_depth=None, unit_m=0.001, info=None, options=()):
        self.device = rs.software_device()
        said = {rs.camera_info.name: "Software D435", rs.camera_info.serial_number: serial, **(info or {})}
        for key, value in said.items():
            known = self.device.supports(key)
            (self.device.update_info if known else self.device.register_info)(key, value)
        self.depth_sensor = self.device.add_sensor("Stereo Module")
        self.color_sensor = self.device.add_sensor("RGB Camera")
        self._unit_m = unit_m
        self.depth_sensor.add_read_only_option(rs.option.depth_units, unit_m)
        self.depth_sensor.add_read_only_option(rs.option.stereo_baseline, BASELINE_MM)
        for sensor, option, allowed in options:
            getattr(self, sensor).add_option(option, allowed)
        color = color or rs_intrinsics(WIDTH, HEIGHT, 150.0)
        depth = depth or rs_intrinsics(WIDTH, HEIGHT, 100.0)
        self._depth = _add(self.depth_sensor, rs.stream.depth, 1, depth, rs.format.z16, 2)
        self._color = _add(self.color_sensor, rs.stream.color, 2, color, rs.format.rgb8, 3)
        extrinsics = rs.extrinsics()
        pose = np.eye(4) if color_T_depth is None else np.asarray(color_T_depth)
        extrinsics.rotation = pose[:3, :3].T.ravel().tolist()
        extrinsics.translation = pose[:3, 3].tolist()
        self._depth.register_extrinsics_to(self._color, extrinsics)
        self.device.create_matcher(rs.matchers.dlr_c)
        self.number = 0

    def push(self, color=None, depth=None, timestamp_ms=None, domain=rs.timestamp_domain.global_time):
        """Give one image of each; grey, and depth of 1 m, unless told."""
        self.number += 1
        timestamp_ms = time.time() * 1000 if timestamp_ms is None else timestamp_ms
        for sensor, profile, pixels, bytes_each in (
            (self.depth_sensor, self._depth, depth, 2),
            (self.color_sensor, self._color, color, 3),
        ):
            if pixels is None:
                size = (profile.height(), profile.width())
                full = np.full(size, round(1 / self._unit_m), np.uint16) if bytes_each == 2 else None
                pixels = np.full((*size, 3), 90, np.uint8) if full is None else full
            frame = rs.software_video_frame()
            frame.pixels, frame.bpp, frame.stride = pixels, bytes_each, pixels.shape[1] * bytes_each
            frame.timestamp, frame.domain, frame.frame_number = timestamp_ms, domain, self.number
            frame.profile = profile
            if bytes_each == 2:
                frame.depth_units = self._unit_m
            sensor.on_video_frame(frame)


def _add(sensor, kind, uid, intrinsics, pixels, bytes_each):
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid, stream.fmt, stream.bpp, stream.fps = kind, 0, uid, pixels, bytes_each, 30
    stream.width, stream.height, stream.intrinsics = intrinsics.width, intrinsics.height, intrinsics
    return sensor.add_video_stream(stream, True).as_video_stream_profile()
