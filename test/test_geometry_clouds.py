"""Masks to points, against closed forms and the golden points of librealsense."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from test_geometry_scenes import D435, Table, cast, frame_of, table_pose

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.clouds import deproject_mask
from sam_perception.geometry.rays import project
from sam_perception.masks import Mask

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "deprojection.json").read_text())


def ellipse(x: float, y: float, a: float, b: float) -> Mask:
    v, u = np.mgrid[0:480, 0:640]
    return Mask.from_array(((u - x) / a) ** 2 + ((v - y) / b) ** 2 < 1)


@pytest.fixture
def tilted():
    """A tilted table in float metres, and the pose of the table."""
    pose = table_pose(0.8, 40.0, 10.0)
    depth, _ = cast([Table(pose)])
    return frame_of(depth.astype(np.float32)), pose


def test_points_lie_on_the_surface_that_was_rendered(tilted):
    frame, pose = tilted
    mask = ellipse(400, 300, 110, 60)
    cloud = deproject_mask(frame, mask)
    assert cloud.points.dtype == np.float32
    assert len(cloud) == mask.area
    assert not cloud.is_empty
    assert (cloud.points - pose[:3, 3]) @ pose[:3, 2] == pytest.approx(0, abs=1e-6)


def test_every_point_knows_its_pixel_and_colour(tilted):
    frame, _ = tilted
    cloud = deproject_mask(frame, ellipse(400, 300, 110, 60))
    assert cloud.pixels.dtype == np.int32
    assert np.abs(project(cloud.points, D435) - cloud.pixels).max() < 1e-3
    u, v = cloud.pixels.T
    assert cloud.mask.to_array()[v, u].all()
    assert cloud.colors.dtype == np.uint8
    assert np.array_equal(cloud.colors, np.stack([v % 256, u % 256, np.full(len(u), 77)], axis=1))


@pytest.mark.parametrize("entry", GOLDEN["cameras"], ids=lambda entry: entry["name"])
def test_points_are_librealsenses_for_every_lens(entry):
    """The golden pixels lie between pixels, so the four at the corners are looked at."""
    camera = CameraIntrinsics(**{**entry["intrinsics"], "distortion": tuple(entry["intrinsics"]["distortion"])})
    depth = np.zeros(camera.size, np.float32)
    for (u, v), metres in zip(entry["pixels"][:4], entry["depths_m"][:4], strict=True):
        depth[int(v), int(u)] = metres
    frame = RgbdFrame(np.zeros((*camera.size, 3), np.uint8), depth, camera)
    cloud = deproject_mask(frame, Mask.from_array(np.ones(camera.size, bool)))
    assert np.abs(cloud.points - entry["points_m"][:4]).max() < 1e-6


def test_integer_and_float_depth_agree(tilted):
    frame, _ = tilted
    units = np.rint(frame.depth / 0.00025).astype(np.uint16)
    in_units = dataclasses.replace(frame, depth=units, depth_scale_m=0.00025)
    mask = ellipse(200, 200, 80, 70)
    difference = deproject_mask(in_units, mask).points - deproject_mask(frame, mask).points
    assert np.abs(difference).max() < 0.00025
    for kind in (np.float16, np.float64):
        other = dataclasses.replace(frame, depth=frame.depth.astype(kind))
        assert deproject_mask(other, mask).points == pytest.approx(deproject_mask(frame, mask).points, abs=1e-3)


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, -np.inf, 1e300])
def test_pixels_without_data_have_no_point(tilted, value):
    frame, _ = tilted
    depth = frame.depth.astype(np.float64)
    depth[200:260:2, 300:400] = value
    mask = Mask.from_array(np.pad(np.ones((60, 100), bool), ((200, 220), (300, 240))))
    cloud = deproject_mask(dataclasses.replace(frame, depth=depth), mask)
    assert np.isfinite(cloud.points).all()
    assert len(cloud) == 3000
    assert (cloud.pixels[:, 1] % 2 == 1).all()


def test_a_mask_without_depth_gives_an_empty_cloud(tilted):
    frame, _ = tilted
    blind = dataclasses.replace(frame, depth=np.zeros((480, 640), np.uint16))
    for mask in (ellipse(200, 200, 50, 50), Mask.from_array(np.zeros((480, 640), bool))):
        cloud = deproject_mask(blind, mask)
        assert cloud.is_empty
        assert cloud.points.shape == cloud.colors.shape == (0, 3)
        assert cloud.pixels.shape == (0, 2)


def test_pixels_beyond_the_fold_of_the_lens_have_no_point():
    camera = CameraIntrinsics(640, 480, 500, 500, 319.5, 239.5, "plumb_bob", (-0.6, 0, 0, 0))
    frame = frame_of(np.full((480, 640), 1000, np.uint16), camera)
    cloud = deproject_mask(frame, Mask.from_array(np.ones((480, 640), bool)))
    v, u = np.mgrid[0:480, 0:640]
    seen = np.hypot((u - 319.5) / 500, (v - 239.5) / 500) < 2 / 3 / np.sqrt(3 * 0.6)  # where r (1 + k1 r^2) peaks
    assert np.isfinite(cloud.points).all()
    assert np.array_equal(np.sort(cloud.pixels[:, 1] * 640 + cloud.pixels[:, 0]), np.flatnonzero(seen))


def test_what_is_missing_is_named(tilted):
    frame, _ = tilted
    mask = ellipse(200, 200, 50, 50)
    with pytest.raises(InvalidInputError, match=r"RgbdFrame.depth.*aligned"):
        deproject_mask(dataclasses.replace(frame, depth=None), mask)
    with pytest.raises(InvalidInputError, match=r"RgbdFrame.intrinsics.*camera_info"):
        deproject_mask(dataclasses.replace(frame, intrinsics=None), mask)
    with pytest.raises(InvalidInputError, match=r"Mask.image_size"):
        deproject_mask(frame, Mask.from_array(np.ones((240, 320), bool)))


def test_a_selection_keeps_points_pixels_and_colours_together(tilted):
    frame, _ = tilted
    cloud = deproject_mask(frame, ellipse(400, 300, 110, 60))
    keep = np.random.default_rng(0).random(len(cloud)) < 0.3
    part = cloud.select(keep)
    assert np.array_equal(part.points, cloud.points[keep])
    assert np.array_equal(part.pixels, cloud.pixels[keep])
    assert np.array_equal(part.colors, cloud.colors[keep])
    crop = part.depth_crop()
    assert np.count_nonzero(np.isfinite(crop)) == len(part)
    u, v = part.pixels.T
    assert np.array_equal(crop[v - part.mask.y, u - part.mask.x], part.points[:, 2])
