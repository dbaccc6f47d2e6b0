"""The depth sensor against closed forms: error over distance, disparity steps, shadows, holes."""

import dataclasses

import numpy as np
import pytest

from sam_perception.frames import CameraIntrinsics
from sam_perception.sim.depth_sensor import (
    DepthConditions,
    draw_depth_conditions,
    fatten_edges,
    measure_depth,
    patchy_noise,
    quantised,
)

CAMERA = CameraIntrinsics(640, 480, 613.0, 613.0, 319.5, 239.5)
NOISELESS = DepthConditions(
    fine_noise_px=0.0,
    patch_noise_px=0.0,
    waviness_px=0.0,
    gap_px=1,
    thin_px=1,
    fattening_px=0.0,
    smoothing_px=0.0,
    flying=0.0,
    hole_strength=0.0,
    speckle=0.0,
)
GOOD_DAY = DepthConditions()
GREY = np.full((480, 640, 3), 120, np.uint8)
MATT = np.zeros((480, 640), np.float32)


def measure(depth_m, conditions=GOOD_DAY, seed=0, color=GREY, gloss=MATT):
    depth_m = np.broadcast_to(np.float32(depth_m), (480, 640)).copy()
    return measure_depth(depth_m, color, gloss, CAMERA, conditions, np.random.default_rng(seed))


def box_before_wall(near_m=0.6, far_m=0.9):
    depth = np.full((480, 640), far_m, np.float32)
    depth[140:340, 260:420] = near_m
    return depth


def test_plane_comes_out_unbiased_with_an_error_that_grows_with_the_square_of_distance():
    good_day = DepthConditions(speckle=0.0)
    rms = {}
    for distance in (0.4, 0.8, 1.6):
        error = np.stack([measure(distance, good_day, seed) for seed in range(4)]) / 1000.0 - distance
        assert abs(error.mean()) < 0.002 * distance**2
        rms[distance] = error.std()
    error_px = np.linalg.norm([good_day.fine_noise_px, good_day.patch_noise_px, good_day.waviness_px])
    expected = error_px * good_day.pixel_ratio / (CAMERA.fx * good_day.baseline_m)  # at 1 m
    assert rms[0.8] == pytest.approx(0.64 * expected, rel=0.1)
    assert rms[1.6] / rms[0.8] == pytest.approx(4, rel=0.1)
    assert rms[0.8] / rms[0.4] == pytest.approx(4, rel=0.25)  # rounding to millimetres adds to the smaller one


def test_neighbours_err_alike_and_distant_pixels_do_not():
    error = measure(1.0, DepthConditions(speckle=0.0)).astype(float) - 1000
    correlation = {shift: np.corrcoef(error[:, shift:].ravel(), error[:, :-shift].ravel())[0, 1] for shift in (2, 150)}
    assert correlation[2] > 0.7 and abs(correlation[150]) < 0.15


def test_disparities_are_multiples_of_a_thirtysecond_pixel():
    disparity = np.random.default_rng(0).uniform(10, 60, (5, 5)).astype(np.float32)
    steps = quantised(disparity) * 32
    np.testing.assert_array_equal(steps, np.round(steps))
    assert np.abs(quantised(disparity) - disparity).max() <= 1 / 64
    ramp = np.tile(np.linspace(2.9, 3.1, 640, dtype=np.float32), (480, 1))
    levels = np.unique(measure(ramp, NOISELESS))
    focal_baseline = CAMERA.fx / 1.5 * 0.05
    step_mm = 1000 * 3.0**2 / (32 * focal_baseline)  # 14 mm at 3 m
    assert np.median(np.diff(levels)) == pytest.approx(step_mm, rel=0.1)


def test_noiseless_camera_gives_the_depth_back():
    depth = box_before_wall()
    measured = measure(depth, NOISELESS)
    valid = measured > 0
    assert valid.mean() > 0.95
    near = np.abs(measured / 1000.0 - depth) < 0.002
    assert near[valid].mean() > 0.99  # the others are the ragged outline


