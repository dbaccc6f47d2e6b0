#!/usr/bin/env python3
"""Measures the realsense_camera node on a software camera: CPU for each frame, and what alignment gets wrong.

scripts/measure_realsense.py [--seconds 10]

Needs pyrealsense2, and neither a camera nor ROS. The frames are pushed in at 30 Hz by a thread of the node's process,
whose own CPU time (with nobody listening) is subtracted; the listener is a process of its own. Frames that the node was
too late for, librealsense drops: the last column.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "test")]

import numpy as np  # noqa: E402
from software_camera import SoftwareCamera, rs, rs_intrinsics  # noqa: E402

import sam_perception.nodes  # noqa: E402, F401  where there is no rclpy, it brings its own

import rclpy  # noqa: E402 isort: skip
from rclpy.executors import MultiThreadedExecutor  # noqa: E402 isort: skip

from sam_perception.frames import CameraIntrinsics  # noqa: E402
from sam_perception.geometry.alignment import DepthAligner  # noqa: E402
from sam_perception.geometry.rays import cached_rays  # noqa: E402
from sam_perception.nodes.client import wait_until  # noqa: E402
from sam_perception.nodes.realsense_camera_node import RealSenseCameraNode  # noqa: E402
from sam_perception.realsense.calibration import intrinsics_from_realsense  # noqa: E402
from sam_perception.realsense.camera_frames import CameraFrames  # noqa: E402

SIZES = ((640, 480), (1280, 720))
D455 = (-0.0565362684, 0.0682018697, 0.0003659752, 0.0006925757, -0.0218431670)
TOPICS = ("color/image_raw", "aligned_depth_to_color/image_raw", "depth/image_rect_raw")
LISTENER = """
import sys, sam_perception.nodes, rclpy.executors
from sensor_msgs.msg import Image
rclpy.init(args=[])
node = rclpy.create_node("listener")
for topic in sys.argv[1:]:
    node.create_subscription(Image, "/camera/camera/" + topic, lambda message: None, 5)
try:
    rclpy.spin(node)
except rclpy.executors.ExternalShutdownException:
    pass
"""


class CountingNode(RealSenseCameraNode):
    """Counts what it publishes."""

    published = 0

    def _on_frames(self, frames: CameraFrames) -> None:
        super()._on_frames(frames)
        self.published += 1


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    rclpy.init(args=[])
    print("| size | listened to | CPU for each frame | published |\n|---|---|---|---|")
    for width, height in SIZES:
        for topics in ((), TOPICS[:1], TOPICS[:2], TOPICS):
            cpu_ms, share = node_cpu(width, height, topics, seconds)
            if not topics:
                base_ms = cpu_ms
                print(f"| {width}x{height} | nothing: pushing, matching, camera_info | {cpu_ms:.1f} ms | {share:.0%} |")
            else:
                print(f"| {width}x{height} | {', '.join(topics)} | {cpu_ms - base_ms:.1f} ms more | {share:.0%} |")
    rclpy.try_shutdown()
    print("\n| size | colour lens | way | CPU | mean error | 99 % below |\n|---|---|---|---|---|---|")
    for width, height in SIZES:
        for lens, coefficients in (("none", (0.0,) * 5), ("a D455's", D455)):
            for row in alignment(width, height, coefficients):
                print(f"| {width}x{height} | {lens} | {row} |")
    return 0


def camera_of(width: int, height: int, coefficients: tuple[float, ...]) -> tuple[SoftwareCamera, np.ndarray]:
    """A camera whose colour lens is longer than that of its depth, a quarter of a degree beside it."""
    color_T_depth = np.eye(4)
    angle = np.radians(0.25)
    color_T_depth[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    color_T_depth[:3, 3] = 0.015, 0.0, 0.001
    model = rs.distortion.inverse_brown_conrady
    color = rs_intrinsics(width, height, 0.72 * width, model, coefficients)
    return SoftwareCamera(
        color=color, depth=rs_intrinsics(width, height, 0.6 * width), color_T_depth=color_T_depth
    ), color_T_depth


def node_cpu(width: int, height: int, topics: tuple[str, ...], seconds: float) -> tuple[float, float]:
    """CPU milliseconds of this process for each published frame, and which part of the frames that is."""
    camera, _ = camera_of(width, height, D455)
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = plane(width, height)[0]
    node = CountingNode(find_devices=lambda: [camera.device])
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    stop = threading.Event()

    def push() -> None:
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            camera.push(color=color, depth=depth)
            due += 1 / 30

    pushing = threading.Thread(target=push, daemon=True)
    pushing.start()
    listener = subprocess.Popen([sys.executable, "-c", LISTENER, *topics], cwd=REPOSITORY) if topics else None
    for topic in topics:
        wait_until(lambda topic=topic: node.count_subscribers(f"/camera/camera/{topic}"), topic)
    time.sleep(2)
    cpu, pushed, published = time.process_time(), camera.number, node.published
    time.sleep(seconds)
    published = node.published - published
    result = 1000 * (time.process_time() - cpu) / published, published / (camera.number - pushed)
    if listener is not None:
        listener.terminate()
        listener.wait()
    stop.set()
    pushing.join()
    node.release()
    executor.shutdown()
    spinning.join()
    node.destroy_node()
    return result


def plane(width: int, height: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Depth of a tilted plane about 0.8 m away in millimetres, its normal, and its distance along that."""
    depth_camera = intrinsics_from_realsense(rs_intrinsics(width, height, 0.6 * width))
    normal = np.array([0.3, -0.2, -0.93])
    distance = float(normal @ [0, 0, 0.8])
    return np.rint(1e3 * distance / (cached_rays(depth_camera).points @ normal)).astype(np.uint16), normal, distance


