"""Planners on shapes whose good grasps are known in closed form, and among things that they must not touch."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from grasp_shapes import (
    CAMERA_T_TABLE,
    ball,
    box_surface,
    disc,
    in_camera,
    in_table,
    lowest_corner_m,
    met_points,
    scene_of,
    slab,
    tube,
    turned,
)

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.grasping import antipodal, closing
from sam_perception.grasping.candidates import GraspPlan
from sam_perception.grasping.gripper import load_gripper
from sam_perception.grasping.planners import DEFAULT_PLANNER, PLANNERS, make_planner
from sam_perception.grasping.scene import GraspScene

FRANKA = load_gripper("franka_hand")


def _plan(scene: GraspScene, planner: str = "antipodal", count: int = 20) -> GraspPlan:
    return make_planner(planner).plan(scene, FRANKA, count)


@pytest.mark.parametrize("planner", ["antipodal", "top_down"])
@pytest.mark.parametrize("yaw_deg", [0.0, 25.0, -70.0])
def test_long_box_is_grasped_across_its_short_side_in_the_middle(planner: str, yaw_deg: float) -> None:
    plan = _plan(scene_of(box_surface((0.18, 0.04, 0.05), yaw_deg)), planner)
    best = plan.candidates[0]
    pose = in_table(best)
    short_side = turned(np.array([[0.0, 1.0, 0.0]]), yaw_deg)[0]
    assert abs(pose[:3, 1] @ short_side) > np.cos(np.radians(10))
    assert 0.04 < best.width_m < 0.04 + 0.03
    assert np.linalg.norm(pose[:2, 3]) < 0.03
    assert -pose[2, 2] > np.cos(np.radians(40))


def test_cylinder_is_grasped_through_its_axis() -> None:
    cloud = np.concatenate([tube(0.025, 0.1), disc(0.025, 0.1)])
    for candidate in _plan(scene_of(cloud)).candidates[:5]:
        pose = in_table(candidate)
        across = np.cross(pose[:3, 1], [0.0, 0.0, 1.0])
        assert abs(pose[:2, 3] @ across[:2]) / np.linalg.norm(across) < 0.005
        assert abs(pose[2, 1]) < 0.2


def test_ball_is_grasped_through_its_middle() -> None:
    best = _plan(scene_of(ball(0.03))).candidates[0]
    pose = in_table(best)
    to_middle = np.array([0.0, 0.0, 0.03]) - pose[:3, 3]
    off_axis = to_middle - (to_middle @ pose[:3, 1]) * pose[:3, 1]
    assert np.linalg.norm(off_axis) < 0.012
    assert abs(to_middle @ pose[:3, 1]) < 0.004


def test_open_mug_wider_than_the_gripper_is_grasped_by_its_rim() -> None:
    cloud = np.concatenate([tube(0.05, 0.09, 0.005), tube(0.046, 0.085, 0.005), disc(0.046, 0.004, 0.005)])
    plan = _plan(scene_of(cloud))
    pose = in_table(plan.candidates[0])
    assert np.linalg.norm(pose[:2, 3]) == pytest.approx(0.048, abs=0.008)
    radial = pose[:2, 3] / np.linalg.norm(pose[:2, 3])
    assert abs(pose[:2, 1] @ radial) > np.cos(np.radians(30))


def test_flat_thing_is_pinched_from_above_without_touching_the_table() -> None:
    plan = _plan(scene_of(box_surface((0.12, 0.05, 0.009))))
    assert plan.candidates
    for candidate in plan.candidates:
        assert 0.001 < lowest_corner_m(candidate, FRANKA) < 0.009


@pytest.mark.parametrize("planner", ["antipodal", "top_down"])
def test_candidates_touch_neither_a_wall_nor_the_table(planner: str) -> None:
    wall = slab((-0.3, 0.055, 0.0), (0.3, 0.07, 0.25))
    scene = scene_of(box_surface((0.06, 0.05, 0.06)), wall)
    plan = _plan(scene, planner)
    assert all(met_points(candidate, FRANKA, wall) == 0 for candidate in plan.candidates)
    assert all(lowest_corner_m(candidate, FRANKA) > 0 for candidate in plan.candidates)
    if planner == "antipodal":
        assert plan.candidates  # the palm fits along the wall, not across it


def test_grasps_under_a_shelf_come_from_where_there_is_room_and_lift_free() -> None:
    shelf = slab((-0.3, -0.05, 0.2), (0.3, 0.3, 0.22))
    scene = scene_of(box_surface((0.05, 0.05, 0.08)), shelf)
    plan = _plan(scene)
    for candidate in plan.candidates:
        assert met_points(candidate, FRANKA, shelf) == 0
        assert met_points(candidate, FRANKA, shelf, lift_m=0.05) == 0
    straight_down = sum(-in_table(candidate)[2, 2] > 0.99 for candidate in plan.candidates)
    assert straight_down == 0  # the palm is 14 cm above the finger tips


@pytest.mark.parametrize("planner", ["antipodal", "top_down"])
def test_too_wide_a_thing_is_refused_with_the_reason(planner: str) -> None:
    plan = _plan(scene_of(box_surface((0.12, 0.12, 0.12), step=0.006)), planner)
    assert plan.candidates == ()
    assert plan.reasons[0].startswith("no safe grasp: ")
    assert sum(plan.rejected.values()) > 0
    if planner == "antipodal":
        assert plan.reasons[0].startswith("no safe grasp: 120 mm at its narrowest, the gripper opens to 80 mm; ")


def test_neighbours_on_all_sides_leave_no_grasp() -> None:
    places = [place for place in itertools.product((-0.045, 0, 0.045), repeat=2) if place != (0, 0)]
    ring = [slab((x - 0.02, y - 0.02, 0), (x + 0.02, y + 0.02, 0.1)) for x, y in places]
    plan = _plan(scene_of(box_surface((0.04, 0.04, 0.06)), np.concatenate(ring)))
    assert plan.candidates == ()
    assert "would touch something near" in plan.reasons[0]


def test_without_a_plane_the_object_is_grasped_all_the_same() -> None:
    plan = _plan(scene_of(box_surface((0.1, 0.04, 0.05)), with_plane=False))
    assert plan.candidates
    assert 0.03 < plan.candidates[0].width_m < 0.08


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_tiny_and_broken_clouds_get_a_reason(planner: str) -> None:
    few = GraspScene(in_camera(ball(0.03)[:7]))
    nothing = GraspScene(np.full((300, 3), np.nan))
    for scene in (few, nothing):
        plan = _plan(scene, planner)
        assert plan.candidates == ()
        assert "points" in plan.reasons[0]


def test_points_that_are_not_finite_change_nothing() -> None:
    cloud = in_camera(box_surface((0.1, 0.04, 0.05)))
    holes = np.concatenate([cloud, np.full((5, 3), np.nan), [[np.inf, 0, 1]]])
    clean, holey = _plan(GraspScene(cloud)), _plan(GraspScene(holes))
    np.testing.assert_array_equal(clean.candidates[0].camera_T_tcp, holey.candidates[0].camera_T_tcp)


def test_same_scene_gives_the_same_plan() -> None:
    first, second = (_plan(scene_of(ball(0.03))) for _ in range(2))
    assert len(first.candidates) == len(second.candidates)
    for one, other in zip(first.candidates, second.candidates, strict=True):
        np.testing.assert_array_equal(one.camera_T_tcp, other.camera_T_tcp)


def test_candidates_are_ranked_and_no_more_than_asked_for() -> None:
    scene = scene_of(box_surface((0.1, 0.04, 0.05)))
    qualities = [candidate.quality for candidate in _plan(scene).candidates]
    assert qualities == sorted(qualities, reverse=True)
    assert len(_plan(scene, count=3).candidates) == 3


def test_a_weak_grip_is_offered_only_where_there_is_no_stronger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(box_surface((0.12, 0.05, 0.009)))
    qualities = [candidate.quality for candidate in _plan(scene).candidates]
    middle = (qualities[0] + qualities[-1]) / 2
    monkeypatch.setattr(antipodal, "_LEAST_QUALITY", middle)
    assert min(candidate.quality for candidate in _plan(scene).candidates) >= middle
    monkeypatch.setattr(antipodal, "_LEAST_QUALITY", 1.1)
    assert _plan(scene).candidates[0].quality == qualities[0]


def _lump(seed: int) -> np.ndarray:
    """(N, 3) of a convex thing with some flat faces, in any attitude, on the table."""
    rng = np.random.default_rng(seed)
    ways, faces = (
        each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rng.normal(size=(n, 3)) for n in (1500, 10))
    )
    reach = np.minimum((0.036 / np.maximum(ways @ faces.T, 1e-3)).min(axis=1), 0.07)
    points = ways * reach[:, None]
    return points - [0.0, 0.0, points[:, 2].min()]


def test_where_no_grasp_is_good_a_better_one_is_found_near_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [scene_of(_lump(seed)) for seed in range(6)]
    plans = {}
    for good in (0.0, 2.0):  # never looked closer, always
        monkeypatch.setattr(antipodal, "_GOOD", good)
        plans[good] = [_plan(scene) for scene in scenes]
    before, after = (np.array([plan.candidates[0].quality for plan in plans[good]]) for good in (0.0, 2.0))
    assert (after >= before).all()
    assert (after > 1.05 * before).sum() >= 3
    for closer in plans[2.0]:
        assert min(lowest_corner_m(candidate, FRANKA) for candidate in closer.candidates) > 0


def test_where_a_grasp_is_good_nothing_more_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(box_surface((0.18, 0.04, 0.05)))
    plan = _plan(scene)
    monkeypatch.setattr(antipodal, "_GOOD", 0.0)
    alone = _plan(scene)
    assert plan.rejected == alone.rejected
    assert [candidate.quality for candidate in plan.candidates] == [candidate.quality for candidate in alone.candidates]


def test_candidates_differ_from_each_other() -> None:
    poses = [candidate.camera_T_tcp for candidate in _plan(scene_of(box_surface((0.1, 0.04, 0.05)))).candidates]
    for one, other in itertools.combinations(poses, 2):
        turned_by = np.degrees(np.arccos(np.clip((one[:3, 2] @ other[:3, 2]), -1, 1)))
        closing = np.degrees(np.arccos(np.clip(abs(one[:3, 1] @ other[:3, 1]), -1, 1)))
        assert np.linalg.norm(one[:3, 3] - other[:3, 3]) > 0.01 or turned_by > 10 or closing > 10


def test_centroid_goes_straight_down_to_the_mean_of_the_points() -> None:
    scene = scene_of(box_surface((0.1, 0.04, 0.05)))
    (candidate,) = _plan(scene, "centroid").candidates
    np.testing.assert_allclose(candidate.camera_T_tcp[:3, 3], scene.cloud.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(candidate.approach, -CAMERA_T_TABLE[:3, 2], atol=1e-6)


def test_a_tensor_will_do_as_a_cloud() -> None:
    torch = pytest.importorskip("torch")
    cloud = in_camera(box_surface((0.1, 0.04, 0.05)))
    as_tensor = _plan(GraspScene(torch.from_numpy(cloud)))
    np.testing.assert_array_equal(
        as_tensor.candidates[0].camera_T_tcp, _plan(GraspScene(cloud)).candidates[0].camera_T_tcp
    )


@pytest.mark.parametrize("shape", ["box", "box beside a card", "can", "nothing"])
def test_torch_closes_on_the_same_grasps_as_numpy(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, where both can be asked; on a GPU it is the same code."""
    torch = pytest.importorskip("torch")
    from sam_perception.grasping.torch_arrays import torch_arrays

    surfaces = {
        "box": box_surface((0.1, 0.04, 0.05)),
        "box beside a card": box_surface((0.1, 0.04, 0.05)),
        "can": np.concatenate([tube(0.033, 0.1), disc(0.033, 0.1)]),
        "nothing": box_surface((0.3, 0.3, 0.01)),  # wider than the gripper and too low for it
    }
    scene = scene_of(surfaces[shape])
    if shape.endswith("card"):
        scene = dataclasses.replace(scene, flat=in_camera(slab((-0.05, 0.03, 0.003), (0.05, 0.06, 0.003))))
    by_numpy = _plan(scene)
    asked = []
    monkeypatch.setattr(closing, "arrays_on", lambda device: asked.append(device) or torch_arrays(torch.device("cpu")))
    by_torch = _plan(scene)
    assert asked
    assert by_torch.rejected == by_numpy.rejected
    assert len(by_torch.candidates) == len(by_numpy.candidates)
    assert bool(by_numpy.candidates) == (shape != "nothing")
    for ours, theirs in zip(by_torch.candidates, by_numpy.candidates, strict=True):
        np.testing.assert_allclose(ours.camera_T_tcp, theirs.camera_T_tcp, atol=1e-6)
        assert ours.quality == pytest.approx(theirs.quality, abs=1e-5)
        assert ours.width_m == pytest.approx(theirs.width_m, abs=1e-6)


def test_a_device_that_is_not_there_is_refused_in_a_sentence() -> None:
    pytest.importorskip("torch")
    scene = dataclasses.replace(scene_of(box_surface((0.1, 0.04, 0.05))), device="cuda:99")
    with pytest.raises(ModelUnavailableError, match="device 'cuda:99'"):
        _plan(scene)
    assert _plan(dataclasses.replace(scene, device="cpu")).candidates


def test_unknown_planner_is_told_which_there_are() -> None:
    assert DEFAULT_PLANNER in PLANNERS
    with pytest.raises(InvalidInputError, match="antipodal"):
        make_planner("magic")


def test_cloud_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="GraspScene"):
        GraspScene(np.zeros((5, 2)))
