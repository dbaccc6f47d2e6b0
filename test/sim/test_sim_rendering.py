"""The renderer against closed forms: spheres and boxes hit by rays, shadows, lenses, hidden objects."""

import dataclasses
import warnings

import cv2
import numpy as np
import pytest
from small_scene import small_scene

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import project, ray_table

pytest.importorskip("mujoco")

from sam_perception.sim.camera_poses import orbit_pose
from sam_perception.sim.rendering import SceneRenderer

PINHOLE = CameraIntrinsics(640, 480, 613.0, 611.0, 331.0, 228.0)
D455_LIKE = CameraIntrinsics(
    640, 480, 600.0, 602.0, 315.0, 247.0, "plumb_bob", (-0.0565, 0.0682, 0.0004, 0.0007, -0.0218)
)
POSE = orbit_pose((0, 0, 0.03), distance_m=0.8, azimuth_deg=-90, elevation_deg=45, roll_deg=7)
BALL, BOX, CAN, BEHIND = 1, 2, 3, 4
BALL_RADIUS_M = 0.05


@pytest.fixture(scope="module")
def scene():
    return small_scene()


@pytest.fixture(scope="module")
def renderer(scene):
    with SceneRenderer(scene.world, 640, 480) as renderer:
        yield renderer


def sphere_depth(camera, pose, center_table, radius):
    """(H, W) z-depth of a sphere in closed form, 0 where the ray misses it."""
    rays = np.dstack([ray_table(camera), np.ones(camera.size)]).astype(np.float64)
    center = (np.linalg.inv(pose) @ [*center_table, 1])[:3]
    a, b, c = (rays**2).sum(-1), rays @ center, center @ center - radius**2
    inside = b * b - a * c
    return np.where(inside > 0, (b - np.sqrt(np.maximum(inside, 0))) / a, 0)


