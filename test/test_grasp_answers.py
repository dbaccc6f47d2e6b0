"""Grasps in an answer for people: lines of text, the picture, and what happens without metres."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sam_perception.answers import answer_prompts
from sam_perception.engine import SegmentationEngine
from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import read_sample
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.grasp_answers import GraspRequest, PlannedGrasps, draw_plans, plan_all, plan_line
from sam_perception.grasping.candidates import GraspCandidate, GraspPlan
from sam_perception.grasping.gripper import load_gripper
from sam_perception.grasping.outlines import GRIPPER_COLOR
from sam_perception.grasping.planners import make_planner
from sam_perception.models import load_model
from sam_perception.prompts import Prompt

REQUEST = GraspRequest(load_gripper("franka_hand"), make_planner("top_down"), 5)
POSE = np.eye(4)
POSE[:3, 3] = 0.02, -0.01, 0.5
GRASP = GraspCandidate(POSE, 0.055, 0.72, 0.1, "test")


def test_the_line_of_a_plan_says_what_to_open_to_and_where() -> None:
    line = plan_line(GraspPlan((GRASP, GRASP), ("the far side was guessed",)))
    for words in ("2 grasps", "0.72", "55 mm", "(0.020, -0.010, 0.500) m", "the far side was guessed"):
        assert words in line


def test_the_line_of_a_plan_without_grasps_is_its_reason() -> None:
    assert plan_line(GraspPlan((), ("no safe grasp: 3 too wide for the gripper",))) == (
        "no safe grasp: 3 too wide for the gripper"
    )


def test_an_object_that_was_not_found_has_a_reason_and_no_grasp() -> None:
    (plan,) = plan_all(read_sample(), [None], REQUEST).plans
    assert plan.candidates == ()
    assert "nothing was found" in plan_line(plan)


def test_the_picture_shows_the_best_gripper_and_faintly_where_it_comes_from() -> None:
    camera = CameraIntrinsics(640, 480, 600.0, 600.0, 320.0, 240.0)
    frame = RgbdFrame(np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.float32), camera)
    from_the_left, elsewhere = POSE.copy(), POSE.copy()
    from_the_left[:3, :3] = elsewhere[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # +Z along x
    elsewhere[:3, 3] = 0.1, 0.19, 0.5
    best = dataclasses.replace(GRASP, camera_T_tcp=from_the_left, pregrasp_distance_m=0.1)
    plan = GraspPlan((best, dataclasses.replace(best, camera_T_tcp=elsewhere)))
    picture = frame.color.copy()
    draw_plans(picture, frame, PlannedGrasps(REQUEST, (plan, GraspPlan(())), 0.0))
    bright, drawn = picture[..., 0] > 0.5 * GRIPPER_COLOR[0], picture.any(axis=2)
    # The palm is the same 0.1 m further left; its left end is as far from the camera, so that is the same in pixels.
    nearest_m = 0.5 - max(REQUEST.gripper.palm_size_m[0], REQUEST.gripper.finger_width_m) / 2
    assert left_end(bright) - left_end(drawn) == pytest.approx(600 * 0.1 / nearest_m, abs=2)
    assert not drawn[380:].any()  # only the best is shown


def left_end(pixels: np.ndarray) -> int:
    return int(np.flatnonzero(pixels.any(axis=0))[0])


def test_grasps_of_a_frame_without_depth_are_refused_in_a_sentence() -> None:
    sample = read_sample()
    frame = RgbdFrame(sample.color)
    with SegmentationEngine(load_model("grabcut")) as engine:
        engine.add_frame(frame)
        with pytest.raises(InvalidInputError, match="grasps need metres: no depth image"):
            answer_prompts(engine, [Prompt(box=(408, 127, 498, 218))], grasping=REQUEST)
