"""Whole measurements of objects: rendered with a D435's faults, in the shipped sample, and in real views."""

from __future__ import annotations

import json
import pathlib

import cv2
import numpy as np
import pytest
from test_geometry_scenes import Box, Sphere, Table, angle_deg, as_d435, cast, frame_of, grown, on_table, table_pose

from sam_perception import frame_files
from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.geometry.objects import measure_object
from sam_perception.masks import Mask

ROOT = pathlib.Path(__file__).resolve().parents[1]
SAMPLE = frame_files.SAMPLE_DIRECTORY
REAL = ROOT.parent / "shared" / "data" / "realsense_tabletop"
REAL_VIEWS = ("00", "02", "04", "05", "07")


def render(shapes, seed: int, outline_px: int = 1):
    """A D435's frame, the true points of the last shape's pixels, and its mask drawn ``outline_px`` too large."""
    depth, seen = cast(shapes)
    inside = seen == len(shapes) - 1
    frame = frame_of(as_d435(depth, seed))
    v, u = np.nonzero(inside)
    camera = frame.intrinsics
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(len(u))], axis=1)
    return frame, rays * depth[inside][:, None], grown(inside, outline_px)


@pytest.mark.parametrize("seed", range(10))
def test_a_box_is_measured_to_millimetres(seed):
    rng = np.random.default_rng(seed)
    table = table_pose(rng.uniform(0.5, 0.8), rng.uniform(30, 60), rng.uniform(-15, 15))
    size = np.array([*sorted(rng.uniform(0.05, 0.16, 2), reverse=True), rng.uniform(0.04, 0.18)])
    size[0] += 0.02
    pose = on_table(table, *rng.uniform(-0.05, 0.05, 2), size[2] / 2, rng.uniform(0, 180))
    frame, visible, mask = render([Table(table), Box(pose, size)], seed)
    found = measure_object(frame, mask, seed=seed)
    assert found.reasons == ()
    assert angle_deg(found.plane.normal, table[:3, 2]) < 0.5
    assert abs(float(found.plane.heights_m(table[None, :3, 3])[0])) < 0.002
    assert found.box.size == pytest.approx(size, abs=0.006)
    assert found.box.center == pytest.approx(pose[:3, 3], abs=0.004)
    assert min(angle_deg(found.box.rotation[:, 0], sign * pose[:3, 0]) for sign in (1, -1)) < 3.0
    assert found.centroid_m == pytest.approx(visible.mean(axis=0), abs=0.004)
    assert len(found.cloud) > 0.9 * len(visible)


@pytest.mark.parametrize("seed", range(5))
def test_a_sphere_on_a_tilted_plane_is_measured_to_millimetres(seed):
    rng = np.random.default_rng(seed)
    table, radius = table_pose(rng.uniform(0.5, 0.9), rng.uniform(20, 50)), rng.uniform(0.03, 0.07)
    center = (table @ [*rng.uniform(-0.05, 0.05, 2), radius, 1])[:3]
    frame, visible, mask = render([Table(table), Sphere(center, radius)], seed)
    found = measure_object(frame, mask)
    distances = np.linalg.norm(found.cloud.points - center, axis=1)
    assert np.median(distances) == pytest.approx(radius, abs=0.001)
    assert np.mean(np.abs(distances - radius) < 0.012) > 0.98
    assert found.centroid_m == pytest.approx(visible.mean(axis=0), abs=0.004)
    assert found.box.size == pytest.approx([2 * radius] * 3, abs=0.012)  # its far side is not seen, but guessed
    assert found.completed.method == "symmetry"
    assert found.completed.center_m == pytest.approx(center, abs=0.015)


def test_an_outline_two_pixels_too_large_changes_little():
    table = table_pose(0.7, 45.0)
    size = np.array([0.12, 0.08, 0.1])
    shapes = [Table(table), Box(on_table(table, 0, 0, 0.05, 25), size)]
    boxes, found = [], None
    for outline_px in (0, 2):
        frame, _, mask = render(shapes, 3, outline_px)
        found = measure_object(frame, mask)
        boxes.append(found.box)
    assert boxes[1].size == pytest.approx(boxes[0].size, abs=0.004)
    assert boxes[1].center == pytest.approx(boxes[0].center, abs=0.003)
    assert found.counts.support > 100
    counts = found.counts
    gone = counts.flying + counts.outliers + counts.other_clusters + counts.support
    assert counts.kept == counts.measured - gone == len(found.cloud)


