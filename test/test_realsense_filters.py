"""librealsense's filters do to the depth what their parameters say."""

import numpy as np
import pytest

from sam_perception.realsense.filters import DepthFilters, FilterSettings

software_camera = pytest.importorskip("software_camera")
rs, SoftwareCamera = software_camera.rs, software_camera.SoftwareCamera


@pytest.fixture
def filtered():
    """Depth images of a camera after the filters."""

    def run(depths, **settings):
        camera = SoftwareCamera()
        filters = DepthFilters(rs, FilterSettings(**settings))
        queue = rs.frame_queue(50)
        camera.depth_sensor.open(camera.depth_sensor.get_stream_profiles()[0])
        camera.depth_sensor.start(queue)
        results = []
        for i, depth in enumerate(depths):
            camera.push(depth=depth, timestamp_ms=1000.0 + 33 * i)
            image, intrinsics = filters.process(queue.wait_for_frame(5000))
            results.append(image.copy())
        camera.depth_sensor.stop()
        camera.depth_sensor.close()
        return results, intrinsics

    return run


def noisy(count):
    rng = np.random.default_rng(0)
    return [np.rint(1000 + rng.normal(0, 5, (120, 160))).astype(np.uint16) for _ in range(count)]


def test_without_filters_depth_is_left_alone(filtered):
    depths = noisy(1)
    (result,), intrinsics = filtered(depths)
    np.testing.assert_array_equal(result, depths[0])
    assert (intrinsics.width, intrinsics.fx, intrinsics.cx) == (160, 100.0, 79.5)


@pytest.mark.parametrize("settings", [{"spatial": True}, {"temporal": True, "temporal_alpha": 0.1}])
def test_smoothing_takes_noise_away(filtered, settings):
    depths = noisy(15)
    results, _ = filtered(depths, **settings)
    assert results[-1].std() < 0.7 * depths[-1].std()
    assert results[-1].mean() == pytest.approx(1000, abs=2)


def test_smoothing_keeps_a_step(filtered):
    depth = np.full((120, 160), 1000, np.uint16)
    depth[:, 80:] = 1500
    results, _ = filtered([depth] * 5, spatial=True)
    np.testing.assert_array_equal(results[-1], depth)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("none", 0), ("fill_from_left", 800), ("farthest_from_around", 1200), ("nearest_from_around", 800)],
)
def test_a_hole_is_filled_as_asked(filtered, mode, expected):
    depth = np.full((120, 160), 800, np.uint16)
    depth[:, 80:] = 1200
    depth[60, 80] = 0
    (result,), _ = filtered([depth], hole_filling=mode)
    assert result[60, 80] == expected


def test_what_blinks_is_kept_by_persistence(filtered):
    whole = np.full((120, 160), 900, np.uint16)
    gap = whole.copy()
    gap[50:60, 50:60] = 0
    results, _ = filtered([whole] * 10 + [gap], temporal=True, temporal_persistence=8)
    assert results[-1][55, 55] == 900
    results, _ = filtered([whole] * 10 + [gap], temporal=True, temporal_persistence=0)
    assert results[-1][55, 55] == 0


def test_decimation_makes_the_image_smaller(filtered):
    (result,), intrinsics = filtered(noisy(1), decimation=4)
    assert result.shape == (32, 40) == intrinsics.size  # rows come in fours
    assert result[:30].all() and not result[30:].any()
    assert intrinsics.fx == 25.0
