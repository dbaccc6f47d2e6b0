"""A node's process: wrong arguments end it with a sentence, signals end it cleanly, a failing callback does not."""

import os
import signal
import subprocess
import sys
import threading

import pytest

PATIENCE_S = 60.0
PROGRAM = """
import sys
from sam_perception.nodes.managed_node import ManagedNode
from sam_perception.nodes.parameters import Parameter
from sam_perception.nodes.running import main


class Ticking(ManagedNode):
    def __init__(self):
        super().__init__("ticking", [Parameter("period_s", 0.02, "Period.", minimum=0.001)])

    def activate(self):
        self.ticks = 0
        self.create_timer(self.parameters.period_s, self.tick)

    def tick(self):
        self.ticks += 1
        if self.ticks == 3:
            raise ValueError("third tick")
        if self.ticks == 10:
            print("ten ticks", flush=True)

    def cleanup(self):
        print("let go", flush=True)


sys.exit(main(Ticking))
"""


class Process:
    def __init__(self, *arguments):
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "ROS_DOMAIN_ID": str(os.getpid() % 100)},
        )
        self._watchdog = threading.Timer(PATIENCE_S, self._process.kill)
        self._watchdog.start()
        self.log = ""

    def read_until(self, text):
        for line in self._process.stdout:
            self.log += line
            if text in line:
                return
        raise AssertionError(f"{text!r} never came:\n{self.log}")

    def send(self, sent, times=1):
        for _ in range(times):
            self._process.send_signal(sent)

    def end(self):
        """The exit code, and all that was written."""
        self.log += self._process.stdout.read()
        code = self._process.wait()
        self._watchdog.cancel()
        self._process.stdout.close()
        return code, self.log


@pytest.mark.parametrize(("sent", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_it_outlives_a_failing_callback_and_ends_cleanly_when_told(sent, times):
    process = Process()
    process.read_until("ten ticks")
    process.send(sent, times)
    code, log = process.end()
    assert code == 0, log
    assert "a callback failed, the node goes on: ValueError: third tick" in log
    assert "let go" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-p", "period_s:=0.0"], "period_s"),
        (["-p", "period_s:=often"], "period_s"),
        (["-r", "no_rule"], "no_rule"),
        (["-p", "no_assignment"], "no_assignment"),
    ],
)
def test_wrong_arguments_end_it_with_one_sentence_and_code_2(arguments, named):
    code, log = Process("--ros-args", *arguments).end()
    assert code == 2, log
    (sentence,) = [line for line in log.splitlines() if line.startswith("sam_perception: ")]
    assert named in sentence
    assert "Traceback" not in log