def alignment(width: int, height: int, coefficients: tuple[float, ...]) -> list[str]:
    """CPU and error of both ways on a tilted plane, beside the plane itself."""
    camera, color_T_depth = camera_of(width, height, coefficients)
    depth, normal, distance = plane(width, height)
    pipeline, config = rs.pipeline(), rs.config()
    pipeline.set_device(camera.device)
    config.enable_stream(rs.stream.color)
    config.enable_stream(rs.stream.depth)
    profile = pipeline.start(config)
    color, of_depth = (
        intrinsics_from_realsense(profile.get_stream(kind).as_video_stream_profile().get_intrinsics())
        for kind in (rs.stream.color, rs.stream.depth)
    )
    for i in range(2):
        camera.push(depth=depth, timestamp_ms=1000.0 + 33 * i)
    _, frames = pipeline.try_wait_for_frames(5000)
    theirs, ours = rs.align(rs.stream.color), DepthAligner(of_depth, color, color_T_depth)
    ways = {
        f"rs.align, librealsense {rs.__version__}": lambda: np.asanyarray(
            theirs.process(frames).get_depth_frame().get_data()
        ),
        "this package": lambda: ours.align(depth),
    }
    rows = [f"{name} | {_measured(way, color, normal, distance, color_T_depth)}" for name, way in ways.items()]
    pipeline.stop()
    return rows


def _measured(way, color: CameraIntrinsics, normal, distance, color_T_depth) -> str:
    aligned = way().astype(float) / 1000
    rotated = color_T_depth[:3, :3] @ normal
    truth = (distance + rotated @ color_T_depth[:3, 3]) / (cached_rays(color).points @ rotated)
    error_mm = 1000 * np.abs(aligned - truth)[aligned > 0]
    began, repeats = time.process_time(), 50
    for _ in range(repeats):
        way()
    cpu_ms = 1000 * (time.process_time() - began) / repeats
    return f"{cpu_ms:.1f} ms | {error_mm.mean():.2f} mm | {np.quantile(error_mm, 0.99):.1f} mm"


if __name__ == "__main__":
    sys.exit(main())
