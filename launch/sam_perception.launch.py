"""Camera, sam and sam_grasp: `ros2 launch sam_perception sam_perception.launch.py camera:=realsense`."""

import os

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "sam_perception"
COLOR = "/camera/camera/color/image_raw"
DEPTH = "/camera/camera/aligned_depth_to_color/image_raw"
CAMERA_INFO = "/camera/camera/color/camera_info"

ARGUMENTS = (
    (
        "camera",
        "none",
        "realsense: realsense-ros, with depth aligned to colour; realsense_direct: this package's own node on "
        "pyrealsense2; sample: the scene that ships with the package; sim: simulated scenes (needs `pip install "
        "mujoco`); none: a camera that runs already",
        ("realsense", "realsense_direct", "sample", "sim", "none"),
    ),
    ("model", "", "a name from `sam-perception models list`, or a checkpoint; empty: the parameter file's", None),
    ("device", "", "of the model: auto, cuda, cuda:N, mps or cpu; empty: the parameter file's", None),
    ("target_frame", "", "of clouds, boxes and centroids, e.g. base_link; empty: the parameter file's", None),
    ("namespace", "", "of sam and sam_grasp", None),
    ("rviz", "false", "start RViz with this package's configuration", ("true", "false")),
    ("params_file", "", "parameters that go before those in the package's config/", None),
    ("log_level", "info", "of sam and sam_grasp", ("debug", "info", "warn", "error", "fatal")),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what to start is decided when they are known."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, default, description, choices in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    camera = {
        "realsense": _realsense,
        "realsense_direct": _realsense_direct,
        "sample": _sample,
        "sim": _sim,
        "none": list,
    }
    nodes = [
        _node("sam", values, ("model", "device"), {"image": COLOR, "depth": DEPTH}),
        _node(
            "sam_grasp",
            values,
            ("target_frame",),
            {"objects": "sam/objects", "image": COLOR, "depth": DEPTH, "camera_info": CAMERA_INFO},
        ),
    ]
    return [*camera[values["camera"]](), *nodes, *(_rviz(values) if values["rviz"] == "true" else [])]


def _node(name: str, values: dict[str, str], own: tuple[str, ...], remappings: dict[str, str]) -> Node:
    """A node with the package's parameters, the caller's file over them, and its own arguments over both."""
    parameters = [_share("config", f"{name}.yaml")]
    if values["params_file"]:
        parameters.append(values["params_file"])
    parameters.append({argument: values[argument] for argument in own if values[argument]})
    return Node(
        package=PACKAGE,
        executable=name,
        name=name,
        namespace=values["namespace"],
        parameters=[each for each in parameters if each],
        remappings=list(remappings.items()),
        ros_arguments=["--log-level", values["log_level"]],
        output="screen",
    )


def _realsense() -> list[LaunchDescriptionEntity]:
    try:
        launch_file = os.path.join(get_package_share_directory("realsense2_camera"), "launch", "rs_launch.py")
    except PackageNotFoundError:
        distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        raise RuntimeError(
            f"camera:=realsense needs realsense-ros: sudo apt-get install ros-{distribution}-realsense2-camera (or "
            "camera:=realsense_direct, which needs only `pip install pyrealsense2`)"
        ) from None
    arguments = {"align_depth.enable": "true", "enable_sync": "true", "enable_color": "true", "enable_depth": "true"}
    source = PythonLaunchDescriptionSource(launch_file)
    return [IncludeLaunchDescription(source, launch_arguments=list(arguments.items()))]


def _realsense_direct() -> list[LaunchDescriptionEntity]:
    return [_camera("realsense_camera")]


def _sample() -> list[LaunchDescriptionEntity]:
    return [_camera("sample_camera")]


def _sim() -> list[LaunchDescriptionEntity]:
    return [_camera("sim_camera")]


def _camera(executable: str) -> Node:
    return Node(
        package=PACKAGE,
        executable=executable,
        name="camera",
        namespace="camera",
        parameters=[_share("config", f"{executable}.yaml")],
        output="screen",
    )


def _rviz(values: dict[str, str]) -> list[LaunchDescriptionEntity]:
    frame = ["-f", values["target_frame"]] if values["target_frame"] else []
    arguments = ["-d", _share("rviz", "sam_perception.rviz"), *frame]
    return [Node(package="rviz2", executable="rviz2", name="rviz", arguments=arguments, output="log")]


def _share(*parts: str) -> str:
    return os.path.join(get_package_share_directory(PACKAGE), *parts)
