"""The topics on which the segmentation node publishes an answer, each only while somebody listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from sam_perception.frames import RgbdFrame
from sam_perception.masks import Mask, draw_overlay
from sam_perception.msg import ObjectMaskArray
from sam_perception.nodes.images import image_message
from sam_perception.nodes.messages import (
    LARGEST_LABEL,
    detections_message,
    frame_header,
    label_image_message,
    label_info_message,
    objects_message,
    whole_mask_message,
)
from sam_perception.nodes.throttled_warnings import ThrottledWarnings

_RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SamOutputs:
    """Publishes answers whole: what two threads publish does not mix.

    Attributes:
        shown_ns: stamp of the frame that ~/mask_overlay showed last; None when it showed none.
    """

    def __init__(self, node: Node, warnings: ThrottledWarnings) -> None:
        self._warnings = warnings
        self._objects = node.create_publisher(ObjectMaskArray, "~/objects", _RELIABLE)
        self._mask = node.create_publisher(Image, "~/mask", _RELIABLE)
        self._labels = node.create_publisher(Image, "~/label_image", _RELIABLE)
        self._label_info = node.create_publisher(LabelInfo, "~/label_info", _LATCHED)
        self._detections = node.create_publisher(Detection2DArray, "~/detections", _RELIABLE)
        self._overlay = node.create_publisher(Image, "~/mask_overlay", _RELIABLE)
        self._lock = threading.Lock()
        self._answered_at: float | None = None
        self.shown_ns: int | None = None

    def publish(self, frame: RgbdFrame, candidates: Sequence[Sequence[Mask]]) -> None:
        """An answer.

        Args:
            frame: that was answered on.
            candidates: for each object its masks, best first; only ~/objects carries more than the best.
        """
        best = [masks[0] for masks in candidates]
        with self._lock:
            self._answered_at = time.monotonic() if best else None
            if self._objects.get_subscription_count():
                self._objects.publish(objects_message(frame, [mask for masks in candidates for mask in masks]))
            if self._detections.get_subscription_count():
                self._detections.publish(detections_message(frame, best))
            if self._mask.get_subscription_count():
                self._mask.publish(whole_mask_message(frame, max(best, key=lambda mask: mask.score, default=None)))
            self._publish_labels(frame, best)
            if self._overlay.get_subscription_count():
                self._show(frame, draw_overlay(frame.color, best))

    def publish_nothing(self, header: Header) -> None:
        """That there are no objects, when there is no frame either."""
        with self._lock:
            self._objects.publish(ObjectMaskArray(header=header))

    def show_live(self, frame: RgbdFrame, hold_s: float) -> None:
        """The plain frame on the overlay, unless an answer is younger than ``hold_s``, or the frame was shown."""
        if not self._overlay.get_subscription_count():
            return
        with self._lock:
            held = self._answered_at is not None and time.monotonic() - self._answered_at < hold_s
            if not held and frame.stamp_ns != self.shown_ns:
                self._show(frame, frame.color)

    def forget(self) -> None:
        """What was shown and answered belongs to frames that are gone."""
        with self._lock:
            self._answered_at = self.shown_ns = None

    def _publish_labels(self, frame: RgbdFrame, masks: Sequence[Mask]) -> None:
        largest = max((mask.object_id for mask in masks), default=0)
        if largest > LARGEST_LABEL:
            text = f"no label image: object_id {largest} does not fit into its 16 bits; use ids up to {LARGEST_LABEL}"
            self._warnings.warn("labels", text)
            return
        self._label_info.publish(label_info_message(frame, masks))  # latched: for who comes later, too
        if self._labels.get_subscription_count():
            self._labels.publish(label_image_message(frame, masks))

    def _show(self, frame: RgbdFrame, picture: NDArray[np.uint8]) -> None:
        self._overlay.publish(image_message(picture, "rgb8", frame_header(frame)))
        self.shown_ns = frame.stamp_ns


def now_header(node: Node) -> Any:
    """A header with the time of now and no frame."""
    return Header(stamp=node.get_clock().now().to_msg())
