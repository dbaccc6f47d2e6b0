"""What was asked while a recording was made, and what was answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from rclpy.serialization import deserialize_message
from vision_msgs.msg import Point2D

from sam_perception.errors import InvalidInputError
from sam_perception.nodes.interface_classes import interface_class
from sam_perception.nodes.messages import stamp_message, stamp_ns
from sam_perception.srv import SegmentPoints

EVENT = "/_service_event"
OBJECTS = "sam_perception/msg/ObjectMaskArray"
CLICKS = {"click": "geometry_msgs/msg/PointStamped", "mask_overlay_mouse_left": "geometry_msgs/msg/Point"}
SERVICES = {
    "segment": "sam_perception/srv/Segment",
    "segment_points": "sam_perception/srv/SegmentPoints",
    "segment_box": "sam_perception/srv/SegmentBox",
    "segment_text": "sam_perception/srv/SegmentText",
    "segment_everything": "sam_perception/srv/SegmentEverything",
    "track": "sam_perception/srv/Track",
    "stop_tracking": "sam_perception/srv/StopTracking",
    "clear": "std_srvs/srv/Trigger",
}

_REQUEST_RECEIVED, _RESPONSE_SENT = 1, 2  # of service_msgs/ServiceEventInfo
_UNANSWERED_KEPT = 1000

Signature = tuple[int, tuple[Any, ...]]


@dataclasses.dataclass(eq=False)
class RecordedPrompt:
    """A request to a service; a click is the request of ~/segment_points that asks the same.

    Attributes:
        at_ns: when it was answered, by the clock of the recording; where it never was, when it was asked.
        service: full name.
        kind: the service's class.
        request: as it was asked, with the stamp of the frame that it was answered on.
        shown: what it was, for a person.
        frame_ns: stamp of the frame that it was answered on; None: on none of the camera's.
        response: of the service; None for a click.
        objects: the message with the masks of the answer; None where no masks were recorded.
    """

    at_ns: int
    service: str
    kind: Any
    request: Any
    shown: str
    frame_ns: int | None = None
    response: Any = None
    objects: Any = None

    @property
    def node(self) -> str:
        """Full name of the node that was asked."""
        return self.service.rpartition("/")[0]


@dataclasses.dataclass
class _Published:
    """An answer on ~/objects, and where in the recording it lies."""

    at_ns: int
    connection: Any
    signature: Signature
    is_taken: bool = False


def sam_nodes(reader: Any) -> list[str]:
    """Full names of the nodes whose answers the recording has."""
    suffix = "/objects"
    topics = {each.topic for each in reader.connections if each.msgtype == OBJECTS and each.topic.endswith(suffix)}
    return sorted(topic.removesuffix(suffix) for topic in topics)


def read_prompts(reader: Any) -> list[RecordedPrompt]:
    """Everything that was asked, in the order of the answers.

    Args:
        reader: an open recording.

    Raises:
        InvalidInputError: messages that this version of sam_perception does not understand.
    """
    nodes = sam_nodes(reader)
    prompts, clicks, published = [], [], []
    for connection, at_ns, message in _messages(reader, nodes):
        if connection.msgtype == OBJECTS:
            published.append(_Published(at_ns, connection, signature(message)))
        elif connection.topic.endswith(EVENT):
            prompts.append((connection, at_ns, message))
        else:
            clicks.append(_click(connection, at_ns, message))
    asked = list(_paired(prompts))
    for prompt in asked:
        _find_answer_of_service(reader, prompt, published)
    for prompt in clicks:
        _find_answer_of_click(reader, prompt, published)
    return sorted([*asked, *clicks], key=lambda prompt: prompt.at_ns)


def signature(answer: Any) -> Signature:
    """What a summary and the masks of one answer have in common: its frame, and each object's id, score and place.

    Args:
        answer: an ObjectMaskArray, or the response of a service with summaries.
    """
    objects = tuple(
        (each.object_id, float(each.score), each.roi.x_offset, each.roi.y_offset, each.roi.width, each.roi.height)
        for each in answer.objects
    )
    return stamp_ns(answer.header.stamp), objects


def _messages(reader: Any, nodes: Iterable[str]) -> Iterator[tuple[Any, int, Any]]:
    wanted = {f"{node}/{name}": kind for node in nodes for name, kind in CLICKS.items()}
    wanted |= {f"{node}/objects": OBJECTS for node in nodes}
    wanted |= {f"{node}/{name}{EVENT}": f"{kind}_Event" for node in nodes for name, kind in SERVICES.items()}
    connections = [each for each in reader.connections if wanted.get(each.topic) == each.msgtype]
    for connection, at_ns, data in reader.messages(connections) if connections else ():
        yield connection, at_ns, decoded(connection, data)


def decoded(connection: Any, data: bytes) -> Any:
    """A message of a recording, of the class that is installed here.

    Raises:
        InvalidInputError: it does not fit: the recording was made with another definition of the type.
    """
    try:
        return deserialize_message(bytes(data), interface_class(connection.msgtype))
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(
            f"{connection.topic}: a message cannot be read as the {connection.msgtype} of this version: {error}"
        ) from error


def _click(connection: Any, at_ns: int, message: Any) -> RecordedPrompt:
    node, _, topic = connection.topic.rpartition("/")
    point = message.point if topic == "click" else message
    request = SegmentPoints.Request(points=[Point2D(x=point.x, y=point.y)])
    if topic == "click":
        request.stamp = message.header.stamp
    shown = f"{connection.topic} at ({point.x:g}, {point.y:g})"
    return RecordedPrompt(at_ns, f"{node}/segment_points", SegmentPoints, request, shown)


def _paired(events: Iterable[tuple[Any, int, Any]]) -> Iterator[RecordedPrompt]:
    """Each response with its request."""
    waiting: dict[tuple[Any, ...], RecordedPrompt] = {}
    for connection, at_ns, event in events:
        service = connection.topic.removesuffix(EVENT)
        key = service, bytes(event.info.client_gid), int(event.info.sequence_number)
        if event.info.event_type == _REQUEST_RECEIVED and len(event.request):
            kind = interface_class(connection.msgtype.removesuffix("_Event"))
            waiting[key] = RecordedPrompt(at_ns, service, kind, event.request[0], service)
            if len(waiting) > _UNANSWERED_KEPT:
                yield waiting.pop(next(iter(waiting)))
        elif event.info.event_type == _RESPONSE_SENT and len(event.response) and key in waiting:
            yield dataclasses.replace(waiting.pop(key), at_ns=at_ns, response=event.response[0])
    yield from waiting.values()


def _find_answer_of_service(reader: Any, prompt: RecordedPrompt, published: list[_Published]) -> None:
    response = prompt.response
    answer = getattr(response, "result", response)
    if response is None or not response.success or not hasattr(answer, "objects"):
        return
    if answer is not response:
        prompt.objects = answer
    wanted = signature(answer)
    found = [
        each for each in published if each.signature == wanted and each.connection.topic == f"{prompt.node}/objects"
    ]
    nearest = min(found, key=lambda each: (each.is_taken, abs(each.at_ns - prompt.at_ns)), default=None)
    if nearest is not None:
        nearest.is_taken = True
        prompt.objects = prompt.objects or _read_again(reader, nearest)
    if not has_own_image(prompt.request):
        prompt.frame_ns = wanted[0]
        prompt.request.stamp = stamp_message(prompt.frame_ns)


def _find_answer_of_click(reader: Any, prompt: RecordedPrompt, published: list[_Published]) -> None:
    asked_ns = stamp_ns(prompt.request.stamp)
    for each in published:
        is_later = each.at_ns >= prompt.at_ns and each.connection.topic == f"{prompt.node}/objects"
        if is_later and not each.is_taken and each.signature[1] and asked_ns in (0, each.signature[0]):
            each.is_taken = True
            prompt.objects, prompt.at_ns = _read_again(reader, each), each.at_ns
            prompt.frame_ns = each.signature[0]
            prompt.request.stamp = stamp_message(prompt.frame_ns)
            return


def has_own_image(request: Any) -> bool:
    """Whether a request brings its image, so that the camera's do not matter."""
    return hasattr(request, "image") and len(request.image.data) > 0


def _read_again(reader: Any, published: _Published) -> Any:
    at_ns = published.at_ns
    for connection, _, data in reader.messages([published.connection], start=at_ns, stop=at_ns + 1):
        message = decoded(connection, data)
        if signature(message) == published.signature:
            return message
    return None
