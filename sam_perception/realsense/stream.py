"""Stream: colour and depth of one device, or of one of librealsense's recordings, until it is gone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sam_perception.errors import InvalidInputError
from sam_perception.realsense.calibration import intrinsics_from_realsense, matrix_from_extrinsics
from sam_perception.realsense.devices import DeviceInfo, device_info, find_device
from sam_perception.realsense.errors import CameraError, camera_error
from sam_perception.realsense.sensor_options import SensorSettings, apply_settings, use_global_time

FindDevices = Callable[[], Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class ProfileRequest:
    """Size and rate of a stream; 0 leaves it to the device."""

    width: int = 0
    height: int = 0
    fps: int = 0

    def __str__(self) -> str:
        size = f"{self.width or 'any'}x{self.height or 'any'}"
        return f"{size} at {self.fps or 'any'} fps"


@dataclasses.dataclass(frozen=True)
class StreamSettings:
    """What to open.

    Attributes:
        serial: number of the device; empty: the first.
        recording: path of a recording to play instead; empty: none.
        loop: whether a recording begins again at its end.
        color: of the colour stream; not of a recording.
        depth: of the depth stream; not of a recording.
    """

    serial: str = ""
    recording: str = ""
    loop: bool = True
    color: ProfileRequest = ProfileRequest()
    depth: ProfileRequest = ProfileRequest()


class Stream:
    """An open stream; made by ``open_stream``.

    Attributes:
        info: of the device; of a recording, that which it was made with.
        is_recording: whether it is one.
        notes: what a user should know, each a sentence.
        fps: of the faster of the two streams.
        color: CameraIntrinsics of the colour images.
        depth: CameraIntrinsics of the depth images before any filter.
        depth_T_color: (4, 4), takes points of the colour camera's optical frame to the depth camera's.
    """

    def __init__(self, rs: Any, source: _Source, settings: SensorSettings) -> None:
        self._rs = rs
        self._source = source
        self.info = device_info(rs, source.device)
        self.is_recording = bool(source.settings.recording)
        self.notes = [] if self.is_recording else _notes(source, self.info)
        color, depth = (source.profile.get_stream(kind) for kind in (rs.stream.color, rs.stream.depth))
        self.fps = float(max(color.fps(), depth.fps(), 1))
        self.color = intrinsics_from_realsense(color.as_video_stream_profile().get_intrinsics())
        self.depth = intrinsics_from_realsense(depth.as_video_stream_profile().get_intrinsics())
        self.depth_T_color = matrix_from_extrinsics(color.get_extrinsics_to(depth))
        if not self.is_recording:
            use_global_time(rs, list(source.device.query_sensors()))
            self.notes += self.apply(settings)
        try:
            source.pipeline.start(source.config)
        except RuntimeError as error:
            raise camera_error(f"RealSense {self.info} does not start", error) from error

    def apply(self, settings: SensorSettings) -> list[str]:
        """Set exposure, gain and laser; returns what could not be set, each a sentence."""
        if self.is_recording:
            return []
        rs = self._rs
        color, depth = (_sensor_of(self._source.device, kind) for kind in (rs.stream.color, rs.stream.depth))
        return apply_settings(rs, color, depth, settings)

    def wait(self, timeout_s: float) -> tuple[Any, Any] | None:
        """The newest rs.frame of colour and of depth, either of them perhaps once more; None when none came in time.

        Raises:
            CameraError: the device is gone.
        """
        try:
            arrived, frames = self._source.pipeline.try_wait_for_frames(round(timeout_s * 1000))
            return (frames.get_color_frame(), frames.get_depth_frame()) if arrived else None
        except RuntimeError as error:
            raise CameraError(
                f"RealSense {self.info} is gone: is its cable plugged in, and is it a USB 3 cable?"
            ) from error

    @property
    def is_over(self) -> bool:
        """Whether a recording has been played to its end."""
        if not self.is_recording or self._source.settings.loop:
            return False
        status = self._source.device.as_playback().current_status()
        return bool(status == self._rs.playback_status.stopped)

    def close(self) -> None:
        """Stop streaming; a device that is gone is no error."""
        try:
            self._source.pipeline.stop()
        except RuntimeError:
            return


@dataclasses.dataclass(frozen=True, eq=False)
class _Source:
    """A device, or a recording that looks like one, with streams chosen."""

    settings: StreamSettings
    device: Any
    others: list[DeviceInfo]
    pipeline: Any
    config: Any
    profile: Any


def open_stream(rs: Any, settings: StreamSettings, sensors: SensorSettings, find_devices: FindDevices) -> Stream:
    """Start streaming.

    Args:
        rs: pyrealsense2.
        settings: what to open.
        sensors: exposure and the like.
        find_devices: every rs.device that is plugged in.

    Raises:
        CameraError: the device is missing, busy or not ours.
        InvalidInputError: it has no such streams, or the recording cannot be played.
    """
    return Stream(rs, _resolve(rs, settings, find_devices), sensors)


def check_stream(rs: Any, settings: StreamSettings, find_devices: FindDevices) -> None:
    """Raise what ``open_stream`` would raise, as far as that can be known without starting."""
    _resolve(rs, settings, find_devices)


def _resolve(rs: Any, settings: StreamSettings, find_devices: FindDevices) -> _Source:
    pipeline, config = rs.pipeline(), rs.config()
    others: list[DeviceInfo] = []
    if settings.recording:
        device = _open_recording(rs, config, settings)
        for kind in (rs.stream.color, rs.stream.depth):
            config.enable_stream(kind)
    else:
        try:
            device, others = find_device(rs, find_devices(), settings.serial)
        except RuntimeError as error:
            if isinstance(error, CameraError):
                raise
            raise camera_error("looking for RealSense cameras failed", error) from error
        pipeline.set_device(device)
        for kind, request, pixels in (
            (rs.stream.color, settings.color, rs.format.rgb8),
            (rs.stream.depth, settings.depth, rs.format.z16),
        ):
            config.enable_stream(kind, -1, request.width, request.height, pixels, request.fps)
    try:
        profile = config.resolve(rs.pipeline_wrapper(pipeline))
    except RuntimeError as error:
        raise _unresolved(rs, device, settings, error) from error
    return _Source(settings, profile.get_device(), others, pipeline, config, profile)


def _open_recording(rs: Any, config: Any, settings: StreamSettings) -> Any:
    path = Path(settings.recording).expanduser()
    if not path.is_file():
        raise InvalidInputError.for_field("recording", "a .bag or .db3 file of librealsense", repr(settings.recording))
    try:
        device = rs.context().load_device(str(path))
        rs.config.enable_device_from_file(config, str(path), repeat_playback=settings.loop)
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise InvalidInputError(f"recording: {path} is not one of librealsense's, or is damaged: {said}") from error
    return device


def _unresolved(rs: Any, device: Any, settings: StreamSettings, error: RuntimeError) -> Exception:
    if "resolve" not in str(error).lower():
        return camera_error(f"RealSense {device_info(rs, device)} cannot be asked for its streams", error)
    missing = []
    for name, kind, request in (("color", rs.stream.color, settings.color), ("depth", rs.stream.depth, settings.depth)):
        there = _profiles(device, kind)
        asked = (request.width, request.height, request.fps)
        fits = [profile for profile in there if all(want in (0, has) for want, has in zip(asked, profile, strict=True))]
        if settings.recording and not there:
            missing.append(f"it has no {name} stream")
        elif not settings.recording and not fits:
            listed = ", ".join(f"{width}x{height}@{fps}" for width, height, fps in there) or "none"
            missing.append(f"{name}: {request} is not among {listed}")
    what = f"recording {settings.recording}" if settings.recording else f"RealSense {device_info(rs, device)}"
    return InvalidInputError(f"{what}: {'; '.join(missing) or 'this colour and depth cannot be had together'}")


def _profiles(device: Any, kind: Any) -> list[tuple[int, int, int]]:
    """Width, height and rate of every video profile of a kind of stream."""
    profiles = [
        profile.as_video_stream_profile()
        for sensor in device.query_sensors()
        for profile in sensor.get_stream_profiles()
        if profile.stream_type() == kind and profile.is_video_stream_profile()
    ]
    return sorted({(profile.width(), profile.height(), profile.fps()) for profile in profiles})


def _sensor_of(device: Any, kind: Any) -> Any:
    """The sensor that gives a kind of stream."""
    return next(
        sensor
        for sensor in device.query_sensors()
        if any(profile.stream_type() == kind for profile in sensor.get_stream_profiles())
    )


def _notes(source: _Source, info: DeviceInfo) -> list[str]:
    notes = []
    if info.is_on_usb2:
        notes.append(
            f"RealSense {info} is on USB {info.usb}: fewer sizes and rates work there; use a USB 3 port and cable"
        )
    if source.others and not source.settings.serial:
        others = ", ".join(str(other) for other in source.others)
        notes.append(f"RealSense {info} was taken, being the first; set serial_number to choose another: {others}")
    return notes
