#!/usr/bin/env python3
"""Plans a pick with MoveIt Task Constructor from sam_grasp's best grasp at a pixel, given to it as a PoseStamped.

python3 grasp_with_moveit.py 366 259                 # plan and show it in RViz's Motion Planning Tasks
python3 grasp_with_moveit.py 366 259 --execute       # and let move_group do it

The names below are those of MoveIt's Panda; they are arguments. move_group runs, and has sam_grasp's planning scene:
start sam_grasp with `-r /sam_grasp/planning_scene:=/planning_scene` and target_frame set to the robot's base.
"""

import argparse
import sys
import time

import rclpy
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3, Vector3Stamped
from rclpy.node import Node
from std_msgs.msg import Header

from sam_perception.srv import GraspAt

try:
    import rclcpp
    from moveit.task_constructor import core, stages
except ImportError:
    sys.exit(
        "MoveIt Task Constructor's Python is not here: install or build moveit_task_constructor_core and "
        "py_binding_tools beside MoveIt, and source that workspace"
    )

PATIENCE_S = 120.0


def best_grasp(x, y):
    """Return sam_grasp's first candidate for the object under a pixel."""
    node = Node("grasp_with_moveit")
    client = node.create_client(GraspAt, "sam_grasp/grasp_at")
    try:
        if not client.wait_for_service(timeout_sec=10.0):
            raise RuntimeError(f"the service {client.srv_name} is not there: start sam_grasp")
        future = client.call_async(GraspAt.Request(x=x, y=y, max_candidates=1))
        rclpy.spin_until_future_complete(node, future, timeout_sec=PATIENCE_S)
        if not future.done():
            raise RuntimeError(f"{client.srv_name} did not answer within {PATIENCE_S:g} s")
        if not future.result().success:
            raise RuntimeError(future.result().message)
        return future.result().grasps.candidates[0]
    finally:
        node.destroy_node()


def grasp_pose(candidate):
    """Return where the tool centre point shall be."""
    return PoseStamped(header=candidate.header, pose=candidate.pose)


def tool_frame(arguments):
    """Return the tool centre point in the hand's link: the frame that inverse kinematics bring to the grasp."""
    orientation = Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)  # the Panda's hand approaches along its z and closes along y
    pose = Pose(position=Point(x=0.0, y=0.0, z=arguments.tcp_z), orientation=orientation)
    return PoseStamped(header=Header(frame_id=arguments.hand_link), pose=pose)


def straight(name, direction, header, distance, arguments):
    """Return a stage that moves the tool along a line."""
    stage = stages.MoveRelative(name, core.CartesianPath())
    stage.group = arguments.arm
    stage.ik_frame = tool_frame(arguments)
    stage.min_distance, stage.max_distance = 0.5 * distance, distance
    stage.setDirection(Vector3Stamped(header=header, vector=direction))
    return stage


def fingers(name, opening, arguments):
    """Return a stage that moves each finger by half an opening."""
    stage = stages.MoveTo(name, core.JointInterpolationPlanner())
    stage.group = arguments.hand
    stage.setGoal(dict.fromkeys(arguments.fingers, opening / 2))
    return stage


def pick_task(node, candidate, arguments):
    """Return the task: open, go to the pre-grasp, approach, close, lift."""
    thing = f"object_{candidate.object_id}"
    task = core.Task()
    task.name = f"pick {thing}"
    task.loadRobotModel(node)
    task.add(stages.CurrentState("current state"))
    # From the start: the shape in the scene is larger than the object, and the fingers go where the object is not.
    touch = stages.ModifyPlanningScene("let the hand touch the object")
    touch.allowCollisions(thing, arguments.hand_links, True)
    task.add(touch)
    task.add(fingers("open", candidate.width, arguments))
    task.add(stages.Connect("go to the pre-grasp", [(arguments.arm, core.PipelinePlanner(node))]))
    task.add(straight("approach", candidate.approach, candidate.header, candidate.pregrasp_distance, arguments))

    generator = stages.GeneratePose("grasp pose")
    generator.pose = grasp_pose(candidate)
    generator.setMonitoredStage(task["open"])
    inverse = stages.ComputeIK("grasp", generator)
    inverse.group = arguments.arm
    inverse.ik_frame = tool_frame(arguments)
    inverse.max_ik_solutions = 8
    inverse.properties.configureInitFrom(core.Stage.PropertyInitializerSource.INTERFACE, ["target_pose"])
    task.add(inverse)

    task.add(fingers("close", 0.0, arguments))
    attach = stages.ModifyPlanningScene("the object is in the hand, and leaves the table")
    attach.attachObject(thing, arguments.hand_link)
    attach.allowCollisions(thing, ["table"], True)
    task.add(attach)
    up = Header(frame_id=arguments.world)
    task.add(straight("lift", Vector3(x=0.0, y=0.0, z=1.0), up, arguments.lift, arguments))
    return task


def read_arguments():
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Plan a pick with MoveIt Task Constructor.")
    parser.add_argument("x", type=float, help="column of a pixel on the object")
    parser.add_argument("y", type=float, help="its row")
    parser.add_argument("--execute", action="store_true", help="let move_group do it")
    parser.add_argument("--arm", default="panda_arm", help="planning group of the arm")
    parser.add_argument("--hand", default="hand", help="planning group of the gripper")
    parser.add_argument("--hand-link", default="panda_hand", help="the end effector's parent link")
    parser.add_argument(
        "--hand-links", nargs="+", default=["panda_hand", "panda_leftfinger", "panda_rightfinger"], help="may touch"
    )
    parser.add_argument(
        "--fingers", nargs="+", default=["panda_finger_joint1", "panda_finger_joint2"], help="joints, in metres"
    )
    parser.add_argument("--tcp-z", type=float, default=0.1034, help="tool centre point along the hand link's z, metres")
    parser.add_argument("--lift", type=float, default=0.1, help="metres")
    parser.add_argument("--world", default="world", help="a frame whose z points up")
    return parser.parse_args()


def main():
    """Ask, plan, and execute if told to."""
    arguments = read_arguments()
    rclpy.init(args=[])
    try:
        candidate = best_grasp(arguments.x, arguments.y)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    rclcpp.init()
    task = pick_task(rclcpp.Node("grasp_with_moveit"), candidate, arguments)
    if not task.plan():
        print(
            "MoveIt found no way to that grasp: RViz's Motion Planning Tasks shows which stage failed", file=sys.stderr
        )
        return 1
    task.publish(task.solutions[0])
    if arguments.execute:
        task.execute(task.solutions[0])
    else:
        time.sleep(1.0)  # for the solution to reach RViz
    return 0


if __name__ == "__main__":
    sys.exit(main())
