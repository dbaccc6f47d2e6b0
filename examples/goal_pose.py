#!/usr/bin/env python3
"""Turns the centroid of the newest object into a goal for an arm: a PoseStamped above it, with the tool pointing down.

With ROS 2 (workspace sourced):  python3 goal_pose.py --ros-args -p height:=0.15
Without ROS:                     python3 -m sam_perception.standalone goal_pose.py

Publishes ~/pose, that is /goal_pose/pose. Not /goal_pose, where Nav2 would send the robot's base.
"""

import math

import rclpy
from geometry_msgs.msg import Point, Pose, PoseArray, PoseStamped, Quaternion
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node


def tool_down(yaw):
    """Return the orientation of a tool whose z axis points down, turned by ``yaw`` radians about the vertical.

    With a yaw of 0 the tool's x axis lies along the frame's x, its y axis against the frame's y: half a turn about x,
    the quaternion (x 1, y 0, z 0, w 0). Turning that by yaw about the frame's z gives the two numbers below. A tool
    whose approach is another of its axes needs a constant turn more, on the right-hand side.
    """
    return Quaternion(x=math.cos(yaw / 2), y=math.sin(yaw / 2), z=0.0, w=0.0)


class GoalPose(Node):
    """Listens to centroids, publishes goals."""

    def __init__(self):
        super().__init__("goal_pose")
        self.declare_parameter("height", 0.15)  # of the goal above the centroid, metres
        self.declare_parameter("yaw_deg", 0.0)  # of the tool about the vertical, degrees
        self.publisher = self.create_publisher(PoseStamped, "~/pose", 10)
        self.create_subscription(PoseArray, "sam_grasp/centroids", self.on_centroids, 10)

    def on_centroids(self, message):
        """Publish a goal above the first object."""
        if not message.poses:
            return
        if message.header.frame_id.endswith("optical_frame"):
            self.get_logger().warning(
                f"no goal: up is unknown in {message.header.frame_id}, where z is the camera's view; give sam_grasp a "
                "frame whose z points up: ros2 param set /sam_grasp target_frame base_link",
                throttle_duration_sec=5.0,
            )
            return
        at = message.poses[0].position
        height = self.get_parameter("height").value
        goal = PoseStamped()
        # The image's own stamp, and sam_grasp's target_frame: it has already asked TF where the camera was just then.
        goal.header = message.header
        goal.pose = Pose(
            position=Point(x=at.x, y=at.y, z=at.z + height),
            orientation=tool_down(math.radians(self.get_parameter("yaw_deg").value)),
        )
        self.publisher.publish(goal)
        position = goal.pose.position
        self.get_logger().info(
            f"goal in {goal.header.frame_id}: x {position.x:.4f} y {position.y:.4f} z {position.z:.4f} m, tool down"
        )


def main():
    """Run until Ctrl-C."""
    rclpy.init()
    node = GoalPose()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
