"""Grasps come out best first in the target frame, and the gripper is drawn where it would be."""

import cv2
import numpy as np
import pytest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from sam_perception.geometry.objects import measure_object
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan
from sam_perception.grasping.gripper import load_gripper
from sam_perception.masks import Mask
from sam_perception.nodes.grasp_messages import grasps_message, gripper_markers, place_grasps

TARGET_T_CAMERA = np.eye(4)
TARGET_T_CAMERA[:3, :3] = cv2.Rodrigues(np.array([2.0, 0.4, -0.7]))[0]
TARGET_T_CAMERA[:3, 3] = 0.3, -0.2, 1.1
HEADER = Header(frame_id="base")


def candidate(quality, turn=(0.2, -0.1, 0.4), at=(0.05, 0.02, 0.6), width_m=0.06):
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array(turn))[0]
    pose[:3, 3] = at
    return GraspCandidate(pose, width_m, quality, 0.1, "by hand")


@pytest.fixture(scope="module")
def geometries(sample):
    masks = [Mask.from_array(sample.truth(each), object_id=each["id"]) for each in sample.objects[:2]]
    return [measure_object(sample.frame, mask) for mask in masks]


def placed(geometries, *qualities, max_candidates=10):
    plans = [GraspPlan(tuple(map(candidate, each))) for each in qualities]
    return place_grasps(geometries, plans, TARGET_T_CAMERA, max_candidates)


def position(point):
    return np.array([point.x, point.y, point.z])


def rotation(q):
    """By Rodrigues' formula and not by our own quaternions."""
    vector = np.array([q.x, q.y, q.z])
    sine = np.linalg.norm(vector)
    return cv2.Rodrigues(vector / sine * 2 * np.arctan2(sine, q.w))[0]


def test_a_candidate_points_where_the_grasp_points_in_the_target_frame(geometries):
    (grasp,) = placed(geometries[:1], [0.7])
    message = grasps_message(HEADER, [grasp])
    (found,) = message.candidates
    expected = TARGET_T_CAMERA @ candidate(0.7).camera_T_tcp
    np.testing.assert_allclose(position(found.pose.position), expected[:3, 3], atol=1e-12)
    np.testing.assert_allclose(rotation(found.pose.orientation), expected[:3, :3], atol=1e-9)
    np.testing.assert_allclose(position(found.approach), expected[:3, 2], atol=1e-12)
    assert message.header.frame_id == found.header.frame_id == "base"
    assert found.object_id == geometries[0].cloud.mask.object_id
    assert (found.width, found.quality, found.pregrasp_distance) == pytest.approx((0.06, 0.7, 0.1))


def test_candidates_of_all_objects_are_best_first(geometries):
    first, second = (geometry.cloud.mask.object_id for geometry in geometries)
    grasps = placed(geometries, [0.9, 0.3], [0.8, 0.7])
    assert [(grasp.object_id, grasp.candidate.quality) for grasp in grasps] == [
        (first, 0.9),
        (second, 0.8),
        (second, 0.7),
        (first, 0.3),
    ]


def test_where_there_is_no_room_for_all_every_object_keeps_its_best(geometries):
    grasps = placed(geometries, [0.9, 0.8, 0.7], [0.2, 0.1], max_candidates=3)
    assert [grasp.candidate.quality for grasp in grasps] == [0.9, 0.8, 0.2]


def test_what_is_lifted_moves_away_from_the_table(geometries):
    (grasp,) = placed(geometries[:1], [0.7])
    np.testing.assert_allclose(grasp.retreat, TARGET_T_CAMERA[:3, :3] @ geometries[0].plane.normal, atol=1e-12)


def test_the_outline_is_the_gripper_open_around_the_tool_centre_point(geometries):
    gripper = load_gripper("franka_hand")
    (grasp,) = placed(geometries[:1], [0.7])
    outline, *_ = gripper_markers(HEADER, [grasp], gripper, 1, 0.1)
    assert (outline.type, outline.action, outline.ns) == (Marker.LINE_LIST, Marker.ADD, "grippers")
    points = np.array([position(point) for point in outline.points])
    assert len(points) == 3 * 12 * 2 and outline.scale.x > 0
    # In the tool's frame: the fingers reach tip_m beyond it, between the pads nothing but what was asked for.
    assert points[:, 2].max() == pytest.approx(gripper.tip_m)
    fingers = points[24:]
    assert np.abs(fingers[:, 1]).min() == pytest.approx(0.06 / 2)
    assert np.abs(fingers[:, 1]).max() == pytest.approx(0.06 / 2 + gripper.finger_thickness_m)
    assert np.abs(fingers[:, 0]).max() == pytest.approx(gripper.finger_width_m / 2)
    lengths = np.linalg.norm(points[::2] - points[1::2], axis=1)
    assert sorted(set(np.round(lengths[:12], 9))) == pytest.approx(sorted(gripper.palm_size_m))
    np.testing.assert_allclose(
        rotation(outline.pose.orientation), TARGET_T_CAMERA[:3, :3] @ candidate(0.7).camera_T_tcp[:3, :3], atol=1e-9
    )


def test_arrows_lead_to_the_grasp_and_up_from_it(geometries):
    (grasp,) = placed(geometries[:1], [0.7])
    _, pregrasp, retreat = gripper_markers(HEADER, [grasp], load_gripper("generic"), 1, 0.12)
    start, end = (position(point) for point in pregrasp.points)
    at = grasp.candidate.camera_T_tcp[:3, 3]
    np.testing.assert_allclose(end, at, atol=1e-12)
    np.testing.assert_allclose(end - start, 0.1 * grasp.candidate.approach, atol=1e-12)
    tail, head = (position(point) for point in retreat.points)
    np.testing.assert_allclose(tail, at, atol=1e-12)
    np.testing.assert_allclose(head - tail, 0.12 * grasp.retreat, atol=1e-12)
    assert pregrasp.pose.orientation.w == retreat.pose.orientation.w == 1.0


def test_each_object_shows_its_first_few_and_the_best_is_the_brightest(geometries):
    grasps = placed(geometries, [0.9, 0.8, 0.7], [0.6, 0.5])
    markers = gripper_markers(HEADER, grasps, load_gripper("generic"), 2, 0.1)
    outlines = [marker for marker in markers if marker.ns == "grippers"]
    assert len(outlines) == 4
    assert [marker.color.a for marker in outlines] == [1.0, outlines[1].color.a, 1.0, outlines[3].color.a]
    assert outlines[1].color.a < 1 and outlines[3].color.a < 1
    assert (
        [marker.ns for marker in markers].count("pregrasp") == [marker.ns for marker in markers].count("retreat") == 2
    )
    assert len({(marker.ns, marker.id) for marker in markers}) == len(markers)
    assert gripper_markers(HEADER, grasps, load_gripper("generic"), 0, 0.1) == []
