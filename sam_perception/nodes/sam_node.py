"""The segmentation node `sam`: images and prompts in, masks out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, PointStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from sam_perception.engine import SegmentationEngine, SegmentationResult
from sam_perception.errors import InvalidInputError, PerceptionError, in_one_sentence
from sam_perception.models import ModelOptions, load_model
from sam_perception.nodes.diagnostics import InputRate, SamCondition, diagnostics_message
from sam_perception.nodes.images import color_from_message, depth_from_message
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.messages import (
    box_prompt,
    fill_timings,
    frame_from_image,
    frame_header,
    in_fields_of_the_request,
    objects_message,
    points_prompt,
    prompts_from_messages,
    stamp_ns,
    summary_message,
)
from sam_perception.nodes.running import main as run_node
from sam_perception.nodes.sam_outputs import SamOutputs, now_header
from sam_perception.nodes.sam_parameters import SAM_PARAMETERS
from sam_perception.nodes.service_contents import show_contents
from sam_perception.nodes.throttled_warnings import ThrottledWarnings
from sam_perception.prompts import Prompt
from sam_perception.segmentation_session import SegmentationSession
from sam_perception.srv import (
    Segment,
    SegmentBox,
    SegmentEverything,
    SegmentPoints,
    SegmentText,
    StopTracking,
    Track,
)

# Best effort matches every publisher. Of images the newest counts; depth waits for the image of its stamp.
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_DEPTH = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)

_STARTING_S = 60.0  # how long a request waits for a node that is loading its model

_NOT_YET = {
    "text": "this version of sam_perception finds nothing by text: give points or a box",
    "everything": "this version of sam_perception does not segment everything at once: give points or boxes",
    "tracking": "this version of sam_perception follows no objects: set the parameter mode to continuous, which asks "
    "the last prompts again on every new frame",
}


class SamNode(ManagedNode):
    """See the module's sentence.

    Services answer in every state, if only with the reason why not. Topics in are there while the node is active.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("sam", SAM_PARAMETERS, **options)
        self._engine: SegmentationEngine | None = None
        self._session: SegmentationSession | None = None
        self._subscriptions_of_session: list[Any] = []
        self._overlay_timer: Any = None
        self._warnings = ThrottledWarnings(self.get_logger())
        self._outputs = SamOutputs(self, self._warnings)
        self._rate = InputRate()
        self._create_services()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", _RELIABLE)
        self._housekeeping = MutuallyExclusiveCallbackGroup()
        self.create_timer(1.0, self._publish_diagnostics, self._housekeeping, clock=self.steady_clock)
        self.parameters.on_change(self._on_parameter)

    def _create_services(self) -> None:
        # Prompts that come while a frame is being encoded are all answered from that encode: let them come.
        together = ReentrantCallbackGroup()
        for kind, name, answer, group in (
            (Segment, "~/segment", self._segment, together),
            (SegmentPoints, "~/segment_points", self._segment_points, together),
            (SegmentBox, "~/segment_box", self._segment_box, together),
            (SegmentText, "~/segment_text", _refusing("text"), together),
            (SegmentEverything, "~/segment_everything", _refusing("everything"), together),
            (Track, "~/track", _refusing("tracking"), together),
            (StopTracking, "~/stop_tracking", _refusing("tracking"), together),
            (Trigger, "~/clear", self._clear, MutuallyExclusiveCallbackGroup()),
        ):
            show_contents(self, self.create_service(kind, name, self._answering(answer), callback_group=group))

    # ---- lifecycle ----

    def configure(self) -> None:
        """Load the model."""
        values = self.parameters
        model = load_model(values.model, ModelOptions(values.device, values.precision, values.compile))
        self._engine = SegmentationEngine(
            model,
            history_seconds=values.history_seconds,
            history_bytes=values.history_mb << 20,
            cache_bytes=values.cache_mb << 20,
            encoding=values.encoding,
            keyframe_hz=values.keyframe_hz,
        )
        self.get_logger().info(f"model {model.name} runs on {model.device}")

    def activate(self) -> None:
        """Listen to the camera and to clicks."""
        values = self.parameters
        assert self._engine is not None
        self._session = SegmentationSession(
            self._engine,
            self._on_answer,
            self._warnings.warn,
            depth_slop_s=values.depth_slop_s,
            wait_s=values.stamp_wait_s,
            continuous=values.mode == "continuous",
        )
        group = MutuallyExclusiveCallbackGroup()
        for kind, topic, callback, qos in (
            (Image, "image", self._on_image, _NEWEST),
            (Image, "depth", self._on_depth, _DEPTH),
            (PointStamped, "~/click", self._on_click, _RELIABLE),
            (Point, "~/mask_overlay_mouse_left", self._on_overlay_click, _RELIABLE),
        ):
            subscription = self.create_subscription(kind, topic, callback, qos, callback_group=group)
            self._subscriptions_of_session.append(subscription)
        self._start_overlay_timer()

    def deactivate(self) -> None:
        """Let go of the inputs, the frames and the prompts."""
        self._stop_overlay_timer()
        while self._subscriptions_of_session:
            self.destroy_subscription(self._subscriptions_of_session.pop())
        session, self._session = self._session, None
        if session is not None:
            session.close()
        self._outputs.forget()
        self._rate.clear()

    def cleanup(self) -> None:
        """Let go of the model."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    # ---- topics in: nothing is computed in these callbacks ----

    def _on_image(self, message: Any) -> None:
        session = self._session
        if session is None:
            return
        try:
            session.add_color(stamp_ns(message.header.stamp), message.header.frame_id, color_from_message(message))
            self._rate.tick()
        except PerceptionError as error:
            self._warnings.warn("image", f"an image is left out: {error}")

    def _on_depth(self, message: Any) -> None:
        session = self._session
        if session is None:
            return
        try:
            session.add_depth(stamp_ns(message.header.stamp), message.header.frame_id, depth_from_message(message))
        except PerceptionError as error:
            self._warnings.warn("depth", f"a depth image is left out: {error}")

    def _on_click(self, message: Any) -> None:
        session = self._session
        if session is None:
            return
        try:
            session.click(message.point.x, message.point.y, _asked(message.header.stamp))
        except PerceptionError as error:
            self._warnings.warn("clicks", f"a click is left out: {error}")

    def _on_overlay_click(self, message: Any) -> None:
        session = self._session
        if session is not None:  # on what the picture shows, which may be some seconds old
            session.click(message.x, message.y, self._outputs.shown_ns, or_newest=True)

    # ---- services ----

    def _segment(self, request: Any, response: Any) -> None:
        session = self._active_session()
        self._refuse_too_many(sum(len(prompt.points) for prompt in request.prompts))
        prompts = prompts_from_messages(request.prompts)
        if len(request.image.data):
            assert self._engine is not None
            result = self._engine.segment(prompts, None, request.multimask, frame=frame_from_image(request.image))
        else:
            result = session.segment(prompts, _asked(request.stamp), request.multimask)
        response.result = objects_message(result.frame, [mask for masks in result.candidates for mask in masks])
        fill_timings(response, result)

    def _segment_points(self, request: Any, response: Any) -> None:
        session = self._active_session()
        self._refuse_too_many(len(request.points))
        self._segment_one(session, points_prompt(request.points, request.point_labels), request, response)

    def _segment_box(self, request: Any, response: Any) -> None:
        self._segment_one(self._active_session(), box_prompt(request.box), request, response)

    def _segment_one(self, session: SegmentationSession, prompt: Prompt, request: Any, response: Any) -> None:
        try:
            result = session.segment([prompt], _asked(request.stamp), request.multimask)
        except PerceptionError as error:  # this request has no list of prompts
            raise PerceptionError(str(error).removeprefix("prompts[0]: ")) from None
        response.header = frame_header(result.frame)
        response.objects = [summary_message(mask) for masks in result.candidates for mask in masks]
        fill_timings(response, result)

    def _clear(self, request: Any, response: Any) -> None:
        count = self._active_session().clear()
        newest = None if self._engine is None else self._engine.newest_frame
        if newest is None:
            self._outputs.publish_nothing(now_header(self))
        else:
            self._outputs.publish(newest, [])
        response.message = f"{count} prompts are forgotten"

    def _answering(self, answer: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
        """A service's callback: whatever goes wrong becomes `success: false` and a sentence."""

        def callback(request: Any, response: Any) -> Any:
            try:
                answer(request, response)
                response.success = True
            except PerceptionError as error:
                response.success, response.message = False, in_fields_of_the_request(str(error))
            except Exception as error:
                self.get_logger().error(f"a request failed: {in_one_sentence(error)}")
                response.success, response.message = False, f"the request failed: {in_one_sentence(error)}"
            return response

        return callback

    def _active_session(self) -> SegmentationSession:
        self.wait_for_autostart(_STARTING_S)
        session = self._session
        if self.state == "active" and session is not None:
            return session
        transition = "activate" if self.state == "inactive" else "configure` and then `activate"
        reason = f" ({self.last_failure})" if self.last_failure else ""
        name = self.get_fully_qualified_name()
        raise PerceptionError(f"the node is {self.state}{reason}: `ros2 lifecycle set {name} {transition}`")

    def _refuse_too_many(self, points: int) -> None:
        if points > self.parameters.max_points:
            most = f"at most {self.parameters.max_points} in a request (parameter max_points)"
            raise InvalidInputError.for_field("points", most, points)

    # ---- topics out ----

    def _on_answer(self, result: SegmentationResult) -> None:
        if self.state == "active":
            self._outputs.publish(result.frame, result.candidates)

    def _show_live(self) -> None:
        newest = None if self._engine is None else self._engine.newest_frame
        if newest is not None:
            self._outputs.show_live(newest, self.parameters.overlay_hold_s)

    def _publish_diagnostics(self) -> None:
        engine = self._engine
        newest = None if engine is None else engine.newest_frame
        now_ns = self.get_clock().now().nanoseconds
        condition = SamCondition(
            state=self.state,
            failure=self.last_failure,
            model=self.parameters.model,
            device="" if engine is None else engine.model.device,
            image_topic=self.resolve_topic_name("image"),
            rate=self._rate,
            frame_age_s=None if newest is None else (now_ns - newest.stamp_ns) / 1e9,
            stats=None if engine is None else engine.stats,
        )
        self._diagnostics.publish(diagnostics_message(now_header(self), self.get_name(), condition))

    # ---- parameters ----

    def _on_parameter(self, name: str, value: Any) -> None:
        session = self._session
        if session is None:
            return
        if name == "mode":
            session.continuous = value == "continuous"
        elif name == "stamp_wait_s":
            session.wait_s = value
        elif name == "depth_slop_s":
            session.set_depth_slop(value)
        elif name == "overlay_rate_hz":
            self._stop_overlay_timer()
            self._start_overlay_timer()

    def _start_overlay_timer(self) -> None:
        period_s = 1 / self.parameters.overlay_rate_hz
        self._overlay_timer = self.create_timer(period_s, self._show_live, self._housekeeping, clock=self.steady_clock)

    def _stop_overlay_timer(self) -> None:
        timer, self._overlay_timer = self._overlay_timer, None
        if timer is not None:
            self.destroy_timer(timer)


def _refusing(what: str) -> Callable[[Any, Any], None]:
    def answer(request: Any, response: Any) -> None:
        raise PerceptionError(_NOT_YET[what])

    return answer


def _asked(stamp: Any) -> int | None:
    """The stamp that a request names; None: the newest frame."""
    return stamp_ns(stamp) or None


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see running.main."""
    return run_node(SamNode, args)


if __name__ == "__main__":
    sys.exit(main())
