"""The life of a node's process: from the command line to a clean end on Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from sam_perception.errors import PerceptionError
from sam_perception.nodes.managed_node import ManagedNode

THREADS = 16  # so that images still come in while many requests wait for an encode
EXIT_BAD_INPUT = 2
_ENDS = (KeyboardInterrupt, ExternalShutdownException)


def main(node_class: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> int:
    """Run one node until it is told to end.

    Args:
        node_class: makes the node.
        args: `--ros-args ...`, without the program's name; None: those of the process.

    Returns:
        The exit code: 0, or 2 when arguments or parameters are wrong; one sentence on stderr then says what is.
    """
    try:
        rclpy.init(args=None if args is None else ["sam_perception", *args])
    except Exception as error:  # rclpy raises one kind for each thing that can be wrong
        return _refused(error)
    try:
        node = node_class()
    except _ENDS:
        return _end(0)
    except PerceptionError as error:
        return _end(_refused(error))
    executor = MultiThreadedExecutor(num_threads=THREADS)
    try:
        try:
            executor.add_node(node)
            _spin(executor, node)
        finally:
            _close(executor, node)
    except KeyboardInterrupt:  # the second Ctrl-C, before it was ignored
        _close(executor, node)
    return 0


def _close(executor: MultiThreadedExecutor, node: ManagedNode) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C finds the node on its way out already
    node.release()  # first: what waits for the engine is refused, so that the executor's threads can end
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


def _spin(executor: MultiThreadedExecutor, node: ManagedNode) -> None:
    """Spin until the process is told to end; an exception in a callback is logged, and the node goes on."""
    while not _spun_to_the_end(executor, node):
        pass


def _spun_to_the_end(executor: MultiThreadedExecutor, node: ManagedNode) -> bool:
    try:
        executor.spin()
    except _ENDS:
        return True
    except Exception as error:
        node.get_logger().error(f"a callback failed, the node goes on: {type(error).__name__}: {error}")
        node.get_logger().debug(traceback.format_exc())
        return False
    return True


def _refused(error: Exception) -> int:
    print(f"sam_perception: {' '.join(str(error).split())}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _end(code: int) -> int:
    rclpy.try_shutdown()
    return code
