"""The parameters of the `realsense_camera` node, and what the camera is told of them."""

from __future__ import annotations

from sam_perception.nodes.parameters import Parameter, Parameters
from sam_perception.realsense.camera import CameraSettings
from sam_perception.realsense.filters import HOLE_FILLING, FilterSettings
from sam_perception.realsense.sensor_options import EMITTERS, SensorSettings
from sam_perception.realsense.stream import ProfileRequest, StreamSettings

_FPS = "Images a second; 0: what the camera has by default."
_AS_IT_IS = "-1: as the camera has it."


def _profile(name: str) -> tuple[Parameter, ...]:
    size = "of the {} images, pixels; 0: what the camera has by default."
    return (
        Parameter(f"{name}_width", 0, f"Width {size.format(name)}", minimum=0, maximum=4096, changeable=False),
        Parameter(f"{name}_height", 0, f"Height {size.format(name)}", minimum=0, maximum=4096, changeable=False),
        Parameter(
            f"{name}_fps",
            0,
            f"{name.capitalize()} {_FPS[0].lower()}{_FPS[1:]}",
            minimum=0,
            maximum=300,
            changeable=False,
        ),
    )


REALSENSE_CAMERA_PARAMETERS = (
    Parameter(
        "serial_number",
        "",
        "Of the camera, as text: '123' in quotes, or with an underscore before it, _123; empty: the first one found.",
        changeable=False,
    ),
    Parameter(
        "camera_name",
        "camera",
        "What the frames begin with: camera_link, camera_color_optical_frame. Another for each camera.",
        changeable=False,
    ),
    Parameter(
        "wait_for_device",
        True,
        "Whether to keep looking for a camera that is not there yet; false: configuring fails.",
        changeable=False,
    ),
    Parameter(
        "silence_s",
        5.0,
        "How long no image may come before the camera is opened again, seconds.",
        minimum=0.5,
        maximum=60.0,
    ),
    Parameter("recording", "", "A .bag or .db3 file of librealsense to play; empty: a camera.", changeable=False),
    Parameter("loop", True, "Whether a recording begins again at its end.", changeable=False),
    *_profile("color"),
    *_profile("depth"),
    Parameter(
        "align_depth",
        True,
        "Whether to publish the depth aligned to the colour images beside that of the depth camera.",
        changeable=False,
    ),
    Parameter(
        "depth_encoding",
        "16UC1",
        "Encoding of the depth images: 16UC1 in millimetres with 0 for no data, or 32FC1 in metres with NaN.",
        choices=("16UC1", "32FC1"),
    ),
    Parameter(
        "distortion_model",
        "device",
        "Name of the lens model in camera_info: device, the camera's own, which this package's nodes know; plumb_bob "
        "for nodes that know ROS's models only, as realsense-ros says it: within 0.1 pixels of inverse_brown_conrady.",
        choices=("device", "plumb_bob"),
    ),
    Parameter("color_auto_exposure", True, "Whether the camera chooses exposure and gain of the colour images."),
    Parameter(
        "color_exposure",
        -1,
        "Exposure of the colour images without color_auto_exposure, in the camera's unit (D400: 100 microseconds); "
        f"{_AS_IT_IS}",
        minimum=-1,
        maximum=1000000,
    ),
    Parameter(
        "color_gain",
        -1,
        f"Gain of the colour images without color_auto_exposure; {_AS_IT_IS}",
        minimum=-1,
        maximum=10000,
    ),
    Parameter("depth_auto_exposure", True, "Whether the camera chooses exposure and gain of the depth."),
    Parameter(
        "depth_exposure",
        -1,
        f"Exposure of the depth without depth_auto_exposure, microseconds; {_AS_IT_IS}",
        minimum=-1,
        maximum=1000000,
    ),
    Parameter(
        "depth_gain", -1, f"Gain of the depth without depth_auto_exposure; {_AS_IT_IS}", minimum=-1, maximum=10000
    ),
    Parameter("laser_power", -1, f"Of the projector, milliwatts; {_AS_IT_IS}", minimum=-1, maximum=10000),
    Parameter("emitter", "unchanged", "What the projector does.", choices=EMITTERS),
    Parameter(
        "decimation",
        1,
        "Side of the blocks of depth pixels that become one, before alignment; 1: none.",
        minimum=1,
        maximum=8,
    ),
    Parameter("spatial_filter", False, "Whether to smooth depth along rows and columns, keeping edges."),
    Parameter("spatial_magnitude", 2, "How often the spatial filter runs.", minimum=1, maximum=5),
    Parameter("spatial_alpha", 0.5, "1 leaves the depth as it is, smaller smooths more.", minimum=0.25, maximum=1.0),
    Parameter("spatial_delta", 20, "Step that the spatial filter keeps as an edge.", minimum=1, maximum=50),
    Parameter(
        "spatial_holes_fill", 0, "Radius of holes that the spatial filter fills; 0: none, 5: any.", minimum=0, maximum=5
    ),
    Parameter("temporal_filter", False, "Whether to smooth depth over time; for a camera that stands still."),
    Parameter("temporal_alpha", 0.4, "1 is the newest image alone, smaller smooths more.", minimum=0.0, maximum=1.0),
    Parameter("temporal_delta", 20, "Step from which on the temporal filter starts anew.", minimum=1, maximum=100),
    Parameter(
        "temporal_persistence",
        3,
        "Rule by which a pixel without depth keeps its last one, as librealsense numbers them; 0: never, 8: always.",
        minimum=0,
        maximum=8,
    ),
    Parameter("hole_filling", "none", "What is put where there is no depth; made up.", choices=HOLE_FILLING),
)

# Those that a change of is told to the camera, by the field that they fill.
_SENSORS = {
    name: name
    for name in (
        "color_auto_exposure",
        "color_exposure",
        "color_gain",
        "depth_auto_exposure",
        "depth_exposure",
        "depth_gain",
        "laser_power",
        "emitter",
    )
}
_FILTERS = {
    "decimation": "decimation",
    "spatial_filter": "spatial",
    "spatial_magnitude": "spatial_magnitude",
    "spatial_alpha": "spatial_alpha",
    "spatial_delta": "spatial_delta",
    "spatial_holes_fill": "spatial_holes_fill",
    "temporal_filter": "temporal",
    "temporal_alpha": "temporal_alpha",
    "temporal_delta": "temporal_delta",
    "temporal_persistence": "temporal_persistence",
    "hole_filling": "hole_filling",
}
CAMERA_SETTINGS = frozenset({"silence_s", *_SENSORS, *_FILTERS})


def stream_settings(values: Parameters) -> StreamSettings:
    """What to open."""
    return StreamSettings(
        values.serial_number.removeprefix("_"),
        values.recording,
        values.loop,
        ProfileRequest(values.color_width, values.color_height, values.color_fps),
        ProfileRequest(values.depth_width, values.depth_height, values.depth_fps),
    )


def camera_settings(values: Parameters) -> CameraSettings:
    """What can change while it runs."""
    return CameraSettings(
        SensorSettings(**{field: getattr(values, name) for name, field in _SENSORS.items()}),
        FilterSettings(**{field: getattr(values, name) for name, field in _FILTERS.items()}),
        values.silence_s,
    )
