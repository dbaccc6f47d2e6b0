"""The `sam_grasp` node: objects and depth in; clouds, oriented boxes, centroids and grasps in the target frame out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from tf2_ros import Buffer, TransformBroadcaster, TransformException, TransformListener
from vision_msgs.msg import Point2D

from sam_perception.background_jobs import BackgroundJobs
from sam_perception.errors import InvalidInputError, ModelUnavailableError, PerceptionError, in_one_sentence
from sam_perception.frame_history import format_stamp
from sam_perception.frames import NANOSECONDS, RgbdFrame
from sam_perception.geometry.cleaning import CloudCleaning
from sam_perception.geometry.rays import project
from sam_perception.grasping.gripper import Gripper, load_gripper
from sam_perception.masks import Mask
from sam_perception.msg import ObjectMaskArray, Prompt
from sam_perception.nodes.camera_messages import intrinsics_from_message
from sam_perception.nodes.grasp_messages import PlacedGrasp, grasps_message, place_grasps
from sam_perception.nodes.images import color_from_message, depth_from_message
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.measured_objects import GraspSettings, LatestObjects, MeasuredObjects
from sam_perception.nodes.messages import frame_header, mask_from_message, stamp_message, stamp_ns
from sam_perception.nodes.moveit_messages import (
    MoveItHand,
    link_transform,
    moveit_grasps,
    moveit_interfaces,
    object_name,
)
from sam_perception.nodes.object_messages import object_transforms, place_objects
from sam_perception.nodes.running import main as run_node
from sam_perception.nodes.sam_grasp_outputs import SamGraspOutputs
from sam_perception.nodes.sam_grasp_parameters import SAM_GRASP_PARAMETERS
from sam_perception.nodes.service_calls import ServiceCalls
from sam_perception.nodes.service_contents import show_contents
from sam_perception.nodes.throttled_warnings import ThrottledWarnings
from sam_perception.nodes.transform_messages import header_message, matrix_from_transform
from sam_perception.rgbd_frames import RgbdFrames
from sam_perception.srv import GraspAt, PlanGrasps, Segment, SegmentPoints

# Images best effort: that matches every publisher. A few may wait, so that colour and depth of one stamp both arrive.
_IMAGES = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
_RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_REQUESTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)  # of more that wait, DDS loses the oldest
_TF_SECONDS = 10.0  # how much longer than a frame its transforms are held
_STARTING_S = 60.0  # how long a request waits for a node that is starting
_SEGMENT_POINTS, _SEGMENT = "sam/segment_points", "sam/segment"


class SamGraspNode(ManagedNode):
    """See the module's sentence.

    Objects are measured, and planned on while somebody listens to grasps or markers, in a thread of their own. Each
    service plans in a callback group of its own, one request after the other: waiting for `sam` and planning take one
    of the executor's threads each, never the last.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("sam_grasp", SAM_GRASP_PARAMETERS, **options)
        self.add_on_set_parameters_callback(_refuse_unusable)  # asked before the table's, which takes what it allows
        self.warn = ThrottledWarnings(self.get_logger()).warn
        self._until_cleanup, self._until_deactivate = contextlib.ExitStack(), contextlib.ExitStack()
        self._frames, self._latest = RgbdFrames(), LatestObjects()
        self._settings, self._calls = GraspSettings(), ServiceCalls()
        # From the start: what a robot's TF was at an image's stamp cannot be had later.
        self._tf = Buffer(cache_time=Duration(seconds=_TF_SECONDS + self.parameters.history_seconds))
        self._tf_listener = TransformListener(self._tf, self)
        self._tf_broadcaster = TransformBroadcaster(self)

    # ---- lifecycle ----

    def configure(self) -> None:
        """Load gripper and planner, make the outputs and services."""
        self._settings.gripper(self.parameters.gripper)
        self._settings.planner(self.parameters.planner)
        link_transform(self.parameters.moveit_tcp)
        self._outputs = SamGraspOutputs(self)
        self._until_cleanup.callback(self._outputs.close)
        answers = ReentrantCallbackGroup()  # they come while a service waits for them
        self._segment_points = self._client(SegmentPoints, _SEGMENT_POINTS, answers)
        self._segment = self._client(Segment, _SEGMENT, answers)
        show_contents(self, self._service(GraspAt, "~/grasp_at", self._answering(self._grasp_at)))
        show_contents(self, self._service(PlanGrasps, "~/plan_grasps", self._answering(self._plan_grasps)))
        try:
            services = moveit_interfaces().srv
        except ModelUnavailableError as error:
            self.get_logger().info(f"~/planning_scene and ~/moveit_grasps are not offered: {error}")
        else:
            self._service(services.GraspPlanning, "~/moveit_grasps", self._moveit_grasps)

    def activate(self) -> None:
        """Listen to the camera and to the objects."""
        values = self.parameters
        jobs = BackgroundJobs(self._failed, "sam_grasp measures")
        self._until_deactivate.callback(self._latest.clear)
        self._until_deactivate.callback(jobs.close)
        self._frames = RgbdFrames(
            depth_slop_ns=int(values.depth_slop_s * NANOSECONDS),
            history_seconds=values.history_seconds,
            history_bytes=values.history_mb << 20,
            warn=lambda reason: self.warn(reason, reason),
        )
        self._until_deactivate.callback(self._frames.close)
        self._calls = ServiceCalls()
        self._until_deactivate.callback(self._calls.close)
        images, objects, clicks = (MutuallyExclusiveCallbackGroup() for _ in range(3))
        self._input(Image, "image", self._on_image, _IMAGES, images)
        self._input(Image, "depth", self._on_depth, _IMAGES, images)
        self._input(CameraInfo, "camera_info", self._on_camera_info, _IMAGES, images)

        def measure(message: Any) -> None:
            self._latest.newest = message
            jobs.submit_latest(lambda: self._answer(message))

        self._input(ObjectMaskArray, "objects", measure, _RELIABLE, objects)
        self._input(PointStamped, "/clicked_point", self._on_clicked_point, _RELIABLE, clicks)

    def deactivate(self) -> None:
        """Let go of the inputs and of the frames."""
        self._until_deactivate.close()

    def cleanup(self) -> None:
        """Take outputs and services away."""
        self._until_cleanup.close()

    def _client(self, kind: Any, name: str, group: Any) -> Any:
        client = self.create_client(kind, name, callback_group=group)
        self._until_cleanup.callback(self.destroy_client, client)
        return client

    def _service(self, kind: Any, name: str, callback: Any) -> Any:
        group = MutuallyExclusiveCallbackGroup()
        service = self.create_service(kind, name, callback, qos_profile=_REQUESTS, callback_group=group)
        self._until_cleanup.callback(self.destroy_service, service)
        return service

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
        try:
            if self._outputs.is_heard or self.parameters.publish_tf:
                self._measure_and_publish(message)
            elif len(message.objects):
                with contextlib.suppress(PerceptionError):
                    self._frame_of(message)  # is held for plan_grasps
        except TransformException as error:
            self.warn("transform", f"objects are left out: {error}")
        except PerceptionError as error:
            self.warn(type(error).__name__, f"objects are left out: {error}")

    def _failed(self, error: Exception) -> None:
        self.warn("failure", f"objects could not be measured: {type(error).__name__}: {error}")

    def _measure_and_publish(self, message: Any) -> None:
        values, outputs = self.parameters, self._outputs
        target = values.target_frame or message.header.frame_id
        header = header_message(message.header.stamp, target)
        objects, target_T_camera = None, np.eye(4)
        if len(message.objects):
            objects = self._measured(message)
            target_T_camera = self._lookup(target, objects.frame.frame_id, objects.frame.stamp_ns)
        geometries = [] if objects is None else objects.geometries
        placed = place_objects(geometries, target_T_camera)
        outputs.publish_objects(header, geometries, placed, target_T_camera)
        if values.publish_tf and placed:
            self._tf_broadcaster.sendTransform(object_transforms(header, placed))
        outputs.publish_scene(header, geometries, target_T_camera, values.collision_shape, values.table_margin_m)
        grasps, gripper = self._grasps_to_show(objects, target_T_camera)
        outputs.publish_grasps(header, placed, grasps, gripper, values.shown_grasps, values.retreat_distance_m)

    def _grasps_to_show(
        self, objects: MeasuredObjects | None, target_T_camera: NDArray[np.float64]
    ) -> tuple[list[PlacedGrasp], Gripper | None]:
        """Grasps of all objects and their gripper; a warning where there are none."""
        if objects is None or not self._outputs.wants_grasps(self.parameters.shown_grasps):
            return [], None
        try:
            gripper = self._settings.gripper(self.parameters.gripper)
            numbers = range(len(objects.geometries))
            grasps, reasons = self._planned(objects, numbers, target_T_camera, self.parameters.max_candidates)
        except Exception as error:  # whatever a planner that somebody added may raise costs the grasps alone
            self.warn("grasps", f"no grasps are planned: {in_one_sentence(error)}")
            return [], None
        for object_id, reason in reasons:
            self.warn(f"grasps {object_id}", f"object {object_id}: {reason}")
        return grasps, gripper

    def _planned(
        self,
        objects: MeasuredObjects,
        numbers: Sequence[int],
        target_T_camera: NDArray[np.float64],
        max_candidates: int,
    ) -> tuple[list[PlacedGrasp], list[tuple[int, str]]]:
        """Grasps of some of the objects, and what there is to say about which of them.

        Raises:
            InvalidInputError: the gripper cannot be read, or the planner refuses.
        """
        planner = self._settings.planner(self.parameters.planner)
        gripper = self._settings.gripper(self.parameters.gripper)
        geometries = [objects.geometries[number] for number in numbers]
        least = self.parameters.least_quality
        plans = [objects.plan(number, planner, gripper, max_candidates).at_least(least) for number in numbers]
        reasons = [
            (geometry.cloud.mask.object_id, reason)
            for geometry, plan in zip(geometries, plans, strict=True)
            for reason in dict.fromkeys((*plan.reasons, *geometry.reasons))
        ]
        return place_grasps(geometries, plans, target_T_camera, max_candidates), reasons

    def _frame_of(self, message: Any) -> RgbdFrame:
        held = self._latest.held_frame(message)
        if held is not None:
            return held
        frame = self._frames.wait_for(stamp_ns(message.header.stamp), self.parameters.input_timeout_s)
        if message.header.frame_id != frame.frame_id:
            raise InvalidInputError.for_field(
                "objects.header.frame_id", f"the image's frame {frame.frame_id!r}", repr(message.header.frame_id)
            )
        self._latest.hold_frame(message, frame)
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

    def _measured(self, message: Any) -> MeasuredObjects:
        names = ("steepest_surface_deg", "min_neighbours", "outlier_density", "cluster_gap_m", "noise_per_m")
        cleaning = CloudCleaning(**{name: getattr(self.parameters, name) for name in names})
        frame = self._frame_of(message)
        objects = self._latest.measured(message, cleaning, frame, lambda: self._masks(message))
        for geometry in objects.geometries:
            if geometry.centroid_m is None or geometry.is_estimated:
                what = "is estimated" if geometry.is_estimated else "has no place in space"
                reasons = "; ".join(geometry.reasons)
                self.warn("object", f"object {geometry.cloud.mask.object_id} {what}: {reasons}")
        return objects

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

    # ---- services; each in a callback group of its own ----

    def _grasp_at(self, request: Any, response: Any) -> None:
        if not np.isfinite([request.x, request.y]).all():
            raise InvalidInputError.for_field("x, y", "finite pixels", f"{request.x}, {request.y}")
        frame = self._frame_to_ask(stamp_ns(request.stamp))  # held from here on, however long sam takes
        click = Prompt(points=[Point2D(x=request.x, y=request.y)], point_labels=[Prompt.FOREGROUND])
        answer = self._calls.call(
            self._segment,
            Segment.Request(stamp=stamp_message(frame.stamp_ns), prompts=[click]),
            self.resolve_service_name(_SEGMENT),
            self.parameters.segment_timeout_s,
        )
        if not answer.success:
            raise PerceptionError(re.sub(r"prompts\[0\](\.points(\[0\])?)?", "x, y", answer.message))
        self._latest.newest = answer.result
        if answer.result.header == frame_header(frame):
            self._latest.hold_frame(answer.result, frame)
        self._fill(response, answer.result, (), request.max_candidates)

    def _frame_to_ask(self, at_ns: int) -> RgbdFrame:
        frame = self._frames.wait_for(at_ns, self.parameters.input_timeout_s) if at_ns else self._frames.newest
        if frame is None:
            raise InvalidInputError("no image with depth and camera_info has arrived: check the camera's topics")
        return frame

    def _plan_grasps(self, request: Any, response: Any) -> None:
        self._fill(response, self._segmented(), request.object_ids, request.max_candidates)

    def _fill(self, response: Any, message: Any, object_ids: Sequence[int], max_candidates: int) -> None:
        header, grasps, reasons = self._grasps_of(message, object_ids, max_candidates)
        response.grasps = grasps_message(header, grasps)
        response.success = bool(grasps)
        response.message = _in_words(reasons, len(message.objects))

    def _grasps_of(
        self, message: Any, object_ids: Sequence[int], max_candidates: int
    ) -> tuple[Any, list[PlacedGrasp], list[tuple[int, str]]]:
        """The header of grasps on an answer's objects, the grasps, and what there is to say about which object."""
        objects = self._measured(message)
        target = self.parameters.target_frame or objects.frame.frame_id
        target_T_camera = self._lookup(target, objects.frame.frame_id, objects.frame.stamp_ns)
        numbers = _numbers_of(objects, object_ids)
        grasps, reasons = self._planned(
            objects, numbers, target_T_camera, max_candidates or self.parameters.max_candidates
        )
        return header_message(message.header.stamp, target), grasps, reasons

    def _segmented(self) -> Any:
        message = self._latest.newest
        if message is None or not len(message.objects):
            raise PerceptionError(
                f"no objects are known: segment some first, with {self.resolve_service_name(_SEGMENT_POINTS)} or "
                f"{self.get_fully_qualified_name()}/grasp_at, and see that `objects` is remapped to sam's"
            )
        return message

    def _moveit_grasps(self, request: Any, response: Any) -> Any:
        """moveit_msgs/GraspPlanning: grasps of the target, `object_<id>`, or of all objects when it has no name."""
        code = response.error_code
        try:
            self._require_active()
            message = self._segmented()
            names = {object_name(each.object_id): each.object_id for each in message.objects}
            wanted = request.target.id
            if wanted and wanted not in names:
                raise InvalidInputError.for_field("target.id", f"one of {', '.join(names)}", repr(wanted))
            header, grasps, reasons = self._grasps_of(message, [names[wanted]] if wanted else [], 0)
            response.grasps = moveit_grasps(header, grasps, self._hand())
            code.val, text = (code.SUCCESS, "") if grasps else (code.PLANNING_FAILED, _in_words(reasons, len(names)))
        except InvalidInputError as error:
            code.val, text = code.INVALID_OBJECT_NAME, str(error)
        except TransformException as error:
            code.val, text = code.FRAME_TRANSFORM_FAILURE, str(error)
        except Exception as error:
            code.val, text = code.FAILURE, in_one_sentence(error)
        if hasattr(code, "message"):  # not on Humble
            code.message, code.source = text, self.get_fully_qualified_name()
        return response

    def _hand(self) -> MoveItHand:
        values = self.parameters
        return MoveItHand(
            self._settings.gripper(values.gripper),
            tuple(values.moveit_joints.split()),
            values.moveit_joint_open,
            values.moveit_joint_closed,
            values.moveit_max_effort,
            link_transform(values.moveit_tcp),
            values.retreat_distance_m,
        )

    def _answering(self, answer: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
        """A service's callback: whatever goes wrong becomes `success: false` and a sentence."""

        def callback(request: Any, response: Any) -> Any:
            try:
                self._require_active()
                answer(request, response)
            except (PerceptionError, TransformException) as error:
                response.success, response.message = False, str(error)
            except Exception as error:
                self.get_logger().error(f"a request failed: {in_one_sentence(error)}")
                response.success, response.message = False, f"the request failed: {in_one_sentence(error)}"
            return response

        return callback

    def _require_active(self) -> None:
        self.wait_for_autostart(_STARTING_S)
        if self.state != "active":
            name = self.get_fully_qualified_name()
            raise PerceptionError(f"the node is {self.state}: `ros2 lifecycle set {name} activate`")

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


def _numbers_of(objects: MeasuredObjects, object_ids: Sequence[int]) -> list[int]:
    """Where in ``objects.geometries`` the objects of these ids are; no ids: all."""
    known = {geometry.cloud.mask.object_id: number for number, geometry in enumerate(objects.geometries)}
    unknown = [int(object_id) for object_id in object_ids if object_id not in known]
    if unknown:
        ids = ", ".join(map(str, known))
        raise InvalidInputError.for_field("object_ids", f"ids of the newest answer ({ids})", unknown)
    return [known[object_id] for object_id in dict.fromkeys(map(int, object_ids))] or list(known.values())


def _in_words(reasons: Sequence[tuple[int, str]], count: int) -> str:
    if count == 1:
        return "; ".join(reason for _, reason in reasons)
    return "; ".join(f"object {object_id}: {reason}" for object_id, reason in reasons)


def _refuse_unusable(changes: Sequence[Any]) -> SetParametersResult:
    """What no range can say of a parameter."""
    checks = {"gripper": load_gripper, "moveit_tcp": link_transform}
    for change in changes:
        if change.name in checks and isinstance(change.value, str):
            try:
                checks[change.name](change.value)
            except PerceptionError as error:
                return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(SamGraspNode, args)