@pytest.mark.parametrize("camera", [PINHOLE, D455_LIKE], ids=["pinhole", "distorted lens"])
def test_depth_and_labels_are_those_of_the_ray_through_each_pixel(scene, renderer, camera):
    view = renderer.render(scene, camera, POSE)
    expected = sphere_depth(camera, POSE, scene.table_T_object(BALL)[:3, 3], BALL_RADIUS_M)
    seen, truth = view.labels == BALL, expected > 0
    assert np.count_nonzero(seen ^ truth) < 0.01 * np.count_nonzero(truth)
    inner = cv2.erode((seen & truth).astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(view.depth_m - expected)[inner].max() < 0.0002  # MuJoCo draws a sphere of facets
    for axis in range(2):
        middle = [np.nonzero(mask)[axis].mean() for mask in (seen, truth)]
        assert middle[0] == pytest.approx(middle[1], abs=0.1)


def test_table_plane_is_exact_to_a_tenth_of_a_millimetre(scene, renderer):
    view = renderer.render(scene, PINHOLE, POSE)
    rays = np.dstack([ray_table(PINHOLE), np.ones(PINHOLE.size)]).astype(np.float64)
    directions = rays @ POSE[:3, :3].T
    z = -POSE[2, 3] / directions[..., 2]
    points = POSE[:3, 3] + z[..., None] * directions
    on_table = (np.abs(points[..., 0]) < 0.55) & (np.abs(points[..., 1]) < 0.4)
    bare = on_table & (cv2.dilate((view.labels > 0).astype(np.uint8), np.ones((3, 3))) == 0)
    assert np.count_nonzero(bare) > 100_000
    assert np.abs(view.depth_m - z)[bare].max() < 1e-4


def test_each_label_lies_where_its_object_is(scene, renderer):
    view = renderer.render(scene, PINHOLE, POSE)
    for item in scene.objects[:3]:
        pose = np.linalg.inv(POSE) @ scene.table_T_object(item.label)
        u, v = project(pose[:3, 3], PINHOLE).round().astype(int)
        assert view.labels[v, u] == item.label
    assert set(np.unique(view.labels)) == {0, 1, 2, 3, 4}
    assert view.gloss[view.labels == CAN].min() == 1


def test_collision_shapes_are_not_seen(scene, renderer):
    """The can's collision box is 40 cm wide, in geom group 3."""
    view = renderer.render(scene, PINHOLE, POSE)
    columns = np.nonzero(view.labels == CAN)[1]
    assert columns.max() - columns.min() < 0.1 / 0.7 * PINHOLE.fx


def test_color_edges_are_where_labels_change(scene, renderer):
    """Blue box on a brown table, antialiased: half the box's blue marks its outline."""
    view = renderer.render(scene, PINHOLE, POSE)
    color = view.color.astype(int)
    bluish = (color[..., 2] > color[..., 0]) & (color[..., 2] > color[..., 1] + 8)
    box = view.labels == BOX
    near = cv2.dilate(box.astype(np.uint8), np.ones((9, 9))) > 0
    assert np.count_nonzero((bluish ^ box) & near) < 0.02 * np.count_nonzero(box)


def test_shadows_fall_where_the_lamp_is_hidden(scene, renderer):
    """For each bare pixel of the table, how near its line to the lamp passes to the ball says whether it is lit."""
    view = renderer.render(scene, PINHOLE, POSE)
    lamp = np.array([0.6, 0.5, 1.8])
    ball = scene.table_T_object(BALL)[:3, 3]
    rays = np.dstack([ray_table(PINHOLE), np.ones(PINHOLE.size)]).astype(np.float64) @ POSE[:3, :3].T
    points = POSE[:3, 3] - POSE[2, 3] / rays[..., 2:] * rays
    way = lamp - points
    along = ((ball - points) * way).sum(-1) / (way**2).sum(-1)
    miss = np.linalg.norm(points + along[..., None] * way - ball, axis=-1)
    brightness = view.color.astype(float).sum(-1)
    bare = view.labels == 0
    deep, outside = bare & (miss < 0.6 * BALL_RADIUS_M), bare & (miss > 2 * BALL_RADIUS_M) & (miss < 3 * BALL_RADIUS_M)
    assert np.count_nonzero(deep) > 200
    assert np.median(brightness[deep]) < 0.75 * np.median(brightness[outside])


def test_it_is_dark_where_things_touch_and_not_where_they_stand_before_something(scene, renderer):
    view = renderer.render(scene, PINHOLE, POSE)
    rays = np.dstack([ray_table(PINHOLE), np.ones(PINHOLE.size)]).astype(np.float64) @ POSE[:3, :3].T
    points = POSE[:3, 3] - POSE[2, 3] / rays[..., 2:] * rays
    beyond = np.maximum(np.abs(points[..., :2] - (0.15, 0.05)) - (0.05, 0.04), 0)  # of the box's footprint
    distance = np.hypot(beyond[..., 0], beyond[..., 1])
    brightness = view.color.astype(float).sum(-1)
    before = (view.labels == 0) & (points[..., 1] < 0.01)
    touching, near = before & (distance < 0.0025), before & (distance > 0.02) & (distance < 0.03)
    assert np.count_nonzero(touching) > 60
    assert np.median(brightness[touching]) < 0.85 * np.median(brightness[near])
    box = view.labels == BOX
    rows = [np.nonzero(box[:, column])[0].min() for column in range(415, 465)]
    above, higher = (np.median([brightness[row - k, 415 + i] for i, row in enumerate(rows)]) for k in (2, 9))
    assert view.depth_m[rows[0] - 2, 415] > view.depth_m[rows[0] + 2, 415] + 0.05
    assert above > 0.95 * higher


def test_a_picture_without_any_contact_is_drawn_without_a_numerical_warning(scene, renderer):
    floor = orbit_pose((3, 3, -0.75), distance_m=1.5, azimuth_deg=-90, elevation_deg=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = renderer.render(scene, PINHOLE, floor)
    assert not view.labels.any()


def test_visible_fraction_is_what_removing_the_other_object_uncovers(scene, renderer):
    view = renderer.render(scene, PINHOLE, POSE)
    fractions = renderer.visible_fractions(scene, PINHOLE, POSE, view.labels)
    assert fractions[BALL] == fractions[CAN] == 1
    can = scene.world.model.jnt_qposadr[scene.world.model.body_jntadr[scene.objects[CAN - 1].body_id]]
    mujoco = pytest.importorskip("mujoco")
    try:
        scene.data.qpos[can + 2] += 5
        mujoco.mj_forward(scene.world.model, scene.data)
        alone = np.count_nonzero(renderer.render(scene, PINHOLE, POSE).labels == BEHIND)
    finally:
        scene.data.qpos[can + 2] -= 5
        mujoco.mj_forward(scene.world.model, scene.data)
    covered = np.count_nonzero(view.labels == BEHIND)
    assert covered < 0.8 * alone
    assert fractions[BEHIND] == pytest.approx(covered / alone)


def test_object_outside_the_image_has_no_visible_fraction(scene, renderer):
    away = orbit_pose((3, 0, 0.03), 0.8, -90, 45)
    view = renderer.render(scene, PINHOLE, away)
    assert set(renderer.visible_fractions(scene, PINHOLE, away, view.labels).values()) == {0.0}


def test_same_view_same_bytes_whatever_was_drawn_before(scene, renderer):
    first = renderer.render(scene, PINHOLE, POSE)
    renderer.render(scene, D455_LIKE, orbit_pose((0, 0, 0), 0.5, 30, 70))
    renderer.visible_fractions(scene, PINHOLE, POSE, first.labels)
    other = small_scene()
    with SceneRenderer(other.world, 320, 240) as second:
        again = second.render(other, PINHOLE, POSE)  # larger than what it was made for
    for view in (renderer.render(scene, PINHOLE, POSE), again):
        for field in dataclasses.fields(view):
            np.testing.assert_array_equal(getattr(view, field.name), getattr(first, field.name))


def test_scene_of_another_world_and_closed_renderer_are_refused(scene):
    other = small_scene()
    renderer = SceneRenderer(other.world, 64, 48)
    with pytest.raises(InvalidInputError, match="another world"):
        renderer.render(scene, PINHOLE, POSE)
    renderer.close()
    with pytest.raises(InvalidInputError, match="closed"):
        renderer.render(other, PINHOLE, POSE)


def test_lens_that_folds_is_refused(scene, renderer):
    folding = dataclasses.replace(D455_LIKE, distortion=(-2.0, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(InvalidInputError, match="folds"):
        renderer.render(scene, folding, POSE)
