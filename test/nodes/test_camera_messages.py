"""CameraInfo is understood as drivers write it, and refused with the field's name where it is not."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from sam_perception.errors import InvalidInputError
from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import project
from sam_perception.nodes.camera_messages import camera_info_message, intrinsics_from_message


def info(**fields):
    given = {
        "width": 640,
        "height": 480,
        "distortion_model": "plumb_bob",
        "d": [0.1, -0.2, 0.001, 0.002, 0.05],
        "k": [600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0],
        **fields,
    }
    return CameraInfo(header=Header(frame_id="camera_color_optical_frame"), **given)


def test_what_realsense_publishes_projects_as_opencv_does():
    message = info()
    points = np.array([[0.1, -0.05, 0.5], [-0.3, 0.2, 0.9], [0, 0, 1]])
    expected, _ = cv2.projectPoints(
        points, np.zeros(3), np.zeros(3), np.array(message.k).reshape(3, 3), np.array(message.d)
    )
    np.testing.assert_allclose(project(points, intrinsics_from_message(message)), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("model", "coefficients", "expected"),
    [
        ("plumb_bob", [], ("none", ())),
        ("", [], ("none", ())),
        ("", [0.0] * 5, ("none", ())),
        ("plumb_bob", [0.0] * 5, ("plumb_bob", (0.0,) * 5)),
        ("rational_polynomial", [0.1] * 8, ("rational_polynomial", (0.1,) * 8)),
        ("rational_polynomial", [0.1] * 8 + [0.0] * 6, ("rational_polynomial", (0.1,) * 8)),
    ],
)
def test_distortion_as_drivers_write_it(model, coefficients, expected):
    intrinsics = intrinsics_from_message(info(distortion_model=model, d=coefficients))
    assert (intrinsics.distortion_model, intrinsics.distortion) == expected


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"distortion_model": "equidistant", "d": [0.1] * 4}, r"camera_info\.distortion_model.*'equidistant'"),
        ({"distortion_model": "plumb_bob", "d": [0.1] * 3}, r"camera_info\.distortion: .* got 3"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 14}, r"camera_info\.distortion: .* got 14"),
        ({"k": [0.0] * 9}, r"camera_info\.fx"),
        ({"k": [float("nan")] * 9}, r"camera_info\.fx"),
        ({"width": 0}, r"camera_info\.width"),
        ({"binning_x": 2, "binning_y": 2}, r"camera_info\.binning"),
        ({"roi": RegionOfInterest(x_offset=10, width=320, height=240)}, r"camera_info\.binning.*320x240"),
    ],
)
def test_what_is_not_understood_is_named(fields, named):
    with pytest.raises(InvalidInputError, match=named):
        intrinsics_from_message(info(**fields))


@pytest.mark.parametrize("fields", [{"binning_x": 1, "binning_y": 1}, {"roi": RegionOfInterest(width=640, height=480)}])
def test_binning_of_one_and_a_roi_of_everything_are_none(fields):
    assert intrinsics_from_message(info(**fields)) == intrinsics_from_message(info())


@pytest.mark.parametrize(
    "intrinsics",
    [
        CameraIntrinsics(64, 48, 60.5, 61.5, 31.5, 23.5),
        CameraIntrinsics(64, 48, 60.5, 61.5, 31.5, 23.5, "plumb_bob", (0.1, 0.2, 0.3, 0.4, 0.5)),
        CameraIntrinsics(64, 48, 60.5, 61.5, 31.5, 23.5, "rational_polynomial", (0.1,) * 8),
        CameraIntrinsics(64, 48, 60.5, 61.5, 31.5, 23.5, "inverse_brown_conrady", (0.1,) * 5),
    ],
)
def test_intrinsics_project_the_same_after_the_way_through_the_message(intrinsics):
    message = camera_info_message(intrinsics, Header())
    points = np.array([[0.1, -0.05, 0.5], [-0.1, 0.2, 0.9]])
    np.testing.assert_array_equal(project(points, intrinsics_from_message(message)), project(points, intrinsics))
    k, p = np.array(message.k).reshape(3, 3), np.array(message.p).reshape(3, 4)
    np.testing.assert_array_equal(k, intrinsics.matrix())
    np.testing.assert_array_equal(p, np.column_stack([k, np.zeros(3)]))
    np.testing.assert_array_equal(np.array(message.r).reshape(3, 3), np.eye(3))
