"""The physics of picks: what holds, what slips, what is missed, and what the gripper hits on its way."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("mujoco")

from things_on_a_table import PlainScene, at, grasp_at

from sam_perception.errors import ModelUnavailableError
from sam_perception.grasping.gripper import Gripper
from sam_perception.sim.gripper_body import GRIP_FORCE_N
from sam_perception.sim.library import import_mujoco
from sam_perception.sim.meshes import rotation_about
from sam_perception.sim.objects_parts import (
    box_collider,
    capsule_collider,
    cylinder_collider,
    ellipsoid_collider,
    hull_collider,
)
from sam_perception.sim.pick_world import Outcome, PickWorld

try:
    import_mujoco()
except ModelUnavailableError as error:
    pytest.skip(str(error), allow_module_level=True)

GRIPPER = Gripper("test", 0.046, 0.021, 0.0135, 0.0, 0.08, (0.063, 0.2, 0.09), 0.009, 0.6)
CUBE = [box_collider((0.04, 0.04, 0.04))]
OPEN_M, AWAY_M = 0.07, 0.1


def pick_cube(friction: float = 0.6, density: float = 600.0, y: float = 0.0, z: float = 0.02):
    world = PickWorld(
        PlainScene((CUBE, at(0, 0, 0.02)), density=density), dataclasses.replace(GRIPPER, friction=friction)
    )
    return world, world.pick(grasp_at(0, y, z), OPEN_M, AWAY_M, 1)


def test_a_cube_gripped_in_the_middle_is_held_and_ends_between_the_fingers() -> None:
    _, result = pick_cube()
    assert result.outcome is Outcome.HELD
    assert result.detail == ""
    assert result.opening_m == pytest.approx(0.04, abs=0.002)
    assert result.table_T_object[1][2, 3] == pytest.approx(0.22, abs=0.003)
    assert result.drift_m < 0.001
    assert result.turn_deg < 1


def test_what_each_finger_pushes_with_is_the_force_of_a_gripper() -> None:
    world, _ = pick_cube()
    mujoco, force, pushes = import_mujoco(), np.zeros(6), dict.fromkeys(world.gripper.geom_ids[1:], 0.0)
    for k in range(world.data.ncon):
        for finger in pushes:
            if finger in world.data.contact.geom[k]:
                mujoco.mj_contactForce(world.model, world.data, k, force)
                pushes[finger] += force[0]
    assert list(pushes.values()) == pytest.approx([GRIP_FORCE_N, GRIP_FORCE_N], rel=0.05)


def test_without_friction_the_cube_slips() -> None:
    _, result = pick_cube(friction=0.001)
    assert (result.outcome, result.detail) == (Outcome.SLIPPED, "lost while lifting")
    assert np.isnan(result.drift_m)


def test_what_was_lost_lies_on_the_table_when_the_pick_is_over() -> None:
    for failed in (pick_cube(friction=0.001)[1], pick_cube(density=1.3e5)[1], pick_cube(y=0.02)[1]):
        assert failed.outcome is not Outcome.HELD
        assert failed.table_T_object[1][2, 3] == pytest.approx(0.02, abs=0.002)


@pytest.mark.parametrize(("share", "outcome"), [(0.35, Outcome.HELD), (1.3, Outcome.SLIPPED)])
def test_weight_decides_where_coulomb_says_so(share: float, outcome: Outcome) -> None:
    """Two pads hold 2 mu F; the shake doubles the weight for moments."""
    heaviest_kg = 2 * 0.6 * GRIP_FORCE_N / 9.81
    world, result = pick_cube(density=share * heaviest_kg / 0.04**3)
    assert world.mass_kg(1) == pytest.approx(share * heaviest_kg)
    assert result.outcome is outcome


def test_an_object_beside_the_middle_is_centred_by_the_fingers() -> None:
    _, result = pick_cube(y=0.01)
    assert result.outcome is Outcome.HELD
    assert result.table_T_object[1][1, 3] == pytest.approx(0.01, abs=0.002)


def test_a_grasp_beside_the_object_is_missed_and_leaves_it_where_it_was() -> None:
    _, result = pick_cube(y=0.1)
    assert (result.outcome, result.detail) == (Outcome.MISSED, "closed on nothing")
    assert result.table_T_object[1][:3, 3] == pytest.approx([0, 0, 0.02], abs=1e-3)


def test_a_gripper_in_the_table_collides_at_the_grasp_and_not_before() -> None:
    _, result = pick_cube(z=0.0085)
    assert result.outcome is Outcome.COLLISION
    assert result.contacts.table and result.contacts.where == "grasp"
    assert result.detail == "touches the table at the grasp"
    assert not pick_cube(z=0.0095)[1].contacts.is_collision


def test_a_neighbour_in_the_way_is_named_and_stops_the_pick() -> None:
    scene = PlainScene((CUBE, at(0, 0, 0.02)), (CUBE, at(0, 0.062, 0.02)))
    result = PickWorld(scene, GRIPPER).pick(grasp_at(0, 0, 0.02), OPEN_M, AWAY_M, 1)
    assert result.outcome is Outcome.COLLISION
    assert result.contacts.neighbours == (2,) and not result.contacts.table
    assert result.table_T_object[2] == pytest.approx(at(0, 0.062, 0.02), abs=1e-6)
    narrow = PickWorld(scene, GRIPPER).contacts(grasp_at(0, 0, 0.02), 0.05, AWAY_M, 1)
    assert not narrow.is_collision and not narrow.target


def test_an_overhang_is_hit_on_the_way_although_the_grasp_itself_is_free() -> None:
    roof = [box_collider((0.2, 0.2, 0.01))]
    scene = PlainScene((CUBE, at(0, 0, 0.02)), (roof, at(0, 0, 0.19)))
    world = PickWorld(scene, GRIPPER)
    assert world.contacts(grasp_at(0, 0, 0.02), OPEN_M, 0.0, 1).neighbours == ()
    contacts = world.contacts(grasp_at(0, 0, 0.02), OPEN_M, 0.06, 1)
    assert contacts.neighbours == (2,) and contacts.where == "pre-grasp"


def test_fingers_that_come_down_on_the_object_push_it_and_stop() -> None:
    _, result = pick_cube(y=0.02)
    assert result.outcome is Outcome.COLLISION
    assert result.contacts.target and not result.contacts.is_collision
    assert "pushed the object" in result.detail


def test_every_pick_starts_from_the_same_scene() -> None:
    world = PickWorld(PlainScene((CUBE, at(0, 0, 0.02))), GRIPPER)
    first, second = (world.pick(grasp_at(0, 0.005, 0.02), OPEN_M, AWAY_M, 1) for _ in range(2))
    assert np.array_equal(first.table_T_object[1], second.table_T_object[1])


def test_an_object_that_is_left_out_is_not_there() -> None:
    scene = PlainScene((CUBE, at(0, 0, 0.02)), (CUBE, at(0, 0.062, 0.02)))
    result = PickWorld(scene, GRIPPER, labels=(1,)).pick(grasp_at(0, 0, 0.02), OPEN_M, AWAY_M, 1)
    assert result.outcome is Outcome.HELD
    assert set(result.table_T_object) == {1}


def lying() -> np.ndarray:
    """A pose whose x points down."""
    pose = at(0, 0, 0.05)
    pose[:3, :3] = rotation_about("y", np.pi / 2)
    return pose


BRICK_CORNERS = np.array([[x, y, z] for x in (0, 0.1) for y in (0, 0.05) for z in (0, 0.01)])


@pytest.mark.parametrize(
    ("collider", "pose", "narrowest_m"),
    [
        (box_collider((0.1, 0.06, 0.02), rotation=rotation_about("z", 0.3)), at(0, 0, 0.01), 0.06),
        (box_collider((0.1, 0.06, 0.02)), lying(), 0.02),
        (cylinder_collider(0.04, -0.1, 0.1), at(0, 0, 0.1), 0.08),
        (cylinder_collider(0.04, -0.01, 0.01), lying(), 0.02),
        (capsule_collider((0, -0.05, 0), (0, 0.05, 0), 0.015), at(0, 0, 0.015), 0.03),
        (ellipsoid_collider((0.05, 0.03, 0.01)), at(0, 0, 0.01), 0.06),
        (hull_collider(BRICK_CORNERS), at(0, 0, 0.01), 0.05),
    ],
)
def test_the_narrowest_level_width_of_a_shape(collider, pose, narrowest_m: float) -> None:
    world = PickWorld(PlainScene(([collider], pose)), GRIPPER)
    assert world.narrowest_m(1) == pytest.approx(narrowest_m, rel=0.02)


def test_a_thing_of_a_thick_and_a_thin_part_fits_by_the_thin_one() -> None:
    parts = [box_collider((0.15, 0.15, 0.1)), box_collider((0.1, 0.02, 0.02), (0.12, 0, 0))]
    assert PickWorld(PlainScene((parts, at(0, 0, 0.05))), GRIPPER).narrowest_m(1) == pytest.approx(0.02)


def test_the_picture_shows_the_gripper_where_it_stands() -> None:
    world, _ = pick_cube()
    held = world.picture(60, 80, 1)
    world.stand_back()
    alone = world.picture(60, 80, 1)
    assert held.shape == (60, 80, 3)
    large = world.picture(720, 960, 1)  # more than MuJoCo's own 480 x 640
    assert np.abs(large[6::12, 6::12].astype(int) - world.picture(60, 80, 1)).mean() < 10
    changed = np.abs(held.astype(int) - alone).sum(axis=2) > 30
    assert changed[10:30, 30:50].mean() > 0.3  # the fingers and the palm, above the cube


_IN_A_USERS_SCRIPT = """
import mujoco  # chooses GLFW, which draws nothing without a screen
from test_picking_world import pick_cube
print(pick_cube()[0].picture(60, 80, 1).std())
"""


def test_a_picture_is_drawn_also_where_mujoco_was_imported_before_and_chose_another_library() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", _IN_A_USERS_SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 10


def test_the_picture_of_a_failure_shows_its_moment_and_not_what_came_after() -> None:
    world, result = pick_cube(density=1.3e5)
    moment = world.picture(60, 80, 1)
    world.data.qpos[:] = world.data.qpos + 0.05
    assert result.outcome is Outcome.SLIPPED
    assert np.array_equal(world.picture(60, 80, 1), moment)
