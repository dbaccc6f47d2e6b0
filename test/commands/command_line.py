"""Running `sam-perception` as a user does, in a ROS domain of these tests' own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parents[1]
PATIENCE_S = 60.0  # for what has to happen; nothing is judged by how long it took
ENVIRONMENT = {
    **os.environ,
    "ROS_DOMAIN_ID": str(1 + os.getpid() % 99),
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "PYTHONUNBUFFERED": "1",
    "ROS_PYTHON_CHECK_FIELDS": "1",
}
COMMAND = (sys.executable, "-m", "sam_perception")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, until it ends."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_S,
        env={**ENVIRONMENT, **environment},
    )


def output(*arguments: object) -> str:
    """What a command prints that succeeds and complains of nothing."""
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def start(command: tuple[str, ...], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """A process whose output goes into a file."""
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**ENVIRONMENT, **environment})


def until(true: Callable[[], Any], what: Callable[[], str]) -> Any:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := true()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)
    return result


def until_log(log: Path, pattern: str, times: int = 1) -> None:
    """Wait until lines of a log match."""
    until(lambda: len(re.findall(pattern, log.read_text())) >= times, lambda: f"no /{pattern}/ in\n{log.read_text()}")


def sentence(*arguments: object) -> str:
    """The one sentence on stderr with which a command refuses bad input."""
    done = run(*arguments)
    assert done.returncode == 2, done
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr
