"""The gripper in a picture: where a pinhole camera shows it."""

from __future__ import annotations

import numpy as np
import pytest

from sam_perception.frames import CameraIntrinsics
from sam_perception.grasping.candidates import GraspCandidate
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.outlines import GRIPPER_COLOR, draw_gripper


def test_a_gripper_is_drawn_where_a_pinhole_shows_its_corners() -> None:
    gripper = Gripper("test", 0.04, 0.02, 0.01, 0.0, 0.08, (0.06, 0.2, 0.05), 0.01, 0.6)
    camera = CameraIntrinsics(640, 480, 600.0, 600.0, 320.0, 240.0)
    pose = np.eye(4)
    pose[:3, 3] = 0.02, -0.01, 0.5
    picture = np.zeros((480, 640, 3), np.uint8)
    draw_gripper(picture, camera, GraspCandidate(pose, 0.05, 0.5, 0.1, "test"), gripper, thickness=1)
    rows, columns = np.nonzero(picture.any(axis=2))
    # The widest and nearest thing is the palm: y within 0.1 of the TCP, from z 0.42 on.
    nearest_m = 0.5 + 0.01 - 0.04 - 0.05
    assert rows.min() == pytest.approx(240 + 600 * (-0.01 - 0.1) / nearest_m, abs=1.5)
    assert rows.max() == pytest.approx(240 + 600 * (-0.01 + 0.1) / nearest_m, abs=1.5)
    assert columns.max() == pytest.approx(320 + 600 * (0.02 + 0.03) / nearest_m, abs=1.5)
    assert tuple(picture[rows[0], columns[0]]) <= GRIPPER_COLOR
