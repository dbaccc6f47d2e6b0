"""RealSenseCamera: a thread that opens a camera, hands on what it gives, and opens it again when it was unplugged."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from sam_perception.errors import PerceptionError, in_one_sentence
from sam_perception.realsense.camera_frames import CameraFrames, DepthProcessing
from sam_perception.realsense.errors import CameraError
from sam_perception.realsense.filters import FilterSettings
from sam_perception.realsense.pairing import FramePairing, Pair, TimedFrame
from sam_perception.realsense.sensor_options import SensorSettings
from sam_perception.realsense.stamps import StampClock, later_than
from sam_perception.realsense.stream import FindDevices, Stream, StreamSettings, open_stream

LONGEST_PAUSE_S = 10.0
_FIRST_PAUSE_S = 1.0
_LOOK_EVERY_S = 0.2


@dataclasses.dataclass(frozen=True)
class CameraSettings:
    """What can be changed while the camera runs.

    Attributes:
        sensors: exposure, gain and laser.
        filters: of the depth.
        silence_s: how long no image may come before the camera is opened again.
    """

    sensors: SensorSettings = dataclasses.field(default_factory=SensorSettings)
    filters: FilterSettings = dataclasses.field(default_factory=FilterSettings)
    silence_s: float = 5.0


@dataclasses.dataclass(frozen=True, eq=False)
class CameraListener:
    """Who is told, in the camera's thread; whatever they raise is a problem, and the camera goes on.

    Attributes:
        opened: a stream is open: at first, and after each interruption.
        arrived: the next images.
        problem: why there are no images, a sentence; again and again while it lasts.
        note: what else a user should know, a sentence.
        ended: a recording that does not loop is over.
    """

    opened: Callable[[Stream], object]
    arrived: Callable[[CameraFrames], object]
    problem: Callable[[str], object]
    note: Callable[[str], object]
    ended: Callable[[], object]


class RealSenseCamera:
    """Runs from when it is made until ``close``.

    Args:
        rs: pyrealsense2.
        stream_settings: what to open.
        settings: see ``change``.
        listener: who is told.
        now_ns: ROS time.
        host_is_ros: whether this computer's clock is ROS's; see StampClock.
        find_devices: every rs.device that is plugged in.

    Attributes:
        stream: the open one; None while there is none.
        interruptions: how often it had to be opened again.
        domain: of the last time stamp.
    """

    def __init__(
        self,
        rs: Any,
        stream_settings: StreamSettings,
        settings: CameraSettings,
        listener: CameraListener,
        now_ns: Callable[[], int],
        host_is_ros: bool,
        find_devices: FindDevices,
    ) -> None:
        self._rs = rs
        self._stream_settings = stream_settings
        self._settings = settings
        self._listener = listener
        self._now_ns = now_ns
        self._host_is_ros = host_is_ros
        self._find_devices = find_devices
        self._last_stamp_ns = {"color": -(1 << 62), "depth": -(1 << 62)}
        self._closing = threading.Event()
        self._used = settings
        self._clock: StampClock
        self._processing: DepthProcessing
        self.stream: Stream | None = None
        self.interruptions = 0
        self.domain = ""
        self._thread = threading.Thread(target=self._run, name="realsense", daemon=True)
        self._thread.start()

    def change(self, settings: CameraSettings) -> None:
        """Use other settings from the next image on."""
        self._settings = settings

    def close(self) -> None:
        """Stop the camera; nobody is told anything afterwards. Safe to call twice."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        pauses = _pauses()
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._stream_once()
                return
            except PerceptionError as error:
                self._tell(self._listener.problem, str(error))
            except Exception as error:
                self._tell(self._listener.problem, f"the camera failed: {in_one_sentence(error)}")
            self.interruptions += self.stream is not None
            self.stream = None
            if time.monotonic() - began > 2 * LONGEST_PAUSE_S:  # it had worked: begin with short pauses again
                pauses = _pauses()
            self._closing.wait(next(pauses))

    def _stream_once(self) -> None:
        """Until the camera is closed or a recording is over.

        Raises:
            PerceptionError: it cannot be opened, or is gone.
        """
        self._used = self._settings
        stream = open_stream(self._rs, self._stream_settings, self._used.sensors, self._find_devices)
        if not stream.is_recording:  # that camera again after an interruption, not another one
            self._stream_settings = dataclasses.replace(self._stream_settings, serial=stream.info.serial)
        try:
            self.stream = stream
            self._clock = StampClock(self._host_is_ros and not stream.is_recording)
            self._processing = DepthProcessing(self._rs, stream, self._used.filters)
            self._tell(self._listener.opened, stream)
            self._hand_on(stream)
        finally:
            stream.close()

    def _hand_on(self, stream: Stream) -> None:
        pairing = FramePairing(stream.fps)
        last = time.monotonic()
        while not self._closing.is_set():
            frames = stream.wait(_LOOK_EVERY_S)
            self._use_changes(stream)
            if frames is not None:
                last = time.monotonic()
                arrival_ns = self._now_ns()
                for pair in pairing.add(*(_timed(frame, arrival_ns) for frame in frames)):
                    self._tell(self._listener.arrived, self._stamped(pair))
                    del pair  # held over the wait, they would keep librealsense's buffers
            elif stream.is_over:
                self._tell(self._listener.ended)
                return
            elif time.monotonic() - last > self._used.silence_s:
                raise CameraError(
                    f"RealSense {stream.info} has sent no image for {self._used.silence_s:g} s: is its cable plugged "
                    "in, and is it a USB 3 cable?"
                )

    def _use_changes(self, stream: Stream) -> None:
        before, self._used = self._used, self._settings
        if self._used.sensors != before.sensors:
            for note in stream.apply(self._used.sensors):
                self._tell(self._listener.note, note)
        if self._used.filters != before.filters:
            self._processing = DepthProcessing(self._rs, stream, self._used.filters)

    def _stamped(self, pair: Pair) -> CameraFrames:
        color, depth = pair
        timed = color or depth
        assert timed is not None
        self.domain = timed.domain
        stamp_ns = self._clock.stamp_ns(timed.timestamp_ms, timed.domain, timed.arrival_ns)
        names = [name for name, frame in zip(("color", "depth"), pair, strict=True) if frame is not None]
        for name in names:
            stamp_ns = later_than(self._last_stamp_ns[name], stamp_ns)
        self._last_stamp_ns.update(dict.fromkeys(names, stamp_ns))
        lag_ms = depth.timestamp_ms - color.timestamp_ms if color and depth and color.domain == depth.domain else 0.0
        return CameraFrames(color and color.frame, depth and depth.frame, stamp_ns, self._processing, lag_ms)

    def _tell(self, listener: Callable[..., object], *what: Any) -> None:
        try:
            if not self._closing.is_set():
                listener(*what)
        except Exception as error:
            self._listener.note(f"an image is left out: {in_one_sentence(error)}")


def _timed(frame: Any, arrival_ns: int) -> TimedFrame | None:
    """None for the empty frame that stands for a stream without one."""
    if not frame:
        return None
    domain = str(frame.get_frame_timestamp_domain()).rpartition(".")[2]
    return TimedFrame(frame, int(frame.get_frame_number()), float(frame.get_timestamp()), domain, arrival_ns)


def _pauses() -> Any:
    """Seconds to wait before the camera is opened again: longer and longer."""
    doubling = (_FIRST_PAUSE_S * 2**i for i in itertools.count())
    return itertools.chain(
        itertools.takewhile(lambda s: s < LONGEST_PAUSE_S, doubling), itertools.repeat(LONGEST_PAUSE_S)
    )
