"""The colour sensor: exposure, white balance, blur, noise."""

import dataclasses

import numpy as np
import pytest

from sam_perception.sim.color_sensor import (
    MEAN_BRIGHTNESS,
    ColorConditions,
    compressed,
    draw_color_conditions,
    motion_kernel,
    take_picture,
)

PLAIN = ColorConditions(
    gamma=1.0, vignetting=0.0, occlusion=0.0, blur_px=0.0, noise=0.0, chroma_noise=0.0, sharpening=0.0
)
FLAT = np.full((120, 160), 1.0, np.float32)


def take(color, conditions=PLAIN, depth_m=FLAT, seed=0):
    return take_picture(color, depth_m, conditions, np.random.default_rng(seed))


def grey(value):
    return np.full((120, 160, 3), value, np.uint8)


def test_automatic_exposure_brings_dark_and_bright_rooms_together():
    dark, bright = take(grey(40)).mean(), take(grey(220)).mean()
    assert 40 < dark < bright < 220
    assert dark > 0.6 * bright
    assert take(grey(110), dataclasses.replace(PLAIN, exposure=1.4)).mean() > 1.2 * take(grey(110)).mean()
    assert take(grey(112)).mean() / 255 == pytest.approx(MEAN_BRIGHTNESS, abs=0.04)


def test_grey_stays_grey_and_white_balance_tints_it():
    assert np.ptp(take(grey(120)), axis=2).max() <= 1
    warm = take(grey(120), dataclasses.replace(PLAIN, white_balance=(1.2, 1.0, 0.8))).astype(int)
    assert (warm[..., 0] > warm[..., 1] + 5).all() and (warm[..., 1] > warm[..., 2] + 5).all()


def test_motion_smears_along_its_direction_and_leaves_things_where_they_are():
    kernel = motion_kernel((6.0, 3.0))
    v, u = np.indices(kernel.shape) - kernel.shape[0] // 2
    assert kernel.sum() == pytest.approx(1)
    assert abs((kernel * u).sum()) < 0.1 and abs((kernel * v).sum()) < 0.1
    assert np.sqrt((kernel * u * u).sum()) == pytest.approx(6 / np.sqrt(12), rel=0.15)
    assert (kernel * u * v).sum() > 0  # right and down together
    dot = np.zeros((120, 160, 3), np.uint8)
    dot[58:63, 78:83] = 255
    moved = take(dot, dataclasses.replace(PLAIN, motion_px=(7.0, 0.0))).sum(axis=2).astype(float)
    rows, columns = np.nonzero(moved > moved.max() / 10)
    assert np.ptp(columns) > np.ptp(rows) + 3
    assert columns.mean() == pytest.approx(80, abs=0.6) and rows.mean() == pytest.approx(60, abs=0.6)


def test_noise_has_the_strength_asked_for_at_mid_grey_and_less_in_the_dark():
    noisy = dataclasses.replace(PLAIN, noise=4.0)
    half = grey(128)
    half[:, 80:] = 20
    picture = take(half, noisy).astype(float)
    bright, dark = picture[:, :80].std(), picture[:, 80:].std()
    assert bright == pytest.approx(4 * np.sqrt(0.15 + 0.85 * picture[:, :80].mean() / 128), rel=0.1)
    assert dark < 0.8 * bright


def test_corners_darken_with_vignetting():
    picture = take(grey(120), dataclasses.replace(PLAIN, vignetting=0.3)).astype(float)
    assert picture[0, 0].mean() == pytest.approx(0.7 * picture[60, 80].mean(), rel=0.05)


def test_table_darkens_beside_an_object_and_not_the_object():
    depth = FLAT.copy()
    depth[40:80, 60:100] = 0.95
    shaded = dataclasses.replace(PLAIN, occlusion=1.0)
    change = take(grey(120), PLAIN).astype(int)[..., 0] - take(grey(120), shaded, depth)[..., 0]
    assert change[60, 104] > 8 and abs(change[60, 80]) <= 2 and abs(change[5, 5]) <= 2


def test_jpeg_changes_pixels_and_neither_size_nor_channel_order():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    again = compressed(red, 60)
    assert again.shape == red.shape and again[..., 0].mean() > 180 and again[..., 2].mean() < 20
    assert compressed(red, None) is red


def test_same_seed_same_picture():
    color = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    conditions = draw_color_conditions(np.random.default_rng(5))
    np.testing.assert_array_equal(take(color, conditions, seed=1), take(color, conditions, seed=1))
    assert (take(color, conditions, seed=1) != take(color, conditions, seed=2)).any()
