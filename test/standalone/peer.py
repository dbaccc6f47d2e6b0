"""A process with one node for test_standalone_processes.py: `peer.py NAME spin|forget|call|send_late`."""

import atexit
import contextlib
import os
import pathlib
import signal
import sys
import threading
import time

from sam_perception.standalone import install_where_needed

install_where_needed()

import rclpy  # noqa: E402
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Int32, Int64  # noqa: E402
from std_srvs.srv import SetBool  # noqa: E402

CALLS = 250


def resident_kib() -> int:
    """Memory of this process."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


class Peer(Node):
    """Counts on ~/count, answers on ~/echo, hears /image and says on ~/memory how much memory that takes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._number = 0
        self._count = self.create_publisher(Int32, "~/count", 10)
        self._memory = self.create_publisher(Int64, "~/memory", 10)
        self.create_timer(0.02, self._tick)
        self.create_service(SetBool, "~/echo", self._echo)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, "/image", self._hear, newest)

    def _tick(self) -> None:
        self._number += 1
        if self._number == 1:
            print("ready", flush=True)
        self._count.publish(Int32(data=self._number))

    def _echo(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            time.sleep(3600)
        response.success = True
        return response

    def _hear(self, image: Image) -> None:
        self._memory.publish(Int64(data=resident_kib()))


def spin(node: Node) -> None:
    """Until told to end, as rclpy's documentation asks for it."""
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    with contextlib.suppress(KeyboardInterrupt):  # the second one
        try:
            executor.spin()
        except (KeyboardInterrupt, ExternalShutdownException):
            pass
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


def call(node: Node) -> None:
    """Call the service of `server` again and again, wait for each answer, and print how many came."""
    client = node.create_client(SetBool, "/server/echo")
    client.wait_for_service()
    answers = 0
    for _ in range(CALLS):
        future = client.call_async(SetBool.Request())
        while not future.done():
            rclpy.spin_once(node)
        answers += future.result().success
    print(answers, flush=True)
    rclpy.try_shutdown()


def forget(node: Node) -> None:
    """Return while everything is at work."""
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    time.sleep(0.3)
    atexit.register(time.sleep, 0.3)  # after thread pools have ended and before the context does, as on a busy machine


def send_late(node: Node) -> None:
    """Be told to end in the middle of a callback that then sends something."""
    has_failed = threading.Event()
    publisher = node.create_publisher(Int32, "~/late", 1)

    def late() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while rclpy.ok():
            time.sleep(0.01)
        try:
            publisher.publish(Int32())
        except RuntimeError:
            has_failed.set()
            raise

    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    node.create_timer(0.1, late)  # after it has said that it is ready
    while not has_failed.is_set():
        executor.spin_once(timeout_sec=0.1)
    time.sleep(0.2)  # until the executor knows
    executor.spin_once(timeout_sec=0.1)
    print("ended", flush=True)
    rclpy.try_shutdown()


if __name__ == "__main__":
    rclpy.init(args=[])
    {"spin": spin, "call": call, "forget": forget, "send_late": send_late}[sys.argv[2]](Peer(sys.argv[1]))
