"""Nodes in processes of their own: killed, interrupted, hammered, fed with images."""

import array
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from sam_perception.standalone import install_where_needed

if not install_where_needed():
    pytest.skip("these are properties of standalone's transport", allow_module_level=True)

import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Int32, Int64
from std_srvs.srv import SetBool

DEADLINE_S = 60.0
PEER = pathlib.Path(__file__).with_name("peer.py")


@pytest.fixture(scope="module", autouse=True)
def _ros():
    rclpy.init(args=[])
    yield
    rclpy.try_shutdown()


@pytest.fixture
def node():
    made = Node("test")
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(made)
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    yield made
    executor.shutdown()
    spinning.join()
    made.destroy_node()


@pytest.fixture
def start():
    """Starts peers, in a process group of their own as a terminal's are; all are gone in the end."""
    started = []

    def start_one(name, what="spin"):
        environment = {**os.environ, "PYTHONPATH": str(PEER.parents[2])}
        command = [sys.executable, str(PEER), name, what]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def until(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_one_that_was_killed_comes_back_and_the_others_never_notice(node, start):
    first, counts = start("first"), []
    start("second")
    node.create_subscription(Int32, "/second/count", lambda message: counts.append(message.data), 10)
    client = node.create_client(SetBool, "/first/echo")
    assert client.wait_for_service(timeout_sec=DEADLINE_S)
    assert until(lambda: counts)
    never_answered = client.call_async(SetBool.Request(data=True))
    first.kill()
    assert until(never_answered.done)
    assert "went away" in str(never_answered.exception())
    assert until(lambda: not client.service_is_ready())
    assert ("first", "/") not in node.get_node_names_and_namespaces()
    start("first")
    assert client.wait_for_service(timeout_sec=DEADLINE_S)
    answer = client.call_async(SetBool.Request())
    assert until(answer.done) and answer.result().success
    seen = len(counts)
    assert until(lambda: len(counts) > seen + 10)
    assert counts == list(range(counts[0], counts[0] + len(counts)))


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]]
)
def test_a_signal_ends_a_node_without_a_traceback(start, signals):
    process = start("told_to_end")
    for number in signals:
        process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert said == ""
    assert process.returncode == 0


def test_what_a_callback_can_no_longer_send_is_no_failure(start):
    process = start("late", "send_late")
    heard, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, said) == (0, "")
    assert heard.endswith("ended\n")


def test_a_process_that_forgets_to_shut_down_ends(start):
    process = start("forgetful", "forget")
    _, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, said) == (0, "")


def test_every_request_of_eight_clients_at_once_is_answered(start):
    start("server")
    clients = [start(f"client_{number}", "call") for number in range(8)]
    assert [process.communicate(timeout=DEADLINE_S)[0] for process in clients] == ["250\n"] * 8


def test_images_leave_no_memory_behind(node, start):
    memory_kib = []
    start("listener")
    node.create_subscription(Int64, "/listener/memory", lambda message: memory_kib.append(message.data), 10)
    publisher = node.create_publisher(Image, "/image", 1)
    assert until(lambda: publisher.get_subscription_count() == 1)
    image = Image(height=480, width=640, step=1920, encoding="rgb8", data=array.array("B", bytes(480 * 1920)))
    for number in range(600):
        publisher.publish(image)
        assert until(
            lambda number=number: len(memory_kib) > number // 2
        )  # some may be skipped, that is what depth 1 is
        if number % 2:
            time.sleep(0.001)
    assert max(memory_kib) - memory_kib[60] < 20_000


def test_a_subscriber_that_stands_still_holds_nobody_up_for_ever(node, start):
    """Reliable publishers wait for it a few seconds; then the connection ends, and it heals when it goes on."""
    process = start("sleeper")
    publisher = node.create_publisher(Image, "/image", 1)
    assert until(lambda: publisher.get_subscription_count() == 1)
    process.send_signal(signal.SIGSTOP)
    image = Image(height=480, width=640, step=1920, encoding="rgb8", data=array.array("B", bytes(480 * 1920)))
    for _ in range(40):
        publisher.publish(image)
    process.send_signal(signal.SIGCONT)
    client = node.create_client(SetBool, "/sleeper/echo")

    def is_answered():
        answer = client.call_async(SetBool.Request())
        return until(answer.done) and answer.exception() is None

    assert until(is_answered)
