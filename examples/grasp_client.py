#!/usr/bin/env python3
"""Asks sam_grasp how to grasp the object under a pixel, and prints it: a client to copy into your own package.

With ROS 2 (workspace sourced):  python3 grasp_client.py 366 259
Without ROS:                     python3 -m sam_perception.standalone grasp_client.py 366 259
"""

import argparse
import math
import sys
import time

import rclpy
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from sam_perception.srv import GraspAt

PATIENCE_S = 120.0  # the first image on a large model takes long on a CPU


class GraspClient(Node):
    """Calls sam_grasp's service."""

    def __init__(self):
        super().__init__("grasp_client")
        # A relative name: `--ros-args -r __ns:=/left` finds the node of that namespace.
        self.client = self.create_client(GraspAt, "sam_grasp/grasp_at")
        self.service = self.resolve_service_name("sam_grasp/grasp_at")

    def ask(self, x, y, max_candidates):
        """Return the grasps at a pixel, best first, in sam_grasp's target_frame at the image's stamp."""
        while not self.client.wait_for_service(timeout_sec=2.0):
            self.get_logger().info(f"waiting for the service {self.service}")
        future = self.client.call_async(GraspAt.Request(x=x, y=y, max_candidates=max_candidates))
        deadline = time.monotonic() + PATIENCE_S
        while not future.done():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.service} did not answer within {PATIENCE_S:g} s")
            rclpy.spin_once(self, timeout_sec=0.1)
        answer = future.result()
        if not answer.success:
            raise RuntimeError(answer.message)
        return answer.grasps.candidates


def pregrasp_position(candidate):
    """Return x, y, z of where the straight approach starts."""
    at, towards, distance = candidate.pose.position, candidate.approach, candidate.pregrasp_distance
    return [at.x - distance * towards.x, at.y - distance * towards.y, at.z - distance * towards.z]


def describe(number, candidate):
    """Return a line about a candidate."""
    at, q = candidate.pose.position, candidate.pose.orientation
    start = pregrasp_position(candidate)
    down = math.degrees(math.acos(max(-1.0, min(1.0, -candidate.approach.z))))
    return (
        f"{number}: object {candidate.object_id} quality {candidate.quality:.2f} open {1000 * candidate.width:.0f} mm; "
        f"tool in {candidate.header.frame_id}: x {at.x:.4f} y {at.y:.4f} z {at.z:.4f} m, "
        f"quaternion x {q.x:.4f} y {q.y:.4f} z {q.z:.4f} w {q.w:.4f}; "
        f"from x {start[0]:.4f} y {start[1]:.4f} z {start[2]:.4f}, {down:.0f} deg off the frame's -z"
    )


def main():
    """Ask once."""
    parser = argparse.ArgumentParser(description="Ask sam_grasp how to grasp the object under a pixel.")
    parser.add_argument("x", type=float, help="column of a pixel on the object")
    parser.add_argument("y", type=float, help="its row")
    parser.add_argument("--count", type=int, default=3, help="grasps at most")
    arguments = parser.parse_args(remove_ros_args(sys.argv)[1:])
    rclpy.init()
    node = GraspClient()
    try:
        for number, candidate in enumerate(node.ask(arguments.x, arguments.y, arguments.count), 1):
            print(describe(number, candidate))
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
