"""Renders the scenes of a world and captures each of them with the virtual D435."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sam_perception.frames import CameraIntrinsics
from sam_perception.geometry.rays import deproject_pixels
from sam_perception.sim.camera_poses import draw_intrinsics, draw_pose
from sam_perception.sim.dataset import WorldShare
from sam_perception.sim.labelled_views import LabelledView, ObjectTruth, StageTimes
from sam_perception.sim.library import import_mujoco
from sam_perception.sim.paint import light_up
from sam_perception.sim.rendering import RenderedView, SceneRenderer
from sam_perception.sim.scene import Scene, arrange, build_world
from sam_perception.sim.virtual_d435 import VirtualD435

# The families of sim.objects in the order in which data sets number them: new ones go to the end.
FAMILIES = (
    "carton", "can", "bottle", "jar", "mug", "cup", "bowl", "plate", "tub", "pan", "block", "brick", "polyhedron",
    "extrusion", "turned", "book", "device", "card", "small", "toy", "cable", "screwdriver", "hammer", "drill",
    "scissors", "pliers", "wrench", "pen", "flashlight", "clamp", "tape", "cutlery", "fruit", "banana", "carrot",
    "ball", "lump", "bag", "ring", "cookie",
)  # fmt: skip

# Streams of random numbers that one seed gives: more draws in one leave the others as they are.
_WORLD, _SCENE, _CAMERA, _SENSOR = range(4)


def simulate(share: WorldShare, times: StageTimes) -> Iterator[LabelledView]:
    """All captures of one world's scenes; the same whatever was rendered before.

    Raises:
        ModelUnavailableError: MuJoCo or the GL library is missing.
    """
    plan = share.plan
    with times.stage("building worlds"):
        world = build_world(plan.split, _seed(plan.seed, _WORLD, share.world))
        renderer = SceneRenderer(world, plan.width, plan.height)
    with renderer:
        for number in share.scenes:
            with times.stage("arranging"):
                scene = arrange(world, _seed(plan.seed, _SCENE, number), plan.piled)
            for view in range(plan.views):
                rng = np.random.default_rng(np.random.SeedSequence((plan.seed, _CAMERA, number, view)))
                camera, pose = draw_intrinsics(rng, plan.width, plan.height), draw_pose(rng, scene)
                _relight(scene, rng)
                with times.stage("rendering"):
                    rendered = renderer.render(scene, camera, pose)
                    fractions = renderer.visible_fractions(scene, camera, pose, rendered.labels)
                with times.stage("sensor"):
                    frame = VirtualD435(camera, (plan.seed, _SENSOR, number, view)).capture(rendered)
                truths = _truths(scene, pose, fractions, _visible_centroids(rendered, camera))
                yield LabelledView(number, view, frame, rendered.labels, pose, truths)


def _relight(scene: Scene, rng: np.random.Generator) -> None:
    """Give the scene other lamps, so that its views differ in more than the pose."""
    light_up(scene.world, rng)
    import_mujoco().mj_camlight(scene.world.model, scene.data)


def _truths(
    scene: Scene,
    table_T_camera: NDArray[np.float64],
    visible_fractions: dict[int, float],
    visible_centroids_m: NDArray[np.float64],
) -> tuple[ObjectTruth, ...]:
    camera_T_table = np.linalg.inv(table_T_camera)
    return tuple(
        ObjectTruth(
            label=item.label,
            name=item.name,
            family=item.family,
            size_m=np.asarray(item.size_m, np.float64),
            camera_T_object=camera_T_table @ scene.table_T_object(item.label),
            visible_fraction=visible_fractions[item.label],
            visible_centroid_m=visible_centroids_m[item.label],
        )
        for item in scene.objects
    )


def _visible_centroids(view: RenderedView, camera: CameraIntrinsics) -> NDArray[np.float64]:
    """(256, 3) mean of the visible surface of each label, camera frame, metres; NaN for a label that is not seen."""
    rows, columns = np.nonzero(view.labels)
    labels = view.labels[rows, columns]
    points = deproject_pixels(np.stack([columns, rows], axis=1), view.depth_m[rows, columns], camera)
    counts = np.bincount(labels, minlength=256).astype(np.float64)
    counts[counts == 0] = np.nan
    return np.stack([np.bincount(labels, points[:, axis], minlength=256) / counts for axis in range(3)], axis=1)


def _seed(*parts: int) -> int:
    """One number for a stream of its own."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])
