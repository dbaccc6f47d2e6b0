"""Real node processes and a client beside them, the same on the standalone runtime and on real rclpy."""

from __future__ import annotations

import array
import os
import re
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

PATIENCE_S = 60.0  # for what has to happen; nothing is judged by how long it took

CAMERA = "/camera/camera"
SAM_REMAPS = [f"image:={CAMERA}/color/image_raw", f"depth:={CAMERA}/aligned_depth_to_color/image_raw"]
GRASP_REMAPS = [*SAM_REMAPS, "objects:=/sam/objects", f"camera_info:={CAMERA}/color/camera_info"]
REMAPS = {"sample_camera": [], "sam": SAM_REMAPS, "sam_grasp": GRASP_REMAPS}


class NodeProcess:
    """One node in a process of its own; its log is kept, and can be waited on."""

    def __init__(self, node: str, *ros_arguments: str, **parameters: Any) -> None:
        self.node = node
        arguments = [part for remap in REMAPS.get(node, []) for part in ("-r", remap)]
        if node == "sam":  # these tests are about processes and messages: the quickest model to load will do
            parameters = {"model": "grabcut", **parameters}
        arguments += [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        self.command = [sys.executable, "-m", "sam_perception", "run", node, "--ros-args", *arguments, *ros_arguments]
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()

    @property
    def log(self) -> str:
        """Everything that it has written."""
        return "\n".join(self.lines)

    def wait_for_log(self, pattern: str, times: int = 1) -> None:
        """Wait until lines of its log match."""
        with self._news:
            found = self._news.wait_for(
                lambda: sum(bool(re.search(pattern, line)) for line in self.lines) >= times, PATIENCE_S
            )
        assert found, f"{self.node} never wrote /{pattern}/ {times} times:\n{self.log}"

    def kill(self) -> None:
        """End it as the kernel would: it cannot say goodbye."""
        self.process.kill()
        self.process.wait()

    def interrupt(self, times: int = 1) -> int:
        """Ctrl-C, and the exit code."""
        for _ in range(times):
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.node} did not end on SIGINT:\n{self.log}") from None

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None


def full_mask(message: Any, i: int = 0) -> np.ndarray:
    """(H, W) bool: object i of an ObjectMaskArray, put back into the image."""
    one = message.objects[i]
    mask = np.zeros((message.image_height, message.image_width), bool)
    crop = np.frombuffer(one.mask.data, np.uint8).reshape(one.mask.height, one.mask.step)[:, : one.mask.width]
    y, x = one.roi.y_offset, one.roi.x_offset
    mask[y : y + one.roi.height, x : x + one.roi.width] = crop > 0
    return mask


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / (a | b).sum())


def stamp_of(message: Any) -> tuple[int, int]:
    """The stamp of a message with a header, to compare."""
    return message.header.stamp.sec, message.header.stamp.nanosec


def image_message(pixels: np.ndarray, encoding: str, pad: int = 0, frame_id: str = "some_camera") -> Any:
    """An Image of these pixels, its rows padded with ``pad`` bytes."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, pad)), constant_values=77)
    message = Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    message.data = array.array("B", rows.tobytes())
    message.header.frame_id = frame_id
    message.header.stamp.sec = 12
    return message
