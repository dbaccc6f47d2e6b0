"""Objects, what they stand on and grasps as messages of MoveIt, for those who have moveit_msgs installed."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Pose, PoseStamped, Vector3Stamped
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.geometry.boxes import OrientedBox, transform_box
from sam_perception.geometry.objects import ObjectGeometry
from sam_perception.geometry.planes import Plane
from sam_perception.grasping.gripper import Gripper
from sam_perception.nodes.grasp_messages import PlacedGrasp
from sam_perception.nodes.transform_messages import matrix_pose_message, point_message, pose_message, vector_message

SHAPES = ("box", "mesh")
TABLE = "table"
_THINNEST_M = 0.001  # a shape of no thickness collides with nothing
_TABLE_THICKNESS_M = 0.02
_LEAST_MOTION = 0.5  # share of an approach or retreat that has to be possible
_CLOSING_S = 1.0


@dataclasses.dataclass(frozen=True)
class MoveItHand:
    """What MoveIt has to know of a gripper beside its measures.

    Attributes:
        gripper: opens and closes as far as this one.
        joints: names of its joints, which all move alike; empty: postures are left empty.
        open_position: of the joints when the gripper is open, metres or radians.
        closed_position: when it is closed.
        max_effort: of the joints while they grip, newtons or newton metres; 0: not said.
        link_T_tcp: (4, 4) where the tool centre point lies in the end effector's parent link, as (x, y, z, roll, pitch,
            yaw) in metres and radians, as in a URDF's origin.
        retreat_m: how far the object is lifted.
    """

    gripper: Gripper
    joints: tuple[str, ...] = ()
    open_position: float = 0.04
    closed_position: float = 0.0
    max_effort: float = 0.0
    link_T_tcp: tuple[float, ...] = (0.0,) * 6
    retreat_m: float = 0.1

    def position(self, opening_m: float) -> float:
        """Of the joints when the pads are so far apart; in proportion between closed and open."""
        low, high = self.gripper.min_opening_m, self.gripper.max_opening_m
        share = (float(np.clip(opening_m, low, high)) - low) / (high - low)
        return self.closed_position + share * (self.open_position - self.closed_position)


class MoveItInterfaces(NamedTuple):
    """The modules of messages and services that MoveIt is spoken to with."""

    msg: ModuleType
    srv: ModuleType
    shapes: ModuleType
    trajectories: ModuleType


def moveit_interfaces() -> MoveItInterfaces:
    """The modules, imported when they are first asked for.

    Raises:
        ModelUnavailableError: MoveIt's messages are not installed; the message says how to get them.
    """
    try:
        names = ("moveit_msgs.msg", "moveit_msgs.srv", "shape_msgs.msg", "trajectory_msgs.msg")
        return MoveItInterfaces(*map(importlib.import_module, names))
    except ImportError:
        distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        raise ModelUnavailableError(
            f"MoveIt's messages are not here; on a ROS 2 system: sudo apt-get install ros-{distribution}-moveit-msgs"
        ) from None


def link_transform(text: str) -> tuple[float, ...]:
    """The six numbers of "x y z roll pitch yaw".

    Raises:
        InvalidInputError: it is not six finite numbers.
    """
    try:
        values = tuple(float(part) for part in text.split())
    except ValueError:
        values = ()
    if len(values) != 6 or not np.isfinite(values).all():
        raise InvalidInputError.for_field(
            "moveit_tcp", "six numbers, x y z roll pitch yaw (metres, radians)", repr(text)
        )
    return values


def object_name(object_id: int) -> str:
    """What an object is called in MoveIt's planning scene, and in TF."""
    return f"object_{object_id}"


def moveit_grasps(header: Any, grasps: Sequence[PlacedGrasp], hand: MoveItHand) -> list[Any]:
    """A moveit_msgs/Grasp for each grasp, in their order.

    ``grasp_pose`` is that of the end effector's parent link, as MoveIt wants it. The pre-grasp posture is open as wide
    as the candidate needs, the grasp posture closed: what is between the fingers stops them.

    Raises:
        ModelUnavailableError: MoveIt's messages are not installed.
    """
    moveit = moveit_interfaces()
    return [_grasp(moveit, header, rank, grasp, hand) for rank, grasp in enumerate(grasps)]


