"""What rclpy has in its `utilities`."""

import sys
from collections.abc import Sequence

from sam_perception.standalone.arguments import parse_ros_arguments


def remove_ros_args(args: Sequence[str] | None = None) -> list[str]:
    """A command line without what stands between --ros-args and --."""
    return list(parse_ros_arguments(sys.argv if args is None else args).unparsed)
