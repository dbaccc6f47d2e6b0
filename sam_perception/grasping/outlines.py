"""The gripper of a grasp, drawn as wires into a camera's image."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import project
from sam_perception.grasping.candidates import GraspCandidate
from sam_perception.grasping.gripper import Gripper

GRIPPER_COLOR = (230, 95, 0)  # Okabe and Ito's, told apart with any colour vision

_NEAREST_M = 0.02
_EDGES = tuple((a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b) in (1, 2, 4))
_CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))


def draw_gripper(
    picture: NDArray[np.uint8],
    camera: CameraIntrinsics,
    candidate: GraspCandidate,
    gripper: Gripper,
    color: tuple[int, int, int] = GRIPPER_COLOR,
    thickness: int = 1,
) -> None:
    """Draw a gripper's palm and fingers, opened as the candidate asks, as wires into a camera's image.

    Args:
        picture: (H, W, 3) uint8 RGB of the camera; is drawn into.
        camera: its intrinsics.
        candidate: where the gripper is, in the camera's optical frame.
        gripper: its measures.
        color: RGB.
        thickness: of the lines, pixels.
    """
    centers, halves = gripper.boxes(min(candidate.width_m, gripper.max_opening_m))
    rotation, origin = candidate.camera_T_tcp[:3, :3], candidate.camera_T_tcp[:3, 3]
    for center, half in zip(centers, halves, strict=True):
        corners = (center + _CORNERS * half) @ rotation.T + origin
        if corners[:, 2].min() < _NEAREST_M:
            continue
        pixels = np.rint(project(corners, camera)).clip(-20000, 20000).astype(int)
        for a, b in _EDGES:
            cv2.line(picture, pixels[a].tolist(), pixels[b].tolist(), color, thickness, cv2.LINE_AA)
