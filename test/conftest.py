"""Scenes with ground truth that several test files use."""

import contextlib
import dataclasses
import json
import os
import pathlib

import cv2
import numpy as np
import pytest

import sam_perception.nodes  # noqa: F401  where ROS is not, this brings in what stands in for rclpy and the messages
from sam_perception.errors import ModelUnavailableError
from sam_perception.frame_files import SAMPLE_DIRECTORY, read_frame, read_sample
from sam_perception.frames import RgbdFrame
from sam_perception.sim.library import import_mujoco

os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)  # not that of a test process beside this one

with contextlib.suppress(ModelUnavailableError):
    # Before a test file imports it: at its first import it chooses the library that mujoco.Renderer draws with, which
    # the sample scene's script uses; and once a drawing has failed, all others in the process fail.
    import_mujoco()

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
REAL_SCENES = REPOSITORY.parent / "shared" / "data" / "realsense_tabletop"


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A frame, what objects.json says of each object in it, and the image of their ids."""

    frame: RgbdFrame
    objects: list[dict]
    labels: np.ndarray

    def named(self, name: str) -> dict:
        """What objects.json says of the object of this name."""
        return next(described for described in self.objects if described["name"] == name)

    def truth(self, described: dict) -> np.ndarray:
        """(H, W) bool, the object's visible pixels."""
        return self.labels == described["id"]


@pytest.fixture(scope="session")
def sample() -> Scene:
    """The tabletop scene that ships with the package."""
    labels = cv2.imread(str(SAMPLE_DIRECTORY / "labels.png"), cv2.IMREAD_UNCHANGED)
    return Scene(read_sample(), json.loads((SAMPLE_DIRECTORY / "objects.json").read_text()), labels)


@pytest.fixture(scope="session")
def real_scenes() -> dict[str, Scene]:
    """RealSense views with masks drawn by hand; they are not part of the package, so that most checkouts lack them."""
    if not REAL_SCENES.is_dir():
        pytest.skip(f"the real RealSense scenes are not at {REAL_SCENES}")
    described = json.loads((REAL_SCENES / "objects.json").read_text())
    return {name: _real_scene(name, objects) for name, objects in described.items()}


def _real_scene(name: str, objects: list[dict]) -> Scene:
    color, depth, labels = (REAL_SCENES / f"{name}-{kind}.png" for kind in ("color", "depth", "labels"))
    return Scene(
        read_frame(color, depth, REAL_SCENES / "camera.json"), objects, cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
    )
