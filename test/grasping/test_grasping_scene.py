"""From a depth image to grasps: what counts as obstacle, what was seen to be free, and no neighbour is touched."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from boxes_on_a_table import D435, Box, View, view_of
from grasp_shapes import slab

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.objects import ObjectGeometry, measure_object
from sam_perception.grasping import scene as scenes
from sam_perception.grasping import surface as surfaces
from sam_perception.grasping.gripper import load_gripper
from sam_perception.grasping.planners import plan_grasps
from sam_perception.grasping.surface import surface_of
from sam_perception.grasping.sweep import Collision, first_collisions
from sam_perception.masks import Mask

FRANKA = load_gripper("franka_hand")
TARGET: Box = (-0.06, -0.02, 0.06, 0.02, 0.05)
NEIGHBOUR: Box = (-0.05, 0.05, 0.07, 0.13, 0.12)


@functools.cache
def _measured(*boxes: Box) -> tuple[View, RgbdFrame, ObjectGeometry]:
    view = view_of(boxes, half_table=0.8)
    fx, fy, cx, cy = D435
    intrinsics = CameraIntrinsics(640, 480, fx, fy, cx, cy)
    frame = RgbdFrame(np.zeros((480, 640, 3), np.uint8), view.depth_m, intrinsics)
    return view, frame, measure_object(frame, Mask.from_array(view.objects == 1))


def _table_T_camera(view: View, frame: RgbdFrame) -> np.ndarray:
    """From the view's plane and the middle of the image, which looks at the table's middle."""
    up, offset = view.plane
    intrinsics = frame.intrinsics
    assert intrinsics is not None
    eye_height = -offset
    forward = np.array([0.0, 0.0, 1.0])
    pose = np.eye(4)
    pose[2, :3] = up
    pose[2, 3] = eye_height
    eye = np.array([0.05, -0.35, 0.6])
    heading = -eye / np.linalg.norm(eye)
    right = np.cross(heading, [0, 0, 1])
    right /= np.linalg.norm(right)
    pose[:3, :3] = np.stack([right, np.cross(heading, right), heading], axis=1)
    pose[:3, 3] = eye
    np.testing.assert_allclose(pose[:3, :3] @ forward, heading)
    return pose


def test_the_unseen_side_is_not_guessed_a_second_time(monkeypatch) -> None:
    """What was measured already has it; a scene without it gets the same from the cloud."""
    _, frame, geometry = _measured(TARGET)
    scene = scenes.grasp_scene(frame, geometry)
    guessed = surface_of(dataclasses.replace(scene, completed=None))
    of_outline = scenes.grasp_scene(frame, dataclasses.replace(geometry, is_estimated=True))
    assert of_outline.completed is None
    monkeypatch.setattr(surfaces, "complete", None)
    found = surface_of(scene)
    assert not found.is_observed.all()
    np.testing.assert_array_equal(found.points, guessed.points)
    np.testing.assert_array_equal(found.is_observed, guessed.is_observed)


def test_obstacles_are_the_neighbour_and_nothing_of_object_and_table() -> None:
    view, frame, geometry = _measured(TARGET, NEIGHBOUR)
    scene = scenes.grasp_scene(frame, geometry)
    table_T_camera = _table_T_camera(view, frame)
    on_table = scene.obstacles @ table_T_camera[:3, :3].T + table_T_camera[:3, 3]
    x0, y0, x1, y1, height = NEIGHBOUR
    low, high = np.array([x0, y0, 0]) - 0.004, np.array([x1, y1, height]) + 0.004
    assert len(on_table) > 100
    assert ((on_table >= low) & (on_table <= high)).all()


@pytest.mark.parametrize("planner", ["antipodal", "top_down"])
def test_no_candidate_touches_the_neighbour_or_the_table(planner: str) -> None:
    view, frame, geometry = _measured(TARGET, NEIGHBOUR)
    plan = plan_grasps(frame, geometry, FRANKA, planner)
    table_T_camera = _table_T_camera(view, frame)
    x0, y0, x1, y1, height = NEIGHBOUR
    solid = slab((x0, y0, 0.0), (x1, y1, height))
    table = slab((-0.4, -0.4, -0.02), (0.4, 0.4, 0.0), step=0.01)
    forbidden = np.concatenate([solid, table])
    for candidate in plan.candidates:
        grasp = table_T_camera @ candidate.camera_T_tcp
        for share in np.linspace(0, 1, 21):
            origin = grasp[:3, 3] - share * candidate.pregrasp_distance_m * grasp[:3, 2]
            local = (forbidden - origin) @ grasp[:3, :3]
            for center, half in zip(*FRANKA.boxes(candidate.width_m), strict=True):
                assert not (np.abs(local - center) < half).all(axis=1).any()


def test_box_in_the_image_is_grasped_across_its_true_short_side() -> None:
    view, frame, geometry = _measured(TARGET)
    best = plan_grasps(frame, geometry, FRANKA).candidates[0]
    grasp = _table_T_camera(view, frame) @ best.camera_T_tcp
    assert abs(grasp[1, 1]) > np.cos(np.radians(12))  # the short side lies along y
    assert abs(grasp[0, 3]) < 0.03
    assert abs(grasp[1, 3]) < 0.006  # the far side was never seen
    assert 0.04 < best.width_m < 0.075


@pytest.mark.parametrize("gap_m", [0.02, 0.03, 0.045])
def test_who_asks_for_one_grasp_gets_the_best_of_many(gap_m: float) -> None:
    """Also where checks take quality away from those that came first: here for little room, and for sight."""
    tall: Box = (-0.06, -0.02, 0.06, 0.02, 0.08)
    behind: Box = (-0.06, 0.02 + gap_m, 0.0, 0.08 + gap_m, 0.06)
    _, frame, geometry = _measured(tall, behind)
    many = plan_grasps(frame, geometry, FRANKA, "antipodal", 20).candidates
    assert len(many) > 5
    for count in (1, 3):
        few = plan_grasps(frame, geometry, FRANKA, "antipodal", count).candidates
        assert [each.quality for each in few] == [each.quality for each in many[:count]]


LOW_TARGET: Box = (-0.06, -0.02, 0.06, 0.02, 0.018)
CARD: Box = (-0.05, 0.026, 0.05, 0.09, 0.0035)


@functools.cache
def _noisy(*boxes: Box) -> tuple[View, RgbdFrame, ObjectGeometry]:
    """A camera whose pixels are off by 0.8 mm each, which is a good part of a card's height."""
    view, frame, _ = _measured(*boxes)
    noise = np.random.default_rng(0).normal(0, 0.0008, frame.depth_m.shape).astype(np.float32)
    noisy = RgbdFrame(frame.color, frame.depth_m + noise, frame.intrinsics)
    return view, noisy, measure_object(noisy, Mask.from_array(view.objects == 1))


