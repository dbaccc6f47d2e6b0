"""The `camera` node: plays the shipped scene, a folder of frames or a recording as realsense-ros would publish it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from tf2_ros import StaticTransformBroadcaster

from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.frames import RgbdFrame
from sam_perception.nodes.camera_messages import camera_info_message
from sam_perception.nodes.images import image_message
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.parameters import Parameter
from sam_perception.nodes.recordings import RecordingPlayback, is_recording
from sam_perception.nodes.running import main as run_node
from sam_perception.nodes.transform_messages import header_message, transform_message
from sam_perception.playback import FolderPlayback, Playback, sample_playback

SAMPLE_CAMERA_PARAMETERS = (
    Parameter(
        "source",
        "",
        "What to play: a folder of images, or a rosbag2 recording (a folder, .mcap or .db3); empty: the scene that "
        "ships with the package.",
        changeable=False,
    ),
    Parameter("rate_hz", 30.0, "Frames a second, whatever the source's own rate was.", minimum=0.1, maximum=240.0),
    Parameter("loop", True, "Begin again at the end of the source."),
    Parameter(
        "encoding",
        "rgb8",
        "Encoding of the colour images.",
        choices=("rgb8", "bgr8", "rgba8", "bgra8", "mono8"),
    ),
    Parameter(
        "depth_encoding",
        "16UC1",
        "Encoding of the depth images: 16UC1 in millimetres with 0 for no data, or 32FC1 in metres with NaN.",
        choices=("16UC1", "32FC1"),
    ),
    Parameter(
        "color_topic",
        "",
        "Topic of the colour images in a recording; empty: found by its name.",
        changeable=False,
    ),
    Parameter(
        "depth_topic",
        "",
        "Topic of the depth aligned to colour in a recording; empty: found by its name.",
        changeable=False,
    ),
)

# camera_color_frame is x forward, y left, z up; its optical frame x right, y down, z forward.
_COLOR_T_OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_OPTICAL_FRAME = "camera_color_optical_frame"  # where the source names none
_STREAMS = ("color", "aligned_depth_to_color")
_DEPTH_UNIT_M = 0.001


class SampleCameraNode(ManagedNode):
    """See the module's sentence; the topics are those of realsense-ros with `align_depth.enable:=true`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("camera", SAMPLE_CAMERA_PARAMETERS, **{"namespace": "/camera", **options})
        self._broadcaster = StaticTransformBroadcaster(self)
        self._images: dict[str, Any] = {}
        self._infos: dict[str, Any] = {}
        self._playback: Playback
        self._timer: Any = None
        self.parameters.on_change(self._on_parameter)

    def configure(self) -> None:
        """Open the source and read its first frame.

        Raises:
            PerceptionError: it cannot be played.
        """
        values = self.parameters
        self._playback = open_playback(values.source, values.color_topic, values.depth_topic)
        first = next(self._playback.frames(), None)
        if first is None:
            raise InvalidInputError(f"source: {self._playback.name} has no frames")
        for name in _STREAMS:
            self._images[name] = self.create_publisher(Image, f"~/{name}/image_raw", _QOS)
            self._infos[name] = self.create_publisher(CameraInfo, f"~/{name}/camera_info", _QOS)
        self._optical_frame = first.frame_id or _OPTICAL_FRAME
        self._send_static_transforms()
        for note in self._playback.notes:
            self.get_logger().warning(note)
        self.get_logger().info(f"plays {self._playback.name}")

    def activate(self) -> None:
        """Begin to play."""
        self._frames = self._playback.frames()
        self._start_timer()

    def deactivate(self) -> None:
        """Stop playing."""
        self._stop_timer()

    def cleanup(self) -> None:
        """Take the topics away."""
        for publishers in (self._images, self._infos):
            while publishers:
                self.destroy_publisher(publishers.popitem()[1])

    def _on_parameter(self, name: str, value: Any) -> None:
        if self.state == "active" and name in ("rate_hz", "loop"):
            self._stop_timer()
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer = self.create_timer(1 / self.parameters.rate_hz, self._play_next)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def _play_next(self) -> None:
        try:
            frame = self._next_frame()
        except PerceptionError as error:
            self.get_logger().error(f"stops playing: {error}")
            frame = None
        if frame is not None:
            self._publish(frame)
        elif self._timer is not None:
            self._timer.cancel()

    def _next_frame(self) -> RgbdFrame | None:
        frame = next(self._frames, None)
        if frame is None and self.parameters.loop:
            self._frames = self._playback.frames()
            frame = next(self._frames, None)
        if frame is None:
            self.get_logger().info(f"has played all of {self._playback.name}")
        return frame

    def _publish(self, frame: RgbdFrame) -> None:
        header = header_message(self.get_clock().now().to_msg(), self._optical_frame)
        for name, info in self._infos.items():
            if frame.intrinsics is not None and (name == "color" or frame.depth is not None):
                info.publish(camera_info_message(frame.intrinsics, header))
        color, depth = (self._images[name] for name in _STREAMS)
        if color.get_subscription_count():
            encoding = self.parameters.encoding
            color.publish(image_message(color_in_encoding(frame.color, encoding), encoding, header))
        if frame.depth is not None and depth.get_subscription_count():
            encoding = self.parameters.depth_encoding
            depth.publish(image_message(depth_in_encoding(frame, encoding), encoding, header))

    def _send_static_transforms(self) -> None:
        stamp, optical_frame = self.get_clock().now().to_msg(), self._optical_frame
        transforms = [
            transform_message(header_message(stamp, "camera_link"), "camera_color_frame", np.eye(4)),
            transform_message(header_message(stamp, "camera_color_frame"), optical_frame, _COLOR_T_OPTICAL),
        ]
        camera_T_table = self._playback.camera_T_table
        if camera_T_table is not None:
            transforms.append(transform_message(header_message(stamp, optical_frame), "table", camera_T_table))
        self._broadcaster.sendTransform(transforms)


