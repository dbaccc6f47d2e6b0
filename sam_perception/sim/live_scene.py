"""What a live camera looks at: simulated scenes, one after the other, whose objects and whose camera can move."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import CameraIntrinsics, RgbdFrame
from sam_perception.sim.camera_poses import draw_intrinsics, smooth_path
from sam_perception.sim.depth_sensor import in_millimetres
from sam_perception.sim.rendering import RenderedView, SceneRenderer
from sam_perception.sim.scene import SCENES_PER_WORLD, Split, World, arrange, build_world
from sam_perception.sim.virtual_d435 import CaptureConditions, VirtualD435, draw_conditions

MOTIONS = ("none", "camera", "objects", "both")
NOISES = ("none", "usual", "drawn")

# k1 k2 p1 p2 k3 of a D455's colour camera, from librealsense's issue 9551.
_D455_MODEL = "inverse_brown_conrady"
_D455_DISTORTION = (-0.0565362684, 0.0682018697, 0.0003659752, 0.0006925757, -0.0218431670)

# Streams of random numbers that one seed gives.
_PATH, _CONDITIONS, _USUAL, _DRAWN = range(4)


@dataclasses.dataclass(frozen=True)
class LiveSceneSettings:
    """What stays the same as long as a camera runs.

    Attributes:
        split: whose objects are shown.
        width: of the images, pixels.
        height: of the images, pixels.
        distorted: whether the lens distorts as a D455's; otherwise not at all, as a D435's is published.
    """

    split: Split = Split.HELD_OUT
    width: int = 640
    height: int = 480
    distorted: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedTruth:
    """An object and where it is.

    Attributes:
        label: its number in label images, from 1.
        name: unique in the scene, such as "mug 3".
        size_m: (3,) sides of its bounding box along its own axes.
        table_T_object: (4, 4) pose of that box, whose middle is the origin, metres.
    """

    label: int
    name: str
    size_m: NDArray[np.float64]
    table_T_object: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class LiveMoment:
    """Where everything is at one instant.

    Attributes:
        stamp_ns: of that instant.
        camera: intrinsics.
        table_T_camera: (4, 4) pose of the colour camera's optical frame, metres.
        objects: all of the scene, also those that the camera does not see.
    """

    stamp_ns: int
    camera: CameraIntrinsics
    table_T_camera: NDArray[np.float64]
    objects: tuple[PlacedTruth, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class LiveView:
    """What the camera sees at one instant.

    Attributes:
        frame: colour, and depth in mm aligned to it.
        labels: (H, W) uint8, 0 = not an object, else the object's label.
    """

    frame: RgbdFrame
    labels: NDArray[np.uint8]


class LiveScene:
    """One scene at a time; ``show`` goes on to another one. Make and use it in one thread, and close it there.

    Seeds that follow one another show other arrangements of the same world, which is quick; after SCENES_PER_WORLD of
    them comes the next world.

    Args:
        settings: see there.
        seed: of the first scene.

    Raises:
        ModelUnavailableError: MuJoCo or a GL library is missing.
    """

    def __init__(self, settings: LiveSceneSettings, seed: int) -> None:
        self._settings = settings
        self.camera = live_intrinsics(settings)
        self._world: World
        self._renderer: SceneRenderer | None = None
        self.show(seed)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the objects that are shown, by label."""
        return tuple(item.name for item in self._scene.objects)

    def show(self, seed: int) -> None:
        """Replace the scene; the camera then looks at it from another side.

        Args:
            seed: 0 or more.
        """
        self._enter_world(seed // SCENES_PER_WORLD)
        self._scene = arrange(self._world, seed)
        self._path = smooth_path(_rng(seed, _PATH), self._scene)
        self._on_path_s = 0.0
        drawn = draw_conditions(_rng(seed, _CONDITIONS))
        self._sensors = {
            "usual": VirtualD435(self.camera, (seed, _USUAL), CaptureConditions()),
            "drawn": VirtualD435(self.camera, (seed, _DRAWN), drawn),
        }

    def advance(self, seconds: float, motion: str) -> None:
        """Let time pass for what moves.

        Args:
            seconds: more than 0.
            motion: of MOTIONS.
        """
        if motion in ("camera", "both"):
            self._on_path_s += seconds
        if motion in ("objects", "both"):
            self._scene.advance(seconds)

    def moment(self, stamp_ns: int) -> LiveMoment:
        """Where everything is; this is quick."""
        objects = tuple(
            PlacedTruth(
                item.label, item.name, np.asarray(item.size_m, np.float64), self._scene.table_T_object(item.label)
            )
            for item in self._scene.objects
        )
        return LiveMoment(stamp_ns, self.camera, self._path.pose_at(self._on_path_s), objects)

    def view(self, stamp_ns: int, noise: str) -> LiveView:
        """What the camera sees; this is not quick.

        Args:
            stamp_ns: of the frame.
            noise: of NOISES.
        """
        assert self._renderer is not None
        rendered = self._renderer.render(self._scene, self.camera, self._path.pose_at(self._on_path_s))
        if noise == "none":
            return LiveView(_exact_frame(rendered, self.camera, stamp_ns), rendered.labels)
        return LiveView(self._sensors[noise].capture(rendered, stamp_ns), rendered.labels)

    def close(self) -> None:
        """Let go of what was uploaded for drawing. Safe to call twice."""
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()

    def _enter_world(self, number: int) -> None:
        """The world of that number and its renderer; the old ones stay when the new ones cannot be made."""
        if self._renderer is not None and self._world.seed == number:
            return
        world = build_world(self._settings.split, number)
        renderer = SceneRenderer(world, self.camera.width, self.camera.height)
        self.close()
        self._world, self._renderer = world, renderer


def live_intrinsics(settings: LiveSceneSettings) -> CameraIntrinsics:
    """Of the live camera, the same in all scenes."""
    ideal = draw_intrinsics(np.random.default_rng(0), settings.width, settings.height)
    if not settings.distorted:
        return ideal
    return dataclasses.replace(ideal, distortion_model=_D455_MODEL, distortion=_D455_DISTORTION)


def _exact_frame(view: RenderedView, camera: CameraIntrinsics, stamp_ns: int) -> RgbdFrame:
    """A frame without any noise; depth is rounded to millimetres."""
    depth = in_millimetres(view.depth_m)
    return RgbdFrame(color=view.color, depth=depth, intrinsics=camera, stamp_ns=stamp_ns, depth_scale_m=0.001)


def _rng(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, purpose)))
