"""Parts of an object that have no depth: a lid too bright to be measured, a bowl that is dark inside."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from boxes_on_a_table import D435, Box, View, view_of
from grasp_shapes import slab

from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.objects import measure_object
from sam_perception.grasping import surface as surfaces
from sam_perception.grasping.candidates import GraspPlan
from sam_perception.grasping.gripper import load_gripper
from sam_perception.grasping.planners import plan_grasps
from sam_perception.grasping.scene import GraspScene, grasp_scene
from sam_perception.grasping.unmeasured import spanned_holes
from sam_perception.masks import Mask

FRANKA = load_gripper("franka_hand")
CAN: Box = (-0.035, -0.035, 0.035, 0.035, 0.12)
WALL_M = 0.005
BOWL: tuple[Box, ...] = (
    (-0.06, -0.06, 0.06, -0.06 + WALL_M, 0.06),
    (-0.06, 0.06 - WALL_M, 0.06, 0.06, 0.06),
    (-0.06, -0.06, -0.06 + WALL_M, 0.06, 0.06),
    (0.06 - WALL_M, -0.06, 0.06, 0.06, 0.06),
)


def _frame(view: View, unmeasured: np.ndarray) -> RgbdFrame:
    fx, fy, cx, cy = D435
    depth = np.where(unmeasured, np.float32(0), view.depth_m)
    return RgbdFrame(np.zeros((480, 640, 3), np.uint8), depth, CameraIntrinsics(640, 480, fx, fy, cx, cy))


def _scene(frame: RgbdFrame, mask: np.ndarray) -> GraspScene:
    return grasp_scene(frame, measure_object(frame, Mask.from_array(mask)))


def _inner(face: np.ndarray, by_px: int) -> np.ndarray:
    """What of a face is further than some pixels from its edges."""
    return cv2.erode(face.astype(np.uint8), np.ones((2 * by_px + 1,) * 2, np.uint8)) > 0


def _bright_lid() -> tuple[View, RgbdFrame, np.ndarray]:
    view = view_of((CAN,), half_table=0.8)
    top = (view.objects == 1) & (np.abs(view.heights_m - CAN[4]) < 1e-6)
    return view, _frame(view, _inner(top, 4)), view.objects == 1


def _fingers_inside(plan: GraspPlan, view: View) -> int:
    """How many candidates have a finger in what is inside the can's walls."""
    eye = np.array([0.05, -0.35, 0.6])
    heading = -eye / np.linalg.norm(eye)
    right = np.cross(heading, [0, 0, 1])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(heading, right), heading], axis=1)  # table_R_camera
    np.testing.assert_allclose(rotation[2], view.plane[0], atol=1e-9)
    x0, y0, x1, y1, height = CAN
    inside = slab((x0 + 0.008, y0 + 0.008, 0.01), (x1 - 0.008, y1 - 0.008, height - 0.002))
    count = 0
    for candidate in plan.candidates:
        pose = candidate.camera_T_tcp
        origin, axes = rotation @ pose[:3, 3] + eye, rotation @ pose[:3, :3]
        local = (inside - origin) @ axes
        centers, halves = FRANKA.boxes(candidate.width_m)
        count += any(
            (np.abs(local - center) < half).all(axis=1).any()
            for center, half in zip(centers[1:], halves[1:], strict=True)
        )
    return count


def test_a_hole_is_spanned_where_the_lid_is() -> None:
    view, frame, mask = _bright_lid()
    points = spanned_holes(_scene(frame, mask))
    heights = points @ view.plane[0] - view.plane[1]
    assert len(points) > 50
    assert np.abs(heights - CAN[4]).max() < 0.004
    assert np.count_nonzero(spanned_holes(_scene(_frame(view, np.zeros_like(mask)), mask))) == 0


def test_no_finger_goes_into_a_lid_that_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    view, frame, mask = _bright_lid()
    geometry = measure_object(frame, Mask.from_array(mask))
    plan = plan_grasps(frame, geometry, FRANKA, "antipodal", 40)
    assert plan.candidates
    assert _fingers_inside(plan, view) == 0
    monkeypatch.setattr(surfaces, "spanned_holes", lambda scene: np.empty((0, 3), np.float32))
    assert _fingers_inside(plan_grasps(frame, geometry, FRANKA, "antipodal", 40), view) > 0


def test_a_bowl_that_is_dark_inside_is_held_by_its_rim_with_a_doubt() -> None:
    view = view_of(BOWL, half_table=0.8)
    mask = view.objects > 0
    whole = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((99, 99), np.uint8)) > 0
    mask |= whole & (view.objects == 0)  # the bowl's inside, down to the table
    rim = np.abs(view.heights_m - BOWL[0][4]) < 1e-6
    outside = np.isin(view.faces, [12])  # of the wall that is nearest to the camera, the outer face
    frame = _frame(view, mask & ~cv2.dilate((rim | outside).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool))
    geometry = measure_object(frame, Mask.from_array(mask))
    plan = plan_grasps(frame, geometry, FRANKA)
    assert plan.candidates
    assert any("no depth" in reason for reason in plan.reasons)
    assert max(candidate.quality for candidate in plan.candidates) <= 0.5


def test_nothing_is_said_of_what_lies_beyond_all_depth() -> None:
    view = view_of((CAN,), half_table=0.8)
    mask = view.objects == 1
    left = np.zeros_like(mask)
    left[:, : int(np.nonzero(mask.any(axis=0))[0].mean())] = True
    assert len(spanned_holes(_scene(_frame(view, mask & left), mask))) == 0
