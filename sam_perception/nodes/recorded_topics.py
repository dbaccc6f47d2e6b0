"""Which topics and nodes of a running system belong into a recording that can be asked again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

IMAGE = "sensor_msgs/msg/Image"

_ALWAYS = ("/tf", "/tf_static", "/diagnostics", "/rosout")
_MADE_BY = {"sam_perception/srv/Segment": "segment", "sam_perception/srv/GraspAt": "grasp_at"}
_PICTURES = {IMAGE, "sensor_msgs/msg/PointCloud2", "visualization_msgs/msg/MarkerArray"}


def perception_nodes(node: Any) -> list[str]:
    """The full names of the nodes of this package that answer prompts or measure what they find."""
    running = set(node_names(node))
    found = {
        name.rpartition("/")[0]
        for name, types in node.get_service_names_and_types()
        for kind in types
        if name.endswith(f"/{_MADE_BY.get(kind, name)}")
    }
    return sorted(found & running)


def node_names(node: Any) -> list[str]:
    """The full names of all nodes."""
    return [f"{namespace.rstrip('/')}/{name}" for name, namespace in node.get_node_names_and_namespaces()]


def publishing_nodes(node: Any, topics: Collection[str]) -> list[str]:
    """The full names of the nodes that publish on one of these topics."""
    return [name for name in sorted(set(node_names(node))) if _published(node, name).keys() & topics]


def wanted_topics(node: Any, extra: Collection[str] = (), pictures: bool = False) -> dict[str, str]:
    """Each topic's type, by its name.

    Args:
        node: sees the graph.
        extra: names of topics that somebody asked for.
        pictures: also the overlays, clouds and markers that the nodes draw, which can be made again.
    """
    there = {name: types[0] for name, types in node.get_topic_names_and_types() if types}
    wanted = {name for name in (*_ALWAYS, *extra) if name in there}
    for name in perception_nodes(node):
        heard, said = _heard(node, name), _published(node, name)
        wanted |= heard.keys()
        wanted |= {_camera_info(topic) for topic, kind in heard.items() if kind == IMAGE}
        wanted |= {topic for topic, kind in said.items() if pictures or kind not in _PICTURES}
    return {name: there[name] for name in sorted(wanted) if name in there}


def _camera_info(image_topic: str) -> str:
    return f"{image_topic.rpartition('/')[0]}/camera_info"


def _heard(node: Any, name: str) -> dict[str, str]:
    return _by_node(node.get_subscriber_names_and_types_by_node, name)


def _published(node: Any, name: str) -> dict[str, str]:
    return _by_node(node.get_publisher_names_and_types_by_node, name)


def _by_node(ask: Any, full_name: str) -> dict[str, str]:
    namespace, _, name = full_name.rpartition("/")
    try:
        return {topic: types[0] for topic, types in ask(name, namespace or "/")}
    except Exception:  # rclpy has an error of its own for a node that has just gone
        return {}
