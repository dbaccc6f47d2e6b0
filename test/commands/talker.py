"""A lifecycle node for the tests of commands: `python talker.py [--ros-args ...]`."""
# ruff: noqa: E402

import array
import os
import signal

from sam_perception.standalone import install_where_needed

install_where_needed()

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from sam_perception.srv import SegmentPoints

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Talker(LifecycleNode):
    """Says something on three topics, answers three services, and has a parameter of each type."""

    def __init__(self):
        super().__init__("talker")
        speed = ParameterDescriptor(
            description="How fast.", floating_point_range=[FloatingPointRange(from_value=0.0, to_value=2.0, step=0.5)]
        )
        self.declare_parameter("speed", 1.5, speed)
        self.declare_parameter("count", 3)
        self.declare_parameter("name", "tom")
        self.declare_parameter("loud", True)
        self.declare_parameter("sizes", [1, 2, 3])
        self.declare_parameter("weights", [0.5, 1.0])
        self.declare_parameter("words", ["a", "b"])
        self.declare_parameter("fixed", 7, ParameterDescriptor(read_only=True))
        self.add_on_set_parameters_callback(self.check)
        self.chatter = self.create_publisher(String, "chatter", 10)
        self.image = self.create_publisher(Image, "~/image", BEST_EFFORT)
        self.status = self.create_publisher(DiagnosticStatus, "~/status", 10)
        self.info = self.create_publisher(CameraInfo, "~/info", LATCHED)
        self.info.publish(camera_info())
        self.create_subscription(String, "heard", lambda message: None, 10)
        self.create_service(SetBool, "~/set", self.set)
        self.create_service(SegmentPoints, "~/segment_points", self.segment_points)
        self.create_service(Trigger, "~/die", lambda request, response: os.kill(os.getpid(), signal.SIGKILL))
        self.create_client(Trigger, "somebody/reset")
        self.said = 0
        self.create_timer(0.1, self.say)
        self.get_logger().info("talking")

    def check(self, parameters):
        if any(parameter.name == "name" and not parameter.value for parameter in parameters):
            return SetParametersResult(successful=False, reason="a name is never empty")
        return SetParametersResult(successful=True)

    def say(self):
        self.said += 1
        self.chatter.publish(String(data=f"héllo: {self.said}"))
        self.image.publish(Image(height=2, width=100, step=100, encoding="mono8", data=array.array("B", range(200))))
        self.status.publish(DiagnosticStatus(level=DiagnosticStatus.WARN, name="n", message="m"))

    def set(self, request, response):
        response.success, response.message = request.data, f"got {request.data}"
        return response

    def segment_points(self, request, response):
        points = [(point.x, point.y) for point in request.points]
        response.success, response.message = (
            bool(points),
            f"{points} {[*map(int, request.point_labels)]} {request.stamp.sec}",
        )
        return response

    def on_configure(self, state):
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        return TransitionCallbackReturn.FAILURE


def camera_info():
    message = CameraInfo(height=480, width=640, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.3])
    message.header.frame_id = "camera"
    message.k = [600.5, 0.0, 320.0, 0.0, 601.0, 240.0, 0.0, 0.0, 1.0]
    return message


def main():
    rclpy.init()
    node = Talker()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
