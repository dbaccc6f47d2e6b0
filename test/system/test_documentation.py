"""docs/nodes.md and config/ beside the nodes as they run."""

import importlib.util
import pathlib
import re

import pytest
from rcl_interfaces.srv import ListParameters

from sam_perception.nodes.client import wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CAMERAS = {"sample_camera": "/camera/camera", "sim_camera": "/camera/camera"}
SIM_CAMERA = pytest.param(
    "sim_camera",
    marks=pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="mujoco is not installed"),
)
HAS_MOVEIT = importlib.util.find_spec("moveit_msgs") is not None
# What every node has, and what every lifecycle node has.
OF_ALL_NODES = {"/parameter_events", "/rosout", "/clock"}
SERVICES_OF_ALL_NODES = re.compile(
    r"/(\w*parameter\w*|get_type_description|change_state|get_state|get_available_states|get_available_transitions"
    r"|get_transition_graph)$"
)


def documented(node):
    """Topics in, topics out and services of a node, with their types as the tables name them."""
    section = (REPOSITORY / "docs" / "nodes.md").read_text().split(f"\n## {node}\n")[1].split("\n## ")[0]
    tables = {}
    pattern = r"^\| (in|out|service)(, with moveit_msgs)? \|.*\n\|[-|]+\n((?:\|.*\n)+)"
    for head, only_with_moveit, rows in re.findall(pattern, section, re.MULTILINE):
        if only_with_moveit and not HAS_MOVEIT:
            continue
        names = [name for row in rows.splitlines() for name in re.findall(r"`(.*?)`", row.split("|")[1])]
        tables[head] = tables.get(head, set()) | {
            name.replace("~", full_name(node)) if "~" in name else "/" + name.lstrip("/") for name in names
        }
    return tables


def full_name(node):
    return CAMERAS.get(node, f"/{node}")


@pytest.mark.parametrize("node", ["sam", "sam_grasp", SIM_CAMERA])
def test_the_tables_name_exactly_what_the_node_has(client, start, node):
    parameters = {"publish_tf": True} if node == "sam_grasp" else {}
    process = start(node, **parameters)
    client.wait_until_active(full_name(node))
    tables = {"in": set(), **documented(node)}
    namespace, _, name = full_name(node).rpartition("/")

    def names(of):
        listed = getattr(client.node, f"get_{of}_names_and_types_by_node")(name, namespace or "/")
        shown = {name for name, _ in listed if "/_" not in name}  # what ros2's commands hide is not in the tables
        return shown - OF_ALL_NODES - {f"{full_name(node)}/transition_event"}

    wait_until(lambda: names("publisher"), "the node's topics")
    assert names("publisher") == tables["out"]
    assert {name for name in names("service") if not SERVICES_OF_ALL_NODES.search(name)} == tables["service"]
    remapped = {"/image", "/depth", "/camera_info", "/objects"}
    assert {name for name in tables["in"] if name not in remapped} <= names("subscriber")
    assert len(names("subscriber")) == len(tables["in"])
    assert process.is_alive()


@pytest.mark.parametrize("node", ["sam", "sam_grasp", "sample_camera", SIM_CAMERA])
def test_the_shipped_parameter_file_is_understood_and_names_every_parameter(client, start, node):
    file = REPOSITORY / "config" / f"{node}.yaml"
    process = start(node, "--params-file", str(file))
    name = full_name(node)
    client.wait_until_active(name)
    listed = client.call(ListParameters, f"{name}/list_parameters").result.names
    in_file = set(re.findall(r"^    (\w+):", file.read_text(), re.MULTILINE))
    of_ros = {"use_sim_time", "start_type_description_service"}
    assert {each for each in listed if each not in of_ros and not each.startswith("qos_overrides")} == in_file
    assert "[WARN]" not in process.log, process.log
