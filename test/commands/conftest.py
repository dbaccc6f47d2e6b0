"""A node to look at."""

import signal
import subprocess
import sys

import command_line
import pytest


@pytest.fixture(scope="session")
def talker(tmp_path_factory):
    """The log of a running talker node, to which nobody does anything that lasts."""
    log = tmp_path_factory.mktemp("talker") / "log"
    process = command_line.start((sys.executable, str(command_line.FOLDER / "talker.py")), log)
    command_line.until_log(log, "talking")
    yield log
    process.send_signal(signal.SIGINT)
    assert process.wait(command_line.PATIENCE_S) == 0, log.read_text()


@pytest.fixture
def talker_of_this_test(tmp_path):
    """A talker in a namespace of its own, for a test that changes or kills it."""
    log = tmp_path / "log"
    remap = ("--ros-args", "-r", "__ns:=/mine")
    process = command_line.start((sys.executable, str(command_line.FOLDER / "talker.py"), *remap), log)
    command_line.until_log(log, "talking")
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def start(tmp_path):
    """Start processes whose output goes into a file; they are killed with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(*command, **environment):
        log = tmp_path / f"log_{len(started)}"
        started.append(command_line.start(tuple(map(str, command)), log, **environment))
        return started[-1], log

    yield start_one
    for process in started:
        process.kill()
        process.wait()
