"""One ROS domain for each test session, and processes that always end."""

import os

import pytest

os.environ["ROS_DOMAIN_ID"] = str(100 + os.getpid() % 100)

import rclpy

import harness
from sam_perception.nodes.client import Client


@pytest.fixture(scope="module", autouse=True)
def _ros():
    rclpy.init(args=[])
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def client(_ros):
    """A node that calls and listens."""
    client = Client("test_client")
    yield client
    client.close()


@pytest.fixture
def start():
    """Start node processes that end with the test."""
    yield from _starter()


@pytest.fixture(scope="module")
def start_for_module():
    """Start node processes that end with the module."""
    yield from _starter()


def _starter():
    started = []

    def start_one(node, *ros_arguments, **parameters):
        started.append(harness.NodeProcess(node, *ros_arguments, **parameters))
        return started[-1]

    yield start_one
    for process in reversed(started):
        process.stop()