@pytest.mark.parametrize("height_m", [0.05, 0.15])
def test_seen_from_straight_above_the_height_is_that_above_the_table(height_m):
    """As a camera on the wrist sees things: the top alone, and the table around it."""
    table = table_pose(0.6, 0.0)
    size = np.array([0.09, 0.06, height_m])
    frame, _, mask = render([Table(table), Box(on_table(table, 0.01, 0.02, height_m / 2, 35), size)], 2)
    found = measure_object(frame, mask)
    assert found.box.size == pytest.approx(size, abs=0.006)
    assert found.box.center == pytest.approx((on_table(table, 0.01, 0.02, height_m / 2))[:3, 3], abs=0.004)


def test_a_card_on_the_table_is_not_taken_for_the_table():
    table = table_pose(0.5, 30.0)
    shapes = [Table(table), Box(on_table(table, 0, 0, 0.001, 20), np.array([0.086, 0.054, 0.002]))]
    frame, visible, mask = render(shapes, 0, outline_px=0)
    found = measure_object(frame, mask)
    assert len(found.cloud) > 0.9 * len(visible)
    assert found.box.size[:2] == pytest.approx([0.086, 0.054], abs=0.005)


def test_without_a_plane_there_is_a_box_and_a_reason():
    frame, _, mask = render([Table(table_pose(1.2, 0.0)), Sphere(np.array([0.0, 0.0, 0.7]), 0.05)], 0)
    found = measure_object(frame, mask)
    assert found.plane is None
    assert "no supporting plane" in found.reasons[0]
    assert found.box.size[0] == pytest.approx(0.1, abs=0.01)


def test_too_little_depth_is_said_in_words():
    frame, _, mask = render([Table(table_pose(0.7, 40.0)), Sphere(np.array([0.0, 0.0, 0.65]), 0.03)], 0)
    blind = RgbdFrame(frame.color, np.zeros((480, 640), np.uint16), frame.intrinsics)
    found = measure_object(blind, mask)
    assert (found.centroid_m, found.box, found.plane) == (None, None, None)
    assert f"0 points are left of {mask.area} pixels" in found.reasons[0]
    assert measure_object(frame, Mask.from_array(np.zeros((480, 640), bool))).reasons == ("the mask is empty",)
    with pytest.raises(InvalidInputError, match=r"RgbdFrame.depth"):
        measure_object(RgbdFrame(frame.color, None, frame.intrinsics), mask)


def test_the_same_call_gives_the_same_answer():
    table = table_pose(0.7, 45.0)
    frame, _, mask = render([Table(table), Box(on_table(table, 0, 0, 0.04, 10), np.array([0.1, 0.06, 0.08]))], 1)
    first, second = measure_object(frame, mask), measure_object(frame, mask)
    assert np.array_equal(first.box.corners(), second.box.corners())
    assert np.array_equal(first.centroid_m, second.centroid_m)


def read_view(folder: pathlib.Path, prefix: str = "") -> tuple[RgbdFrame, dict[int, Mask], dict]:
    camera = json.loads((folder / "camera.json").read_text())
    intrinsics = CameraIntrinsics(*(camera[name] for name in ("width", "height", "fx", "fy", "cx", "cy")))
    color, depth, labels = (
        cv2.imread(str(folder / f"{prefix}{name}.png"), cv2.IMREAD_UNCHANGED) for name in ("color", "depth", "labels")
    )
    frame = RgbdFrame(np.ascontiguousarray(color[..., ::-1]), depth, intrinsics, depth_scale_m=camera["depth_scale_m"])
    return frame, {int(i): Mask.from_array(labels == i) for i in np.unique(labels) if i}, camera


def measure_all(frame: RgbdFrame, masks: dict[int, Mask]) -> dict:
    return {i: measure_object(frame, masks[i], [other for j, other in masks.items() if j != i]) for i in masks}


