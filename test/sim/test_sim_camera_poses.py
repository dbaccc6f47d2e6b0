"""Camera poses: they look where they say, from where they say, and not through furniture."""

import numpy as np
import pytest
from small_scene import small_scene

from sam_perception.geometry.rays import project

pytest.importorskip("mujoco")

from sam_perception.sim.camera_poses import (
    draw_intrinsics,
    draw_pose,
    orbit_pose,
    overhead_pose,
    side_pose,
    smooth_path,
    wrist_pose,
)


@pytest.fixture(scope="module")
def scene():
    return small_scene()


def elevation_deg(pose):
    return np.rad2deg(np.arcsin(-pose[2, 2]))


def test_orbit_pose_looks_at_its_target_with_up_upwards():
    pose = orbit_pose((0.1, -0.2, 0.05), distance_m=0.7, azimuth_deg=60, elevation_deg=35)
    in_camera = np.linalg.inv(pose) @ [0.1, -0.2, 0.05, 1]
    np.testing.assert_allclose(in_camera[:3], [0, 0, 0.7], atol=1e-12)
    above = np.linalg.inv(pose) @ [0.1, -0.2, 0.15, 1]
    assert above[0] == pytest.approx(0, abs=1e-12) and above[1] < 0
    np.testing.assert_allclose(pose[:3, 3], [0.1 + 0.7 * np.cos(np.deg2rad(35)) * 0.5, *pose[1:3, 3]])
    assert pose[2, 3] == pytest.approx(0.05 + 0.7 * np.sin(np.deg2rad(35)))
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_roll_turns_the_camera_clockwise_so_that_up_tilts_to_the_left():
    upright, rolled = (orbit_pose((0, 0, 0), 1, 0, 30, roll) for roll in (0, 20))
    above = np.array([0, 0, 0.1, 1])
    assert (np.linalg.inv(upright) @ above)[0] == pytest.approx(0, abs=1e-12)
    assert (np.linalg.inv(rolled) @ above)[0] < 0


@pytest.mark.parametrize(
    ("mount", "elevations", "distances"),
    [(wrist_pose, (32, 88), (0.3, 1.05)), (overhead_pose, (55, 90), (0.55, 1.45)), (side_pose, (20, 50), (0.4, 1.45))],
)
def test_mounts_keep_to_their_place_and_see_objects(scene, mount, elevations, distances):
    rng = np.random.default_rng(5)
    middle = np.mean([scene.table_T_object(item.label)[:3, 3] for item in scene.objects], axis=0)
    camera = draw_intrinsics(rng)
    in_view = 0
    for _ in range(60):
        pose = mount(rng, scene)
        assert elevations[0] - 1e-6 <= elevation_deg(pose) <= elevations[1] + 1e-6
        assert distances[0] < np.linalg.norm(pose[:3, 3] - middle) < distances[1]
        assert pose[2, 3] > 0.1
        points = [(np.linalg.inv(pose) @ scene.table_T_object(item.label))[:3, 3] for item in scene.objects]
        u, v = project(np.array(points), camera).T
        in_view += np.any((u > 0) & (u < camera.width) & (v > 0) & (v < camera.height))
    assert in_view == 60


def test_no_pose_looks_through_furniture():
    """With a wall before the table's +y side, all cameras are on the other side of it, or above."""
    scene = small_scene('<geom type="box" size="2 0.01 1" pos="0 0.35 0.5" rgba="1 1 1 1"/>')
    rng = np.random.default_rng(0)
    poses = [draw_pose(rng, scene) for _ in range(60)]
    assert all(pose[1, 3] < 0.34 or elevation_deg(pose) > 55 for pose in poses)
    free = [draw_pose(rng, small_scene()) for _ in range(60)]
    assert sum(pose[1, 3] > 0.36 for pose in free) > 5


def test_intrinsics_are_those_of_a_d435():
    rng = np.random.default_rng(1)
    for width, height, low, high in ((640, 480, 595, 632), (1280, 720, 890, 945), (848, 480, 590, 626)):
        camera = draw_intrinsics(rng, width, height)
        assert low < camera.fx < high and abs(camera.fx - camera.fy) < 2
        assert abs(camera.cx - width / 2) < 0.03 * width and not camera.is_distorted


def test_smooth_path_moves_little_between_frames_and_keeps_looking_at_the_objects(scene):
    path = smooth_path(np.random.default_rng(2), scene)
    poses = [path.pose_at(seconds) for seconds in np.arange(0, 30, 1 / 30)]
    steps = np.diff([pose[:3, 3] for pose in poses], axis=0)
    speed = np.linalg.norm(steps, axis=1) * 30
    assert 0.02 < speed.max() < 0.5
    assert np.abs(np.diff(steps, axis=0)).max() * 30**2 < 0.5  # m/s^2
    for pose in poses[::30]:
        target = np.linalg.inv(pose) @ [*path.target, 1]
        assert abs(target[0]) < 1e-9 and abs(target[1]) < 1e-9
    still = smooth_path(np.random.default_rng(2), scene, sway=0.0)
    np.testing.assert_array_equal(still.pose_at(0), still.pose_at(7.3))


def test_same_seed_same_pose(scene):
    first, second = (draw_pose(np.random.default_rng(9), scene) for _ in range(2))
    np.testing.assert_array_equal(first, second)
