"""What a camera sees of one scene, with the truth about every object in it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import RgbdFrame


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectTruth:
    """One object of a scene as a camera has it before it.

    Attributes:
        label: its pixels' value in ``LabelledView.labels``, from 1.
        name: which object of its world this is.
        family: what kind of object it is, a category of the data set.
        size_m: (3,) sides of its bounding box in its own frame.
        camera_T_object: (4, 4) pose of its own frame in the camera's optical frame, metres.
        visible_fraction: visible pixels over those that it would have with nothing before it, 0..1.
        visible_centroid_m: (3,) mean of its visible surface before any noise, one point for each pixel, in the camera's
            optical frame; not a number when nothing of it is seen.
    """

    label: int
    name: str
    family: str
    size_m: NDArray[np.float64]
    camera_T_object: NDArray[np.float64]
    visible_fraction: float
    visible_centroid_m: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledView:
    """One capture.

    Attributes:
        scene: number of the scene in its data set, from 0.
        view: number of the capture among those of the scene, from 0.
        frame: colour, depth in mm aligned to it, and intrinsics.
        labels: (H, W) uint8, 0 = not an object, else the object's label; pixel for pixel with the frame.
        table_T_camera: (4, 4) pose of the optical frame in the table frame, metres.
        objects: all objects of the scene, also those that this camera does not see.
    """

    scene: int
    view: int
    frame: RgbdFrame
    labels: NDArray[np.uint8]
    table_T_camera: NDArray[np.float64]
    objects: tuple[ObjectTruth, ...]


class StageTimes:
    """Adds up the seconds that each stage of the work takes.

    Attributes:
        seconds: by stage, in the order of their first use.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside the ``with`` statement under this name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def add(self, other: dict[str, float]) -> None:
        """Add another process' seconds."""
        for name, seconds in other.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
