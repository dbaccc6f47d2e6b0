# Copyright 2026 The sam_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The shipped sample scene agrees with itself and with closed forms, and its script makes it again."""

import importlib.util
import json
import pathlib
import sys

import cv2
import numpy as np
import pytest

from sam_perception import frame_files

ROOT = pathlib.Path(__file__).resolve().parents[1]
SAMPLE = frame_files.SAMPLE_DIRECTORY
SCRIPT = ROOT / "scripts" / "render_sample_scene.py"
SEED_OF_SAMPLE = 7

FX, BASELINE_M, SUBPIXEL = 615.0, 0.050, 0.08
TUNA_CAN_RADIUS_M, TUNA_CAN_RIM_ABOVE_MIDDLE_M = 0.042, 0.0163


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("render_sample_scene", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def sample():
    pngs = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in SAMPLE.glob("*.png")}
    jsons = {path.name: json.loads(path.read_text()) for path in SAMPLE.glob("*.json")}
    return pngs | jsons


@pytest.fixture(scope="module")
def rendered(script):
    try:
        return script.render_sample(SEED_OF_SAMPLE)
    except RuntimeError as error:  # no MuJoCo or no GL library here
        pytest.skip(str(error))


def rays_of(camera: dict) -> np.ndarray:
    """(H, W, 3) points at z = 1 seen by each pixel."""
    v, u = np.mgrid[0 : camera["height"], 0 : camera["width"]]
    x, y = (u - camera["cx"]) / camera["fx"], (v - camera["cy"]) / camera["fy"]
    return np.dstack([x, y, np.ones_like(x)])


def project(points_camera: np.ndarray, camera: dict) -> np.ndarray:
    """(N, 3) metres to (N, 2) pixels."""
    focal, center = [camera["fx"], camera["fy"]], [camera["cx"], camera["cy"]]
    return points_camera[:, :2] / points_camera[:, 2:] * focal + center


