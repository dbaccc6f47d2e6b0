"""Nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partialmethod
from typing import Any, NamedTuple

from rcl_interfaces.msg import SetParametersResult
from rosgraph_msgs.msg import Clock as ClockMsg

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.context import Context, default_context
from rclpy.endpoints import Client, Endpoint, Publisher, Service, Subscription
from rclpy.logging import Logger, get_logger
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_services_default
from rclpy.time import ClockType
from rclpy.timer import Timer
from sam_perception.standalone.arguments import Arguments, expand_name, parse_ros_arguments
from sam_perception.standalone.graph import CLIENT, NODE, PUBLISHER, SERVICE, SUBSCRIPTION, Entity, Qos
from sam_perception.standalone.parameters import NodeParameters


class TopicEndpointInfo(NamedTuple):
    """A publisher of somebody."""

    qos_profile: Qos


class Node:
    """A node: its name, and what it publishes, hears, serves, calls and waits for."""

    def __init__(
        self,
        node_name: str,
        *,
        namespace: str | None = None,
        parameter_overrides: Sequence[Parameter] | None = None,
        cli_args: Sequence[str] | None = None,
        use_global_arguments: bool = True,
        start_parameter_services: bool = True,
        automatically_declare_parameters_from_overrides: bool = False,
    ) -> None:
        self.context: Context = default_context
        if not self.context.ok():
            raise RuntimeError("a node cannot be created: rclpy.init() was not called, or rclpy was shut down")
        own = parse_ros_arguments(["--ros-args", *(cli_args or ())])
        self._arguments = own + (self.context.arguments if use_global_arguments else Arguments())
        self._name = self._arguments.node_name(node_name)
        self._namespace = self._arguments.namespace(namespace, self._name)
        self.default_callback_group: CallbackGroup = MutuallyExclusiveCallbackGroup()
        self.executor: Any = None
        self.entities: tuple[Any, ...] = ()  # replaced, never changed: executors read it at any time
        self._clock = Clock(clock_type=ClockType.ROS_TIME)
        self._clock_subscription: Subscription | None = None
        self._logger = get_logger(self.get_fully_qualified_name()[1:].replace("/", "."))
        self.graph = self.context.graph
        self._id, self._token = self.graph.declare(Entity(NODE, self._namespace, self._name))
        overrides = self._arguments.parameter_overrides(self.get_fully_qualified_name())
        overrides |= {parameter.name: parameter.value for parameter in parameter_overrides or ()}
        self._take_parameters(NodeParameters(self, overrides, start_parameter_services))
        for name in overrides if automatically_declare_parameters_from_overrides else ():
            if not self.has_parameter(name):
                self.declare_parameter(name, overrides[name])

    def _take_parameters(self, parameters: NodeParameters) -> None:
        self.declare_parameter, self.has_parameter = parameters.declare_parameter, parameters.has_parameter
        self.get_parameter = parameters.get_parameter
        self.set_parameters = parameters.set_parameters
        self.set_parameters_atomically = parameters.set_parameters_atomically
        self.add_on_set_parameters_callback = parameters.add_on_set_parameters_callback
        self.remove_on_set_parameters_callback = parameters.remove_on_set_parameters_callback
        self._follow_simulated_time([self.get_parameter("use_sim_time")])
        self.add_on_set_parameters_callback(self._follow_simulated_time)

    def _follow_simulated_time(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        for is_wanted in (parameter.value for parameter in parameters if parameter.name == "use_sim_time"):
            if is_wanted and not self._clock_subscription:
                self._clock.set_to_ns = 0
                qos, group = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT), CallbackGroup()
                self._clock_subscription = self.create_subscription(
                    ClockMsg, "/clock", self._on_clock, qos, callback_group=group
                )
            elif not is_wanted and self._clock_subscription:
                self.destroy_subscription(self._clock_subscription)
                self._clock_subscription = self._clock.set_to_ns = None
        return SetParametersResult(successful=True)

    def _on_clock(self, message: Any) -> None:
        if self._clock_subscription:
            self._clock.set_to_ns = message.clock.sec * 10**9 + message.clock.nanosec

    def get_name(self) -> str:
        return self._name

    def get_namespace(self) -> str:
        return self._namespace

    def get_fully_qualified_name(self) -> str:
        return f"{self._namespace.rstrip('/')}/{self._name}"

    def get_logger(self) -> Logger:
        return self._logger

    def get_clock(self) -> Clock:
        return self._clock

    def resolve_topic_name(self, topic: str) -> str:
        name = expand_name(topic, self._namespace, self._name)
        return self._arguments.remap_topic(name, self.get_fully_qualified_name())

    def resolve_service_name(self, service: str) -> str:
        name = expand_name(service, self._namespace, self._name)
        return self._arguments.remap_service(name, self.get_fully_qualified_name())

    def create_publisher(
        self, msg_type: type, topic: str, qos_profile: QoSProfile | int, *, callback_group: CallbackGroup | None = None
    ) -> Publisher:
        return self._with(Publisher(self, msg_type, self.resolve_topic_name(topic), QoSProfile.of(qos_profile)))

    def create_subscription(
        self,
        msg_type: type,
        topic: str,
        callback: Callable[[Any], Any],
        qos_profile: QoSProfile | int,
        *,
        callback_group: CallbackGroup | None = None,
        raw: bool = False,
    ) -> Subscription:
        name, qos = self.resolve_topic_name(topic), QoSProfile.of(qos_profile)
        return self._with(Subscription(self, msg_type, name, qos, callback_group, callback, raw=raw))

    def create_service(
        self,
        srv_type: Any,
        srv_name: str,
        callback: Callable[[Any, Any], Any],
        *,
        qos_profile: QoSProfile = qos_profile_services_default,
        callback_group: CallbackGroup | None = None,
    ) -> Service:
        name = self.resolve_service_name(srv_name)
        return self._with(Service(self, srv_type, name, qos_profile, callback_group, callback))

    def create_client(
        self,
        srv_type: Any,
        srv_name: str,
        *,
        qos_profile: QoSProfile = qos_profile_services_default,
        callback_group: CallbackGroup | None = None,
    ) -> Client:
        return self._with(Client(self, srv_type, self.resolve_service_name(srv_name), qos_profile, callback_group))

    def create_timer(
        self,
        timer_period_sec: float,
        callback: Callable[[], Any],
        callback_group: CallbackGroup | None = None,
        clock: Clock | None = None,
    ) -> Timer:
        return self._with(Timer(self, int(timer_period_sec * 10**9), callback, callback_group, clock or self._clock))

    def _with(self, entity: Any) -> Any:
        self.entities = (*self.entities, entity)
        self.wake_executor()
        return entity

    def _destroy(self, entity: Endpoint | Timer) -> bool:
        """Let go of it; False if it is not (or no longer) this node's."""
        if entity not in self.entities:
            return False
        self.entities = tuple(other for other in self.entities if other is not entity)
        entity.destroy()
        return True

    destroy_publisher = destroy_subscription = destroy_service = destroy_client = destroy_timer = _destroy

    def destroy_node(self) -> None:
        if self.executor:
            self.executor.remove_node(self)
        for entity in self.entities:
            self._destroy(entity)
        self.graph.undeclare(self._token)

    def wake_executor(self) -> None:
        """There is work."""
        if executor := self.executor:
            executor.wake()

    def enter(self, endpoint: Entity) -> str:
        """Enter an endpoint of this node in the graph; gives its token."""
        return self.graph.declare(endpoint, self._id)[1]

    def get_node_names_and_namespaces(self) -> list[tuple[str, str]]:
        return [(node.node, node.namespace) for node in self.graph.entities(NODE)]

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return self.graph.names_and_types(PUBLISHER, SUBSCRIPTION)

    def get_service_names_and_types(self) -> list[tuple[str, list[str]]]:
        return self.graph.names_and_types(SERVICE, CLIENT)

    def _of_node(self, kind: str, node_name: str, node_namespace: str) -> list[tuple[str, list[str]]]:
        return self.graph.names_and_types(kind, node=(node_name, node_namespace))

    get_publisher_names_and_types_by_node = partialmethod(_of_node, PUBLISHER)
    get_subscriber_names_and_types_by_node = partialmethod(_of_node, SUBSCRIPTION)
    get_service_names_and_types_by_node = partialmethod(_of_node, SERVICE)
    get_client_names_and_types_by_node = partialmethod(_of_node, CLIENT)

    def _count(self, kind: str, topic_name: str) -> int:
        return len(self.graph.entities(kind, name=expand_name(topic_name, self._namespace, self._name)))

    count_publishers = partialmethod(_count, PUBLISHER)
    count_subscribers = partialmethod(_count, SUBSCRIPTION)

    def get_publishers_info_by_topic(self, topic_name: str) -> list[TopicEndpointInfo]:
        found = self.graph.entities(PUBLISHER, name=self.resolve_topic_name(topic_name))
        return [TopicEndpointInfo(publisher.qos) for publisher in found]
