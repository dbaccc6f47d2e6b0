"""The nodes on the scene that ships with the package: `ros2 launch sam_perception demo.launch.py`."""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

PASSED_ON = (
    ("model", "", "a name from `sam-perception models list`, or a checkpoint; empty: the parameter file's"),
    ("rviz", "false", "start RViz with this package's configuration"),
)


def generate_launch_description() -> LaunchDescription:
    """The sample camera and both nodes, with results in the frame of the table."""
    launch_file = os.path.join(get_package_share_directory("sam_perception"), "launch", "sam_perception.launch.py")
    arguments = {"camera": "sample", "target_frame": "table"}
    passed_on = {name: LaunchConfiguration(name) for name, _, _ in PASSED_ON}
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in PASSED_ON),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(launch_file), launch_arguments=[*arguments.items(), *passed_on.items()]
            ),
        ]
    )
