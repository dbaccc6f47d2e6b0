"""The demo's client: clicks on every object of the shipped scene over the wire, and takes what comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import Detection3DArray, Point2D

from sam_perception.masks import Mask
from sam_perception.msg import ObjectMaskArray, Prompt
from sam_perception.nodes.client import Client, Inbox, NoAnswerError, granted, wait_until
from sam_perception.nodes.clouds import POINT
from sam_perception.nodes.images import color_from_message
from sam_perception.nodes.messages import mask_from_message
from sam_perception.srv import Segment, SegmentPoints

NODES = ("/sam", "/sam_grasp")
IMAGE = "/camera/camera/color/image_raw"
OUTPUTS = {
    "objects": (ObjectMaskArray, "/sam/objects"),
    "cloud": (PointCloud2, "/sam_grasp/cloud"),
    "centroids": (PoseArray, "/sam_grasp/centroids"),
    "boxes": (Detection3DArray, "/sam_grasp/boxes"),
}
_CLOUD_TIMEOUT_S = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class WireAnswer:
    """What came back for one click.

    Attributes:
        mask: from ~/objects.
        points: (N, 3) float32 metres in ``frame_id``, from ~/cloud.
        colors: (N, 3) uint8 RGB.
        centroid_m: (3,) in ``frame_id``, from ~/centroids.
        size_m: (3,) of the oriented box, from ~/boxes.
        frame_id: target frame.
        cached: whether the frame had been encoded before.
        service_ms: from the request to the answer of the service.
    """

    mask: Mask
    points: NDArray[np.float32]
    colors: NDArray[np.uint8]
    centroid_m: NDArray[np.float64]
    size_m: NDArray[np.float64]
    frame_id: str
    cached: bool
    service_ms: float


@dataclasses.dataclass(frozen=True, eq=False)
class WireResults:
    """Everything that the demo shows.

    Attributes:
        by_click: one answer for each object.
        by_box: the masks of all objects, asked for by box in one request.
        overlay: (H, W, 3) RGB, what ~/mask_overlay showed of it.
    """

    by_click: list[WireAnswer]
    by_box: list[Mask]
    overlay: NDArray[np.uint8]


def ask(objects: Sequence[dict[str, Any]]) -> WireResults:
    """Click on each object, then ask for all by their boxes; the nodes run in processes of their own.

    Args:
        objects: each with ``id``, ``click`` (x, y) and ``box`` in pixels.

    Raises:
        PerceptionError: no answer in time, or one that says no.
    """
    rclpy.init(args=[])
    try:
        with Client("demo") as client:
            inboxes = {name: client.listen(kind, topic) for name, (kind, topic) in OUTPUTS.items()}
            for node in NODES:
                client.wait_until_active(node)
            with contextlib.suppress(NoAnswerError):  # the clicks below say what is wrong
                wait_until(lambda: _comes_through(client, inboxes["cloud"], objects[0]), "a cloud")
            stamp = client.first(Image, IMAGE).header.stamp
            by_click = [_by_click(client, inboxes, stamp, item) for item in objects]
            by_box, overlay = _by_box(client, inboxes["objects"], stamp, objects)
            return WireResults(by_click, by_box, overlay)
    finally:
        rclpy.try_shutdown()


def _comes_through(client: Client, clouds: Inbox, item: dict[str, Any]) -> bool:
    """Whether a click on the newest frame becomes a cloud: active nodes may not have found each other's topics yet."""
    answer = _click(client, item)
    if not answer.success:
        return False
    try:
        clouds.wait(lambda message: message.header.stamp == answer.header.stamp, _CLOUD_TIMEOUT_S)
    except NoAnswerError:
        return False
    return True


def _click(client: Client, item: dict[str, Any], **fields: Any) -> Any:
    x, y = item["click"]
    return client.call(SegmentPoints, "/sam/segment_points", points=[Point2D(x=float(x), y=float(y))], **fields)


def _by_click(client: Client, inboxes: dict[str, Inbox], stamp: Any, item: dict[str, Any]) -> WireAnswer:
    for inbox in inboxes.values():
        inbox.clear()
    start = time.perf_counter()
    answer = granted(_click(client, item, stamp=stamp))
    service_ms = (time.perf_counter() - start) * 1e3
    got = {name: inbox.wait(lambda message: message.header.stamp == stamp) for name, inbox in inboxes.items()}
    cloud = np.frombuffer(got["cloud"].data, POINT)
    position = got["centroids"].poses[0].position
    size = got["boxes"].detections[0].bbox.size
    return WireAnswer(
        _masks(got["objects"])[0],
        np.column_stack([cloud[axis] for axis in "xyz"]),
        np.column_stack([cloud["rgb"] >> shift & 255 for shift in (16, 8, 0)]).astype(np.uint8),
        np.array([position.x, position.y, position.z]),
        np.array([size.x, size.y, size.z]),
        got["centroids"].header.frame_id,
        answer.embedding_cached,
        service_ms,
    )


def _by_box(
    client: Client, objects_inbox: Inbox, stamp: Any, objects: Sequence[dict[str, Any]]
) -> tuple[list[Mask], NDArray[np.uint8]]:
    overlays = client.listen(Image, "/sam/mask_overlay")
    overlays.wait()  # now it is drawn
    objects_inbox.clear()
    prompts = [Prompt(object_id=item["id"], box=[float(value) for value in item["box"]]) for item in objects]
    overlays.clear()
    answer = granted(client.call(Segment, "/sam/segment", stamp=stamp, prompts=prompts))
    overlay = overlays.wait(lambda message: message.header.stamp == stamp)
    return _masks(answer.result), color_from_message(overlay)


def _masks(message: Any) -> list[Mask]:
    return [mask_from_message(each, (message.image_height, message.image_width)) for each in message.objects]