def planning_scene(
    header: Any,
    geometries: Sequence[ObjectGeometry],
    target_T_camera: NDArray[np.float64],
    *,
    shape: str = "box",
    table_margin_m: float = 0.25,
    gone: Sequence[str] = (),
) -> Any:
    """A moveit_msgs/PlanningScene, a difference that puts objects and table in and takes away what is gone.

    Args:
        header: its frame is "target".
        geometries: those that have a box are put in, as ``object_<id>``.
        target_T_camera: (4, 4) rigid transform.
        shape: "box", or "mesh": the convex prism between table and top that is as wide as the object's outline.
        table_margin_m: how far the table reaches beyond the objects; 0: no table.
        gone: names of what was there before and is not any more.

    Raises:
        ModelUnavailableError: MoveIt's messages are not installed.
    """
    moveit = moveit_interfaces()
    boxed = [each for each in geometries if each.box is not None]
    objects = [_object(moveit, header, each, target_T_camera, shape) for each in boxed]
    table = table_box(boxed, table_margin_m)
    if table is not None:
        objects.append(_box_object(moveit, header, TABLE, transform_box(table, target_T_camera)))
    kept = {each.id for each in objects}
    operation = moveit.msg.CollisionObject.REMOVE
    objects += [
        moveit.msg.CollisionObject(header=header, id=name, operation=operation) for name in gone if name not in kept
    ]
    scene = moveit.msg.PlanningScene(is_diff=True)
    scene.robot_state.is_diff = True  # or the robot would be put to its zero position
    scene.world.collision_objects = objects
    return scene