def test_shadow_lies_to_the_left_and_has_the_width_of_the_parallax():
    """Of a right imager 65 mm from the colour camera: fx (b + 15 mm) (1 / near - 1 / far)."""
    for baseline in (0.050, 0.055):
        lost = measure(box_before_wall(), dataclasses.replace(NOISELESS, baseline_m=baseline)) == 0
        rows = slice(160, 320)
        expected = CAMERA.fx * (baseline + 0.015) * (1 / 0.6 - 1 / 0.9)
        assert np.median(lost[rows, 200:300].sum(axis=1)) == pytest.approx(expected, abs=2.5)
        assert lost[rows, 380:600].mean() < 0.002
        columns = np.nonzero(lost[240])[0]
        assert 260 - expected - 3 < columns.min() and columns.max() < 262


def test_pole_hides_its_own_width_only():
    """Behind a thin pole far before the wall the right imager sees the wall again between pole and shadow."""
    depth = np.full((480, 640), 1.5, np.float32)
    depth[:, 400:409] = 0.6
    lost = measure(depth, NOISELESS)[100:380] == 0
    parallax = CAMERA.fx * 0.065 * (1 / 0.6 - 1 / 1.5)  # 40 px
    assert lost.sum(axis=1).mean() < 16
    assert np.median(np.nonzero(lost)[1]) == pytest.approx(404 - parallax, abs=3)


def test_d415_loses_a_band_at_the_left_that_is_wider_for_near_things():
    for distance in (0.5, 1.0):
        lost = measure(distance, dataclasses.replace(NOISELESS, margin_px=10.0, baseline_m=0.055)) == 0
        expected = CAMERA.fx * (0.055 + 0.015) / distance - 10
        assert np.median(lost.sum(axis=1)) == pytest.approx(expected, abs=3)
        assert lost[:, 200:].mean() < 0.001


def test_dark_and_shiny_surfaces_are_lost_on_a_bad_day_and_not_on_a_good_one():
    color, gloss = GREY.copy(), MATT.copy()
    color[:, :200] = 2
    gloss[:, 440:] = 1.0
    for strength, low, high in ((0.0, 0.0, 0.001), (1.0, 0.35, 1.0)):
        bad_day = dataclasses.replace(NOISELESS, hole_strength=strength)
        lost = np.mean([measure(0.8, bad_day, seed, color, gloss) == 0 for seed in range(4)], axis=0)
        assert low <= lost[:, 20:180].mean() <= high
        assert low <= lost[:, 460:].mean() <= high
        assert lost[:, 220:420].mean() < 0.01


def test_grazing_plane_is_lost():
    """Where the line of sight meets a table at 8 degrees a bad day has no depth; at 45 degrees it has."""
    v = np.tile((np.arange(480)[:, None] - CAMERA.cy) / CAMERA.fy, 640)
    lost = {}
    for angle in (8, 45):
        pitch = np.deg2rad(angle)
        slope = np.sin(pitch) + v * np.cos(pitch)
        depth = np.where(slope > 0.02, np.sin(pitch) / np.maximum(slope, 0.02), 0)  # 1 m in the middle of the image
        measured = measure(depth, dataclasses.replace(NOISELESS, hole_strength=1.0))
        lost[angle] = (measured[225:255, 100:] == 0).mean()
    assert lost[8] > 0.6 and lost[45] < 0.02


def test_handle_hole_closes_and_thin_thing_disappears():
    disparity = np.full((100, 100), 20, np.float32)
    disparity[20:80, 20:60] = 30
    disparity[45:48, 40:43] = 20  # a hole three pixels wide
    disparity[:, 80:82] = 30  # a wire two pixels wide
    rng = np.random.default_rng(0)
    kept = fatten_edges(disparity, NOISELESS, rng)
    np.testing.assert_array_equal(kept, disparity)
    closed = fatten_edges(disparity, dataclasses.replace(NOISELESS, gap_px=5), rng)
    assert closed[45:48, 40:43].min() == 30 and closed[50, 70] == 20
    thinned = fatten_edges(disparity, dataclasses.replace(NOISELESS, thin_px=5), rng)
    assert thinned[:, 80:82].max() == 20 and thinned[50, 30] == 30


