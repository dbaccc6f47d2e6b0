#!/usr/bin/env python3
"""Asks sam for the object under a pixel, or in a box, and prints where it is: a client to copy into your own package.

With ROS 2 (workspace sourced):  python3 segment_client.py 366 259
Without ROS:                     python3 -m sam_perception.standalone segment_client.py 366 259
"""

import argparse
import sys
import time

import numpy as np
import rclpy
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from vision_msgs.msg import Point2D

from sam_perception.msg import Prompt
from sam_perception.srv import Segment


class SegmentClient(Node):
    """Calls sam's service and listens to what sam_grasp makes of the answer."""

    def __init__(self):
        super().__init__("segment_client")
        # Relative names: `--ros-args -r __ns:=/left` finds the nodes of that namespace.
        self.client = self.create_client(Segment, "sam/segment")
        self.service = self.resolve_service_name("sam/segment")
        self.latest_centroids = None
        self.create_subscription(PoseArray, "sam_grasp/centroids", self.on_centroids, 10)

    def on_centroids(self, message):
        """Keep the newest centroids."""
        self.latest_centroids = message

    def wait_for_sam(self):
        """Return when the service is there."""
        while not self.client.wait_for_service(timeout_sec=2.0):
            self.get_logger().info(f"waiting for the service {self.service}")

    def wait_for(self, happened, timeout_sec):
        """Handle what arrives until ``happened()``, or for so long; return whether it has happened."""
        deadline = time.monotonic() + timeout_sec
        while not happened() and time.monotonic() < deadline:
            rclpy.spin_once(self, timeout_sec=0.1)
        return happened()

    def ask(self, request):
        """Send a request and return the answer; the first one on a large model may take a while on a CPU."""
        future = self.client.call_async(request)
        if not self.wait_for(future.done, timeout_sec=120.0):
            raise RuntimeError(f"{self.service} did not answer within 120 s")
        answer = future.result()
        if not answer.success:
            raise RuntimeError(answer.message)
        return answer

    def centroids_of(self, stamp, timeout_sec):
        """Return the centroids that belong to the image of this stamp, or None."""
        came = self.wait_for(
            lambda: self.latest_centroids is not None and self.latest_centroids.header.stamp == stamp, timeout_sec
        )
        return self.latest_centroids if came else None

    def find(self, prompt):
        """Return the answer to one prompt, and its centroids; None if sam_grasp has none."""
        self.wait_for_sam()
        answer = self.ask(Segment.Request(prompts=[prompt]))
        centroids = self.centroids_of(answer.result.header.stamp, timeout_sec=2.0)
        if centroids is None:
            # A subscription this young can miss the first message. With its stamp, the request is answered once more
            # on the same image, which is encoded already.
            request = Segment.Request(prompts=[prompt], stamp=answer.result.header.stamp)
            answer = self.ask(request)
            centroids = self.centroids_of(answer.result.header.stamp, timeout_sec=3.0)
        return answer, centroids


def make_prompt(point, box):
    """Return the Prompt for one object: by a pixel on it, a box around it, or both."""
    prompt = Prompt()
    if point:
        prompt.points = [Point2D(x=point[0], y=point[1])]
        prompt.point_labels = [Prompt.FOREGROUND]
    if box:
        prompt.box = box
    return prompt


def describe(answer):
    """Return a sentence about the object in an answer."""
    found = answer.result.objects[0]
    area = np.count_nonzero(np.frombuffer(found.mask.data, np.uint8))
    roi = found.roi
    return (
        f"object {found.object_id}: score {found.score:.2f}, {area} pixels, "
        f"x {roi.x_offset}..{roi.x_offset + roi.width}, y {roi.y_offset}..{roi.y_offset + roi.height}; "
        f"encode {answer.encode_ms:.0f} ms, decode {answer.decode_ms:.0f} ms"
    )


def read_arguments():
    """Return the arguments of the command line, without those of ROS."""
    parser = argparse.ArgumentParser(description="Ask sam for one object and print where it is.")
    parser.add_argument("point", nargs="*", type=float, metavar="X Y", help="a pixel on the object")
    parser.add_argument("--box", nargs=4, type=float, metavar=("X_MIN", "Y_MIN", "X_MAX", "Y_MAX"), help="around it")
    arguments = parser.parse_args(remove_ros_args(sys.argv)[1:])
    if len(arguments.point) not in (0, 2) or not (arguments.point or arguments.box):
        parser.error("give a pixel as X Y, a --box, or both")
    return arguments


def main():
    """Ask once."""
    arguments = read_arguments()
    rclpy.init()
    node = SegmentClient()
    try:
        answer, centroids = node.find(make_prompt(arguments.point, arguments.box))
        print(describe(answer))
        if centroids is None:
            print("no centroid came on /sam_grasp/centroids: sam_grasp's log says what it waits for", file=sys.stderr)
            return 1
        if not centroids.poses:
            print("the object has no depth, so it has no centroid", file=sys.stderr)
            return 1
        at = centroids.poses[0].position
        print(f"centroid in {centroids.header.frame_id}: x {at.x:.4f} y {at.y:.4f} z {at.z:.4f} m")
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
