"""What MoveIt is told of grasps, objects and table; stand-ins for its messages where they are not installed."""

import importlib.util
import sys
import types

import cv2
import numpy as np
import pytest
from std_msgs.msg import Header

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.geometry.objects import measure_object
from sam_perception.grasping.candidates import GraspCandidate
from sam_perception.grasping.gripper import load_gripper
from sam_perception.masks import Mask
from sam_perception.nodes.grasp_messages import PlacedGrasp
from sam_perception.nodes.moveit_messages import (
    MoveItHand,
    footprint_prism,
    link_transform,
    moveit_grasps,
    planning_scene,
    table_box,
)

TARGET_T_CAMERA = np.eye(4)
TARGET_T_CAMERA[:3, :3] = cv2.Rodrigues(np.array([2.0, 0.4, -0.7]))[0]
TARGET_T_CAMERA[:3, 3] = 0.3, -0.2, 1.1
HEADER = Header(frame_id="base")
HAS_MOVEIT = importlib.util.find_spec("moveit_msgs") is not None


def stand_in(name, *fields, **constants):
    """A class that takes these fields and no others, as a message does."""

    def init(self, **values):
        assert values.keys() <= set(fields), f"{name} has no field {values.keys() - set(fields)}"
        self.__dict__.update(values)

    return type(name, (), {"__init__": init, **constants})


@pytest.fixture
def moveit(monkeypatch):
    """MoveIt's messages, if need be in name only."""
    if HAS_MOVEIT:
        return
    scene = stand_in("PlanningScene", "is_diff", "robot_state", "world")

    def make_scene(**values):
        made = scene(**values)
        made.robot_state, made.world = types.SimpleNamespace(), types.SimpleNamespace()
        return made

    messages = types.ModuleType("moveit_msgs.msg")
    messages.PlanningScene = make_scene
    messages.GripperTranslation = stand_in("GripperTranslation", "direction", "desired_distance", "min_distance")
    messages.Grasp = stand_in(
        "Grasp",
        *("id", "pre_grasp_posture", "grasp_posture", "grasp_pose", "grasp_quality", "pre_grasp_approach"),
        *("post_grasp_retreat", "post_place_retreat", "max_contact_force", "allowed_touch_objects"),
    )
    messages.CollisionObject = stand_in(
        "CollisionObject",
        *("header", "pose", "id", "primitives", "primitive_poses", "meshes", "mesh_poses", "operation"),
        ADD=b"\x00",
        REMOVE=b"\x01",
    )
    for name in ("moveit_msgs", "moveit_msgs.srv"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "moveit_msgs.msg", messages)


@pytest.fixture(scope="module")
def geometries(sample):
    names = ("cracker box", "soup can")
    masks = [Mask.from_array(sample.truth(each), object_id=each["id"]) for each in map(sample.named, names)]
    return [measure_object(sample.frame, mask) for mask in masks]


@pytest.fixture
def grasp():
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([2.5, 0.3, 0.4]))[0]
    pose[:3, 3] = 0.4, 0.1, 0.2
    return PlacedGrasp(7, GraspCandidate(pose, 0.05, 0.8, 0.12, "by hand"), np.array([0.0, 0.0, 1.0]))


def vector(message):
    return np.array([message.x, message.y, message.z])


def matrix(pose):
    """(4, 4), by Rodrigues' formula and not by our own quaternions."""
    axis = vector(pose.orientation)
    sine = np.linalg.norm(axis)
    found = np.eye(4)
    if sine > 0:
        found[:3, :3] = cv2.Rodrigues(axis / sine * 2 * np.arctan2(sine, pose.orientation.w))[0]
    found[:3, 3] = vector(pose.position)
    return found


@pytest.mark.skipif(HAS_MOVEIT, reason="moveit_msgs is installed")
def test_without_moveit_it_says_what_to_install(grasp):
    with pytest.raises(ModelUnavailableError, match=r"apt-get install ros-.*-moveit-msgs"):
        moveit_grasps(HEADER, [grasp], MoveItHand(load_gripper("generic")))


