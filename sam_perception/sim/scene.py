"""A scene: objects of a world dropped on one of its tables by physics, with the colours and lamps of a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sam_perception.errors import InvalidInputError
from sam_perception.sim.layout import furnish, hide_object, lay_out, lay_out_these, put_object
from sam_perception.sim.library import import_mujoco
from sam_perception.sim.motion import Motion
from sam_perception.sim.objects_parts import Split
from sam_perception.sim.paint import light_up, paint
from sam_perception.sim.world import SCENES_PER_WORLD, Furnishing, World, WorldObject, build_world, stream

__all__ = ["SCENES_PER_WORLD", "Scene", "SceneObject", "Split", "World", "arrange", "arrange_these", "build_world"]

_STREAM, _MOTION_STREAM, _CHOSEN_STREAM = 3, 4, 5


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """An object that is part of a scene.

    Attributes:
        label: its number in label images, 1..N.
        name: unique in the world.
        family: which kind of object it is.
        body_id: of the model.
        size_m: (3,) extents of its bounding box along the axes of the body, metres.
    """

    label: int
    name: str
    family: str
    body_id: int
    size_m: np.ndarray


class Scene:
    """What a world shows for a scene seed; valid until the next scene of the same world is arranged.

    Attributes:
        world: whose model carries this scene's colours and lamps.
        seed: what it was made from.
        data: mujoco.MjData, settled.
        objects: labels 1..N in order.
        table: the one that is shown.
        table_size_m: (x, y) extents of its top.
        table_is_round: whether that top is a disc.
        geom_labels: (ngeom,) uint8, label of the object that a geom belongs to, 0 = none.
        geom_gloss: (ngeom,) float32, 0 = matt .. 1 = mirror.
    """

    def __init__(self, world: World, seed: int, data: Any, members: list[WorldObject], table: Furnishing):
        self.world = world
        self.seed = seed
        self.data = data
        self.table = table
        self._members = members
        self._motion: Motion | None = None
        self.table_size_m = table.furniture.size_m
        self.table_is_round = table.furniture.kind == "round table"
        self.objects = tuple(
            SceneObject(label, thing.name, thing.family, thing.body_id, thing.size_m)
            for label, thing in enumerate(members, start=1)
        )
        self.geom_labels = np.zeros(world.model.ngeom, np.uint8)
        for label, thing in enumerate(members, start=1):
            self.geom_labels[list(thing.geom_ids)] = label
        matids = world.model.geom_matid
        gloss = np.where(matids >= 0, world.model.mat_specular[matids], 0.0)
        self.geom_gloss = gloss.astype(np.float32)

    def advance(self, seconds: float) -> None:
        """Moves on in time: up to three objects are dragged slowly along loops, and push what stands in their way.

        The same scene, advanced by the same steps, moves in the same way. A scene that is never advanced is still.

        Raises:
            InvalidInputError: seconds is not positive.
        """
        if not seconds > 0:
            raise InvalidInputError.for_field("seconds", "more than 0", seconds)
        if self._motion is None:
            rng = stream(self.world.split, self.world.seed, _MOTION_STREAM, self.seed)
            self._motion = Motion(self.world, self.data, self._members, self.table, rng)
        self._motion.advance(seconds)

    def put(self, table_T_objects: Mapping[int, np.ndarray]) -> None:
        """Shows some objects of the scene elsewhere and takes all others away, such as those that were picked.

        Args:
            table_T_objects: label -> (4, 4) pose of its bounding box frame, for the objects that are to be there.

        Raises:
            InvalidInputError: the scene has no such label.
        """
        for label in table_T_objects:
            self.thing(label)
        for label, thing in enumerate(self._members, start=1):
            pose = table_T_objects.get(label)
            if pose is None:
                hide_object(self.world, self.data, thing)
            else:
                put_object(self.world, self.data, thing, pose[:3, 3], pose[:3, :3])
        import_mujoco().mj_forward(self.world.model, self.data)

    def thing(self, label: int) -> WorldObject:
        """The world's object behind a label.

        Raises:
            InvalidInputError: the scene has no such label.
        """
        if not 1 <= label <= len(self.objects):
            raise InvalidInputError.for_field("label", f"1..{len(self.objects)}", label)
        return self._members[label - 1]

    def table_T_object(self, label: int) -> np.ndarray:
        """(4, 4) pose of an object's bounding box frame on the table, metres.

        Raises:
            InvalidInputError: the scene has no such label.
        """
        body = self.thing(label).body_id
        pose = np.eye(4)
        pose[:3, :3] = self.data.xmat[body].reshape(3, 3)
        pose[:3, 3] = self.data.xpos[body]
        return pose


def arrange(world: World, scene_seed: int, piled: float = 0.0) -> Scene:
    """Drops objects of a world on one of its tables, lets them settle, and paints and lights everything.

    Edits world.model, so that it shows this scene and no other. The same world and seed give the same scene.

    Args:
        world: from build_world.
        scene_seed: 0 or more.
        piled: share of objects, 0..1, that are set on or in another, where the layout that is drawn has fewer.
    """
    rng = stream(world.split, world.seed, _STREAM, scene_seed)
    data = import_mujoco().MjData(world.model)
    table = furnish(world, data, rng)
    return _finished(world, scene_seed, data, lay_out(world, data, table, rng, piled), table, rng)


def arrange_these(world: World, scene_seed: int, things: Sequence[WorldObject]) -> Scene:
    """The same with given objects of the world; those that do not come to rest on the table are not in the scene.

    Args:
        world: from build_world.
        scene_seed: 0 or more.
        things: of world.objects, each once.
    """
    rng = stream(world.split, world.seed, _CHOSEN_STREAM, scene_seed)
    data = import_mujoco().MjData(world.model)
    table = furnish(world, data, rng)
    return _finished(world, scene_seed, data, lay_out_these(world, data, table, list(things), rng), table, rng)


def _finished(
    world: World, scene_seed: int, data: Any, members: list[WorldObject], table: Furnishing, rng: np.random.Generator
) -> Scene:
    """The scene once its objects lie on the table: painted and lit."""
    paint(world, members, table, rng)
    light_up(world, rng)
    import_mujoco().mj_forward(world.model, data)
    return Scene(world, scene_seed, data, members, table)
