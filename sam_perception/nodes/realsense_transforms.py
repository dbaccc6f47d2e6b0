"""Frames of a RealSense in TF, named and placed as realsense-ros does it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sam_perception.nodes.transform_messages import header_message, transform_message

# A camera's frame is x forward, y left, z up; its optical frame x right, y down, z forward (REP 103).
FRAME_T_OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def optical_frame(camera_name: str, stream: str) -> str:
    """Name of the optical frame of a stream: color or depth."""
    return f"{camera_name}_{stream}_optical_frame"


def camera_transforms(camera_name: str, depth_T_color: ArrayLike, stamp: Any) -> list[Any]:
    """TransformStamped from camera_link, which is where the depth camera is, to both optical frames.

    Args:
        camera_name: what the frames begin with.
        depth_T_color: (4, 4), takes points of the colour camera's optical frame to the depth camera's.
        stamp: of the messages.
    """
    link_T_color = FRAME_T_OPTICAL @ np.asarray(depth_T_color) @ FRAME_T_OPTICAL.T
    link = f"{camera_name}_link"
    transforms = []
    for stream, link_T_stream in (("depth", np.eye(4)), ("color", link_T_color)):
        frame = f"{camera_name}_{stream}_frame"
        optical = optical_frame(camera_name, stream)
        transforms.append(transform_message(header_message(stamp, link), frame, link_T_stream))
        transforms.append(transform_message(header_message(stamp, frame), optical, FRAME_T_OPTICAL))
    return transforms
