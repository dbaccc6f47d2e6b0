"""Scenes to pick from, and what a camera on the wrist sees of them: one object alone, or several together."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import RgbdFrame
from sam_perception.sim.camera_poses import draw_intrinsics, orbit_pose
from sam_perception.sim.rendering import RenderedView, SceneRenderer
from sam_perception.sim.scene import Scene, Split, World, arrange_these, build_world
from sam_perception.sim.virtual_d435 import CaptureConditions, VirtualD435

NOISES = ("usual", "drawn")
ISOLATED_PER_WORLD, CLUTTER_PER_WORLD = 20, 10
CLUTTER_OBJECTS = (6, 10)
DISTANCE_M, ELEVATION_DEG = (0.5, 0.7), (40.0, 80.0)

_SIZE = (640, 480)
_TRIES = 12
_SMALLEST_PX = 100
_MARGIN_PX = 3

# Streams of random numbers that one seed gives.
_WORLD, _ISOLATED, _CLUTTER, _CAMERA, _SENSOR = range(50, 55)


@dataclasses.dataclass(frozen=True, eq=False)
class PickView:
    """What the camera sees before a pick.

    Attributes:
        frame: colour and depth, as a virtual D435 gives them.
        labels: (H, W) uint8, 0 = not an object, else its label.
        table_T_camera: (4, 4) pose of the optical frame, metres.
        visible_fractions: how much of each object is seen, by label, 0..1.
    """

    frame: RgbdFrame
    labels: NDArray[np.uint8]
    table_T_camera: NDArray[np.float64]
    visible_fractions: dict[int, float]

    def truth(self, label: int) -> NDArray[np.bool_]:
        """(H, W) bool: where an object is seen."""
        return self.labels == label


class PickStage:
    """One held-out world and its renderer; a context manager. Make and use it in one thread.

    Args:
        seed: of the whole benchmark; other seeds, other worlds and scenes.
        world: its number: the scenes ``world * ISOLATED_PER_WORLD`` and following, likewise for clutter.
        noise: of NOISES: as a live camera has it on a good day, or drawn anew for each capture, some of them bad.
    """

    def __init__(self, seed: int, world: int, noise: str = "usual") -> None:
        self._seed, self._number, self._noise = seed, world, noise
        self.world: World = build_world(Split.HELD_OUT, _number(seed, _WORLD, world))
        self._renderer = SceneRenderer(self.world, *_SIZE)

    def __enter__(self) -> PickStage:
        return self

    def __exit__(self, *error: object) -> None:
        self._renderer.close()

    def isolated(self, scene: int) -> Scene:
        """One object alone on a table; the scenes of a world go through its objects."""
        order = np.random.default_rng((self._seed, _ISOLATED, self._number)).permutation(len(self._distinct()))
        thing = self._distinct()[order[scene % ISOLATED_PER_WORLD % len(order)]]
        return arrange_these(self.world, _number(self._seed, _ISOLATED, scene), [thing])

    def clutter(self, scene: int) -> Scene:
        """Six to ten objects near each other; fewer where some do not stay on the table."""
        rng = np.random.default_rng((self._seed, _CLUTTER, scene))
        count = int(rng.integers(CLUTTER_OBJECTS[0], CLUTTER_OBJECTS[1] + 1))
        chosen = rng.permutation(len(self.world.objects))[:count]
        return arrange_these(self.world, _number(self._seed, _CLUTTER, scene), [self.world.objects[k] for k in chosen])

    def view(self, scene: Scene, labels: tuple[int, ...], step: int) -> PickView:
        """What a camera on the wrist sees of objects from 0.5 to 0.7 m, 40 to 80 degrees above the table, any side.

        A pose that sees too little, because furniture stands in the way or the image ends, is drawn again.

        Args:
            scene: of this world.
            labels: of the objects that are there.
            step: how many picks went before.
        """
        rng = np.random.default_rng((self._seed, _CAMERA, scene.seed, step))
        camera = draw_intrinsics(rng, *_SIZE)
        middle = np.mean([scene.table_T_object(label)[:3, 3] for label in labels], axis=0)
        for _ in range(_TRIES):
            pose = orbit_pose(
                middle + 0.03 * rng.standard_normal(3).clip(-2, 2) * (1, 1, 0.3),
                distance_m=rng.uniform(*DISTANCE_M),
                azimuth_deg=rng.uniform(-180, 180),
                elevation_deg=rng.uniform(*ELEVATION_DEG),
                roll_deg=rng.normal(0, 8),
            )
            rendered = self._renderer.render(scene, camera, pose)
            if _sees(rendered, labels):
                break
        conditions = CaptureConditions() if self._noise == "usual" else None
        sensor = VirtualD435(camera, (self._seed, _SENSOR, scene.seed, step), conditions)
        fractions = self._renderer.visible_fractions(scene, camera, pose, rendered.labels)
        return PickView(sensor.capture(rendered), rendered.labels, pose, {label: fractions[label] for label in labels})

    def _distinct(self) -> list:
        """The world's objects without the second ones of a shape."""
        shapes: dict[int, object] = {}
        for thing in self.world.objects:
            shapes.setdefault(id(thing.shape), thing)
        return list(shapes.values())


def _sees(view: RenderedView, labels: tuple[int, ...]) -> bool:
    """Whether most of the objects are inside the image."""
    inner = view.labels[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]
    areas = np.bincount(inner.ravel(), minlength=256)
    rim = np.bincount(view.labels.ravel(), minlength=256) - areas
    good = [areas[label] >= _SMALLEST_PX and rim[label] == 0 for label in labels]
    return sum(good) >= 0.6 * len(labels)


def _number(*parts: int) -> int:
    """One number for a stream of its own."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])
