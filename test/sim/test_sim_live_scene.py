"""Scenes before a live camera: what it shows is what its truth says, it moves when asked, and seeds repeat."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("mujoco")

from sam_perception.geometry.rays import deproject_pixels
from sam_perception.sim.live_scene import LiveScene, LiveSceneSettings

SMALL = LiveSceneSettings(width=160, height=120)


@pytest.fixture(scope="module")
def scene():
    scene = LiveScene(SMALL, seed=3)
    yield scene
    scene.close()


@pytest.fixture
def scene_3(scene):
    """Scene 3 at its beginning, whatever the test before has shown."""
    scene.show(3)
    return scene


def assert_pixels_lie_in_their_boxes(scene):
    """Through the intrinsics, the pose of the camera and the poses of the boxes, three things told apart."""
    moment, view = scene.moment(5), scene.view(5, "none")
    seen = [truth for truth in moment.objects if (view.labels == truth.label).sum() > 20]
    assert len(seen) >= 2
    assert set(np.unique(view.labels)) <= {0, *(truth.label for truth in moment.objects)}
    for truth in seen:
        rows, columns = np.nonzero(view.labels == truth.label)
        points = deproject_pixels(np.stack([columns, rows], axis=1), view.frame.depth_m[rows, columns], moment.camera)
        object_T_camera = np.linalg.inv(truth.table_T_object) @ moment.table_T_camera
        in_box = points @ object_T_camera[:3, :3].T + object_T_camera[:3, 3]
        assert (np.abs(in_box) <= truth.size_m / 2 + 0.002).all(axis=1).mean() > 0.99, truth.name


def test_pixels_of_an_object_lie_in_its_box(scene_3):
    assert_pixels_lie_in_their_boxes(scene_3)


def test_the_same_seed_shows_the_same_scene_whatever_came_before(scene_3):
    before = scene_3.view(0, "drawn").frame
    names = scene_3.names
    scene_3.show(4)
    other = scene_3.view(0, "drawn").frame
    scene_3.show(3)
    again = scene_3.view(0, "drawn").frame
    assert scene_3.names == names
    np.testing.assert_array_equal(again.color, before.color)
    np.testing.assert_array_equal(again.depth, before.depth)
    assert (other.depth != before.depth).mean() > 0.5


def test_only_what_is_asked_to_move_moves(scene_3):
    def places():
        moment = scene_3.moment(0)
        return moment.table_T_camera, np.array([truth.table_T_object for truth in moment.objects])

    camera, objects = places()
    scene_3.advance(0.5, "none")
    np.testing.assert_array_equal(places()[0], camera)
    np.testing.assert_array_equal(places()[1], objects)
    scene_3.advance(0.5, "camera")
    moved_camera, still_objects = places()
    assert 0.001 < np.linalg.norm(moved_camera[:3, 3] - camera[:3, 3]) < 0.3
    np.testing.assert_array_equal(still_objects, objects)
    scene_3.advance(0.5, "objects")
    np.testing.assert_array_equal(places()[0], moved_camera)
    assert 0.002 < np.abs(places()[1] - objects)[:, :3, 3].max() < 0.3


def test_noise_is_that_of_the_choice(scene_3):
    """Exact depth is smooth where a plane is seen; what a D435 gives is not, and some of it is missing."""
    exact, usual = (scene_3.view(0, noise).frame for noise in ("none", "usual"))
    repeated = scene_3.view(0, "none").frame
    np.testing.assert_array_equal(repeated.depth, exact.depth)
    np.testing.assert_array_equal(repeated.color, exact.color)
    both = (exact.depth > 0) & (usual.depth > 0)
    errors_mm = np.abs(exact.depth[both].astype(float) - usual.depth[both])
    assert 0.5 < np.median(errors_mm) < 15
    assert (usual.depth == 0).sum() > (exact.depth == 0).sum()


def test_a_distorted_lens_is_that_of_camera_info(scene_3):
    distorted = LiveScene(dataclasses.replace(SMALL, distorted=True), seed=3)
    try:
        assert distorted.camera.is_distorted
        assert not scene_3.camera.is_distorted
        assert_pixels_lie_in_their_boxes(distorted)
    finally:
        distorted.close()
