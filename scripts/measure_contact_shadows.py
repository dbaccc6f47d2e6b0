#!/usr/bin/env python3
"""How dark it is below objects, real beside virtual: brightness near their outlines over that farther away.

scripts/measure_contact_shadows.py SET [SET ...]

A SET is what `sam-perception eval` takes: realsense_tabletop, or a folder of `sim dataset`. Of each object it takes
the pixels whose nearest pixel of the object lies above them in the image, away from other objects, and their median
grey value over that of those 16 to 28 px away. Prints percentiles over objects, which docs/simulation.md holds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from sam_perception.evaluation.datasets import open_set
from sam_perception.evaluation.scenes import EvaluationScene

DISTANCES_PX = (1, 2, 3, 4, 6, 8, 12)
FARTHER_PX = (16, 28)
SMALLEST_PX = 800
FEWEST_PX = 10
CLEARANCE_PX = 7  # from other objects
STEEP = 0.8  # share of the way to the nearest pixel of the object that goes up in the image
PERCENTILES = (10, 25, 50, 75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", help="folders")
    print(f"| {', '.join(map(str, DISTANCES_PX))} px below the outline | {' | '.join(map(_th, PERCENTILES))} |")
    print(f"|---|{'---|' * len(PERCENTILES)}")
    for name in parser.parse_args().sets:
        scenes = open_set(name)
        rows = np.array([row for index in range(len(scenes)) for row in profiles(scenes.scene(index))])
        columns = np.nanpercentile(rows, PERCENTILES, axis=0)
        cells = (" ".join(f"{value:.2f}" for value in column) for column in columns)
        print(f"| {Path(name).name}, {len(rows)} objects | {' | '.join(cells)} |")


def profiles(scene: EvaluationScene) -> Iterator[list[float]]:
    """Of each object of which enough table is seen below."""
    grey = cv2.cvtColor(scene.frame.color, cv2.COLOR_RGB2GRAY)
    occupied = np.any([item.mask for item in scene.objects], axis=0)
    near = np.ones((2 * CLEARANCE_PX + 1,) * 2, np.uint8)
    for item in scene.objects:
        if item.area_px < SMALLEST_PX:
            continue
        distance, above = _distance_from_above(item.mask)
        free = above & ~occupied & (cv2.dilate((occupied & ~item.mask).astype(np.uint8), near) == 0)
        farther = free & (distance > FARTHER_PX[0]) & (distance < FARTHER_PX[1])
        if np.count_nonzero(farther) < 10 * FEWEST_PX:
            continue
        rings = [free & (np.abs(distance - at) <= 0.5) for at in DISTANCES_PX]
        yield [
            float(np.median(grey[ring]) / max(np.median(grey[farther]), 1)) if ring.sum() > FEWEST_PX else np.nan
            for ring in rings
        ]


def _distance_from_above(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each pixel to the mask, and whether its nearest pixel of the mask lies above it."""
    distance, numbers = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    row_of = np.zeros(numbers.max() + 1)
    row_of[numbers[mask]] = np.nonzero(mask)[0]
    rows = np.arange(mask.shape[0])[:, None]
    return distance, rows - row_of[numbers] > STEEP * distance


def _th(percentile: int) -> str:
    return "median" if percentile == 50 else f"{percentile}th"


if __name__ == "__main__":
    main()
