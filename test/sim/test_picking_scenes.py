"""Scenes to pick from: which objects they hold, that a seed decides them, and what the camera sees of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco")

from sam_perception.errors import InvalidInputError, ModelUnavailableError
from sam_perception.sim.library import import_mujoco
from sam_perception.sim.pick_scenes import DISTANCE_M, ISOLATED_PER_WORLD, PickStage
from sam_perception.sim.pick_world import PickWorld

try:
    import_mujoco()
except ModelUnavailableError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def stage():
    with PickStage(seed=3, world=1) as stage:
        yield stage


def test_the_scenes_of_a_world_hold_one_object_each_and_never_the_same_twice(stage) -> None:
    first = ISOLATED_PER_WORLD
    scenes = [stage.isolated(number) for number in range(first, first + 8)]
    names = [scene.objects[0].name for scene in scenes]
    assert [len(scene.objects) for scene in scenes] == [1] * 8
    assert len(set(names)) == 8


def test_a_seed_gives_the_same_scene_and_image_whatever_was_shown_before(stage) -> None:
    before = stage.view(stage.isolated(23), (1,), 0)
    stage.view(stage.clutter(10), (1, 2), 4)
    again = stage.view(stage.isolated(23), (1,), 0)
    other = stage.view(stage.isolated(23), (1,), 1)
    assert np.array_equal(before.frame.color, again.frame.color)
    assert np.array_equal(before.frame.depth, again.frame.depth)
    assert np.array_equal(before.table_T_camera, again.table_T_camera)
    assert not np.array_equal(before.table_T_camera, other.table_T_camera)


def test_the_camera_sees_the_object_whole_from_the_distance_of_a_wrist(stage) -> None:
    scene = stage.isolated(25)
    view = stage.view(scene, (1,), 0)
    truth = view.truth(1)
    assert truth.sum() > 100
    assert not truth[0].any() and not truth[-1].any() and not truth[:, 0].any() and not truth[:, -1].any()
    distance = np.linalg.norm(view.table_T_camera[:3, 3] - scene.table_T_object(1)[:3, 3])
    assert DISTANCE_M[0] - 0.1 < distance < DISTANCE_M[1] + 0.1
    assert view.visible_fractions == {1: 1.0}


def test_clutter_loses_what_was_taken_away_and_keeps_the_rest_in_place(stage) -> None:
    scene = stage.clutter(12)
    labels = tuple(item.label for item in scene.objects)
    assert 3 <= len(labels) <= 10
    poses = {label: scene.table_T_object(label) for label in labels}
    moved = poses[labels[1]].copy()
    moved[0, 3] += 0.01
    scene.put({label: poses[label] for label in labels[2:]} | {labels[1]: moved})
    view = stage.view(scene, labels[1:], 1)
    assert not view.truth(labels[0]).any()
    assert scene.table_T_object(labels[1]) == pytest.approx(moved, abs=1e-6)
    assert scene.table_T_object(labels[2]) == pytest.approx(poses[labels[2]], abs=1e-6)
    scene.put(poses)
    assert stage.view(scene, labels, 0).labels.max() == labels[-1]
    with pytest.raises(InvalidInputError, match="label"):
        scene.put({99: moved})


def test_objects_stay_where_they_lie_when_the_physics_of_a_pick_takes_over(stage) -> None:
    from sam_perception.grasping.gripper import load_gripper

    scene = stage.clutter(11)
    world = PickWorld(scene, load_gripper("franka_hand"))
    world.stand_back()
    before = np.array([scene.table_T_object(item.label)[:3, 3] for item in scene.objects])
    import_mujoco().mj_step(world.model, world.data, 500)
    after = np.array([world.data.body(f"object {item.label}").xpos for item in scene.objects])
    assert np.median(np.linalg.norm(after - before, axis=1)) < 0.002
