"""The part of rclpy that the nodes and commands of sam_perception use, for where ROS is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from rclpy.context import default_context
from rclpy.signals import SignalHandlerOptions

if TYPE_CHECKING:
    from rclpy.executors import Executor
    from rclpy.node import Node

ok, try_shutdown = default_context.ok, default_context.try_shutdown


def init(
    *,
    args: Sequence[str] | None = None,
    domain_id: int | None = None,
    signal_handler_options: SignalHandlerOptions = SignalHandlerOptions.ALL,
) -> None:
    default_context.init(args, domain_id, signal_handler_options is SignalHandlerOptions.ALL)


def create_node(node_name: str, **options: Any) -> Node:
    from rclpy.node import Node

    return Node(node_name, **options)


@cache
def _default_executor() -> Executor:
    from rclpy.executors import SingleThreadedExecutor

    return SingleThreadedExecutor()


def spin(node: Node, executor: Executor | None = None) -> None:
    executor = executor or _default_executor()
    executor.add_node(node)
    try:
        executor.spin()
    finally:
        executor.remove_node(node)


def spin_once(node: Node, *, executor: Executor | None = None, timeout_sec: float | None = None) -> None:
    executor = executor or _default_executor()
    executor.add_node(node)
    try:
        executor.spin_once(timeout_sec)
    finally:
        executor.remove_node(node)