def test_a_card_beside_the_object_is_found_and_the_bare_table_is_not() -> None:
    view, frame, geometry = _noisy(LOW_TARGET, CARD)
    table_T_camera = _table_T_camera(view, frame)
    flat = scenes.grasp_scene(frame, geometry).flat @ table_T_camera[:3, :3].T + table_T_camera[:3, 3]
    x0, y0, x1, y1, height = CARD
    reach = 0.005  # half of what is averaged over
    assert len(flat) > 100
    assert ((flat[:, :2] > [x0 - reach, y0 - reach]) & (flat[:, :2] < [x1 + reach, y1 + reach])).all()
    near_object = flat[flat[:, 1] < 0.06]
    assert near_object[:, 0].min() < x0 + reach and near_object[:, 0].max() > x1 - reach
    assert np.abs(flat[:, 2] - height).max() < 0.0015
    assert abs(np.median(flat[:, 2]) - height) < 0.0005
    _, bare, alone = _noisy(LOW_TARGET)
    assert len(scenes.grasp_scene(bare, alone).flat) == 0


@pytest.mark.parametrize("gap_m", [0.03, 0.07])
def test_a_knife_beside_the_object_is_in_the_way_of_a_tilted_palm(gap_m: float) -> None:
    """It is 5 mm high: less than the noise leaves of the table elsewhere, and higher than finger tips stay over."""
    knife: Box = (-0.08, 0.02 + gap_m, 0.08, 0.035 + gap_m, 0.005)
    view, frame, geometry = _measured(LOW_TARGET, knife)
    table_T_camera = _table_T_camera(view, frame)
    obstacles = scenes.grasp_scene(frame, geometry).obstacles @ table_T_camera[:3, :3].T + table_T_camera[:3, 3]
    x0, y0, x1, y1, _ = knife
    along = obstacles[(obstacles[:, 1] > y0 - 0.004) & (obstacles[:, 1] < y1 + 0.004), 0]
    assert along.min() < x0 + 0.005 and along.max() > x1 - 0.005
    assert len(along) == len(obstacles)


TALL_TARGET: Box = (-0.03, -0.03, 0.03, 0.03, 0.15)
MATS: tuple[Box, ...] = (
    (-0.1, 0.05, 0.1, 0.1, 0.0035),
    (0.08, -0.1, 0.13, 0.04, 0.003),
    (-0.1, -0.12, 0.07, -0.06, 0.0035),
)


@pytest.mark.parametrize("target", [LOW_TARGET, TALL_TARGET])
def test_what_lies_flat_is_found_as_in_the_whole_image(target, monkeypatch) -> None:
    """Only the pixels beside the object are looked at; that takes nothing away, where flat things lie all around."""
    _, frame, geometry = _noisy(target, *MATS)
    flat = scenes.grasp_scene(frame, geometry).flat
    assert len(flat) > 300
    monkeypatch.setattr(scenes, "_LOOKED_AT_PX", max(frame.size))
    np.testing.assert_array_equal(scenes.grasp_scene(frame, geometry).flat, flat)


