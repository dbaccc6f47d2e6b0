"""What a node sends and receives through: publishers, subscriptions, services and clients."""

from __future__ import annotations

import abc
import hashlib
import struct
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import zenoh.ext
from service_msgs.msg import ServiceEventInfo
from zenoh.handlers import Callback

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.service_introspection import ServiceIntrospectionState
from rclpy.task import Future
from sam_perception.standalone.graph import CLIENT, PUBLISHER, SERVICE, SUBSCRIPTION, Entity
from sam_perception.standalone.interfaces import type_hash
from sam_perception.standalone.messages import SerializationError, deserialize, serialize, type_name

if TYPE_CHECKING:
    from rclpy.node import Node

_ATTEMPTS, _PAUSE_S = 20, 0.1  # of a request that has reached nobody


class Endpoint(abc.ABC):
    """Base of all; zenoh's threads put what arrives into a queue, an executor takes it from there."""

    kind: ClassVar[str]

    def __init__(
        self,
        node: Node,
        interface: Any,
        name: str,
        qos_profile: QoSProfile,
        callback_group: CallbackGroup | None = None,
        callback: Callable[..., Any] = print,
    ) -> None:
        self.node, self.interface, self.name, self.qos_profile = node, interface, name, qos_profile
        self.callback_group, self.callback = callback_group or node.default_callback_group, callback
        self._graph, self._lock, interface_name = node.graph, threading.Lock(), type_name(interface)
        place = (node.get_namespace(), node.get_name(), name)
        self._entity = Entity(self.kind, *place, interface_name, type_hash(interface_name), qos_profile.codes())
        self._key = self._entity.data_key(self._graph.domain)
        self._arrived: deque[Any] = deque()
        self._handle = self._open(self._graph.session)  # before the token: who sees the token may send at once
        self._token = node.enter(self._entity)
        # rmw_zenoh hashes the token with XXH3; receivers only need 16 bytes that nobody else sends
        self._gid = hashlib.blake2b(self._token.encode(), digest_size=16).digest()
        self._sent = 0

    @abc.abstractmethod
    def _open(self, session: zenoh.Session) -> Any:
        """Declare it; what zenoh returns is its handle."""

    def _send(self, method: str, message: Any, expected: type, *handlers: Callback) -> None:
        """Hand a message to zenoh's publisher or querier, with its number, the time and the sender."""
        if not isinstance(message, (expected, bytes)):
            raise TypeError(f"Expected {expected}, got {type(message)}")
        payload = message if isinstance(message, bytes) else serialize(message)
        with self._lock:
            if self._handle is None or not self.node.context.ok():
                raise RuntimeError(f"{self.name}: nothing can be sent any more, it was destroyed or rclpy shut down")
            self._sent += 1
            attachment = struct.pack("<qqB16s", self._sent, time.time_ns(), 16, self._gid)
            getattr(self._handle, method)(*handlers, payload=payload, attachment=attachment)

    def _put(self, item: Any) -> None:
        self._arrived.append(item)
        self.node.wake_executor()

    def ready_in(self) -> float | None:
        """Seconds until there is work, None while nothing is foreseen."""
        return 0.0 if self._arrived else None

    def take(self) -> Callable[[], Any]:
        """The next piece of work."""
        return partial(self._work_on, self._arrived.popleft())

    def _work_on(self, item: Any) -> None:  # noqa: B027
        """Handle what has arrived; a publisher hears nothing."""

    def destroy(self) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
        self._graph.undeclare(self._token)
        handle.undeclare()


class Publisher(Endpoint):
    """Sends messages of one type on one topic."""

    kind = PUBLISHER
    topic_name = property(lambda self: self.name)

    def _open(self, session: zenoh.Session) -> Any:
        """A reliable one waits where there is no room, one that is transient local keeps messages for late comers."""
        is_reliable = self.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        congestion = zenoh.CongestionControl.BLOCK if is_reliable else zenoh.CongestionControl.DROP
        if self.qos_profile.durability == DurabilityPolicy.VOLATILE:
            return session.declare_publisher(self._key, congestion_control=congestion)
        cache = zenoh.ext.CacheConfig(max_samples=self.qos_profile.depth)
        return zenoh.ext.declare_advanced_publisher(
            session, self._key, congestion_control=congestion, cache=cache, publisher_detection=True
        )

    def publish(self, msg: Any) -> None:
        self._send("put", msg, self.interface)

    def get_subscription_count(self) -> int:
        return sum(self._entity.matches(other) for other in self._graph.entities(SUBSCRIPTION, name=self.name))


class Subscription(Endpoint):
    """Calls back with each message of a topic, or with the newest ones where it cannot keep up."""

    kind = SUBSCRIPTION
    topic_name = property(lambda self: self.name)

    def __init__(self, *args: Any, raw: bool) -> None:
        self._known_types: set[str] = set()
        self._is_raw = raw
        super().__init__(*args)
        self._graph.on_new.append(self._check_type)
        for other in self._graph.entities(PUBLISHER, name=self.name):
            self._check_type(other)

    def _open(self, session: zenoh.Session) -> Any:
        depth = self.qos_profile.depth
        self._arrived = deque(maxlen=depth)
        receive = Callback(self._put, indirect=False)
        if self.qos_profile.durability == DurabilityPolicy.VOLATILE:
            return session.declare_subscriber(self._key, receive)
        history = zenoh.ext.HistoryConfig(detect_late_publishers=True, max_samples=depth)
        return zenoh.ext.declare_advanced_subscriber(session, self._key, receive, history=history)

    def _work_on(self, sample: zenoh.Sample) -> None:
        payload = sample.payload.to_bytes()
        try:
            message = payload if self._is_raw else deserialize(payload, self.interface)
        except SerializationError as error:
            text = f"{self.name}: a message is dropped: {error}"
            self.node.get_logger().warning(text, throttle_duration_sec=5.0)
            return
        self.callback(message)

    def _check_type(self, other: Entity) -> None:
        """Say it once when somebody publishes what cannot be received."""
        if other.kind != PUBLISHER or other.name != self.name or other.type_hash in self._known_types:
            return
        self._known_types.add(other.type_hash)
        if not self._entity.matches(other):
            what = other.type if other.type != self._entity.type else f"another definition of {other.type}"
            self.node.get_logger().warning(
                f"{self.name}: node {other.node} publishes {what}, which is not received; "
                f"this node expects {self._entity.type}"
            )

    def destroy(self) -> None:
        self._graph.on_new.remove(self._check_type)
        super().destroy()


