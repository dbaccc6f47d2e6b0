"""The virtual D435: what it publishes of a view."""

import numpy as np
import pytest

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.sim.color_sensor import ColorConditions
from sam_perception.sim.rendering import RenderedView
from sam_perception.sim.virtual_d435 import CaptureConditions, VirtualD435

CAMERA = CameraIntrinsics(320, 240, 306.0, 306.0, 160.0, 119.0, "plumb_bob", (0.0,) * 5)


@pytest.fixture
def view():
    color = np.random.default_rng(0).integers(60, 200, (240, 320, 3), np.uint8)
    depth = np.tile(np.linspace(1.2, 0.6, 240, dtype=np.float32)[:, None], (1, 320))
    return RenderedView(color, depth, np.zeros((240, 320), np.uint8), np.zeros((240, 320), np.float32))


def test_frame_is_what_a_camera_driver_publishes(view):
    frame = VirtualD435(CAMERA, seed=1).capture(view, stamp_ns=77)
    assert frame.color.dtype == np.uint8 and frame.depth.dtype == np.uint16
    assert frame.depth.shape == frame.color.shape[:2] == CAMERA.size
    assert (frame.intrinsics, frame.stamp_ns, frame.depth_scale_m) == (CAMERA, 77, 0.001)
    assert frame.frame_id == "camera_color_optical_frame"
    valid = frame.depth > 0
    assert np.abs(frame.depth_m - view.depth_m)[valid].mean() < 0.02 and valid.mean() > 0.6


def test_same_seed_same_frames_and_each_capture_is_a_new_one(view):
    first, second = (VirtualD435(CAMERA, seed=(4, 2)) for _ in range(2))
    for _ in range(2):
        one, other = first.capture(view), second.capture(view)
        np.testing.assert_array_equal(one.color, other.color)
        np.testing.assert_array_equal(one.depth, other.depth)
    assert (VirtualD435(CAMERA, seed=(4, 3)).capture(view).depth != one.depth).any()


def test_brightness_changes_from_capture_to_capture_only_when_no_conditions_are_given(view):
    drawn = VirtualD435(CAMERA, seed=0)
    fixed = VirtualD435(CAMERA, seed=0, conditions=CaptureConditions(color=ColorConditions(noise=3.0)))
    means = {
        name: np.std([camera.capture(view).color.mean() for _ in range(5)])
        for name, camera in (("drawn", drawn), ("fixed", fixed))
    }
    assert means["drawn"] > 5 and means["fixed"] < 0.5
    one, other = fixed.capture(view), fixed.capture(view)
    assert (one.color != other.color).mean() > 0.3  # noise is new in each frame


def test_view_of_another_size_is_refused(view):
    camera = CameraIntrinsics(640, 480, 613.0, 613.0, 320.0, 240.0)
    with pytest.raises(InvalidInputError, match=r"\(480, 640\).*\(240, 320\)"):
        VirtualD435(camera).capture(view)