def table_box(geometries: Sequence[ObjectGeometry], margin_m: float) -> OrientedBox | None:
    """What the objects stand on, as a flat box under all of them, in the camera's frame.

    Where they stand on several planes, on the one in the middle by its distance from the camera.

    Args:
        geometries: objects.
        margin_m: how far it reaches beyond them on all sides; 0: None is returned.
    """
    standing = [(each.plane, each.box) for each in geometries if each.plane is not None and each.box is not None]
    if not standing or margin_m <= 0:
        return None
    planes = sorted((plane for plane, _ in standing), key=lambda plane: plane.offset)
    plane = planes[len(planes) // 2]
    axes = _axes_along(plane)
    along = np.concatenate([box.corners() for _, box in standing]) @ axes[:, :2]
    low, high = along.min(axis=0) - margin_m, along.max(axis=0) + margin_m
    middle = axes @ [*((low + high) / 2), -plane.offset - _TABLE_THICKNESS_M / 2]
    return OrientedBox(middle, np.array([*(high - low), _TABLE_THICKNESS_M]), axes)


def footprint_prism(geometry: ObjectGeometry) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(2n, 3) corners in the frame of the object's box and (4n - 4, 3) triangles of the convex prism around its cloud.

    Its outline is the convex hull of the cloud seen along the box's z, it reaches from the box's bottom to its top,
    and the triangles are seen counter-clockwise from outside.

    Args:
        geometry: with a box.
    """
    box = geometry.box
    assert box is not None
    local = (geometry.cloud.points.astype(np.float64) - box.center) @ box.rotation
    half = np.maximum(box.size, _THINNEST_M) / 2
    flat = np.clip(local[:, :2], -half[:2], half[:2])  # the box leaves out the tails of real depth
    hull = cv2.convexHull(flat.astype(np.float32)).reshape(-1, 2).astype(np.float64)
    if len(hull) < 3 or cv2.contourArea(hull.astype(np.float32)) < _THINNEST_M**2:
        hull = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:2]
    if cv2.contourArea(hull.astype(np.float32), oriented=True) < 0:
        hull = hull[::-1]
    count = len(hull)
    bottom = np.column_stack([hull, np.full(count, -half[2])])
    top = np.column_stack([hull, np.full(count, half[2])])
    here = np.arange(count)
    after = (here + 1) % count
    sides = [np.column_stack([here, after, after + count]), np.column_stack([here, after + count, here + count])]
    fan = np.column_stack([np.zeros(count - 2, np.int64), here[1:-1], here[2:]])
    return np.concatenate([bottom, top]), np.concatenate([*sides, fan + count, fan[:, ::-1]])


def _grasp(moveit: MoveItInterfaces, header: Any, rank: int, grasp: PlacedGrasp, hand: MoveItHand) -> Any:
    candidate = grasp.candidate
    link = candidate.camera_T_tcp @ np.linalg.inv(_matrix(hand.link_T_tcp))
    back = _translation(moveit, header, -candidate.approach, candidate.pregrasp_distance_m)
    return moveit.msg.Grasp(
        id=f"{object_name(grasp.object_id)}_{rank}",
        pre_grasp_posture=_posture(moveit, hand, candidate.width_m, 0.0),
        grasp_posture=_posture(moveit, hand, hand.gripper.min_opening_m, hand.max_effort),
        grasp_pose=PoseStamped(header=header, pose=matrix_pose_message(link)),
        grasp_quality=float(candidate.quality),
        pre_grasp_approach=_translation(moveit, header, candidate.approach, candidate.pregrasp_distance_m),
        post_grasp_retreat=_translation(moveit, header, grasp.retreat, hand.retreat_m),
        post_place_retreat=back,
        max_contact_force=0.0,
        allowed_touch_objects=[object_name(grasp.object_id)],
    )


def _posture(moveit: MoveItInterfaces, hand: MoveItHand, opening_m: float, effort: float) -> Any:
    if not hand.joints:
        return moveit.trajectories.JointTrajectory()
    count = len(hand.joints)
    point = moveit.trajectories.JointTrajectoryPoint(
        positions=[hand.position(opening_m)] * count,
        effort=[effort] * count if effort else [],
        time_from_start=Duration(sec=int(_CLOSING_S)),
    )
    return moveit.trajectories.JointTrajectory(joint_names=list(hand.joints), points=[point])


def _translation(moveit: MoveItInterfaces, header: Any, direction: NDArray[np.float64], distance_m: float) -> Any:
    return moveit.msg.GripperTranslation(
        direction=Vector3Stamped(header=header, vector=vector_message(direction)),
        desired_distance=float(distance_m),
        min_distance=float(distance_m * _LEAST_MOTION),
    )


def _object(
    moveit: MoveItInterfaces, header: Any, geometry: ObjectGeometry, target_T_camera: NDArray[np.float64], shape: str
) -> Any:
    assert geometry.box is not None
    name, box = object_name(geometry.cloud.mask.object_id), transform_box(geometry.box, target_T_camera)
    if shape == "box":
        return _box_object(moveit, header, name, box)
    corners, triangles = footprint_prism(geometry)
    mesh = moveit.shapes.Mesh(
        triangles=[moveit.shapes.MeshTriangle(vertex_indices=triangle.astype(np.uint32)) for triangle in triangles],
        vertices=[point_message(corner) for corner in corners],
    )
    pose = pose_message(box.center, box.rotation)
    return moveit.msg.CollisionObject(
        header=header, id=name, pose=pose, meshes=[mesh], mesh_poses=[Pose()], operation=moveit.msg.CollisionObject.ADD
    )


def _box_object(moveit: MoveItInterfaces, header: Any, name: str, box: OrientedBox) -> Any:
    sides = [float(max(side, _THINNEST_M)) for side in box.size]
    return moveit.msg.CollisionObject(
        header=header,
        id=name,
        pose=pose_message(box.center, box.rotation),
        primitives=[moveit.shapes.SolidPrimitive(type=moveit.shapes.SolidPrimitive.BOX, dimensions=sides)],
        primitive_poses=[Pose()],
        operation=moveit.msg.CollisionObject.ADD,  # also replaces an object of this name
    )


def _axes_along(plane: Plane) -> NDArray[np.float64]:
    """(3, 3) right-handed axes in columns: z the plane's normal, x as near to the camera's x as can be."""
    seed = np.eye(3)[0] if abs(plane.normal[0]) < 0.9 else np.eye(3)[1]
    x_axis = seed - (seed @ plane.normal) * plane.normal
    x_axis /= np.linalg.norm(x_axis)
    return np.stack([x_axis, np.cross(plane.normal, x_axis), plane.normal], axis=1)


def _matrix(origin: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) of x y z roll pitch yaw: turns about the fixed axes x, then y, then z, as a URDF's origin."""
    x, y, z, *angles = origin
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        rotation = turn @ rotation
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, (x, y, z)
    return matrix
