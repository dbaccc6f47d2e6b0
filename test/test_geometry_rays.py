"""Rays and projection against closed forms, librealsense and OpenCV."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib

import cv2
import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import deproject_pixels, project, ray_table

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "deprojection.json").read_text())
PINHOLE = CameraIntrinsics(640, 480, 615.17, 615.42, 323.46, 244.71)
LENSES = {
    "plumb_bob, mild": ("plumb_bob", (0.1562887, -0.5081749, -0.0009137, 0.0005281, 0.4663189)),
    "plumb_bob, barrel, tilted": ("plumb_bob", (-0.32, 0.11, 0.004, -0.006)),
    "rational_polynomial, Azure Kinect": (
        "rational_polynomial",
        (0.5205, -2.7297, 0.000569, 0.0000937, 1.6145, 0.3976, -2.5478, 1.5369),
    ),
    "inverse_brown_conrady, D455": ("inverse_brown_conrady", (-0.0565, 0.0682, 0.000366, 0.000693, -0.0218)),
    "inverse_brown_conrady, tilted": ("inverse_brown_conrady", (-0.12, 0.05, 0.006, -0.004, 0.01)),
}


def lens(name: str) -> CameraIntrinsics:
    model, coefficients = LENSES[name]
    return CameraIntrinsics(640, 480, 500.3, 501.1, 318.2, 243.9, model, coefficients)


def golden_camera(entry: dict) -> CameraIntrinsics:
    return CameraIntrinsics(**{**entry["intrinsics"], "distortion": tuple(entry["intrinsics"]["distortion"])})


def everywhere(camera: CameraIntrinsics, step: int = 7) -> np.ndarray:
    """(N, 2) pixels all over the image, the four corners among them."""
    u, v = np.meshgrid(
        np.r_[0 : camera.width - 1 : step, camera.width - 1], np.r_[0 : camera.height - 1 : step, camera.height - 1]
    )
    return np.stack([u.ravel(), v.ravel()], axis=1).astype(float)


def test_pinhole_rays_are_the_closed_form():
    table = ray_table(PINHOLE)
    assert table.shape == (480, 640, 2)
    assert table.dtype == np.float32
    for u, v in ((0, 0), (639, 0), (0, 479), (639, 479), (200, 300)):
        assert table[v, u] == pytest.approx([(u - 323.46) / 615.17, (v - 244.71) / 615.42], abs=1e-7)


@pytest.mark.parametrize("entry", GOLDEN["cameras"], ids=lambda entry: entry["name"])
def test_deprojection_is_librealsenses(entry):
    points = deproject_pixels(entry["pixels"], entry["depths_m"], golden_camera(entry))
    assert np.abs(points - entry["points_m"]).max() < 1e-6


@pytest.mark.parametrize("entry", GOLDEN["cameras"], ids=lambda entry: entry["name"])
def test_projection_is_librealsenses(entry):
    pixels = project(entry["points_m"], golden_camera(entry))
    assert np.abs(pixels - entry["projected_pixels"]).max() < 5e-4  # float32 pixels past 512 are 6e-5 apart


@pytest.mark.parametrize("entry", GOLDEN["cameras"], ids=lambda entry: entry["name"])
def test_golden_points_move_by_millimetres_without_their_distortion(entry):
    """The golden file could not catch a missing or inverted lens model otherwise."""
    camera = golden_camera(entry)
    undistorted = CameraIntrinsics(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    points = deproject_pixels(entry["pixels"], entry["depths_m"], undistorted)
    off = np.abs(points - entry["points_m"]).max()
    assert off < 1e-6 if not camera.is_distorted else off > 5e-3


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("none", "none"), ("brown_conrady", "plumb_bob"), ("inverse_brown_conrady", "inverse_brown_conrady")],
)
def test_deprojection_is_the_installed_librealsenses(theirs, ours):
    rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)
    rng = np.random.default_rng(5)
    for _ in range(5):
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = 848, 480
        intrinsics.fx, intrinsics.fy = rng.uniform(420, 620, 2)
        intrinsics.ppx, intrinsics.ppy = rng.uniform([415, 232], [433, 248])
        intrinsics.model = getattr(rs.distortion, theirs)
        intrinsics.coeffs = list(rng.uniform(-1, 1, 5) * [0.06, 0.06, 0.001, 0.001, 0.02] * (theirs != "none"))
        camera = CameraIntrinsics(
            *(848, 480, intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy, ours),
            tuple(intrinsics.coeffs) if ours != "none" else (),
        )
        pixels = np.float32(rng.uniform(0, [847, 479], (50, 2)))
        depths = np.float32(rng.uniform(0.2, 1.5, 50))
        expected = [
            rs.rs2_deproject_pixel_to_point(intrinsics, p, d)
            for p, d in zip(pixels.tolist(), depths.tolist(), strict=True)
        ]
        assert np.abs(deproject_pixels(pixels, depths, camera) - expected).max() < 1e-6


@pytest.mark.parametrize("name", [name for name in LENSES if not name.startswith("inverse")])
def test_rays_and_projection_are_opencvs(name):
    camera = lens(name)
    pixels = everywhere(camera)
    tight = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 1000, 1e-14)
    theirs = cv2.undistortPointsIter(
        pixels[:, None], camera.matrix(), np.array(camera.distortion), None, None, tight
    ).reshape(-1, 2)
    ours = deproject_pixels(pixels, np.ones(len(pixels)), camera)
    assert np.abs(ours[:, :2] - theirs).max() < 1e-9
    rvec = tvec = np.zeros(3)
    projected, _ = cv2.projectPoints(ours * 0.7, rvec, tvec, camera.matrix(), np.array(camera.distortion))
    assert np.abs(project(ours * 0.7, camera) - projected.reshape(-1, 2)).max() < 1e-9


@pytest.mark.parametrize("name", LENSES)
def test_projecting_a_deprojected_pixel_gives_the_pixel(name):
    camera = lens(name)
    pixels = everywhere(camera)
    depth = np.linspace(0.3, 4.0, len(pixels))
    points = deproject_pixels(pixels, depth, camera)
    assert points[:, 2] == pytest.approx(depth)
    assert np.abs(project(points, camera) - pixels).max() < 1e-6
    u, v = pixels.astype(int).T
    assert np.abs(ray_table(camera)[v, u] - points[:, :2] / depth[:, None]).max() < 1e-6


def test_models_of_opencv_and_librealsense_differ_in_the_tangential_term():
    coefficients = (-0.3, 0.1, 0.01, -0.008, 0.0)
    point = [[0.5, -0.4, 1.0]]
    pixels = [
        project(point, CameraIntrinsics(640, 480, 500, 500, 320, 240, model, coefficients))
        for model in ("plumb_bob", "inverse_brown_conrady")
    ]
    assert np.abs(pixels[0] - pixels[1]).max() > 0.2


def test_pixels_that_a_folded_lens_cannot_see_have_no_ray():
    """k1 alone: r (1 + k1 r^2) is largest at r = 1 / sqrt(-3 k1), and 2/3 of that there."""
    k1 = -0.6
    camera = CameraIntrinsics(640, 480, 500, 500, 319.5, 239.5, "plumb_bob", (k1, 0, 0, 0))
    fold = 1 / np.sqrt(-3 * k1)
    v, u = np.mgrid[0:480, 0:640]
    distorted = np.hypot((u - 319.5) / 500, (v - 239.5) / 500)
    table = ray_table(camera)
    seen = np.isfinite(table).all(axis=-1)
    assert np.array_equal(seen, distorted < 2 / 3 * fold)
    assert 0 < np.count_nonzero(~seen) < seen.size / 2
    assert np.hypot(*table[seen].T).max() < fold
    beyond = np.array([[fold * 1.3, 0, 1.0]])  # the formula alone would put it inside the image
    assert np.isnan(project(beyond, camera)).all()


def test_no_ray_comes_from_beyond_the_fold_where_the_polynomial_rises_again():
    """r (1 + k1 r^2 + k2 r^4) has its first peak where 1 + 3 k1 r^2 + 5 k2 r^4 is 0, and passes its height again."""
    k1, k2 = -0.5, 0.08
    fold2 = (-3 * k1 - np.sqrt(9 * k1**2 - 20 * k2)) / (10 * k2)
    camera = CameraIntrinsics(640, 480, 420, 420, 319.5, 239.5, "plumb_bob", (k1, k2, 0.002, -0.003))
    rays = ray_table(camera)
    seen = np.isfinite(rays).all(axis=-1)
    assert (rays[seen].astype(float) ** 2).sum(axis=-1).max() < fold2
    assert 150_000 < np.count_nonzero(seen) < 200_000
    assert np.isfinite(rays[240, 320]).all()


def test_what_is_no_data_has_no_point():
    points = deproject_pixels(np.zeros((5, 2)), [0, -1, np.nan, np.inf, 1], PINHOLE)
    assert np.isnan(points[:4]).all()
    assert np.isfinite(points[4]).all()
    assert np.isnan(project([[0, 0, -1.0], [0, 0, 0.0]], PINHOLE)).all()


def test_one_depth_for_all_pixels_and_single_pixels_work():
    assert deproject_pixels([[1, 2], [3, 4]], 0.5, PINHOLE).shape == (2, 3)
    assert deproject_pixels([323.46, 244.71], 0.5, PINHOLE) == pytest.approx([0, 0, 0.5])


def test_the_table_is_made_once_and_cannot_be_changed():
    camera = lens("plumb_bob, mild")
    again = lens("plumb_bob, mild")
    assert np.shares_memory(ray_table(camera), ray_table(again))
    with pytest.raises(ValueError, match="read-only"):
        ray_table(camera)[0, 0] = 0


def test_many_threads_get_the_same_rays():
    cameras = [CameraIntrinsics(64, 48, 50 + i, 50, 32, 24, "plumb_bob", (-0.2, 0.05, 0, 0)) for i in range(12)]
    expected = [ray_table(camera).copy() for camera in cameras]  # more cameras than the cache holds
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for camera, rays in zip(cameras * 5, pool.map(ray_table, cameras * 5), strict=True):
            assert np.array_equal(rays, expected[cameras.index(camera)])


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: deproject_pixels(np.zeros((4, 3)), np.ones(4), PINHOLE), "pixels_xy"),
        (lambda: deproject_pixels(np.zeros((4, 2)), np.ones(3), PINHOLE), "depth_m"),
        (lambda: project(np.zeros((4, 2)), PINHOLE), "points_camera"),
    ],
)
def test_wrong_shapes_are_named(call, field):
    with pytest.raises(InvalidInputError, match=f"{field}: expected shape"):
        call()
