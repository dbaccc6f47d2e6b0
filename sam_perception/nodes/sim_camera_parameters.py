"""The parameters of the `sim_camera` node, and what the simulated camera is told of them."""

from __future__ import annotations

from sam_perception.nodes.parameters import Parameter, Parameters
from sam_perception.sim.live_camera import LiveCameraSettings
from sam_perception.sim.live_scene import MOTIONS, NOISES, LiveSceneSettings
from sam_perception.sim.scene import Split

LARGEST_SEED = 1_000_000

SIM_CAMERA_PARAMETERS = (
    Parameter(
        "seed",
        0,
        "Number of the scene; ~/new_scene counts it up. The same number and split show the same scene.",
        minimum=0,
        maximum=LARGEST_SEED,
    ),
    Parameter(
        "split",
        Split.HELD_OUT.value,
        "Whose objects are shown: held-out, those that the tabletop model was never trained on, or train.",
        choices=(Split.HELD_OUT.value, Split.TRAIN.value),
        changeable=False,
    ),
    Parameter(
        "fps",
        10.0,
        "Frames a second; fewer come where drawing one takes longer.",
        minimum=0.1,
        maximum=60.0,
    ),
    Parameter("width", 640, "Width of the images, pixels.", minimum=64, maximum=1920, changeable=False),
    Parameter("height", 480, "Height of the images, pixels.", minimum=48, maximum=1080, changeable=False),
    Parameter(
        "distorted",
        False,
        "Whether the lens distorts as a D455's (inverse_brown_conrady); otherwise not at all, as images of a D435.",
        changeable=False,
    ),
    Parameter("motion", "none", "What moves: the camera sways, up to three objects are dragged.", choices=MOTIONS),
    Parameter(
        "noise",
        "usual",
        "Of colour and depth: none, exact; usual, a D435 on a good day; drawn, from nearly clean to bad, as the seed "
        "has it.",
        choices=NOISES,
    ),
    Parameter(
        "camera_name",
        "camera",
        "What the frames begin with: camera_link, camera_color_optical_frame. Another for each camera.",
        changeable=False,
    ),
)

# Those that a change of is told to the camera; seed is asked for instead.
CAMERA_SETTINGS = frozenset({"fps", "motion", "noise"})


def scene_settings(values: Parameters) -> LiveSceneSettings:
    """What to open."""
    return LiveSceneSettings(Split(values.split), values.width, values.height, values.distorted)


def camera_settings(values: Parameters) -> LiveCameraSettings:
    """What can change while it runs."""
    return LiveCameraSettings(values.fps, values.motion, values.noise)