@pytest.mark.parametrize("planner", ["antipodal", "top_down"])
@pytest.mark.parametrize("boxes", [(LOW_TARGET, CARD), (LOW_TARGET,)])
def test_fingers_stay_over_a_card_and_go_down_to_a_bare_table(boxes: tuple[Box, ...], planner: str) -> None:
    view, frame, geometry = _noisy(*boxes)
    table_T_camera = _table_T_camera(view, frame)
    plan = plan_grasps(frame, geometry, FRANKA, planner)
    x0, y0, x1, y1, height = CARD
    card = slab((x0, y0, 0.0), (x1, y1, height), step=0.002)
    lowest = []
    for candidate in plan.candidates:
        grasp = table_T_camera @ candidate.camera_T_tcp
        local = (card - grasp[:3, 3]) @ grasp[:3, :3]
        lowest.append(
            any(
                (np.abs(local - center) < half).all(axis=1).any()
                for center, half in zip(*FRANKA.boxes(candidate.width_m), strict=True)
            )
        )
    assert lowest
    if CARD in boxes:
        assert not any(lowest)
    elif planner == "antipodal":  # the other one stays 4 mm over the table anyway
        assert any(lowest)


def test_a_grasp_that_would_come_down_on_a_card_is_refused() -> None:
    _, frame, geometry = _noisy(LOW_TARGET, CARD)
    scene = scenes.grasp_scene(frame, geometry)
    free = plan_grasps(frame, geometry, FRANKA, "top_down").candidates[:3]
    poses = np.stack([candidate.camera_T_tcp for candidate in free])
    openings = np.array([candidate.width_m for candidate in free])
    assert (first_collisions(poses, openings, scene, FRANKA, 0.1) == Collision.NONE).all()
    poses[:, :3, 3] += 0.0015 * poses[:, :3, 2]  # 2.5 mm over the table, 1 mm below the card's top
    assert (first_collisions(poses, openings, scene, FRANKA, 0.1) == Collision.OBSTACLE).all()
    bare = dataclasses.replace(scene, flat=np.empty((0, 3), np.float32))
    assert (first_collisions(poses, openings, bare, FRANKA, 0.1) == Collision.NONE).all()


def test_space_is_free_before_occupied_at_and_unseen_behind_the_surface() -> None:
    view, frame, geometry = _measured(TARGET)
    seen = scenes.View(frame.depth_m, frame.intrinsics, geometry.cloud.mask)  # type: ignore[arg-type]
    v, u = 241, 322
    depth = float(view.depth_m[v, u])
    fx, fy, cx, cy = D435
    ray = np.array([(u - cx) / fx, (v - cy) / fy, 1.0])
    points = np.stack([ray * (depth - 0.05), ray * depth, ray * (depth + 0.05), [5.0, 0.0, 0.1], -ray])
    expected = [scenes.FREE, scenes.OCCUPIED, scenes.UNSEEN, scenes.UNSEEN, scenes.UNSEEN]
    assert seen.states(points).tolist() == expected


def test_object_without_depth_is_no_error_but_no_grasp() -> None:
    view, frame, _ = _measured(TARGET)
    blind = RgbdFrame(frame.color, np.zeros((480, 640), np.uint16), frame.intrinsics)
    geometry = measure_object(blind, Mask.from_array(view.objects == 1))
    plan = plan_grasps(blind, geometry, FRANKA)
    assert plan.candidates == ()
    assert plan.reasons


def test_frame_without_intrinsics_is_refused_with_the_way_out() -> None:
    _, frame, geometry = _measured(TARGET)
    with pytest.raises(InvalidInputError, match="intrinsics"):
        scenes.grasp_scene(RgbdFrame(frame.color, frame.depth), geometry)


def test_behind_another_thing_is_hidden_but_not_behind_the_object_itself() -> None:
    view, frame, geometry = _measured(TARGET, NEIGHBOUR)
    assert frame.intrinsics is not None
    seen = scenes.View(frame.depth_m, frame.intrinsics, geometry.cloud.mask)
    fx, fy, cx, cy = D435
    behind = []
    for number in (1, 2):
        rows, columns = np.nonzero(view.objects == number)
        v, u = rows[len(rows) // 2], columns[len(rows) // 2]
        behind.append((view.depth_m[v, u] + 0.04) * np.array([(u - cx) / fx, (v - cy) / fy, 1.0]))
    assert seen.is_hidden_by_others(np.stack(behind)).tolist() == [False, True]


def test_object_cut_off_by_the_image_is_said_to_be_and_rated_lower() -> None:
    view, frame, geometry = _measured(TARGET)
    assert frame.intrinsics is not None
    columns = np.nonzero((view.objects == 1).any(axis=0))[0]
    width = int(columns[0] + 0.8 * (columns[-1] - columns[0]))
    fx, fy, cx, cy = D435
    color, depth = (np.ascontiguousarray(image[:, :width]) for image in (frame.color, frame.depth))
    cut = RgbdFrame(color, depth, CameraIntrinsics(width, 480, fx, fy, cx, cy))
    whole_plan = plan_grasps(frame, geometry, FRANKA)
    cut_plan = plan_grasps(cut, measure_object(cut, Mask.from_array(view.objects[:, :width] == 1)), FRANKA)
    assert whole_plan.reasons == ()
    assert "the image's border" in cut_plan.reasons[-1]
    best = max((candidate.quality for candidate in cut_plan.candidates), default=0.0)
    assert best < 0.6 * whole_plan.candidates[0].quality