def test_near_surface_reaches_over_the_far_one_and_never_the_other_way():
    depth = box_before_wall()
    fat = dataclasses.replace(NOISELESS, fattening_px=1.5)
    near = np.mean([np.abs(measure(depth, fat, seed) - 600.0) < 5 for seed in range(4)], axis=0)
    truth = depth == np.float32(0.6)
    assert near[160:320, 264:416].min() > 0.9
    assert near.sum() > 1.02 * truth.sum()


def test_smoothing_keeps_steps_of_many_pixels_and_levels_small_ones():
    depth = box_before_wall(0.6, 0.9)
    smooth = dataclasses.replace(NOISELESS, smoothing_px=4.0)
    measured = measure(depth, smooth)
    levels = (measured == 0) | (np.abs(measured - 600.0) < 4) | (np.abs(measured - 900.0) < 8)
    assert levels.mean() > 0.999
    card = box_before_wall(0.795, 0.8)  # 5 mm: 0.16 px of disparity
    widths = [np.unique(measure(card, conditions)[240, 400:440]).size for conditions in (NOISELESS, smooth)]
    assert widths[1] > widths[0]


def test_too_near_too_far_and_empty_have_no_depth():
    depth = np.full((480, 640), 0.5, np.float32)
    depth[:, :200], depth[:, 200:300], depth[:, 500:] = 0.1, 0.0, 12.0
    measured = measure(depth, NOISELESS)
    assert not measured[:, :290].any() and not measured[:, 510:].any()
    assert (measured[:, 310:490] > 0).all()


def test_same_seed_same_bytes_and_other_seed_other_noise():
    depth = box_before_wall()
    np.testing.assert_array_equal(measure(depth, seed=3), measure(depth, seed=3))
    assert (measure(depth, seed=3) != measure(depth, seed=4)).mean() > 0.3


def test_days_differ_from_nearly_clean_to_bad():
    rng = np.random.default_rng(0)
    days = [draw_depth_conditions(rng) for _ in range(300)]
    errors = np.array([np.hypot(day.fine_noise_px, day.patch_noise_px) for day in days])
    assert errors.min() < 0.015 and errors.max() > 0.08
    assert 0.2 < np.mean([day.baseline_m > 0.051 for day in days]) < 0.5
    worst = days[int(errors.argmax())]
    assert 0 < (measure(0.8, worst) > 0).mean() <= 1


@pytest.mark.parametrize("sigma_px", [1.0, 4.0, 30.0])
def test_patchy_noise_has_unit_variance_and_the_length_asked_for(sigma_px):
    noise = np.stack([patchy_noise((240, 320), sigma_px, np.random.default_rng(seed)) for seed in range(6)])
    assert noise.std() == pytest.approx(1, rel=0.06) and noise.dtype == np.float32
    lag = round(sigma_px)
    near = (noise[..., lag:] * noise[..., :-lag]).mean()
    far = (noise[..., 8 * lag :] * noise[..., : -8 * lag]).mean()
    assert near > 0.4 and abs(far) < 0.3


def test_image_of_another_size_has_coarser_depth_pixels_in_proportion():
    camera = CameraIntrinsics(1280, 720, 919.0, 919.0, 639.5, 359.5)
    depth = np.full((720, 1280), 1.0, np.float32)
    color, gloss = np.full((720, 1280, 3), 120, np.uint8), np.zeros((720, 1280), np.float32)
    good_day = DepthConditions(speckle=0.0)
    error = measure_depth(depth, color, gloss, camera, good_day, np.random.default_rng(0)).astype(float) - 1000
    assert error.std() == pytest.approx((measure(1.0, good_day).astype(float) - 1000).std(), rel=0.15)
