"""Where a hand would go that the camera did not see: behind a neighbour, or beyond the image's border."""

from __future__ import annotations

import numpy as np
from boxes_on_a_table import D435, Box, View, view_of

from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.objects import measure_object
from sam_perception.grasping.gripper import load_gripper
from sam_perception.grasping.scene import GraspScene, grasp_scene
from sam_perception.grasping.sweep import Collision, first_collisions
from sam_perception.grasping.unseen import goes_out_of_sight, may_meet_unseen
from sam_perception.masks import Mask

FRANKA = load_gripper("franka_hand")
PREGRASP_M = 0.1
TARGET: Box = (-0.18, -0.02, -0.12, 0.02, 0.05)
NEIGHBOUR: Box = (0.0, -0.02, 0.1, 0.06, 0.12)
EYE = np.array([0.05, -0.35, 0.6])  # of view_of
OPENING_M = 0.05
PALM_HALF_M, AWAY_M = FRANKA.palm_size_m[0] / 2, 0.012  # farther than any margin for what is seen


def _scene(boxes: tuple[Box, ...], width: int = 640) -> GraspScene:
    view: View = view_of(boxes, half_table=0.8)
    fx, fy, cx, cy = D435
    depth_m = np.ascontiguousarray(view.depth_m[:, :width])
    frame = RgbdFrame(np.zeros((480, width, 3), np.uint8), depth_m, CameraIntrinsics(width, 480, fx, fy, cx, cy))
    return grasp_scene(frame, measure_object(frame, Mask.from_array(view.objects[:, :width] == 1)))


def _from_above(x: float, y: float, closing: tuple[float, float, float]) -> np.ndarray:
    """(1, 4, 4) camera_T_tcp straight down at a place of the table, finger tips 2 cm over it."""
    heading = -EYE / np.linalg.norm(EYE)
    right = np.cross(heading, [0, 0, 1])
    right /= np.linalg.norm(right)
    table_T_camera, table_T_tcp = np.eye(4), np.eye(4)
    table_T_camera[:3, :3] = np.stack([right, np.cross(heading, right), heading], axis=1)
    table_T_camera[:3, 3] = EYE
    down = np.array([0.0, 0.0, -1.0])
    table_T_tcp[:3, :3] = np.stack([np.cross(closing, down), closing, down], axis=1)
    table_T_tcp[:3, 3] = x, y, 0.02 + FRANKA.tip_m
    return (np.linalg.inv(table_T_camera) @ table_T_tcp)[None]


def _answers(scene: GraspScene, pose: np.ndarray) -> tuple[bool, bool]:
    """Whether the hand touches what was seen, and whether it may meet what was not."""
    opening = np.array([OPENING_M])
    touches = first_collisions(pose, opening, scene, FRANKA, PREGRASP_M)[0] != Collision.NONE
    return bool(touches), bool(may_meet_unseen(pose, opening, scene, FRANKA, PREGRASP_M)[0])


def test_a_palm_behind_a_neighbour_may_meet_it_and_one_as_near_in_front_of_it_does_not() -> None:
    along = (1.0, 0.0, 0.0)
    middle = (NEIGHBOUR[0] + NEIGHBOUR[2]) / 2
    in_front = _from_above(middle, NEIGHBOUR[1] - PALM_HALF_M - AWAY_M, along)
    behind = _from_above(middle, NEIGHBOUR[3] + PALM_HALF_M + AWAY_M, along)
    scene = _scene((TARGET, NEIGHBOUR))
    assert _answers(scene, in_front) == (False, False)
    assert _answers(scene, behind) == (False, True)
    assert _answers(_scene((TARGET,)), behind) == (False, False)


def test_a_palm_out_of_the_image_may_meet_the_neighbour_that_the_border_cuts_off() -> None:
    boxes = (TARGET, NEIGHBOUR)
    columns = np.nonzero((view_of(boxes, half_table=0.8).objects == 2).any(axis=0))[0]
    width = int(columns[0] + 0.6 * (columns[-1] - columns[0]))
    cut, whole = _scene(boxes, width), _scene(boxes)
    across = (0.0, 1.0, 0.0)
    above_its_end = _from_above(NEIGHBOUR[2] + PALM_HALF_M - 0.01, 0.02, across)
    far_out = _from_above(NEIGHBOUR[2] + 0.15, 0.02, across)
    assert _answers(whole, above_its_end)[0]
    assert _answers(cut, above_its_end) == (False, True)
    assert _answers(cut, far_out) == (False, False)


def test_a_finger_deep_behind_the_object_may_meet_something_only_where_other_things_are_around() -> None:
    tall: Box = (-0.06, -0.02, 0.06, 0.02, 0.15)
    beside: Box = (0.12, -0.02, 0.18, 0.02, 0.05)
    around_it = _from_above(0.0, 0.0, (0.0, 1.0, 0.0))
    opening = np.array([0.06])
    answers = [
        bool(may_meet_unseen(around_it, opening, _scene(boxes), FRANKA, PREGRASP_M)[0])
        for boxes in ((tall,), (tall, beside))
    ]
    assert answers == [False, True]


def test_a_finger_partly_behind_the_object_is_out_of_sight_where_other_things_are_near() -> None:
    """What stands near may go on, or have company, where the object hides it."""
    target: Box = (-0.05, -0.02, 0.05, 0.02, 0.06)
    near: Box = (0.06, -0.02, 0.11, 0.03, 0.05)
    low: Box = (0.06, -0.02, 0.11, 0.03, 0.02)
    far: Box = (0.12, -0.02, 0.17, 0.03, 0.05)
    around_it, opening = _from_above(0.0, 0.0, (0.0, 1.0, 0.0)), np.array([0.06])
    in_front = _from_above(0.0, -0.06, (0.0, 1.0, 0.0))
    scenes = [_scene(boxes) for boxes in ((target,), (target, near), (target, low), (target, far))]
    assert not any(may_meet_unseen(around_it, opening, scene, FRANKA, PREGRASP_M)[0] for scene in scenes)
    assert [goes_out_of_sight(around_it, opening, scene, FRANKA)[0] for scene in scenes] == [False, True, False, False]
    assert not goes_out_of_sight(in_front, opening, scenes[1], FRANKA)[0]
