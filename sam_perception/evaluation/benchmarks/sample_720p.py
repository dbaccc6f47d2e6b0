"""The sample scene as a camera of 1280x720 would give it, as files that `sample_camera` plays."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from sam_perception.answers import write_png
from sam_perception.errors import PerceptionError
from sam_perception.frame_files import read_frame, read_sample
from sam_perception.frames import RgbdFrame

_ROWS = slice(60, 420)


def write_sample_720p(folder: Path) -> RgbdFrame:
    """Write color.png, depth.png and camera.json: the middle of the 640x480 scene, twice as large; return the frame."""
    frame = read_sample()
    if frame.depth is None or frame.intrinsics is None:
        raise PerceptionError("the sample scene has lost its depth or its camera file: install the package again")
    color = cv2.resize(frame.color[_ROWS], (1280, 720), interpolation=cv2.INTER_CUBIC)
    camera = {
        "width": 1280,
        "height": 720,
        "fx": 2 * frame.intrinsics.fx,
        "fy": 2 * frame.intrinsics.fy,
        "cx": 2 * frame.intrinsics.cx + 0.5,
        "cy": 2 * (frame.intrinsics.cy - _ROWS.start) + 0.5,
        "frame_id": frame.frame_id,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / "color.png", np.asarray(color, np.uint8))
    cv2.imwrite(str(folder / "depth.png"), np.repeat(np.repeat(frame.depth[_ROWS], 2, axis=0), 2, axis=1))
    (folder / "camera.json").write_text(json.dumps(camera))
    return read_frame(folder / "color.png", folder / "depth.png", folder / "camera.json")
