"""Camera, sam and sam_grasp running beside a command that asks them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sam_perception.errors import PerceptionError

_DOMAINS = range(60, 100)  # of ROS: out of the way of nodes that run already
_STOP_S = 20.0
_LAST_LINES = 12


@contextlib.contextmanager
def background_nodes(arguments: Sequence[str], log: Path) -> Iterator[None]:
    """`sam-perception up` in a process of its own, ended as Ctrl-C would; this process joins its ROS domain.

    Args:
        arguments: for `up`.
        log: file for what the nodes say.

    Raises:
        PerceptionError: they did not end cleanly, or what the block raised, with the end of the log.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(_DOMAINS[os.getpid() % len(_DOMAINS)]))
    command = [sys.executable, "-m", "sam_perception", "up", *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        try:
            yield
        except PerceptionError as error:
            raise PerceptionError(f"{error}; the nodes' log is {log}, its end:\n{_end_of(log)}") from None
        finally:
            code = _stop(process)
    if code != 0:
        raise PerceptionError(f"the nodes did not end cleanly (exit code {code}); their log is {log}")


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its nodes die with it
        return process.wait()


def _end_of(log: Path) -> str:
    return "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
