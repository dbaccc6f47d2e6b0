"""The `camera` node on a RealSense, where realsense-ros is not: its topics and frames, through pyrealsense2."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from tf2_ros import StaticTransformBroadcaster

from sam_perception.frames import CameraIntrinsics
from sam_perception.nodes.camera_messages import camera_info_message
from sam_perception.nodes.diagnostics import InputRate
from sam_perception.nodes.images import image_message
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.realsense_diagnostics import RealSenseCondition, realsense_diagnostics
from sam_perception.nodes.realsense_parameters import (
    CAMERA_SETTINGS,
    REALSENSE_CAMERA_PARAMETERS,
    camera_settings,
    stream_settings,
)
from sam_perception.nodes.realsense_transforms import camera_transforms, optical_frame
from sam_perception.nodes.running import main as run_node
from sam_perception.nodes.throttled_warnings import ThrottledWarnings
from sam_perception.nodes.transform_messages import header_message
from sam_perception.realsense.camera import CameraListener, RealSenseCamera
from sam_perception.realsense.camera_frames import CameraFrames
from sam_perception.realsense.depth_units import metres, millimetres
from sam_perception.realsense.errors import CameraError
from sam_perception.realsense.library import realsense_library
from sam_perception.realsense.stream import Stream, check_stream

_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_COLOR, _ALIGNED, _DEPTH = "color", "aligned_depth_to_color", "depth"
_IMAGE_TOPICS = {_COLOR: "image_raw", _ALIGNED: "image_raw", _DEPTH: "image_rect_raw"}
_WARNING_PERIOD_S = 30.0

FindDevices = Callable[[], Sequence[Any]]


class RealSenseCameraNode(ManagedNode):
    """See the module's sentence.

    Args:
        find_devices: every rs.device that is plugged in; None: those of librealsense.
        options: of the node.
    """

    def __init__(self, find_devices: FindDevices | None = None, **options: Any) -> None:
        super().__init__("camera", REALSENSE_CAMERA_PARAMETERS, **{"namespace": "/camera", **options})
        self._find_devices = find_devices
        self._warnings = ThrottledWarnings(self.get_logger(), _WARNING_PERIOD_S)
        self._broadcaster = StaticTransformBroadcaster(self)
        self._images: dict[str, Any] = {}
        self._infos: dict[str, Any] = {}
        self._rates = {_COLOR: InputRate(), _DEPTH: InputRate()}
        self._camera: RealSenseCamera | None = None
        self._stream: Stream
        self._problem = ""
        self._depth_lag_ms = 0.0
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", _QOS)
        self.create_timer(1.0, self._publish_diagnostics, clock=self.steady_clock)
        self.parameters.on_change(self._on_parameter)

    # ---- lifecycle ----

    def configure(self) -> None:
        """Import pyrealsense2, and see whether the camera has what is asked of it.

        Raises:
            PerceptionError: it has not; with ``wait_for_device``, one that is not there is only warned of.
        """
        self._rs = realsense_library()
        self._find = self._find_devices or (lambda: list(self._rs.context().query_devices()))
        try:
            check_stream(self._rs, stream_settings(self.parameters), self._find)
        except CameraError as error:
            if not self.parameters.wait_for_device:
                raise
            self._on_problem(str(error))
        for name, topic in _IMAGE_TOPICS.items():
            if name == _ALIGNED and not self.parameters.align_depth:
                continue
            self._images[name] = self.create_publisher(Image, f"~/{name}/{topic}", _QOS)
            self._infos[name] = self.create_publisher(CameraInfo, f"~/{name}/camera_info", _QOS)

    def activate(self) -> None:
        """Open the camera in a thread of its own."""
        simulated = bool(self.get_parameter("use_sim_time").value)
        self._camera = RealSenseCamera(
            self._rs,
            stream_settings(self.parameters),
            camera_settings(self.parameters),
            CameraListener(self._on_open, self._on_frames, self._on_problem, self._on_note, self._on_end),
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            host_is_ros=not simulated,
            find_devices=self._find,
        )

    def deactivate(self) -> None:
        """Close the camera."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
        for rate in self._rates.values():
            rate.clear()
        self._problem = ""

    def cleanup(self) -> None:
        """Take the topics away."""
        for publishers in (self._images, self._infos):
            while publishers:
                self.destroy_publisher(publishers.popitem()[1])

    def _on_parameter(self, name: str, value: Any) -> None:
        camera = self._camera
        if camera is not None and name in CAMERA_SETTINGS:
            camera.change(camera_settings(self.parameters))

    # ---- called by the camera's thread ----

    def _on_open(self, stream: Stream) -> None:
        self._problem, self._stream = "", stream
        name = self.parameters.camera_name
        self._broadcaster.sendTransform(camera_transforms(name, stream.depth_T_color, self.get_clock().now().to_msg()))
        what = f"recording {self.parameters.recording} of" if stream.is_recording else "streams from"
        self.get_logger().info(
            f"{what} RealSense {stream.info}: colour {stream.color.width}x{stream.color.height}, "
            f"depth {stream.depth.width}x{stream.depth.height}, {stream.fps:g} fps"
        )
        for note in stream.notes:
            self.get_logger().warning(note)

    def _on_problem(self, sentence: str) -> None:
        self._problem = sentence
        self._warnings.warn(sentence, f"{sentence}; the node keeps trying")

    def _on_note(self, sentence: str) -> None:
        self._warnings.warn(sentence, sentence)

    def _on_end(self) -> None:
        self.get_logger().info(f"has played all of {self.parameters.recording}")

    def _on_frames(self, frames: CameraFrames) -> None:
        if frames.has_color:
            self._rates[_COLOR].tick()
            self._publish_color(frames)
        if frames.has_depth:
            self._rates[_DEPTH].tick()
            self._depth_lag_ms = frames.depth_lag_ms
            self._publish_depth(frames)

    # ---- topics out ----

    def _publish_color(self, frames: CameraFrames) -> None:
        header = self._header(frames, _COLOR)
        self._infos[_COLOR].publish(self._info(self._stream.color, header))
        if self._images[_COLOR].get_subscription_count():
            self._images[_COLOR].publish(image_message(frames.color, "rgb8", header))

    def _publish_depth(self, frames: CameraFrames) -> None:
        if self._wanted(_DEPTH):
            header = self._header(frames, _DEPTH)
            self._infos[_DEPTH].publish(self._info(frames.depth_intrinsics, header))
            self._images[_DEPTH].publish(self._depth_message(frames.depth, frames.depth_unit_m, header))
        if _ALIGNED in self._images and frames.has_color:
            header = self._header(frames, _COLOR)
            self._infos[_ALIGNED].publish(self._info(self._stream.color, header))
            if self._images[_ALIGNED].get_subscription_count():
                self._images[_ALIGNED].publish(self._depth_message(frames.aligned_depth, frames.depth_unit_m, header))

    def _wanted(self, name: str) -> bool:
        publishers = (self._images[name], self._infos[name])
        return any(publisher.get_subscription_count() for publisher in publishers)

    def _depth_message(self, depth: NDArray[np.uint16], unit_m: float, header: Any) -> Any:
        encoding = self.parameters.depth_encoding
        return image_message((millimetres if encoding == "16UC1" else metres)(depth, unit_m), encoding, header)

    def _header(self, frames: CameraFrames, stream: str) -> Any:
        stamp = Time(nanoseconds=frames.stamp_ns).to_msg()
        return header_message(stamp, optical_frame(self.parameters.camera_name, stream))

    def _info(self, intrinsics: CameraIntrinsics, header: Any) -> Any:
        if self.parameters.distortion_model == "plumb_bob" and intrinsics.is_distorted:
            intrinsics = dataclasses.replace(intrinsics, distortion_model="plumb_bob")
        return camera_info_message(intrinsics, header)

    def _publish_diagnostics(self) -> None:
        camera = self._camera
        condition = RealSenseCondition(
            self.state,
            self.last_failure,
            self._problem,
            camera.stream if camera else None,
            self._rates[_COLOR],
            self._rates[_DEPTH],
            camera.interruptions if camera else 0,
            camera.domain if camera else "",
            self._depth_lag_ms,
        )
        header = header_message(self.get_clock().now().to_msg(), "")
        self._diagnostics.publish(realsense_diagnostics(header, self.get_name(), condition))


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(RealSenseCameraNode, args)
