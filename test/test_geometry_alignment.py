"""Depth of one camera as another one sees it, beside a closed form, a plain loop and librealsense's own."""

import cv2
import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.alignment import DepthAligner
from sam_perception.geometry.rays import cached_rays, deproject_pixels, project

D455 = (-0.0565362684, 0.0682018697, 0.0003659752, 0.0006925757, -0.0218431670)
DEPTH = CameraIntrinsics(320, 180, 200.0, 201.0, 161.0, 88.5)


def pose(rotation=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(np.array(rotation))[0]
    matrix[:3, 3] = translation
    return matrix


TILTED = pose((0.004, -0.01, 0.003), (0.015, 0.001, 0.003))


@pytest.mark.parametrize(
    "color",
    [
        CameraIntrinsics(320, 240, 290.0, 291.0, 158.0, 121.0),
        CameraIntrinsics(320, 240, 290.0, 291.0, 158.0, 121.0, "inverse_brown_conrady", D455),
        CameraIntrinsics(320, 240, 290.0, 291.0, 158.0, 121.0, "plumb_bob", (0.156, -0.508, -0.0009, 0.0005, 0.466)),
        CameraIntrinsics(160, 120, 110.0, 110.0, 80.0, 60.0),
    ],
    ids=["pinhole", "D455's lens", "L515's lens", "coarser than the depth"],
)
def test_a_tilted_plane_has_the_depth_that_the_other_camera_measures(color):
    normal, distance = np.array([0.2, -0.15, -0.968]), -0.7
    depth = np.rint(10000 * distance / (cached_rays(DEPTH).points @ normal)).astype(np.uint16)
    aligned = DepthAligner(DEPTH, color, TILTED).align(depth, 0.0001) / 10000
    rotated = TILTED[:3, :3] @ normal
    expected = (distance + rotated @ TILTED[:3, 3]) / (cached_rays(color).points @ rotated)
    there = aligned > 0
    corners = project(deproject_pixels([[0, 0], [319, 179]], depth[[0, -1], [0, -1]] / 1e4, DEPTH), color)
    assert not there.all() or (corners[0] <= 0).all()  # nothing is made up outside
    inner = there[40:-40, 20:-20] if color.height > 180 else there[35:-35, 30:-30]
    assert inner.all()  # no holes, though a pixel of the depth covers more than one of these
    # A pixel shows the depth of a point up to 1.5 pixels beside its middle: the plane changes by this much there.
    slope = np.abs(expected[:, 1:] - expected[:, :-1]).max() + np.abs(expected[1:] - expected[:-1]).max()
    assert np.abs(aligned - expected)[there].max() < 1.5 * slope + 1e-4
    assert abs(np.mean((aligned - expected)[there])) < 0.25 * slope + 1e-4


def test_each_point_lands_on_the_pixel_that_its_projection_names():
    """Single points far from each other, so that nothing hides anything."""
    color = CameraIntrinsics(320, 180, 200.0, 200.0, 160.0, 90.0, "inverse_brown_conrady", D455)
    rng = np.random.default_rng(3)
    u, v = np.meshgrid(np.arange(20, 300, 20), np.arange(20, 160, 20))
    z = rng.integers(150, 8000, u.shape)
    depth = np.zeros(DEPTH.size, np.uint16)
    depth[v, u] = z
    aligned = DepthAligner(DEPTH, color, TILTED).align(depth)
    points = deproject_pixels(np.stack([u, v], axis=-1), z / 1000, DEPTH).reshape(-1, 3)
    seen = points @ TILTED[:3, :3].T + TILTED[:3, 3]
    for pixel, z_m in zip(project(seen, color), seen[:, 2], strict=True):
        x, y = np.rint(pixel).astype(int)
        around = aligned[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        assert np.abs(around / 1000 - z_m).min() < 0.0006
    assert (aligned > 0).sum() <= points.shape[0] * 4


def test_what_stands_in_front_hides_what_is_behind():
    depth = np.full(DEPTH.size, 2000, np.uint16)
    depth[60:120, 100:200] = 500
    color = CameraIntrinsics(640, 360, 420.0, 420.0, 320.0, 180.0)
    aligned = DepthAligner(DEPTH, color, pose(translation=(0.05, 0, 0))).align(depth)
    box = project(
        np.array([[100 - 161, 60 - 88.5, 1], [199 - 161, 119 - 88.5, 1]]) / [200, 201, 1] * 0.5 + [0.05, 0, 0], color
    )
    (x0, y0), (x1, y1) = np.rint(box).astype(int)
    assert (aligned[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] == 500).all()  # nothing of the wall shows through
    assert set(np.unique(aligned)) == {0, 500, 2000}  # and what neither sees is no data


def test_the_same_camera_gives_the_same_image():
    """A D405 takes both images with one sensor."""
    depth = np.random.default_rng(0).integers(0, 60000, DEPTH.size, dtype=np.uint16)
    depth[:, 5] = 0
    np.testing.assert_array_equal(DepthAligner(DEPTH, DEPTH, np.eye(4)).align(depth), depth)


def test_no_depth_stays_no_depth():
    aligner = DepthAligner(DEPTH, CameraIntrinsics(320, 240, 290.0, 291.0, 158.0, 121.0), TILTED)
    assert not aligner.align(np.zeros(DEPTH.size, np.uint16)).any()
    looks_away = DepthAligner(DEPTH, DEPTH, pose((0, np.pi, 0)))
    assert not looks_away.align(np.full(DEPTH.size, 1000, np.uint16)).any()


def test_a_depth_of_another_size_is_refused():
    aligner = DepthAligner(DEPTH, DEPTH, np.eye(4))
    with pytest.raises(InvalidInputError, match=r"depth: expected uint16 of shape \(180, 320\)"):
        aligner.align(np.zeros((10, 10), np.uint16))
    with pytest.raises(InvalidInputError, match="depth: expected uint16"):
        aligner.align(np.zeros(DEPTH.size, np.float32))


def test_librealsense_agrees_where_it_models_the_same_cameras():
    """Parallel cameras without distortion: what rs2::align leaves out is nothing there."""
    software = pytest.importorskip("software_camera")
    rs = software.rs
    color_T_depth = pose(translation=(0.015, 0, 0))
    camera = software.SoftwareCamera(color_T_depth=color_T_depth)
    y, x = np.mgrid[:120, :160]
    depth = (900 + 100 * np.sin(x / 30) + 80 * np.cos(y / 25)).astype(np.uint16)
    pipeline, config = rs.pipeline(), rs.config()
    pipeline.set_device(camera.device)
    config.enable_stream(rs.stream.color)
    config.enable_stream(rs.stream.depth)
    pipeline.start(config)
    for i in range(2):
        camera.push(depth=depth, timestamp_ms=1000.0 + 33 * i)
    arrived, frames = pipeline.try_wait_for_frames(5000)
    assert arrived
    theirs = np.asanyarray(rs.align(rs.stream.color).process(frames).get_depth_frame().get_data()).copy()
    pipeline.stop()
    of_depth = CameraIntrinsics(160, 120, 100.0, 100.0, 79.5, 59.5)
    of_color = CameraIntrinsics(160, 120, 150.0, 150.0, 79.5, 59.5)
    ours = DepthAligner(of_depth, of_color, color_T_depth).align(depth)
    both = (ours > 0) & (theirs > 0)
    assert both.mean() > 0.95
    difference = np.abs(ours.astype(int) - theirs)[both]
    assert difference.max() <= 8  # a pixel to the side, on a slope of 4 mm a pixel
    assert np.median(difference) <= 2
