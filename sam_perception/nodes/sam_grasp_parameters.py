"""The parameters of the node `sam_grasp`."""

from __future__ import annotations

from sam_perception.geometry.cleaning import CloudCleaning
from sam_perception.grasping.gripper import DEFAULT_GRIPPER, GRIPPERS
from sam_perception.grasping.planners import DEFAULT_PLANNER, PLANNERS
from sam_perception.nodes.moveit_messages import SHAPES
from sam_perception.nodes.parameters import Parameter

_CLEANING = CloudCleaning()
SAM_GRASP_PARAMETERS = (
    Parameter(
        "target_frame",
        "",
        "Frame of all results, looked up in TF at the image's stamp; empty: the camera's optical frame.",
    ),
    Parameter("publish_tf", False, "Publish a frame object_<id> for each object, in the middle of its box."),
    Parameter(
        "input_timeout_s",
        0.5,
        "How long objects wait for the depth and camera_info of their image, seconds.",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "tf_timeout_s",
        0.5,
        "How long a lookup in TF waits for a transform of the image's stamp, seconds.",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "depth_slop_s",
        0.0,
        "How far the stamps of an image and its depth may differ, seconds; 0: not at all, as realsense-ros needs.",
        minimum=0.0,
        maximum=0.5,
        changeable=False,
    ),
    Parameter(
        "history_seconds",
        5.0,
        "How long a frame can be answered on, seconds.",
        minimum=0.0,
        maximum=600.0,
        changeable=False,
    ),
    Parameter("history_mb", 512, "Memory for the frames, megabytes.", minimum=1, maximum=65536, changeable=False),
    Parameter(
        "steepest_surface_deg",
        _CLEANING.steepest_surface_deg,
        "Angle between a surface's normal and the viewing ray, degrees, from which on a step in depth is an edge.",
        minimum=1.0,
        maximum=89.9,
    ),
    Parameter(
        "min_neighbours",
        _CLEANING.min_neighbours,
        "Of a pixel's 8 neighbours, how many must lie on its surface, or it is a flying pixel; 0: keep all.",
        minimum=0,
        maximum=8,
    ),
    Parameter(
        "outlier_density",
        _CLEANING.outlier_density,
        "Points go where the cloud is thinner than this share of its middle's density; 0: keep all.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "cluster_gap_m",
        _CLEANING.cluster_gap_m,
        "Parts of an object further apart than this are not the object, metres; 0: keep all.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "noise_per_m",
        _CLEANING.noise_per_m,
        "Standard deviation of the depth over depth squared, 1/m.",
        minimum=1e-6,
        maximum=1.0,
    ),
    Parameter("planner", DEFAULT_PLANNER, "What plans grasps.", choices=tuple(PLANNERS)),
    Parameter(
        "gripper",
        DEFAULT_GRIPPER,
        f"The gripper: {', '.join(GRIPPERS)}, or the path of a YAML file with one's own measures.",
    ),
    Parameter(
        "max_candidates",
        20,
        "Grasps in an answer at most, on the topics and where a request says 0; every object's best come first.",
        minimum=1,
        maximum=1000,
    ),
    Parameter(
        "least_quality",
        0.1,
        "Grasps of less quality are not handed out; 0: all are.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "segment_timeout_s",
        30.0,
        "How long grasp_at waits for sam's mask, seconds; the first image of a large model takes long on a CPU.",
        minimum=0.1,
        maximum=600.0,
    ),
    Parameter(
        "shown_grasps",
        3,
        "Grippers that ~/markers shows for each object; 0: none, and markers cost no planning.",
        minimum=0,
        maximum=100,
    ),
    Parameter(
        "retreat_distance_m",
        0.1,
        "How far markers and MoveIt's grasps lift the object, metres.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "moveit_joints",
        "",
        "The gripper's joints in MoveIt's postures, separated by spaces; empty: postures are empty.",
    ),
    Parameter("moveit_joint_open", 0.04, "Position of these joints with the gripper open, metres or radians."),
    Parameter("moveit_joint_closed", 0.0, "Position of these joints with the gripper closed, metres or radians."),
    Parameter(
        "moveit_max_effort",
        0.0,
        "Effort of these joints while they grip, newtons or newton metres; 0: not said.",
        minimum=0.0,
        maximum=1000.0,
    ),
    Parameter(
        "moveit_tcp",
        "0 0 0 0 0 0",
        "Tool centre point in the end effector's parent link, x y z roll pitch yaw, metres and radians.",
    ),
    Parameter(
        "collision_shape",
        SHAPES[0],
        "Objects in MoveIt's scene: their boxes, or convex meshes as wide as their outline from above.",
        choices=SHAPES,
    ),
    Parameter(
        "table_margin_m",
        0.25,
        "How far the table in MoveIt's scene reaches beyond the objects, metres; 0: no table.",
        minimum=0.0,
        maximum=5.0,
    ),
)