@pytest.mark.usefixtures("moveit")
class TestGrasps:
    def test_the_pose_is_that_of_the_hands_link(self, grasp):
        # The Panda's flange: the hand sits on it turned by -45 degrees about z, the tool centre point 0.2104 m beyond.
        hand = MoveItHand(load_gripper("franka_hand"), link_T_tcp=link_transform("0 0 0.2104 0 0 -0.785398163"))
        (message,) = moveit_grasps(HEADER, [grasp], hand)
        link = matrix(message.grasp_pose.pose)
        assert message.grasp_pose.header.frame_id == "base"
        tcp = grasp.candidate.camera_T_tcp
        np.testing.assert_allclose(link[:3, 3] + 0.2104 * link[:3, 2], tcp[:3, 3], atol=1e-9)
        np.testing.assert_allclose(link[:3, 2], tcp[:3, 2], atol=1e-9)
        np.testing.assert_allclose(link[:3, 0] @ tcp[:3, 0], np.cos(np.pi / 4), atol=1e-9)
        np.testing.assert_allclose(link[:3, 1] @ tcp[:3, 0], -np.sin(np.pi / 4), atol=1e-9)

    def test_roll_pitch_and_yaw_turn_about_fixed_axes_in_this_order(self, grasp):
        hand = MoveItHand(load_gripper("generic"), link_T_tcp=(0.1, 0.2, 0.3, 0.4, -0.5, 0.6))
        (message,) = moveit_grasps(HEADER, [grasp], hand)
        turns = [cv2.Rodrigues(angle * axis)[0] for angle, axis in zip((0.4, -0.5, 0.6), np.eye(3), strict=True)]
        link_T_tcp = np.eye(4)
        link_T_tcp[:3, :3], link_T_tcp[:3, 3] = turns[2] @ turns[1] @ turns[0], (0.1, 0.2, 0.3)
        np.testing.assert_allclose(
            matrix(message.grasp_pose.pose) @ link_T_tcp, grasp.candidate.camera_T_tcp, atol=1e-9
        )

    def test_fingers_open_as_far_as_needed_and_then_close(self, grasp):
        joints = ("panda_finger_joint1", "panda_finger_joint2")
        hand = MoveItHand(load_gripper("franka_hand"), joints, 0.04, 0.0, max_effort=30.0)
        (message,) = moveit_grasps(HEADER, [grasp], hand)
        (opened,), (closed,) = message.pre_grasp_posture.points, message.grasp_posture.points
        assert tuple(message.pre_grasp_posture.joint_names) == tuple(message.grasp_posture.joint_names) == joints
        np.testing.assert_allclose(opened.positions, [0.025, 0.025])  # half of 50 mm each
        np.testing.assert_allclose(closed.positions, [0.0, 0.0])
        np.testing.assert_allclose(closed.effort, [30.0, 30.0])
        assert len(opened.effort) == 0

    def test_a_joint_that_turns_closes_from_0(self, grasp):
        hand = MoveItHand(load_gripper("robotiq_2f85"), ("finger_joint",), open_position=0.0, closed_position=0.8)
        (message,) = moveit_grasps(HEADER, [grasp], hand)
        np.testing.assert_allclose(message.pre_grasp_posture.points[0].positions, [0.8 * (1 - 0.05 / 0.085)])
        np.testing.assert_allclose(message.grasp_posture.points[0].positions, [0.8])

    def test_without_joints_postures_are_empty(self, grasp):
        (message,) = moveit_grasps(HEADER, [grasp], MoveItHand(load_gripper("generic")))
        assert len(message.pre_grasp_posture.points) == len(message.grasp_posture.joint_names) == 0

    def test_it_comes_along_the_approach_and_lifts_along_the_retreat(self, grasp):
        (message,) = moveit_grasps(HEADER, [grasp], MoveItHand(load_gripper("generic"), retreat_m=0.15))
        approach, retreat = message.pre_grasp_approach, message.post_grasp_retreat
        np.testing.assert_allclose(vector(approach.direction.vector), grasp.candidate.approach)
        np.testing.assert_allclose(vector(retreat.direction.vector), [0, 0, 1])
        assert approach.direction.header.frame_id == retreat.direction.header.frame_id == "base"
        assert (approach.desired_distance, retreat.desired_distance) == pytest.approx((0.12, 0.15))
        assert 0 < approach.min_distance < approach.desired_distance
        assert (message.grasp_quality, message.max_contact_force) == (0.8, 0.0)
        assert list(message.allowed_touch_objects) == ["object_7"]
        assert len({each.id for each in moveit_grasps(HEADER, [grasp] * 3, MoveItHand(load_gripper("generic")))}) == 3


