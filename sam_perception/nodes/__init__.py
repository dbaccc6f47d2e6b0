"""The ROS 2 nodes: messages to this package's types and back; the only place that imports rclpy."""

from sam_perception.standalone import install_where_needed

install_where_needed()