class Service(Endpoint):
    """Answers requests in the order in which they come."""

    kind = SERVICE
    _events: Publisher | None = None

    def configure_introspection(
        self, clock: Clock, service_event_qos_profile: QoSProfile, introspection_state: ServiceIntrospectionState
    ) -> None:
        """Publish what is asked and answered from now on."""
        self._clock, event = clock, self.interface.Event
        self._events = self.node.create_publisher(event, f"{self.name}/_service_event", service_event_qos_profile)

    def _tell(self, event_type: int, asked: bytes, **halves: Any) -> None:
        """Publish a request or a response to those who listen; ``asked``: the request's attachment."""
        if self._events and self._events.get_subscription_count():
            (number,), gid = struct.unpack_from("<q", asked), np.frombuffer(asked, np.uint8, 16, 17)
            info = ServiceEventInfo(event_type=event_type, client_gid=gid, sequence_number=number)
            info.stamp = self._clock.now().to_msg()
            self._events.publish(self.interface.Event(info=info, **halves))

    def _open(self, session: zenoh.Session) -> Any:
        return session.declare_queryable(self._key, Callback(self._put, indirect=False), complete=True)

    def _work_on(self, query: zenoh.Query) -> None:
        with query:
            try:
                self._answer(query)
            except Exception as error:
                if self.node.context.ok():
                    self.node.get_logger().error(f"{self.name} failed: {traceback.format_exc()}")
                    query.reply_err(f"{type(error).__name__}: {error}")

    def _answer(self, query: zenoh.Query) -> None:
        if query.payload is None or query.attachment is None:
            raise SerializationError("a request without a payload or an attachment")
        request, asked = deserialize(query.payload.to_bytes(), self.interface.Request), query.attachment.to_bytes()
        self._tell(ServiceEventInfo.REQUEST_RECEIVED, asked, request=[request])
        response = self.callback(request, self.interface.Response())
        if not isinstance(response, self.interface.Response):
            raise TypeError(f"the callback returned {type(response)}, expected {self.interface.Response}")
        attachment = asked[:8] + struct.pack("<q", time.time_ns()) + asked[16:]  # the request's number and sender
        query.reply(self._key, serialize(response), attachment=attachment)
        self._tell(ServiceEventInfo.RESPONSE_SENT, asked, response=[response])

    def destroy(self) -> None:
        super().destroy()
        if self._events:
            self.node.destroy_publisher(self._events)
        while self._arrived:
            self._arrived.popleft().drop()  # who waits for an answer learns that none will come


class Client(Endpoint):
    """Sends requests to a service."""

    kind = CLIENT

    def _open(self, session: zenoh.Session) -> Any:
        return session.declare_querier(
            self._key,
            target=zenoh.QueryTarget.ALL_COMPLETE,
            consolidation=zenoh.ConsolidationMode.NONE,
            congestion_control=zenoh.CongestionControl.BLOCK,
        )

    def call_async(self, request: Any) -> Future:
        """Send a request; while the node spins, the future gets the response, or an exception if there is none."""
        future = Future()
        self._ask(future, request, attempts=_ATTEMPTS)
        return future

    def _ask(self, future: Future, request: Any, attempts: int) -> None:
        replies: list[Any] = []

        def receive(reply: zenoh.Reply | None) -> None:
            replies.append(reply)
            self._put((future, reply, request, attempts - 1))

        def end() -> None:
            if not replies:
                receive(None)

        self._send("get", request, self.interface.Request, Callback(receive, end, indirect=False))

    def _work_on(self, item: tuple[Future, zenoh.Reply | None, Any, int]) -> None:
        future, reply, request, attempts = item
        try:
            if reply is None and attempts:
                time.sleep(_PAUSE_S)  # a service that is announced may not be on zenoh's routes yet
                if self.service_is_ready():
                    return self._ask(future, request, attempts)
            if reply is None:
                raise RuntimeError(f"{self.name} went away before it answered")
            if reply.ok is None:
                raise RuntimeError(f"{self.name} answered with an error: {reply.err and reply.err.payload.to_string()}")
            future.set_result(deserialize(reply.ok.payload.to_bytes(), self.interface.Response))
        except (RuntimeError, SerializationError) as error:
            future.set_exception(error)

    def service_is_ready(self) -> bool:
        return any(self._entity.matches(other) for other in self._graph.entities(SERVICE, name=self.name))

    def wait_for_service(self, timeout_sec: float | None = None) -> bool:
        with self._graph.changed:
            self._graph.changed.wait_for(lambda: self.service_is_ready() or not self.node.context.ok(), timeout_sec)
        return self.service_is_ready()
