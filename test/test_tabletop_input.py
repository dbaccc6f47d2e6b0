"""The channels that the tabletop model sees: heights over a known table, slopes of a known plane, and missing depth."""

from __future__ import annotations

import boxes_on_a_table as scenes
import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sam_perception.models.tabletop_input import CHANNELS, COLOR, DEPTH, network_input  # noqa: E402

HEIGHT, SLOPE_X, SLOPE_Y, NEARNESS, VALID = 3, 4, 5, 6, 7
BOXES: tuple[scenes.Box, ...] = (
    (-0.15, -0.1, -0.05, 0.0, 0.04),
    (0.05, -0.05, 0.17, 0.1, 0.12),
    (-0.1, 0.1, 0.0, 0.2, 0.07),
)
CAMERAS = {
    "640x480": ((480, 640), scenes.D435, 192),
    "848x480, wide, off centre": ((480, 848), (600.0, 598.0, 440.0, 225.0), 160),
    "320x240, long": ((240, 320), (420.0, 425.0, 150.0, 122.0), 128),
    "upright": ((400, 300), (380.0, 380.0, 148.0, 205.0), 96),
}


def see(depth_m: np.ndarray | None, camera: scenes.Camera | None, side: int) -> np.ndarray:
    color = torch.full((48, 64, 3), 90, dtype=torch.uint8)
    return network_input(color, None if depth_m is None else torch.tensor(depth_m), camera, side).numpy()


def heights_m(channels: np.ndarray) -> np.ndarray:
    return np.sinh(2 * channels[HEIGHT]) / 40


def inside_faces(faces: np.ndarray, margin: int = 2) -> np.ndarray:
    """Pixels around which only one face is seen."""
    image, window = faces.astype(np.int16), np.ones((2 * margin + 1,) * 2, np.uint8)
    return cv2.dilate(image, window) == cv2.erode(image, window)


def sensed(depth_m: np.ndarray, rng: np.random.Generator, holes: float, noise_m: float) -> np.ndarray:
    """With noise at 1 m that grows with the square of depth, and holes: patches and single pixels."""
    depth_m = depth_m + (noise_m * depth_m**2 * rng.standard_normal(depth_m.shape)).astype(np.float32)
    patches = cv2.resize(rng.random((30, 40)), depth_m.shape[::-1], interpolation=cv2.INTER_NEAREST) < holes / 2
    depth_m[patches | (rng.random(depth_m.shape) < holes / 2)] = 0
    return depth_m


@pytest.mark.parametrize(("size", "camera", "side"), CAMERAS.values(), ids=CAMERAS)
def test_height_over_the_table_is_that_of_the_boxes(size, camera, side):
    """Compared with the rays of a camera that has the input's own pixels."""
    seen = see(scenes.view_of(BOXES, size, camera).depth_m, camera, side)
    truth = scenes.view_of(BOXES, (side, side), scenes.scaled(camera, size, (side, side)))
    sure = inside_faces(truth.faces)
    assert set(np.unique(truth.objects[sure])) == {0, 1, 2, 3}
    error = np.abs(heights_m(seen) - truth.heights_m)[sure]
    assert error.max() < 0.002
    assert np.median(error) < 0.0005


@pytest.mark.parametrize(("holes", "noise_m"), [(0.15, 0.0), (0.0, 0.003), (0.15, 0.003)])
def test_height_survives_holes_and_noise(holes, noise_m):
    depth_m = sensed(scenes.view_of(BOXES).depth_m, np.random.default_rng(4), holes, noise_m)
    seen = see(depth_m, scenes.D435, 192)
    truth = scenes.view_of(BOXES, (192, 192), scenes.scaled(scenes.D435, (480, 640), (192, 192)))
    sure = inside_faces(truth.faces) & (seen[VALID] > 0)
    assert sure.mean() > 0.7
    for number in range(4):
        error = (heights_m(seen) - truth.heights_m)[sure & (truth.objects == number)]
        assert abs(np.median(error)) < 0.0015, number
        assert np.percentile(np.abs(error), 95) < 0.005, number


def test_the_nearer_table_is_the_plane_and_not_the_floor_beside_it():
    view = scenes.view_of(((-0.1, -0.1, 0.05, 0.05, 0.1),), eye=(0.3, -0.6, 0.75), half_table=0.36)
    assert (view.objects == scenes.FLOOR).mean() > (view.objects == scenes.TABLE).mean() > 0.3
    seen = see(view.depth_m, scenes.D435, 192)
    truth = cv2.resize(view.objects.astype(np.int16), (192, 192), interpolation=cv2.INTER_NEAREST)
    sure = inside_faces(truth, 3)
    assert np.abs(heights_m(seen)[sure & (truth == scenes.TABLE)]).max() < 0.003
    assert heights_m(seen)[sure & (truth == scenes.FLOOR)].max() < -0.3


