"""What the nodes cost on top of the model: service round trips over the wire, alone and from many clients at once."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Point2D

from sam_perception.evaluation.benchmarks.timing import Row, compared
from sam_perception.frames import RgbdFrame
from sam_perception.msg import Prompt
from sam_perception.nodes.client import Client, Inbox, granted
from sam_perception.nodes.images import image_message
from sam_perception.srv import Segment, SegmentPoints

IMAGE = "/camera/camera/color/image_raw"
_WARM_UP = 10


@dataclasses.dataclass(frozen=True)
class LoadResult:
    """Many requests from several clients at once.

    Attributes:
        requests: sent.
        answered: of these, with success.
        median_ms: from request to answer.
        p99_ms: 99 of 100 were faster.
        worst_ms: the slowest.
        memory_mb: resident memory of the segmentation node, each second from a tenth of the requests on.
    """

    requests: int
    answered: int
    median_ms: float
    p99_ms: float
    worst_ms: float
    memory_mb: list[float]


def measure(frame: RgbdFrame, repeats: int) -> list[Row]:
    """Rows of the time that a service takes beyond encoding and decoding, with the nodes running beside.

    Args:
        frame: the camera shows frames of this size.
        repeats: counted requests of each kind.

    Raises:
        PerceptionError: no answer, or one that says no.
    """
    x, y = frame.width / 2, frame.height / 2
    points = [Point2D(x=x, y=y)]
    prompts = [Prompt(points=points)]
    rclpy.init(args=[])
    try:
        with Client("bench") as client:
            client.first(Image, IMAGE)
            stamps = itertools.count(1)

            def with_image() -> Any:
                header = Header(frame_id="bench")
                header.stamp.sec = next(stamps)
                image = image_message(frame.color, "rgb8", header)
                return client.call(Segment, "/sam/segment", image=image, prompts=prompts)

            ways: dict[str, Callable[[], Any]] = {
                "segment_points, newest frame": lambda: client.call(
                    SegmentPoints, "/sam/segment_points", points=points
                ),
                "segment, newest frame, mask in the answer": lambda: client.call(
                    Segment, "/sam/segment", prompts=prompts
                ),
                "segment, image in the request": with_image,
            }
            subject = f"service round trip without encode and decode, {frame.width}x{frame.height}"
            rows = [_row(subject, way, call, repeats) for way, call in ways.items()]
        return compared(rows)
    finally:
        rclpy.try_shutdown()


def load(frame: RgbdFrame, clients: int, requests: int) -> LoadResult:
    """Ask from several clients at once, as fast as each is answered, while the camera runs.

    Raises:
        PerceptionError: the nodes are not there.
    """
    points = [Point2D(x=frame.width / 2, y=frame.height / 2)]
    rclpy.init(args=[])
    try:
        asking = [Client(f"bench_{i}") for i in range(clients)]
        asking[0].first(Image, IMAGE)
        diagnostics = asking[0].listen(DiagnosticArray, "/diagnostics")
        for client in asking:
            granted(client.call(SegmentPoints, "/sam/segment_points", points=points))
        times_ms: list[float] = []
        warm = threading.Event()

        def ask(client: Client) -> None:
            for _ in range(requests // clients):
                start = time.perf_counter()
                answer = client.call(SegmentPoints, "/sam/segment_points", points=points)
                if answer.success:
                    times_ms.append((time.perf_counter() - start) * 1e3)
                if len(times_ms) > requests / 10 and not warm.is_set():
                    warm.set()
                    diagnostics.clear()

        threads = [threading.Thread(target=ask, args=(client,)) for client in asking]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        memory_mb = _memory_of_sam(diagnostics)
        for client in asking:
            client.close()
    finally:
        rclpy.try_shutdown()
    ordered = sorted(times_ms)
    p99 = ordered[int(0.99 * (len(ordered) - 1))]
    asked = requests // clients * clients
    return LoadResult(asked, len(ordered), statistics.median(ordered), p99, ordered[-1], memory_mb)


def _row(subject: str, way: str, call: Callable[[], Any], repeats: int) -> Row:
    for _ in range(_WARM_UP):
        granted(call())
    overhead_ms, whole_ms = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = granted(call())
        whole_ms.append((time.perf_counter() - start) * 1e3)
        overhead_ms.append(whole_ms[-1] - answer.encode_ms - answer.decode_ms)
    note = f"whole round trip {statistics.median(whole_ms):.1f} ms"
    return Row(subject, way, statistics.median(overhead_ms), repeats, note=note)


def _memory_of_sam(diagnostics: Inbox) -> list[float]:
    return [
        float(entry.value)
        for message in diagnostics.messages
        for status in message.status
        if status.name.startswith("sam:")
        for entry in status.values
        if entry.key == "process memory (MB)"
    ]
