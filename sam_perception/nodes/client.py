"""A client that calls services and listens to topics, for the demo, the benchmark and the tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from sam_perception.errors import PerceptionError

RELIABLE = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEFAULT_TIMEOUT_S = 60.0


class NoAnswerError(PerceptionError, TimeoutError):
    """A service or topic stayed silent."""


class Inbox:
    """What arrived on a topic since it was made or cleared."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.messages: list[Any] = []
        self._news = threading.Condition()

    def put(self, message: Any) -> None:
        """Take a message: the subscription's callback."""
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    def clear(self) -> None:
        """Forget what came."""
        with self._news:
            self.messages.clear()

    def wait(self, wanted: Callable[[Any], bool] | None = None, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """The first message that ``wanted`` says yes to, of those that came or will come.

        Raises:
            NoAnswerError: it did not come in time.
        """

        def found() -> Any:
            return next((message for message in self.messages if wanted is None or wanted(message)), None)

        with self._news:
            message = self._news.wait_for(found, timeout_s)
            others = len(self.messages)
        if message is None:
            raise NoAnswerError(
                f"{self.topic}: what was waited for did not come within {timeout_s:g} s, {others} others did"
            )
        return message


class Client:
    """A node of its own that spins in the background; ``rclpy.init`` comes before it.

    Use it as a context manager, or call ``close``.
    """

    def __init__(self, name: str) -> None:
        self.node = rclpy.create_node(name)
        self._executor = MultiThreadedExecutor(num_threads=4)
        self._executor.add_node(self.node)
        self._services: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._spin, name=f"{name} spins", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def listen(self, kind: Any, topic: str, qos: QoSProfile = RELIABLE) -> Inbox:
        """Subscribe to a topic."""
        inbox = Inbox(topic)
        self.node.create_subscription(kind, topic, inbox.put, qos)
        return inbox

    def first(self, kind: Any, topic: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """The next message on a topic.

        Raises:
            NoAnswerError: none came in time.
        """
        inbox = Inbox(topic)
        subscription = self.node.create_subscription(kind, topic, inbox.put, RELIABLE)
        try:
            return inbox.wait(timeout_s=timeout_s)
        finally:
            self.node.destroy_subscription(subscription)

    def publisher(self, kind: Any, topic: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """A publisher that somebody listens to already.

        Raises:
            NoAnswerError: nobody came to listen in time.
        """
        publisher = self.node.create_publisher(kind, topic, RELIABLE)
        wait_until(lambda: publisher.get_subscription_count() > 0, f"a subscription of {topic}", timeout_s)
        return publisher

    def call_async(self, kind: Any, service: str, request: Any, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """Send a request as soon as the service is there; returns the future.

        Raises:
            NoAnswerError: the service is not there.
        """
        if service not in self._services:
            self._services[service] = self.node.create_client(kind, service)
        if not self._services[service].wait_for_service(timeout_sec=timeout_s):
            raise NoAnswerError(f"the service {service} is not there after {timeout_s:g} s; does its node run?")
        return self._services[service].call_async(request)

    def call(self, kind: Any, service: str, timeout_s: float = DEFAULT_TIMEOUT_S, **fields: Any) -> Any:
        """The service's answer to a request with these fields.

        Raises:
            NoAnswerError: the service is not there or does not answer.
        """
        return answer_of(self.call_async(kind, service, kind.Request(**fields), timeout_s), service, timeout_s)

    def wait_until_active(self, node: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Wait for a lifecycle node to be in the active state.

        Raises:
            NoAnswerError: it is not in time.
        """

        def is_active() -> bool:
            state = self.call(GetState, f"{node}/get_state", timeout_s).current_state
            return bool(state.id == State.PRIMARY_STATE_ACTIVE)

        wait_until(is_active, f"the active state of {node}", timeout_s)

    def close(self) -> None:
        """Stop spinning and let the node go."""
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def answer_of(future: Any, service: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
    """The result of a service's future, which a spinning client completes.

    Raises:
        NoAnswerError: it did not come in time.
    """
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(timeout_s):
        raise NoAnswerError(f"{service} did not answer within {timeout_s:g} s")
    return future.result()


def granted(answer: Any) -> Any:
    """An answer that says yes.

    Raises:
        PerceptionError: it says no; the message is the node's.
    """
    if not answer.success:
        raise PerceptionError(f"the node answered: {answer.message}")
    return answer


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
    """What the condition gives as soon as that is true.

    Raises:
        NoAnswerError: it did not become true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise NoAnswerError(f"{what} did not come within {timeout_s:g} s")
        time.sleep(0.01)
    return value