class TestShippedSample:
    def test_images_have_the_documented_form(self, sample):
        camera = sample["camera.json"]
        size = (camera["height"], camera["width"])
        assert camera["frame_id"] == "camera_color_optical_frame"
        assert sample["color.png"].shape == (*size, 3) and sample["color.png"].dtype == np.uint8
        assert sample["depth.png"].shape == size and sample["depth.png"].dtype == np.uint16
        assert sample["labels.png"].shape == size and sample["labels.png"].dtype == np.uint8

    def test_is_small_enough_to_ship(self):
        assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 900_000

    def test_depth_is_millimetres_with_some_holes(self, sample):
        depth = sample["depth.png"]
        assert np.mean(depth == 0) == pytest.approx(0.065, abs=0.035)
        on_objects = depth[(sample["labels.png"] > 0) & (depth > 0)]
        assert np.percentile(on_objects, 1) > 500 and np.percentile(on_objects, 99) < 1200

    def test_every_label_is_described_once(self, sample):
        ids = [described["id"] for described in sample["objects.json"]]
        assert ids == list(range(1, len(ids) + 1)) and len(ids) >= 8
        assert set(np.unique(sample["labels.png"])) == {0, *ids}
        assert len({described["name"] for described in sample["objects.json"]}) == len(ids)

    def test_box_area_and_click_follow_from_the_labels(self, sample):
        for described in sample["objects.json"]:
            mask = sample["labels.png"] == described["id"]
            y, x = np.nonzero(mask)
            assert described["box"] == [x.min(), y.min(), x.max() + 1, y.max() + 1], described["name"]
            assert described["area"] == mask.sum(), described["name"]
            click_x, click_y = described["click"]
            assert mask[click_y - 2 : click_y + 3, click_x - 2 : click_x + 3].all(), described["name"]

    def test_no_object_is_cut_by_the_image_border(self, sample):
        labels = sample["labels.png"]
        assert not np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]).any()

    def test_noisy_points_lie_around_the_true_visible_centroid(self, sample):
        depth_m = sample["depth.png"] * sample["camera.json"]["depth_scale_m"]
        points = rays_of(sample["camera.json"]) * depth_m[..., None]
        for described in sample["objects.json"]:
            seen = points[(sample["labels.png"] == described["id"]) & (depth_m > 0)]
            error_m = np.linalg.norm(seen.mean(axis=0) - described["visible_centroid_m"])
            assert error_m < 0.010, (described["name"], error_m)

    def test_table_pixels_lie_on_the_table_plane(self, sample):
        camera_T_table = np.array(sample["camera.json"]["camera_T_table"])
        normal, origin = camera_T_table[:3, 2], camera_T_table[:3, 3]
        rays = rays_of(sample["camera.json"])
        plane_depth_m = (normal @ origin) / (rays @ normal)
        hits = rays * plane_depth_m[..., None]
        on_table = np.linalg.inv(camera_T_table)[:3, :3] @ (hits - origin).reshape(-1, 3).T
        within = (np.abs(on_table[:2]) < [[0.55], [0.38]]).all(axis=0).reshape(plane_depth_m.shape)
        near_objects = cv2.dilate(sample["labels.png"], np.ones((21, 21), np.uint8)) > 0
        depth_m = sample["depth.png"] * 0.001
        chosen = within & ~near_objects & (depth_m > 0) & (plane_depth_m > 0)
        error_m = (depth_m - plane_depth_m)[chosen]
        expected_sigma_m = plane_depth_m[chosen] ** 2 * SUBPIXEL / (sample["camera.json"]["fx"] * BASELINE_M)
        assert chosen.sum() > 50_000
        assert abs(np.median(error_m)) < 0.0005
        assert 0.85 < np.std(error_m / expected_sigma_m) < 1.25

    def test_rim_of_the_can_projects_to_the_edge_of_its_mask(self, sample):
        """A wrong sign of the principal point in the renderer would move it by 8 px."""
        camera = sample["camera.json"]
        can = next(described for described in sample["objects.json"] if described["name"] == "tuna can")
        angle = np.linspace(0, 2 * np.pi, 720)
        circle_table = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)]) * TUNA_CAN_RADIUS_M
        circle_table[2] = TUNA_CAN_RIM_ABOVE_MIDDLE_M
        circle = np.array(camera["camera_T_table"])[:3, :3] @ circle_table + np.c_[can["position_m"]]
        left, top = project(circle.T, camera).min(axis=0)
        # Pixels cover half a pixel around their integer coordinates.
        assert can["box"][0] - 0.5 == pytest.approx(left, abs=0.75)
        assert can["box"][1] - 0.5 == pytest.approx(top, abs=0.75)


class TestDisparityNoise:
    @pytest.mark.parametrize("z_m", [0.4, 0.8, 1.6])
    def test_sigma_on_a_wall_is_the_stated_one(self, script, z_m):
        noisy = script.add_disparity_noise(np.full((480, 640), z_m), FX, np.random.default_rng(0))
        assert np.std(noisy) == pytest.approx(z_m**2 * SUBPIXEL / (FX * BASELINE_M), rel=0.05)
        assert np.mean(noisy) == pytest.approx(z_m, abs=2e-4)

    def test_is_correlated_over_a_few_pixels_only(self, script):
        noise = script.correlated_noise((480, 640), 1.5, np.random.default_rng(0))
        assert np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1] > 0.7
        assert abs(np.corrcoef(noise[:, :-12].ravel(), noise[:, 12:].ravel())[0, 1]) < 0.05

    def test_disparity_comes_in_steps_of_a_32nd_pixel(self, script):
        quantised = script.quantise_disparity(np.linspace(0.3, 3.0, 5000)[None], FX)
        steps = FX * BASELINE_M / quantised.astype(np.float64) * 32
        assert np.abs(steps - np.round(steps)).max() < 1e-3


class TestSecondImagerShadow:
    @pytest.mark.parametrize(("z_near", "z_far"), [(0.6, 0.9), (0.5, 2.0)])
    def test_falls_on_the_far_side_left_of_a_near_object(self, script, z_near, z_far):
        depth = np.full((20, 640), z_far)
        depth[:, 300:500] = z_near
        shadow = script.second_imager_shadow(depth, FX)
        width = FX * BASELINE_M * (1 / z_near - 1 / z_far)
        assert shadow[10].sum() == pytest.approx(width, abs=1.5)
        assert shadow[10, 300 - int(width) + 1 : 299].all()
        assert not shadow[:, 300:].any()

    def test_a_slanted_plane_hides_nothing(self, script):
        depth = np.linspace(0.5, 1.5, 480)[:, None] + np.linspace(0, 0.2, 640)[None, :]
        assert not script.second_imager_shadow(depth, FX).any()


