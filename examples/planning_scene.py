#!/usr/bin/env python3
"""Keeps the boxes of sam_grasp in MoveIt's planning scene, as collision objects `object_<id>`.

python3 planning_scene.py --ros-args -p margin:=0.01

Asks move_group's service apply_planning_scene; with `-p use_topic:=true` publishes on planning_scene instead, which
answers nothing, and which other programs that keep a scene can hear too.
"""

import os
import sys

import rclpy
from geometry_msgs.msg import Pose
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from vision_msgs.msg import Detection3DArray

try:
    from moveit_msgs.msg import CollisionObject, PlanningScene
    from moveit_msgs.srv import ApplyPlanningScene
    from shape_msgs.msg import SolidPrimitive
except ImportError:
    distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
    sys.exit(f"MoveIt's messages are not here; on a ROS 2 system: sudo apt-get install ros-{distribution}-moveit-msgs")

THINNEST_M = 0.001  # a box of no thickness collides with nothing


def collision_object(header, detection, margin):
    """Return the CollisionObject of a detection, its box grown by ``margin`` metres on every side.

    The object's frame is the middle of its box, along the box's edges; in MoveIt it has the object's name.
    """
    size = detection.bbox.size
    sides = [max(side + 2 * margin, THINNEST_M) for side in (size.x, size.y, size.z)]
    return CollisionObject(
        header=header,
        id=f"object_{detection.id}",
        pose=detection.bbox.center,
        primitives=[SolidPrimitive(type=SolidPrimitive.BOX, dimensions=sides)],
        primitive_poses=[Pose()],
        operation=CollisionObject.ADD,  # also replaces an object of this name
    )


def removal(name):
    """Return the CollisionObject that takes one away."""
    return CollisionObject(id=name, operation=CollisionObject.REMOVE)


class PlanningSceneUpdater(Node):
    """Listens to boxes, changes the planning scene."""

    def __init__(self):
        super().__init__("planning_scene_updater")
        self.declare_parameter("margin", 0.0)  # metres on every side
        self.declare_parameter("use_topic", False)
        self.in_scene = set()
        self.client = self.create_client(ApplyPlanningScene, "apply_planning_scene")
        self.publisher = self.create_publisher(PlanningScene, "planning_scene", 10)
        self.create_subscription(Detection3DArray, "sam_grasp/boxes", self.on_boxes, 10)

    def on_boxes(self, message):
        """Put the objects of the newest answer into the scene, and take away those of the answer before."""
        margin = self.get_parameter("margin").value
        objects = [collision_object(message.header, detection, margin) for detection in message.detections]
        names = {each.id for each in objects}
        scene = PlanningScene(is_diff=True)
        scene.robot_state.is_diff = True  # or the robot would be put to its zero position
        scene.world.collision_objects = objects + [removal(name) for name in sorted(self.in_scene - names)]
        if self.get_parameter("use_topic").value:
            self.publisher.publish(scene)
            self.in_scene = names
        elif self.client.service_is_ready():
            future = self.client.call_async(ApplyPlanningScene.Request(scene=scene))
            future.add_done_callback(lambda done: self.on_applied(done, names, message.header.frame_id))
        else:
            self.get_logger().warning(
                f"{self.client.srv_name} is not there: start move_group, or use -p use_topic:=true",
                throttle_duration_sec=5.0,
            )

    def on_applied(self, future, names, frame_id):
        """Say what move_group made of it."""
        if future.result().success:
            self.in_scene = names
            self.get_logger().info(f"in the planning scene: {', '.join(sorted(names)) or 'nothing'}")
        else:
            self.get_logger().error(f"move_group refused the scene; does its TF know the frame {frame_id}?")


def main():
    """Run until Ctrl-C."""
    rclpy.init()
    node = PlanningSceneUpdater()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
