"""The scripts of examples/ in processes of their own, beside the renderer's truth."""

import importlib.util
import json
import math
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from harness import CAMERA, PATIENCE_S, NodeProcess
from sam_perception.frame_files import SAMPLE_DIRECTORY
from sam_perception.nodes.client import wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES, FIRST_STEPS = REPOSITORY / "examples", REPOSITORY / "docs" / "first_steps.md"
WITHOUT_ROS = "standalone" in pathlib.Path(rclpy.__file__).parts
TABLE_T_CAMERA = np.linalg.inv(json.loads((SAMPLE_DIRECTORY / "camera.json").read_text())["camera_T_table"])


def command(script, *arguments):
    """As the example itself says how to start it."""
    runner = ["-m", "sam_perception.standalone"] if WITHOUT_ROS else []
    return [sys.executable, *runner, str(EXAMPLES / script), *map(str, arguments)]


def run(script, *arguments):
    return subprocess.run(command(script, *arguments), capture_output=True, text=True, timeout=2 * PATIENCE_S)


class ExampleProcess(NodeProcess):
    """An example that runs until Ctrl-C."""

    def __init__(self, script, *ros_arguments):
        self.node = script
        self.command = command(script, "--ros-args", *ros_arguments)
        self.start()


@pytest.fixture
def start_example():
    started = []

    def start_one(script, *ros_arguments):
        started.append(ExampleProcess(script, *ros_arguments))
        return started[-1]

    yield start_one
    for process in started:
        process.stop()


@pytest.fixture(scope="module", autouse=True)
def system(client, start_for_module):
    start_for_module("sample_camera", rate_hz=10.0)
    for node, parameters in (("sam", {}), ("sam_grasp", {"target_frame": "table"})):
        start_for_module(node, **parameters)
        client.wait_until_active(f"/{node}")
    client.first(Image, f"{CAMERA}/color/image_raw")


def in_table(point):
    """A point of the camera's optical frame in the frame of the table."""
    return (TABLE_T_CAMERA @ [*point, 1])[:3]


def printed_centroid(text):
    found = re.search(r"centroid in table: x (\S+) y (\S+) z (\S+) m", text)
    assert found, text
    return np.array([float(value) for value in found.groups()])


def surface_in_table(sample, described):
    """(N, 3) what the camera sees of an object, by the pinhole formula; the sample has no distortion."""
    frame = sample.frame
    ys, xs = np.nonzero(sample.truth(described) & (frame.depth > 0))
    depth_m = frame.depth[ys, xs] * 0.001
    rays = np.linalg.inv(frame.intrinsics.matrix()) @ [xs, ys, np.ones_like(xs)]
    return np.array([in_table(point) for point in (rays * depth_m).T])


@pytest.mark.parametrize("name", ["teal bowl", "cracker box"])
def test_the_client_prints_the_object_under_a_click_and_its_centroid(sample, name):
    described = sample.named(name)
    done = run("segment_client.py", *described["click"])
    assert done.returncode == 0, done.stderr
    area = int(re.search(r"(\d+) pixels", done.stdout)[1])
    assert area == pytest.approx(described["area"], rel=0.15)
    expected = in_table(described["visible_centroid_m"])
    np.testing.assert_allclose(printed_centroid(done.stdout), expected, atol=0.006)


def test_the_client_takes_a_box_and_a_click_together(sample):
    described = sample.named("navy mug")
    done = run("segment_client.py", *described["click"], "--box", *described["box"])
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(printed_centroid(done.stdout), in_table(described["visible_centroid_m"]), atol=0.006)


def test_the_client_says_what_was_wrong_and_fails():
    outside = run("segment_client.py", 3660, 259)
    assert (outside.returncode, outside.stdout) == (1, "")
    assert "points[0]" in outside.stderr and "Traceback" not in outside.stderr
    assert run("segment_client.py").returncode == 2