class TestOtherEffects:
    def test_near_surfaces_bleed_by_a_few_pixels_at_most(self, script):
        depth = np.full((200, 200), 1.2)
        depth[:, 100:] = 0.7
        out = script.bleed_edges(depth, np.random.default_rng(0))
        assert np.all(out[:, :92] == np.float32(1.2)) and np.all(out[:, 108:] == np.float32(0.7))
        changed = out[:, 92:100] < 1.19
        assert 50 < changed.sum() < 200 * 4
        between = (out > 0.72) & (out < 1.18)
        assert between.any()

    def test_facing_cosine_of_a_slanted_plane_is_the_closed_form(self, script):
        normal = np.array([np.sin(0.9), 0.0, -np.cos(0.9)])
        v, u = np.mgrid[0:480, 0:640]
        rays = np.dstack([(u - 320) / FX, (v - 240) / FX, np.ones(u.shape)])
        depth = -np.cos(0.9) * 0.8 / (rays @ normal)
        expected = -(rays @ normal) / np.linalg.norm(rays, axis=2)
        assert script.facing_cosine(depth, FX, FX)[5:-5, 5:-5] == pytest.approx(expected[5:-5, 5:-5], abs=0.01)

    def test_matt_bright_walls_stay_and_black_or_metallic_ones_get_holes(self, script):
        depth, bright = np.full((100, 100), 0.8), np.full((100, 100, 3), 120, np.uint8)
        matt, metal = np.zeros((100, 100)), np.ones((100, 100))

        def lost(color, gloss):
            rng = np.random.default_rng(0)
            return np.mean(script.unmatchable_surface(depth, color, gloss, FX, FX, rng))

        assert lost(bright, matt) == 0
        assert lost(bright // 10, matt) > 0.3
        assert 0.1 < lost(bright, metal) < 0.6

    def test_no_data_stays_no_data(self, script):
        depth = np.full((100, 120), 0.8)
        depth[30:60, 40:80] = 0
        color, gloss = np.full((100, 120, 3), 120, np.uint8), np.zeros((100, 120))
        for seed in range(3):
            noisy = script.d435_depth(depth, color, gloss, FX, FX, np.random.default_rng(seed))
            assert noisy.dtype == np.uint16
            assert not noisy[depth == 0].any()
            assert np.abs(noisy[(depth > 0) & (noisy > 0)] - 800.0).max() < 15

    def test_same_generator_seed_gives_the_same_depth(self, script):
        depth = np.full((60, 80), 0.9)
        depth[20:40, 30:50] = 0.7
        color, gloss = np.full((60, 80, 3), 90, np.uint8), np.zeros((60, 80))
        first, again, other = (
            script.d435_depth(depth, color, gloss, FX, FX, np.random.default_rng(seed)) for seed in (5, 5, 6)
        )
        assert np.array_equal(first, again) and not np.array_equal(first, other)

    def test_what_uint16_cannot_hold_becomes_no_data(self, script):
        assert script.encode_millimetres(np.array([[0.0, 0.0004, 1.2344, 65.535, 70.0]])).tolist() == [
            [0, 0, 1234, 65535, 0]
        ]


class TestRendering:
    def test_same_seed_makes_the_shipped_labels(self, rendered, sample):
        assert np.mean(rendered["labels.png"] != sample["labels.png"]) < 0.005

    def test_same_seed_makes_the_shipped_depth(self, rendered, sample):
        ours, shipped = rendered["depth.png"].astype(int), sample["depth.png"].astype(int)
        both = (ours > 0) & (shipped > 0)
        assert np.mean((ours > 0) != (shipped > 0)) < 0.01
        assert np.mean(np.abs(ours - shipped)[both] > 5) < 0.01

    def test_same_seed_makes_about_the_shipped_colours(self, rendered, sample):
        difference = np.abs(rendered["color.png"].astype(int) - sample["color.png"].astype(int))
        assert np.mean(difference) < 3
