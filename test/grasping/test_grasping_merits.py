"""What speaks for a grasp, on two plates that the pads meet, of which both or only one was observed."""

from __future__ import annotations

import numpy as np

from sam_perception.grasping.arrays import arrays_on
from sam_perception.grasping.gripper import load_gripper
from sam_perception.grasping.merits import Contents, merits_of, quality_of
from sam_perception.grasping.scene import GraspScene
from sam_perception.grasping.surface import Surface

DISTANCE_M, THICKNESS_M = 0.5, 0.04


def _merits(observed_to_m: float) -> dict[str, np.ndarray]:
    """Of a straight grasp on a 4 cm slab that was observed from y = -2 cm up to a place."""
    x, y, z = (
        grid.ravel().astype(np.float32)
        for grid in np.meshgrid(
            np.linspace(-0.009, 0.009, 7), np.linspace(-THICKNESS_M / 2, THICKNESS_M / 2, 11), np.linspace(-0.03, 0, 7)
        )
    )
    points = np.stack([x, y, z + np.float32(DISTANCE_M)], axis=1)
    normals = np.tile(np.array([0, -1, 0], np.float32), (len(points), 1))
    observed = y <= observed_to_m
    surface = Surface(points, normals, observed, points.mean(axis=0, dtype=np.float64), True, False)
    pose = np.eye(4)[None].copy()
    pose[0, 2, 3] = DISTANCE_M
    only, every = np.zeros(len(x), np.intp), np.arange(len(x))
    contents = Contents(arrays_on("cpu"), only, every, x, y, z, np.array([THICKNESS_M]), np.zeros(1, np.float32))
    return merits_of(pose, contents, surface, GraspScene(points), load_gripper("franka_hand"))


def test_thickness_that_was_observed_counts_fully_and_a_guessed_one_hardly() -> None:
    whole, most, front = (_merits(place) for place in (0.021, 0.009, -0.019))
    assert whole["measured"][0] == 1
    assert most["measured"][0] == 1  # the far side of a round thing
    assert front["measured"][0] < 0.1
    assert quality_of(front)[0] < 0.3 * quality_of(whole)[0]
