"""Nodes that run in this process, and a client that talks to them over the wire."""

import contextlib
import threading
import time

import pytest

import sam_perception.nodes  # first: where there is no rclpy, it brings its own

import rclpy  # isort: skip
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor  # isort: skip
from rclpy.parameter import Parameter  # isort: skip

from sam_perception.nodes.client import Client
from sam_perception.nodes.running import THREADS

SOON = 30.0


@pytest.fixture(scope="module")
def ros():
    """ROS, as long as the tests of a module run."""
    rclpy.init(args=[])
    yield sam_perception.nodes
    rclpy.try_shutdown()


@pytest.fixture
def client(ros):
    """A node that spins in the background and publishes, listens and calls for the test."""
    with Client("test_client") as client:
        yield client


@pytest.fixture
def run_node(ros):
    """Runs a node with these parameters, and topics remapped, until the test is over."""
    running = []

    def run(make_node, remap=None, **parameters):
        rules = [part for name, to in (remap or {}).items() for part in ("-r", f"{name}:={to}")]
        node = make_node(
            parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()],
            cli_args=["--ros-args", *rules],
        )
        executor = MultiThreadedExecutor(num_threads=THREADS)
        executor.add_node(node)
        thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
        thread.start()
        running.append((node, executor, thread))
        return node

    yield run
    for node, executor, thread in running:
        node.release()
        executor.shutdown()
        thread.join()
        node.destroy_node()


def _spin(executor):
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


@pytest.fixture
def wait_for_text(capfd):
    """Waits until the log says something; gives all that it has said."""
    said = ""

    def wait(text):
        nonlocal said
        deadline = time.monotonic() + SOON
        while text not in said and time.monotonic() < deadline:
            time.sleep(0.02)
            said += "".join(capfd.readouterr())
        assert text in said
        return said

    return wait
