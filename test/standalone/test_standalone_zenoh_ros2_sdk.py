"""Nodes of ours and a program of zenoh-ros2-sdk, another implementation of rmw_zenoh's protocol, work together."""

import array
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from sam_perception.standalone import install_where_needed

if not install_where_needed():
    pytest.skip("the middleware of this ROS is not Zenoh", allow_module_level=True)
pytest.importorskip("zenoh_ros2_sdk")

import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import SetBool

from sam_perception.msg import ObjectMask, ObjectMaskArray
from sam_perception.srv import Segment
from sam_perception.standalone import interfaces

DEADLINE_S = 60.0
PROGRAM = pathlib.Path(__file__).with_name("sdk_peer.py")
USED = [
    "sam_perception/msg/ObjectMaskArray",
    "sam_perception/srv/Segment",
    "std_msgs/msg/String",
    "std_srvs/srv/SetBool",
]


@pytest.fixture(scope="module")
def port():
    """Where our process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    os.environ["SAM_PERCEPTION_LISTEN"] = f"tcp/127.0.0.1:{number}"
    rclpy.init(args=[])
    yield number
    rclpy.try_shutdown()
    del os.environ["SAM_PERCEPTION_LISTEN"]


@pytest.fixture(scope="module")
def node(port):
    made = Node("sam")
    made.create_service(Segment, "~/segment", segment)
    publisher = made.create_publisher(ObjectMaskArray, "~/objects", 10)
    objects = ObjectMaskArray(image_height=480, image_width=640, objects=[ObjectMask(object_id=3, label="mug")])
    objects.objects[0].mask.data = array.array("B", [0, 255, 255])
    made.create_timer(0.1, lambda: publisher.publish(objects))
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(made)
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    yield made
    executor.shutdown()
    spinning.join()
    made.destroy_node()


def segment(request, response):
    response.success = request.multimask
    response.message = f"asked for {request.stamp.sec}.{request.stamp.nanosec}"
    return response


@pytest.fixture(scope="module")
def program(node, port, tmp_path_factory):
    """The program at work; what it prints are JSON lines."""
    folder = tmp_path_factory.mktemp("definitions")
    for name in USED:
        write_definition(folder, name)
    command = [sys.executable, str(PROGRAM), str(folder), str(port), interfaces.type_hash("sam_perception/srv/Segment")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def write_definition(folder, name):
    """Write a definition, and those that it is built from, where the SDK looks for them."""
    path = folder / f"{name}.{name.split('/')[1]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    package = name.split("/")[0]  # written out: the SDK takes `Prompt` of a service for sam_perception/srv/Prompt
    path.write_text(re.sub(r"^([A-Z])", rf"{package}/\1", interfaces.definition_text(name), flags=re.MULTILINE))
    parts = [f"{name}_Request", f"{name}_Response"] if "/srv/" in name else [name]
    for part in parts:
        for _, desc, _ in interfaces.fields(part):
            nested = [word for word in str(desc).replace("'", " ").split() if word.count("/") == 2]
            for other in nested:
                write_definition(folder, other)


@pytest.fixture(scope="module")
def told(program):
    """All that it has to tell, in one dictionary."""
    facts = {}
    while "serves" not in facts:
        facts |= json.loads(program.stdout.readline())
    return facts


def until(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_it_sees_our_topics_and_services(told):
    assert told["topics"]["/sam/objects"] == ["sam_perception/msg/ObjectMaskArray"]
    assert told["services"]["/sam/segment"] == ["sam_perception/srv/Segment"]
    assert "node_name='sam'" in told["info"]


def test_it_receives_our_messages(told):
    assert (told["width"], told["label"], told["pixels"]) == (640, "mug", [0, 255, 255])


def test_it_calls_our_services(told):
    assert (told["success"], told["message"]) == (True, "asked for 5.6")


def test_we_see_its_nodes(told, node):
    assert until(lambda: {("sdk_talker", "/robot"), ("sdk_server", "/")} <= set(node.get_node_names_and_namespaces()))
    topics = node.get_publisher_names_and_types_by_node("sdk_talker", "/robot")
    assert topics == [("/sdk/status", ["std_msgs/msg/String"])]


def test_we_receive_its_messages(told, node, program):
    got = []
    node.create_subscription(String, "/sdk/status", lambda message: got.append(message.data), 10)
    while not got:
        program.stdin.write("ready\n")
        program.stdin.flush()
        time.sleep(0.05)
    assert set(got) == {"ready"}


def test_we_call_its_services(told, node):
    client = node.create_client(SetBool, "/sdk/switch")
    assert client.wait_for_service(timeout_sec=DEADLINE_S)
    futures = [client.call_async(SetBool.Request(data=data)) for data in (True, False)]
    assert until(lambda: all(future.done() for future in futures))
    assert [future.result().success for future in futures] == [False, True]
    assert futures[0].result().message == "switched"