def open_playback(source: str, color_topic: str = "", depth_topic: str = "") -> Playback:
    """What a source names: the sample, a folder of images, or a recording.

    Raises:
        PerceptionError: it is not there or cannot be read.
    """
    path = Path(source).expanduser()
    if not source:
        return sample_playback()
    if is_recording(path):
        return RecordingPlayback(path, color_topic, depth_topic)
    if not path.is_dir():
        raise InvalidInputError.for_field(
            "source", "a folder of images, or a rosbag2 recording (a folder, .mcap or .db3)", f"{source!r}"
        )
    return FolderPlayback(path)


def color_in_encoding(color: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    """An (H, W, 3) RGB image with its channels as the encoding has them."""
    conversions = {
        "bgr8": cv2.COLOR_RGB2BGR,
        "rgba8": cv2.COLOR_RGB2RGBA,
        "bgra8": cv2.COLOR_RGB2BGRA,
        "mono8": cv2.COLOR_RGB2GRAY,
    }
    return color if encoding == "rgb8" else np.asarray(cv2.cvtColor(color, conversions[encoding]), dtype=np.uint8)


def depth_in_encoding(frame: RgbdFrame, encoding: str) -> NDArray[np.generic]:
    """A frame's depth as (H, W) uint16 millimetres, 0 for no data, or float32 metres, NaN for no data."""
    depth = frame.depth
    if encoding == "32FC1":
        return np.where(frame.depth_m > 0, frame.depth_m, np.float32(np.nan))
    if depth is not None and depth.dtype == np.uint16 and frame.depth_scale_m == _DEPTH_UNIT_M:
        return depth
    millimetres = np.rint(frame.depth_m.astype(np.float64) / _DEPTH_UNIT_M)
    return np.where(millimetres > np.iinfo(np.uint16).max, 0, millimetres).astype(np.uint16)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(SampleCameraNode, args)
