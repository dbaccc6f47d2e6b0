"""Writes test/golden/deprojection.json: points that pyrealsense2's own functions compute, which ours must match.

    apt-get install libusb-1.0-0 && pip install pyrealsense2
    python scripts/make_deprojection_golden.py [--out test/golden/deprojection.json]

Every number that goes in is read back from librealsense first, so that its float32 rounding is part of the input.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyrealsense2 as rs

SEED = 7
PIXELS = 120
DEPTHS_M = (0.25, 1.5)
DEFAULT_OUT = Path(__file__).resolve().parents[1] / "test" / "golden" / "deprojection.json"

# librealsense's model, ours, width, height, fx, fy, cx, cy, coefficients. D455: those of librealsense's issue 9551;
# L515 and D435: of the size that their cameras' colour streams report.
CAMERAS = {
    "D435 colour, rectified": ("none", "none", 640, 480, 615.17, 615.42, 323.46, 244.71, (0.0,) * 5),
    "D455 colour": (
        *("inverse_brown_conrady", "inverse_brown_conrady", 1280, 800, 636.52, 635.76, 645.37, 393.15),
        (-0.0565362684, 0.0682018697, 0.0003659752, 0.0006925757, -0.0218431670),
    ),
    "L515 colour": (
        *("brown_conrady", "plumb_bob", 1280, 720, 905.33, 905.81, 642.91, 362.44),
        (0.1562887, -0.5081749, -0.0009137, 0.0005281, 0.4663189),
    ),
    "L515 colour, as labelled before librealsense 2.45": (
        *("inverse_brown_conrady", "inverse_brown_conrady", 1280, 720, 905.33, 905.81, 642.91, 362.44),
        (0.1562887, -0.5081749, -0.0009137, 0.0005281, 0.4663189),
    ),
}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out = parser.parse_args().out
    golden = {
        "made_by": "scripts/make_deprojection_golden.py",
        "pyrealsense2": rs.__version__,
        "seed": SEED,
        "cameras": [camera_golden(name, *values) for name, values in CAMERAS.items()],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"{out}: {out.stat().st_size} bytes, pyrealsense2 {rs.__version__}")


def camera_golden(name, rs_model, model, width, height, fx, fy, cx, cy, coefficients) -> dict:
    """Deprojections of pixels all over one camera's image, corners first."""
    intrinsics = rs.intrinsics()
    intrinsics.width, intrinsics.height = width, height
    intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy = fx, fy, cx, cy
    intrinsics.model = getattr(rs.distortion, rs_model)
    intrinsics.coeffs = list(coefficients)
    rng = np.random.default_rng(SEED)
    corners = [[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]]
    inside = rng.uniform([-0.5, -0.5], [width - 0.5, height - 0.5], (PIXELS - len(corners), 2))
    pixels = np.float32(np.vstack([corners, inside]))
    depths = np.float32(rng.uniform(*DEPTHS_M, PIXELS))
    points = [
        rs.rs2_deproject_pixel_to_point(intrinsics, pixel, depth)
        for pixel, depth in zip(pixels.tolist(), depths.tolist(), strict=True)
    ]
    return {
        "name": name,
        "librealsense_model": f"RS2_DISTORTION_{rs_model.upper()}",
        "intrinsics": {
            "width": width,
            "height": height,
            "fx": intrinsics.fx,
            "fy": intrinsics.fy,
            "cx": intrinsics.ppx,
            "cy": intrinsics.ppy,
            "distortion_model": model,
            "distortion": [] if model == "none" else list(intrinsics.coeffs),
        },
        "pixels": pixels.tolist(),
        "depths_m": depths.tolist(),
        "points_m": points,
        "projected_pixels": [rs.rs2_project_point_to_pixel(intrinsics, point) for point in points],
    }


if __name__ == "__main__":
    main()
