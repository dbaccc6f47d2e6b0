"""The `sam_grasp` node: objects and depth in; clouds, oriented boxes, centroids and markers in the target frame out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped, PoseArray
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_ros import Buffer, TransformBroadcaster, TransformException, TransformListener
from vision_msgs.msg import Detection3DArray, Point2D
from visualization_msgs.msg import MarkerArray

from sam_perception.background_jobs import BackgroundJobs
from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.frame_history import format_stamp
from sam_perception.frames import NANOSECONDS, RgbdFrame
from sam_perception.geometry.cleaning import CloudCleaning
from sam_perception.geometry.objects import ObjectGeometry, measure_object
from sam_perception.geometry.rays import project
from sam_perception.masks import Mask
from sam_perception.msg import GraspCandidateArray, ObjectMaskArray
from sam_perception.nodes.camera_messages import intrinsics_from_message
from sam_perception.nodes.clouds import cloud_message
from sam_perception.nodes.images import color_from_message, depth_from_message
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.messages import mask_from_message, stamp_message, stamp_ns
from sam_perception.nodes.object_messages import (
    boxes_message,
    centroids_message,
    markers_message,
    object_transforms,
    place_objects,
)
from sam_perception.nodes.parameters import Parameter
from sam_perception.nodes.running import main as run_node
from sam_perception.nodes.throttled_warnings import ThrottledWarnings
from sam_perception.nodes.transform_messages import header_message, matrix_from_transform
from sam_perception.rgbd_frames import RgbdFrames
from sam_perception.srv import GraspAt, PlanGrasps, SegmentPoints

_CLEANING = CloudCleaning()
SAM_GRASP_PARAMETERS = (
    Parameter(
        "target_frame",
        "",
        "Frame of all results, looked up in TF at the image's stamp; empty: the camera's optical frame.",
    ),
    Parameter("publish_tf", False, "Publish a frame object_<id> for each object, in the middle of its box."),
    Parameter(
        "input_timeout_s",
        0.5,
        "How long objects wait for the depth and camera_info of their image, seconds.",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "tf_timeout_s",
        0.5,
        "How long a lookup in TF waits for a transform of the image's stamp, seconds.",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "depth_slop_s",
        0.0,
        "How far the stamps of an image and its depth may differ, seconds; 0: not at all, as realsense-ros needs.",
        minimum=0.0,
        maximum=0.5,
        changeable=False,
    ),
    Parameter(
        "history_seconds",
        5.0,
        "How long a frame can be answered on, seconds.",
        minimum=0.0,
        maximum=600.0,
        changeable=False,
    ),
    Parameter("history_mb", 512, "Memory for the frames, megabytes.", minimum=1, maximum=65536, changeable=False),
    Parameter(
        "steepest_surface_deg",
        _CLEANING.steepest_surface_deg,
        "Angle between a surface's normal and the viewing ray, degrees, from which on a step in depth is an edge.",
        minimum=1.0,
        maximum=89.9,
    ),
    Parameter(
        "min_neighbours",
        _CLEANING.min_neighbours,
        "Of a pixel's 8 neighbours, how many must lie on its surface, or it is a flying pixel; 0: keep all.",
        minimum=0,
        maximum=8,
    ),
    Parameter(
        "outlier_density",
        _CLEANING.outlier_density,
        "Points go where the cloud is thinner than this share of its middle's density; 0: keep all.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "cluster_gap_m",
        _CLEANING.cluster_gap_m,
        "Parts of an object further apart than this are not the object, metres; 0: keep all.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "noise_per_m",
        _CLEANING.noise_per_m,
        "Standard deviation of the depth over depth squared, 1/m.",
        minimum=1e-6,
        maximum=1.0,
    ),
)

# Images best effort: that matches every publisher. A few may wait, so that colour and depth of one stamp both arrive.
_IMAGES = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
_RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_TF_SECONDS = 10.0  # how much longer than a frame its transforms are held
_SEGMENT_POINTS = "sam/segment_points"
_NO_GRASPS = "this version of sam_perception does not plan grasps"


class SamGraspNode(ManagedNode):
    """See the module's sentence. Grasps have their places (~/grasps, ~/grasp_at, ~/plan_grasps) and are not planned."""

    def __init__(self, **options: Any) -> None:
        super().__init__("sam_grasp", SAM_GRASP_PARAMETERS, **options)
        self.warn = ThrottledWarnings(self.get_logger()).warn
        self._until_cleanup, self._until_deactivate = contextlib.ExitStack(), contextlib.ExitStack()
        self._frames = RgbdFrames()
        # From the start: what a robot's TF was at an image's stamp cannot be had later.
        self._tf = Buffer(cache_time=Duration(seconds=_TF_SECONDS + self.parameters.history_seconds))
        self._tf_listener = TransformListener(self._tf, self)
        self._tf_broadcaster = TransformBroadcaster(self)

    # ---- lifecycle ----

    def configure(self) -> None:
        """Make the outputs and services."""
        self._cloud = self._output(PointCloud2, "~/cloud")
        self._boxes = self._output(Detection3DArray, "~/boxes")
        self._centroids = self._output(PoseArray, "~/centroids")
        self._markers = self._output(MarkerArray, "~/markers")
        self._output(GraspCandidateArray, "~/grasps")
        self._segment_points = self.create_client(SegmentPoints, _SEGMENT_POINTS)
        self._until_cleanup.callback(self.destroy_client, self._segment_points)
        for kind, name in ((GraspAt, "~/grasp_at"), (PlanGrasps, "~/plan_grasps")):
            self._until_cleanup.callback(self.destroy_service, self.create_service(kind, name, _without_grasps))

    def activate(self) -> None:
        """Listen to the camera and to the objects."""
        values = self.parameters
        jobs = BackgroundJobs(self._failed, "sam_grasp measures")
        self._until_deactivate.callback(jobs.close)
        self._frames = RgbdFrames(
            depth_slop_ns=int(values.depth_slop_s * NANOSECONDS),
            history_seconds=values.history_seconds,
            history_bytes=values.history_mb << 20,
            warn=lambda reason: self.warn(reason, reason),
        )
        self._until_deactivate.callback(self._frames.close)
        images, objects, clicks = (MutuallyExclusiveCallbackGroup() for _ in range(3))
        self._input(Image, "image", self._on_image, _IMAGES, images)
        self._input(Image, "depth", self._on_depth, _IMAGES, images)
        self._input(CameraInfo, "camera_info", self._on_camera_info, _IMAGES, images)

        def measure(message: Any) -> None:
            jobs.submit_latest(lambda: self._answer(message))

        self._input(ObjectMaskArray, "objects", measure, _RELIABLE, objects)
        self._input(PointStamped, "/clicked_point", self._on_clicked_point, _RELIABLE, clicks)

    def deactivate(self) -> None:
        """Let go of the inputs and of the frames."""
        self._until_deactivate.close()

    def cleanup(self) -> None:
        """Take outputs and services away."""
        self._until_cleanup.close()

    def _output(self, kind: Any, topic: str) -> Any:
        publisher = self.create_publisher(kind, topic, _RELIABLE)
        self._until_cleanup.callback(self.destroy_publisher, publisher)
        return publisher

    def _input(self, kind: Any, topic: str, callback: Any, qos: QoSProfile, group: Any) -> None:
        subscription = self.create_subscription(kind, topic, callback, qos, callback_group=group)
        self._until_deactivate.callback(self.destroy_subscription, subscription)

    # ---- inputs ----

    def _on_image(self, message: Any) -> None:
        try:
            color = color_from_message(message)
            self._frames.add_color(stamp_ns(message.header.stamp), message.header.frame_id, color)
        except PerceptionError as error:
            self.warn("image", f"an image is left out: {error}")

    def _on_depth(self, message: Any) -> None:
        try:
            depth = depth_from_message(message)
            self._frames.add_depth(stamp_ns(message.header.stamp), message.header.frame_id, depth)
        except PerceptionError as error:
            self.warn("depth", f"a depth image is left out: {error}")

    def _on_camera_info(self, message: Any) -> None:
        try:
            self._frames.set_intrinsics(message.header.frame_id, intrinsics_from_message(message))
        except PerceptionError as error:
            self.warn("camera_info", f"a camera_info is left out: {error}")

    # ---- objects; in the jobs' thread ----

    def _answer(self, message: Any) -> None:
        if not self._is_wanted():
            return
        try:
            self._measure_and_publish(message)
        except TransformException as error:
            self.warn("transform", f"objects are left out: {error}")
        except PerceptionError as error:
            self.warn(type(error).__name__, f"objects are left out: {error}")

    def _failed(self, error: Exception) -> None:
        self.warn("failure", f"objects could not be measured: {type(error).__name__}: {error}")

    def _is_wanted(self) -> bool:
        outputs = (self._cloud, self._boxes, self._centroids, self._markers)
        return self.parameters.publish_tf or any(output.get_subscription_count() for output in outputs)

    def _measure_and_publish(self, message: Any) -> None:
        target = self.parameters.target_frame or message.header.frame_id
        header = header_message(message.header.stamp, target)
        if not len(message.objects):
            self._publish(header, [], np.eye(4))
            return
        frame = self._frame_of(message)
        geometries = self._measured(frame, self._masks(message))
        target_T_camera = self._lookup(target, frame.frame_id, frame.stamp_ns)
        self._publish(header, geometries, target_T_camera)

    def _frame_of(self, message: Any) -> RgbdFrame:
        frame = self._frames.wait_for(stamp_ns(message.header.stamp), self.parameters.input_timeout_s)
        if message.header.frame_id != frame.frame_id:
            raise InvalidInputError.for_field(
                "objects.header.frame_id", f"the image's frame {frame.frame_id!r}", repr(message.header.frame_id)
            )
        return frame

    def _masks(self, message: Any) -> list[Mask]:
        """The masks that can be read, the first of each id: of several candidates that is the best."""
        masks: dict[int, Mask] = {}
        for each in message.objects:
            mask = self._mask_or_none(each, (message.image_height, message.image_width))
            if mask is not None:
                masks.setdefault(mask.object_id, mask)
        return list(masks.values())

    def _mask_or_none(self, message: Any, image_size: tuple[int, int]) -> Mask | None:
        try:
            return mask_from_message(message, image_size)
        except PerceptionError as error:
            self.warn("mask", f"object {message.object_id} is left out: {error}")
            return None

    def _measured(self, frame: RgbdFrame, masks: Sequence[Mask]) -> list[ObjectGeometry]:
        names = ("steepest_surface_deg", "min_neighbours", "outlier_density", "cluster_gap_m", "noise_per_m")
        cleaning = CloudCleaning(**{name: getattr(self.parameters, name) for name in names})
        geometries = []
        for mask in masks:
            others = [other for other in masks if other is not mask]
            geometry = measure_object(frame, mask, others, cleaning=cleaning)
            if geometry.centroid_m is None:
                self.warn("object", f"object {mask.object_id} has no place in space: {'; '.join(geometry.reasons)}")
            geometries.append(geometry)
        return geometries

    def _publish(self, header: Any, geometries: list[ObjectGeometry], target_T_camera: NDArray[np.float64]) -> None:
        placed = place_objects(geometries, target_T_camera)
        if self._cloud.get_subscription_count():
            self._cloud.publish(cloud_message(header, [each.cloud for each in geometries], target_T_camera))
        for publisher, to_message in (
            (self._boxes, boxes_message),
            (self._centroids, centroids_message),
            (self._markers, markers_message),
        ):
            if publisher.get_subscription_count():
                publisher.publish(to_message(header, placed))
        if self.parameters.publish_tf and placed:
            self._tf_broadcaster.sendTransform(object_transforms(header, placed))

    def _lookup(self, target: str, source: str, at_ns: int) -> NDArray[np.float64]:
        """(4, 4) target_T_source at a stamp; waits for it up to the parameter.

        Raises:
            TransformException: there is none.
        """
        if target == source:
            return np.eye(4)
        timeout_s = self.parameters.tf_timeout_s
        try:
            transform = self._tf.lookup_transform(
                target, source, Time(nanoseconds=at_ns), timeout=Duration(seconds=timeout_s)
            )
        except TransformException as error:
            raise TransformException(
                f"no transform from {source!r} to {target!r} at {format_stamp(at_ns)} within {timeout_s:g} s: {error}"
            ) from None
        return matrix_from_transform(transform.transform)

    # ---- clicks in RViz ----

    def _on_clicked_point(self, message: Any) -> None:
        try:
            frame = self._frames.newest
            if frame is None:
                raise InvalidInputError("no image with depth and camera_info has arrived")
            pixel = self._pixel_of(message, frame)
        except (PerceptionError, TransformException) as error:
            self.warn(f"click {type(error).__name__}", f"the clicked point is left out: {error}")
            return
        self._segment_at(frame, pixel)

    def _pixel_of(self, message: Any, frame: RgbdFrame) -> NDArray[np.float64]:
        """(2,) where the newest image shows a point.

        Raises:
            InvalidInputError: it does not.
            TransformException: nobody knows.
        """
        assert frame.intrinsics is not None
        point = np.array([message.point.x, message.point.y, message.point.z])
        if not np.isfinite(point).all():
            raise InvalidInputError.for_field("point", "finite metres", point.tolist())
        camera_T_point = self._lookup(frame.frame_id, message.header.frame_id, frame.stamp_ns)
        x, y = project(camera_T_point[:3, :3] @ point + camera_T_point[:3, 3], frame.intrinsics)
        if not (-0.5 <= x < frame.width - 0.5 and -0.5 <= y < frame.height - 0.5):
            where = f"at pixel ({x:.0f}, {y:.0f})" if np.isfinite([x, y]).all() else "behind the camera"
            raise InvalidInputError(f"{point.tolist()} in {message.header.frame_id!r} lies {where}, outside the image")
        return np.array([x, y])

    def _segment_at(self, frame: RgbdFrame, pixel: NDArray[np.float64]) -> None:
        service = self._segment_points
        if not service.service_is_ready():
            name = self.resolve_service_name(_SEGMENT_POINTS)
            self.warn("sam", f"the clicked point is left out: the service {name} is not there; start sam, or remap it")
            return
        x, y = (float(value) for value in pixel)
        request = SegmentPoints.Request(stamp=stamp_message(frame.stamp_ns), points=[Point2D(x=x, y=y)])
        service.call_async(request).add_done_callback(self._on_click_answer)

    def _on_click_answer(self, future: Any) -> None:
        try:
            answer = future.result()
            reason = "" if answer.success else answer.message
        except Exception as error:  # whatever the transport raises when sam goes away
            reason = str(error)
        if reason:
            self.warn("answer", f"the clicked point was not segmented: {reason}")


def _without_grasps(request: Any, response: Any) -> Any:
    response.success = False
    response.message = _NO_GRASPS
    return response


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(SamGraspNode, args)