def test_the_client_says_what_it_waits_for_and_ends_on_ctrl_c(start_example):
    process = start_example("segment_client.py", "-r", "__ns:=/elsewhere", "--", "366", "259")
    process.wait_for_log("waiting for the service /elsewhere/sam/segment")
    assert process.interrupt() == 130
    assert "Traceback" not in process.log, process.log


def test_the_commands_of_first_steps_do_what_it_says(sample):
    text = FIRST_STEPS.read_text()
    commands = re.findall(r"^    ros2 ((?:service|param|topic echo).*)$", text, re.MULTILINE)
    assert len(commands) >= 8
    x, y, z = map(float, re.search(r"centroid is near x (\S+), y (\S+), z (\S+) metres in `table`", text).groups())
    np.testing.assert_allclose([x, y, z], in_table(sample.named("teal bowl")["visible_centroid_m"]), atol=0.006)
    for line in commands:
        arguments = [sys.executable, "-m", "sam_perception", *shlex.split(line)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        expected = {"service": "success=True", "param": "successful", "topic": "frame_id: table"}[line.split()[0]]
        assert expected in done.stdout, f"{line}\n{done.stdout}"


def test_the_grasp_client_prints_grasps_of_the_object_under_a_click(sample):
    described = sample.named("soup can")
    done = run("grasp_client.py", *described["click"], "--count", 2)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 1 <= len(lines) <= 2
    number = r"(-?[\d.]+)"
    pattern = rf"quality {number} open (\d+) mm; tool in table: x {number} y {number} z {number} m, "
    quality, opening, *at = map(float, re.search(pattern, lines[0]).groups())
    assert 0 < quality <= 1 and 0 < opening <= 80
    surface = surface_in_table(sample, described)
    assert np.linalg.norm(surface - at, axis=1).min() < 0.05  # the tool is at the object
    start = re.search(rf"from x {number} y {number} z {number}", lines[0])
    assert np.linalg.norm(np.array([float(value) for value in start.groups()]) - at) > 0.03


def test_the_grasp_client_says_what_was_wrong_and_fails():
    outside = run("grasp_client.py", 3660, 259)
    assert (outside.returncode, outside.stdout) == (1, "")
    assert "x, y" in outside.stderr and "Traceback" not in outside.stderr


@pytest.mark.skipif(importlib.util.find_spec("rclcpp") is not None, reason="MoveIt Task Constructor may be installed")
def test_grasp_with_moveit_names_what_it_lacks():
    done = run("grasp_with_moveit.py", 366, 259)
    assert done.returncode == 1
    assert "moveit_task_constructor_core" in done.stderr and "Traceback" not in done.stderr


def test_the_commands_for_grasps_in_the_documentation_are_answered():
    text = (REPOSITORY / "docs" / "nodes.md").read_text()
    lines = re.findall(r"^    ros2 (service call /sam_grasp/.*)$", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        arguments = [sys.executable, "-m", "sam_perception", *shlex.split(line)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0 and "success=True" in done.stdout, f"{line}\n{done.stdout}{done.stderr}"


def test_goal_pose_puts_the_tool_above_the_object_pointing_down(client, sample, start_example):
    described = sample.named("teal bowl")
    goals = client.listen(PoseStamped, "/goal_pose/pose")
    process = start_example("goal_pose.py", "-p", "height:=0.2", "-p", "yaw_deg:=30.0")
    wait_until(lambda: client.node.count_subscribers("/sam_grasp/centroids"), "goal_pose.py")
    assert run("segment_client.py", *described["click"]).returncode == 0
    goal = goals.wait()
    assert goal.header.frame_id == "table"
    assert goal.header.stamp.sec > 0  # the image's, not none
    position, turn = goal.pose.position, goal.pose.orientation
    above = np.add(in_table(described["visible_centroid_m"]), [0, 0, 0.2])
    np.testing.assert_allclose([position.x, position.y, position.z], above, atol=0.006)
    x, y, z, w = turn.x, turn.y, turn.z, turn.w
    x_axis = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    z_axis = [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)]
    np.testing.assert_allclose(z_axis, [0, 0, -1], atol=1e-9)
    np.testing.assert_allclose(x_axis, [math.cos(math.radians(30)), math.sin(math.radians(30)), 0], atol=1e-9)
    assert process.interrupt() == 0
    assert "Traceback" not in process.log, process.log


def test_goal_pose_refuses_the_cameras_frame_where_up_is_unknown(client, sample, start_example):
    def set_target_frame(name):
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=name)
        answer = client.call(
            SetParameters, "/sam_grasp/set_parameters", parameters=[Parameter(name="target_frame", value=value)]
        )
        assert answer.results[0].successful

    process = start_example("goal_pose.py")
    wait_until(lambda: client.node.count_subscribers("/sam_grasp/centroids"), "goal_pose.py")
    set_target_frame("")
    try:
        run("segment_client.py", *sample.named("teal bowl")["click"])
        process.wait_for_log("no goal.*target_frame base_link")
    finally:
        set_target_frame("table")


@pytest.mark.skipif(importlib.util.find_spec("moveit_msgs") is not None, reason="moveit_msgs is installed")
def test_planning_scene_names_the_package_that_it_lacks():
    done = run("planning_scene.py")
    assert done.returncode == 1
    distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
    assert f"apt-get install ros-{distribution}-moveit-msgs" in done.stderr and "Traceback" not in done.stderr


def check_object(collision_object, sample, described, margin=0.0):
    """A box that holds what the camera saw of the object, and little else."""
    assert (collision_object.id, collision_object.header.frame_id) == ("object_1", "table")
    assert collision_object.operation == b"\x00"
    (shape,) = collision_object.primitives
    assert shape.type == shape.BOX
    at, turn = collision_object.pose.position, collision_object.pose.orientation
    x, y, z, w = turn.x, turn.y, turn.z, turn.w
    axes = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    inside = np.abs((surface_in_table(sample, described) - [at.x, at.y, at.z]) @ axes)
    half = np.array(shape.dimensions) / 2
    assert (inside <= half + 0.003).all(axis=1).mean() > 0.97
    assert (inside.max(axis=0) > half - margin - 0.02).all()
    centre = in_table(described["position_m"])
    assert np.linalg.norm([at.x - centre[0], at.y - centre[1]]) < 0.03


def test_planning_scene_asks_move_group_and_takes_objects_away_again(client, sample, start_example):
    pytest.importorskip("moveit_msgs")
    from moveit_msgs.srv import ApplyPlanningScene

    asked = []

    def apply(request, response):
        asked.append(request.scene)
        response.success = True
        return response

    service = client.node.create_service(ApplyPlanningScene, "apply_planning_scene", apply)
    process = start_example("planning_scene.py")
    wait_until(lambda: client.node.count_subscribers("/sam_grasp/boxes"), "planning_scene.py")
    described = sample.named("teal bowl")
    assert run("segment_client.py", *described["click"]).returncode == 0
    process.wait_for_log("in the planning scene: object_1")
    assert asked[-1].is_diff and asked[-1].robot_state.is_diff
    check_object(asked[-1].world.collision_objects[0], sample, described)
    assert client.call(Trigger, "/sam/clear").success
    process.wait_for_log("in the planning scene: nothing")
    (removed,) = asked[-1].world.collision_objects
    assert (removed.id, removed.operation) == ("object_1", b"\x01")
    assert process.interrupt() == 0
    client.node.destroy_service(service)


def test_planning_scene_publishes_a_box_with_a_margin(client, sample, start_example):
    pytest.importorskip("moveit_msgs")
    from moveit_msgs.msg import PlanningScene

    scenes = client.listen(PlanningScene, "/planning_scene")
    start_example("planning_scene.py", "-p", "use_topic:=true", "-p", "margin:=0.01")
    wait_until(lambda: client.node.count_subscribers("/sam_grasp/boxes"), "planning_scene.py")
    described = sample.named("cracker box")
    assert run("segment_client.py", *described["click"]).returncode == 0
    scene = scenes.wait(lambda message: message.world.collision_objects)
    check_object(scene.world.collision_objects[0], sample, described, margin=0.01)