def test_the_shipped_sample_is_measured_as_it_was_rendered():
    frame, masks, camera = read_view(SAMPLE)
    objects = {entry["id"]: entry for entry in json.loads((SAMPLE / "objects.json").read_text())}
    camera_T_table = np.array(camera["camera_T_table"])
    for i, found in measure_all(frame, masks).items():
        assert found.plane is not None, objects[i]["name"]
        assert angle_deg(found.plane.normal, camera_T_table[:3, 2]) < 0.3
        assert abs(float(found.plane.heights_m(camera_T_table[None, :3, 3])[0])) < 0.002
        assert np.linalg.norm(found.centroid_m - objects[i]["visible_centroid_m"]) < 0.010, objects[i]["name"]
        assert found.box.contains(np.array([objects[i]["position_m"]]), margin_m=0.005).all()


@pytest.fixture(scope="module", params=REAL_VIEWS)
def real(request):
    if not REAL.is_dir():
        pytest.skip(f"the real camera data is not at {REAL}")
    frame, masks, _ = read_view(REAL, f"{request.param}-")
    names = {entry["id"]: entry["name"] for entry in json.loads((REAL / "objects.json").read_text())[request.param]}
    return frame, masks, names, measure_all(frame, masks)


def test_real_points_lie_on_their_masks_and_most_are_kept(real):
    _, masks, names, found = real
    for i, geometry in found.items():
        u, v = geometry.cloud.pixels.T
        assert masks[i].to_array()[v, u].all()
        assert geometry.counts.kept > 0.85 * geometry.counts.measured, names[i]
        assert geometry.box.contains(geometry.cloud.points, margin_m=0.01).mean() > 0.9, names[i]


def test_real_objects_of_a_view_agree_on_their_table(real):
    frame, masks, names, found = real
    planes = {i: geometry.plane for i, geometry in found.items() if geometry.plane is not None}
    assert len(planes) >= len(found) - 1  # in view 02 one can stands on another
    middle = np.median([plane.normal for plane in planes.values()], axis=0)
    taken = np.zeros(frame.size, np.uint8)
    for mask in masks.values():
        taken |= cv2.dilate(mask.to_array().astype(np.uint8), np.ones((15, 15)))
    for i, plane in planes.items():
        assert angle_deg(plane.normal, middle) < 3.0, names[i]
        u, v = found[i].cloud.pixels.T
        window = np.s_[max(0, v.min() - 30) : v.max() + 30, max(0, u.min() - 30) : u.max() + 30]
        free = Mask(taken[window] == 0, window[1].start, window[0].start, frame.size)
        around = np.abs(plane.heights_m(points_of(frame, free)))
        assert np.median(around[around < 0.03]) < 0.005, names[i]


def points_of(frame: RgbdFrame, mask: Mask) -> np.ndarray:
    """(N, 3) points by the pinhole's formula."""
    array = mask.to_array() & (frame.depth > 0)
    v, u = np.nonzero(array)
    camera, z = frame.intrinsics, frame.depth[array] * 0.001
    return np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)


# YCB sizes in metres (footprint's longer and shorter side, height), NaN where the views do not show it; and how far
# the D435's depth may be off. Source: Calli et al., "The YCB Object and Model Set", 2015.
YCB = {
    "cracker box": ((0.158, np.nan, 0.210), 0.015),
    "mustard bottle": ((np.nan, np.nan, 0.190), 0.012),
    "soup can": ((0.066, np.nan, 0.101), 0.010),
    "spam can": ((0.097, 0.050, 0.082), 0.012),
}


def test_real_things_have_the_size_of_the_things(real):
    _, _, names, found = real
    for i, geometry in found.items():
        if geometry.plane is not None:
            assert (geometry.box.size > 0.008).all(), names[i]
            assert (geometry.box.size < 0.35).all(), names[i]
        if names[i] in YCB and geometry.plane is not None:
            size, tolerance = YCB[names[i]]
            known = ~np.isnan(size)
            assert geometry.box.size[known] == pytest.approx(np.array(size)[known], abs=tolerance), names[i]
