"""The topics of the node `sam_grasp`, each filled only while somebody listens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from sam_perception.errors import ModelUnavailableError
from sam_perception.geometry.objects import ObjectGeometry
from sam_perception.grasping.gripper import Gripper
from sam_perception.msg import GraspCandidateArray
from sam_perception.nodes.clouds import cloud_message
from sam_perception.nodes.grasp_messages import PlacedGrasp, grasps_message, gripper_markers
from sam_perception.nodes.moveit_messages import moveit_interfaces, planning_scene
from sam_perception.nodes.object_messages import PlacedObject, boxes_message, centroids_message, markers_message

_RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


class SamGraspOutputs:
    """Makes the publishers and, with ``close``, takes them away.

    ``~/planning_scene`` is there only where moveit_msgs is installed.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._until_close = contextlib.ExitStack()
        self._cloud = self._publisher(PointCloud2, "~/cloud")
        self._boxes = self._publisher(Detection3DArray, "~/boxes")
        self._centroids = self._publisher(PoseArray, "~/centroids")
        self._markers = self._publisher(MarkerArray, "~/markers")
        self._grasps = self._publisher(GraspCandidateArray, "~/grasps")
        self._scene: Any = None
        with contextlib.suppress(ModelUnavailableError):
            self._scene = self._publisher(moveit_interfaces().msg.PlanningScene, "~/planning_scene")
        self._in_scene: list[str] = []
        self._lock = threading.Lock()

    @property
    def is_heard(self) -> bool:
        """Whether somebody listens to any."""
        publishers = (self._cloud, self._boxes, self._centroids, self._markers, self._grasps, self._scene)
        return any(map(_is_heard, publishers))

    def wants_grasps(self, shown: int) -> bool:
        """Whether somebody listens to what needs grasps.

        Args:
            shown: how many grippers the markers show.
        """
        return _is_heard(self._grasps) or (shown > 0 and _is_heard(self._markers))

    def publish_objects(
        self,
        header: Any,
        geometries: Sequence[ObjectGeometry],
        placed: Sequence[PlacedObject],
        target_T_camera: NDArray[Any],
    ) -> None:
        """Clouds, boxes and centroids."""
        if _is_heard(self._cloud):
            self._cloud.publish(cloud_message(header, [each.cloud for each in geometries], target_T_camera))
        if _is_heard(self._boxes):
            self._boxes.publish(boxes_message(header, placed))
        if _is_heard(self._centroids):
            self._centroids.publish(centroids_message(header, placed))

    def publish_scene(
        self,
        header: Any,
        geometries: Sequence[ObjectGeometry],
        target_T_camera: NDArray[Any],
        shape: str,
        table_margin_m: float,
    ) -> None:
        """MoveIt's planning scene; see ``moveit_messages.planning_scene``."""
        if not _is_heard(self._scene):
            return
        with self._lock:
            scene = planning_scene(
                header, geometries, target_T_camera, shape=shape, table_margin_m=table_margin_m, gone=self._in_scene
            )
            added = [each for each in scene.world.collision_objects if each.operation == type(each).ADD]
            self._in_scene = [each.id for each in added]
            self._scene.publish(scene)

    def publish_grasps(
        self,
        header: Any,
        placed: Sequence[PlacedObject],
        grasps: Sequence[PlacedGrasp],
        gripper: Gripper | None,
        shown: int,
        retreat_m: float,
    ) -> None:
        """Grasps, and markers of objects and grippers.

        Args:
            header: of the messages.
            placed: the objects.
            grasps: best first.
            gripper: theirs; None: there are none.
            shown: how many grippers the markers show for each object.
            retreat_m: how far the markers lift the object.
        """
        if _is_heard(self._grasps):
            self._grasps.publish(grasps_message(header, grasps))
        if _is_heard(self._markers):
            grippers = [] if gripper is None else gripper_markers(header, grasps, gripper, shown, retreat_m)
            self._markers.publish(markers_message(header, placed, grippers))

    def close(self) -> None:
        """Take the publishers away. Safe to call twice."""
        self._until_close.close()

    def _publisher(self, kind: Any, topic: str) -> Any:
        publisher = self._node.create_publisher(kind, topic, _RELIABLE)
        self._until_close.callback(self._node.destroy_publisher, publisher)
        return publisher


def _is_heard(publisher: Any) -> bool:
    return publisher is not None and publisher.get_subscription_count() > 0
