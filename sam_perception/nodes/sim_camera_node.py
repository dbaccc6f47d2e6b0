"""The `camera` node without a camera: simulated tabletop scenes as a D435 under realsense-ros would publish them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesis, ObjectHypothesisWithPose

from sam_perception.errors import PerceptionError, in_one_sentence
from sam_perception.nodes.camera_messages import camera_info_message
from sam_perception.nodes.images import image_message
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.messages import stamp_message
from sam_perception.nodes.realsense_transforms import FRAME_T_OPTICAL, camera_transforms, optical_frame
from sam_perception.nodes.running import main as run_node
from sam_perception.nodes.sim_camera_parameters import (
    CAMERA_SETTINGS,
    SIM_CAMERA_PARAMETERS,
    camera_settings,
    scene_settings,
)
from sam_perception.nodes.throttled_warnings import ThrottledWarnings
from sam_perception.nodes.transform_messages import header_message, pose_message, transform_message
from sam_perception.sim.depth_sensor import COLOR_TO_LEFT_M
from sam_perception.sim.live_camera import LiveCamera, LiveCameraListener, LookedAt
from sam_perception.sim.live_scene import LiveMoment, LiveScene, LiveSceneSettings, LiveView, PlacedTruth

TABLE_FRAME = "table"

_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_COLOR, _DEPTH = "~/color/image_raw", "~/aligned_depth_to_color/image_raw"
_INFOS = ("~/color/camera_info", "~/aligned_depth_to_color/camera_info")
_LABELS, _OBJECTS = "~/ground_truth/labels", "~/ground_truth/objects"
_SCENE_TIMEOUT_S = 60.0

# The left imager, where depth is measured from, and the colour camera, 15 mm to its left.
_DEPTH_T_COLOR = np.array([[1, 0, 0, -COLOR_TO_LEFT_M], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
_OPTICAL_T_LINK = np.linalg.inv(FRAME_T_OPTICAL @ _DEPTH_T_COLOR)

OpenScene = Callable[[LiveSceneSettings, int], LookedAt]


class SimCameraNode(ManagedNode):
    """See the module's sentence; the topics are those of realsense-ros with `align_depth.enable:=true`.

    Args:
        open_scene: makes what is looked at; None: a LiveScene.
        options: of the node.
    """

    def __init__(self, open_scene: OpenScene | None = None, **options: Any) -> None:
        super().__init__("camera", SIM_CAMERA_PARAMETERS, **{"namespace": "/camera", **options})
        self._open_scene = open_scene or LiveScene
        self._warnings = ThrottledWarnings(self.get_logger())
        self._static_broadcaster = StaticTransformBroadcaster(self)
        self._broadcaster = TransformBroadcaster(self)
        self._outputs: dict[str, Any] = {}
        self._camera: LiveCamera | None = None
        self._next_scene: Future[tuple[str, ...]]
        group = MutuallyExclusiveCallbackGroup()  # waits until the scene is there
        self.create_service(Trigger, "~/new_scene", self._new_scene, callback_group=group)
        self.parameters.on_change(self._on_parameter)

    # ---- lifecycle ----

    def configure(self) -> None:
        """Build the first scene.

        Raises:
            ModelUnavailableError: MuJoCo or a GL library is missing.
        """
        settings, seed = scene_settings(self.parameters), self.parameters.seed
        self._camera = LiveCamera(
            lambda: self._open_scene(settings, seed),
            camera_settings(self.parameters),
            LiveCameraListener(self._on_moved, self._someone_looks, self._on_seen, self._on_problem),
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
        )
        names = self._camera.wait_until_open()
        for topic in (_COLOR, _DEPTH, _LABELS):
            self._outputs[topic] = self.create_publisher(Image, topic, _QOS)
        for topic in _INFOS:
            self._outputs[topic] = self.create_publisher(CameraInfo, topic, _QOS)
        self._outputs[_OBJECTS] = self.create_publisher(Detection3DArray, _OBJECTS, _QOS)
        stamp = self.get_clock().now().to_msg()
        self._static_broadcaster.sendTransform(camera_transforms(self.parameters.camera_name, _DEPTH_T_COLOR, stamp))
        self.get_logger().info(_scene_sentence(seed, names))

    def activate(self) -> None:
        """Give frames."""
        assert self._camera is not None
        self._camera.start()

    def deactivate(self) -> None:
        """Give no more frames."""
        if self._camera is not None:
            self._camera.stop()

    def cleanup(self) -> None:
        """Let go of the scene, and take the topics away."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
        while self._outputs:
            self.destroy_publisher(self._outputs.popitem()[1])

    def _on_parameter(self, name: str, value: Any) -> None:
        camera = self._camera
        if camera is not None and name in CAMERA_SETTINGS:
            camera.change(camera_settings(self.parameters))
        elif camera is not None and name == "seed":
            self._next_scene = camera.show(value)
            self._next_scene.add_done_callback(lambda future: self._on_shown(value, future))

    def _new_scene(self, request: Any, response: Any) -> Any:
        try:
            response.message = self._show_next_scene()
            response.success = True
        except Exception as error:
            response.message = in_one_sentence(error)
        return response

    def _show_next_scene(self) -> str:
        """Count the seed up, and wait until its scene is there; says what it shows.

        Raises:
            PerceptionError: the node is not configured, there is no further seed, or the scene is still being built.
        """
        if self._camera is None:
            raise PerceptionError(f"the node is {self.state}: configure it, then ask for a scene")
        seed = self.parameters.seed + 1
        answer = self.set_parameters([Parameter("seed", value=seed)])[0]
        if not answer.successful:
            raise PerceptionError(answer.reason)
        try:
            return _scene_sentence(seed, self._next_scene.result(_SCENE_TIMEOUT_S))
        except FutureTimeoutError:
            raise PerceptionError(
                f"scene {seed} is still being built after {_SCENE_TIMEOUT_S:g} s; it is shown as soon as it is there"
            ) from None

    # ---- called by the camera's thread ----

    def _on_shown(self, seed: int, future: Future[tuple[str, ...]]) -> None:
        error = future.exception()
        if error is None:
            self.get_logger().info(_scene_sentence(seed, future.result()))
        else:
            self.get_logger().error(f"scene {seed} cannot be shown: {in_one_sentence(error)}")

    def _on_problem(self, sentence: str) -> None:
        self._warnings.warn(sentence, sentence)

    def _someone_looks(self) -> bool:
        return any(self._outputs[topic].get_subscription_count() for topic in (_COLOR, _DEPTH, _LABELS))

    def _on_moved(self, moment: LiveMoment) -> None:
        stamp, name = stamp_message(moment.stamp_ns), self.parameters.camera_name
        on_table = header_message(stamp, TABLE_FRAME)
        table_T_link = moment.table_T_camera @ _OPTICAL_T_LINK
        self._broadcaster.sendTransform(transform_message(on_table, f"{name}_link", table_T_link))
        info = camera_info_message(moment.camera, header_message(stamp, optical_frame(name, "color")))
        for topic in _INFOS:
            self._outputs[topic].publish(info)
        if self._outputs[_OBJECTS].get_subscription_count():
            self._outputs[_OBJECTS].publish(truth_message(on_table, moment.objects))

    def _on_seen(self, view: LiveView) -> None:
        frame = view.frame
        header = header_message(stamp_message(frame.stamp_ns), optical_frame(self.parameters.camera_name, "color"))
        for topic, pixels, encoding in (
            (_COLOR, frame.color, "rgb8"),
            (_DEPTH, frame.depth, "16UC1"),
            (_LABELS, view.labels, "mono8"),
        ):
            if pixels is not None and self._outputs[topic].get_subscription_count():
                self._outputs[topic].publish(image_message(pixels, encoding, header))


def truth_message(header: Any, objects: tuple[PlacedTruth, ...]) -> Any:
    """A Detection3DArray with the true box of each object; id is its pixels' label, class_id its name."""
    return Detection3DArray(header=header, detections=[_detection(header, truth) for truth in objects])


def _detection(header: Any, truth: PlacedTruth) -> Any:
    pose = pose_message(truth.table_T_object[:3, 3], truth.table_T_object[:3, :3])
    result = ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=truth.name, score=1.0))
    result.pose.pose = pose
    x, y, z = truth.size_m.tolist()
    box = BoundingBox3D(center=pose, size=Vector3(x=x, y=y, z=z))
    return Detection3D(header=header, results=[result], bbox=box, id=str(truth.label))


def _scene_sentence(seed: int, names: tuple[str, ...]) -> str:
    return f"scene {seed} shows {', '.join(names) or 'an empty table'}"


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(SimCameraNode, args)