@pytest.mark.usefixtures("moveit")
class TestPlanningScene:
    def objects(self, geometries, **options):
        scene = planning_scene(HEADER, geometries, TARGET_T_CAMERA, **options)
        assert scene.is_diff and scene.robot_state.is_diff
        return {each.id: each for each in scene.world.collision_objects}

    def surface(self, geometry):
        return geometry.cloud.points @ TARGET_T_CAMERA[:3, :3].T + TARGET_T_CAMERA[:3, 3]

    def test_objects_are_boxes_that_hold_what_was_seen(self, geometries):
        objects = self.objects(geometries)
        for geometry in geometries:
            found = objects[f"object_{geometry.cloud.mask.object_id}"]
            assert found.header.frame_id == "base" and bytes(found.operation) == b"\x00"
            (shape,) = found.primitives
            assert shape.type == shape.BOX and len(found.primitive_poses) == 1
            pose = matrix(found.pose)
            local = (self.surface(geometry) - pose[:3, 3]) @ pose[:3, :3]
            assert (np.abs(local) <= np.array(shape.dimensions) / 2 + 0.002).all(axis=1).mean() > 0.95

    def test_the_table_is_flat_under_all_of_them(self, geometries, sample):
        table = self.objects(geometries, table_margin_m=0.2)["table"]
        pose, (shape,) = matrix(table.pose), table.primitives
        for geometry in geometries:
            local = (self.surface(geometry) - pose[:3, 3]) @ pose[:3, :3]
            over = local[:, 2] - shape.dimensions[2] / 2
            assert (over > -0.003).mean() > 0.99 and over.min() < 0.02
            assert (np.abs(local[:, :2]) < np.array(shape.dimensions[:2]) / 2 - 0.19).all(axis=1).mean() > 0.95
        assert "table" not in self.objects(geometries, table_margin_m=0.0)
        assert table_box([], 0.2) is None

    def test_what_is_gone_is_taken_away(self, geometries):
        kept = f"object_{geometries[0].cloud.mask.object_id}"
        objects = self.objects(geometries[:1], gone=[kept, "object_99", "table"])
        assert bytes(objects["object_99"].operation) == b"\x01"
        assert bytes(objects[kept].operation) == bytes(objects["table"].operation) == b"\x00"
        assert list(self.objects([], gone=["table"])) == ["table"]

    def test_a_mesh_has_the_prisms_corners_in_the_objects_frame(self, geometries):
        found = self.objects(geometries[:1], shape="mesh")[f"object_{geometries[0].cloud.mask.object_id}"]
        (mesh,), corners = found.meshes, footprint_prism(geometries[0])[0]
        np.testing.assert_allclose([vector(each) for each in mesh.vertices], corners, atol=1e-12)
        assert len(mesh.triangles) == 2 * len(corners) - 4 and len(found.mesh_poses) == 1


class TestPrism:
    def test_it_is_closed_convex_and_wound_outwards(self, geometries):
        for geometry in geometries:
            corners, triangles = footprint_prism(geometry)
            edges = {(a, b) for triangle in triangles for a, b in zip(triangle, np.roll(triangle, -1), strict=True)}
            assert len(edges) == 3 * len(triangles) and all((b, a) in edges for a, b in edges)  # watertight
            for triangle in triangles:
                a, b, c = corners[triangle]
                normal = np.cross(b - a, c - a)
                assert ((corners - a) @ normal).max() <= 1e-9 * max(1.0, np.abs(normal).max())

    def test_it_holds_the_cloud_and_is_smaller_than_the_box_where_the_outline_is_round(self, geometries):
        can = geometries[1]
        corners, triangles = footprint_prism(can)
        a, b, c = np.moveaxis(corners[triangles], 1, 0)
        volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
        assert 0.6 * can.box.volume_m3 < volume < 0.95 * can.box.volume_m3
        local = (can.cloud.points - can.box.center) @ can.box.rotation
        normals = np.cross(b - a, c - a)
        outside = ((local[:, None] - a) * normals).sum(-1) / np.linalg.norm(normals, axis=1)
        assert (outside.max(axis=1) < 0.002).mean() > 0.95


@pytest.mark.parametrize("text", ["", "0 0 0.1", "0 0 0 0 0 x", "0 0 nan 0 0 0", "1 2 3 4 5 6 7"])
def test_a_transform_that_is_none_is_refused_with_an_example(text):
    with pytest.raises(InvalidInputError, match="x y z roll pitch yaw"):
        link_transform(text)