def test_slopes_of_a_plane_in_closed_form():
    """On n . p = d, log z falls by n_x / (fx n . ray) with each pixel to the right."""
    side, size = 160, (480, 640)
    view = scenes.view_of((), eye=(0.3, -0.5, 0.4), roll_deg=25)
    seen = see(view.depth_m, scenes.D435, side)
    fx, fy, cx, cy = scenes.scaled(scenes.D435, size, (side, side))
    v, u = np.mgrid[:side, :side]
    normal = view.plane[0]
    along = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones((side, side))], axis=-1) @ normal
    for channel, slope in ((SLOPE_X, -normal[0] / fx / along), (SLOPE_Y, -normal[1] / fy / along)):
        found = np.sinh(2 * seen[channel]) * 2 / side
        inner = (slice(3, -3), slice(3, -3))
        assert np.abs(slope[inner]).max() > 1e-3
        np.testing.assert_allclose(found[inner], slope[inner], rtol=0.02, atol=2e-5)


def test_what_is_nearer_than_its_surroundings_says_so():
    depth_m = np.ones((192, 192), np.float32)
    depth_m[90:96, 100:106] = 0.9
    nearness = see(depth_m, None, 192)[NEARNESS]
    assert 1.2 < nearness[92, 102] < np.arcsinh(20 * -np.log(0.9))
    assert np.abs(nearness[20:50, 20:50]).max() < 1e-3


@pytest.mark.parametrize("camera", [None, scenes.D435])
@pytest.mark.parametrize("depth_m", [None, np.zeros((480, 640), np.float32)], ids=["no depth", "only holes"])
def test_without_depth_its_channels_are_zero_and_colour_is_normalised(depth_m, camera):
    seen = see(depth_m, camera, 64)
    assert seen.shape == (CHANNELS, 64, 64)
    assert not seen[DEPTH].any()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(seen[COLOR].mean(axis=(1, 2)), (90 / 255 - mean) / std, rtol=1e-4)


def test_depth_that_is_hardly_there_gives_finite_channels():
    """One pixel, one row, one tiny patch: too little for any plane."""
    for part in ((slice(7, 8), slice(9, 10)), (slice(7, 8), slice(None)), (slice(0, 8), slice(0, 8))):
        depth_m = np.zeros((48, 64), np.float32)
        depth_m[part] = 0.7
        seen = see(depth_m, (60.0, 60.0, 31.5, 23.5), 32)
        assert np.isfinite(seen).all()
        assert not seen[DEPTH][:, seen[VALID] == 0].any()


def test_pixels_without_depth_are_marked_and_do_not_spoil_their_neighbours():
    depth_m = scenes.view_of(BOXES).depth_m.copy()
    whole = see(depth_m, scenes.D435, 160)
    depth_m[200:280, 300:380] = 0
    holed = see(depth_m, scenes.D435, 160)
    hole = np.zeros((160, 160), bool)
    hole[67:93, 75:95] = True
    assert not holed[DEPTH][:, hole].any()
    far = ~cv2.dilate(hole.astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert (holed[VALID][far] == 1).all()
    np.testing.assert_allclose(holed[HEIGHT][far], whole[HEIGHT][far], atol=0.02)  # 1 mm
    np.testing.assert_allclose(holed[SLOPE_X][far], whole[SLOPE_X][far], atol=1e-5)


def test_without_intrinsics_those_of_a_realsense_are_assumed():
    depth_m = scenes.view_of(BOXES).depth_m
    usual = (0.96 * 640, 0.96 * 640, 319.5, 239.5)
    np.testing.assert_array_equal(see(depth_m, None, 96), see(depth_m, usual, 96))
    truth = scenes.view_of(BOXES, (96, 96), scenes.scaled(scenes.D435, (480, 640), (96, 96)))
    sure = inside_faces(truth.faces)
    assert np.abs(heights_m(see(depth_m, None, 96)) - truth.heights_m)[sure].max() < 0.006


def test_depth_may_have_another_size_than_colour():
    half = scenes.scaled(scenes.D435, (480, 640), (240, 320))
    coarse = see(scenes.view_of(BOXES, (240, 320), half).depth_m, half, 96)
    fine = see(scenes.view_of(BOXES).depth_m, scenes.D435, 96)
    sure = inside_faces(scenes.view_of(BOXES, (96, 96), scenes.scaled(scenes.D435, (480, 640), (96, 96))).faces, 3)
    assert np.abs(heights_m(coarse) - heights_m(fine))[sure].max() < 0.001


def test_the_same_frame_gives_the_same_bytes():
    depth_m = sensed(scenes.view_of(BOXES).depth_m, np.random.default_rng(1), 0.1, 0.002)
    first = see(depth_m, scenes.D435, 96)
    torch.manual_seed(5)  # nobody else's random numbers play a part
    torch.rand(3)
    assert see(depth_m, scenes.D435, 96).tobytes() == first.tobytes()
