"""Services that let others see what they are asked and answer, on the topics that ROS has for it from Iron on."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def show_contents(node: Node, service: Any) -> None:
    """Publish each request and response of a service on `<service>/_service_event`, as recordings need them.

    On Humble, which has no such topics, this does nothing.
    """
    try:
        from rclpy.service_introspection import ServiceIntrospectionState
    except ImportError:
        return
    service.configure_introspection(node.get_clock(), _QOS, ServiceIntrospectionState.CONTENTS)
