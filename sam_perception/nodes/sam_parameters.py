"""The parameters of the segmentation node, in one table."""

from __future__ import annotations

from sam_perception.engine import ENCODING_MODES
from sam_perception.models import DEFAULT_MODEL
from sam_perception.models.base import PRECISIONS
from sam_perception.nodes.parameters import Parameter

MODES = ("on_demand", "continuous")

SAM_PARAMETERS = (
    Parameter(
        "model",
        DEFAULT_MODEL,
        "Name of a model (`sam-perception models list`), path of a checkpoint, or auto: tabletop, and grabcut where "
        "torch is not installed; nothing is downloaded here.",
        changeable=False,
    ),
    Parameter("device", "auto", "Where it runs: auto, cuda, cuda:N, mps or cpu.", changeable=False),
    Parameter("precision", "fp32", "Of the image encoder.", choices=PRECISIONS, changeable=False),
    Parameter(
        "compile", False, "Run the image encoder through torch.compile; loading then takes longer.", changeable=False
    ),
    Parameter(
        "mode",
        "on_demand",
        "on_demand: answer requests and clicks; continuous: also ask the last prompts again on every new frame.",
        choices=MODES,
    ),
    Parameter(
        "encoding",
        "on_demand",
        "When frames are encoded: on_demand, when one is asked for; keyframe, the newest also in the background, "
        "keyframe_hz times a second; every_frame, the newest whenever nobody asks.",
        choices=ENCODING_MODES,
        changeable=False,
    ),
    Parameter(
        "keyframe_hz",
        1.0,
        "How often the newest frame is encoded in the background, with encoding keyframe, 1/s of stamp time.",
        minimum=0.01,
        maximum=100.0,
        changeable=False,
    ),
    Parameter(
        "history_seconds",
        5.0,
        "How long a frame can be asked for by its stamp, seconds.",
        minimum=0.0,
        maximum=600.0,
        changeable=False,
    ),
    Parameter("history_mb", 512, "Memory for the frames, megabytes.", minimum=1, maximum=65536, changeable=False),
    Parameter(
        "cache_mb",
        1024,
        "Memory for the embeddings, on the model's device, megabytes.",
        minimum=0,
        maximum=65536,
        changeable=False,
    ),
    Parameter(
        "depth_slop_s",
        0.0,
        "How far the stamps of an image and its depth may differ, seconds; 0: not at all, as realsense-ros needs.",
        minimum=0.0,
        maximum=0.5,
    ),
    Parameter(
        "stamp_wait_s",
        0.2,
        "How long a request waits for a frame of its stamp, or for the first, that has not arrived yet, seconds.",
        minimum=0.0,
        maximum=5.0,
    ),
    Parameter("max_points", 10000, "How many points a request may have.", minimum=1, maximum=1000000),
    Parameter(
        "overlay_rate_hz",
        5.0,
        "How often ~/mask_overlay shows the camera's newest image between answers, 1/s.",
        minimum=0.1,
        maximum=60.0,
    ),
    Parameter(
        "overlay_hold_s",
        3.0,
        "How long ~/mask_overlay keeps showing an answer before it goes on with the camera, seconds.",
        minimum=0.0,
        maximum=3600.0,
    ),
)
