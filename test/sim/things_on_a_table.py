"""Scenes of plain shapes on a plain table, for tests of the physics of picks that need no rendering."""

from __future__ import annotations

import types

import numpy as np

from sam_perception.sim.objects_parts import Collider, box_collider

DOWN = np.diag([1.0, -1.0, -1.0, 1.0])


def at(x: float, y: float, z: float) -> np.ndarray:
    """(4, 4) pose that is not turned."""
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def grasp_at(x: float, y: float, z: float) -> np.ndarray:
    """(4, 4) of a gripper that points down and closes along the table's y."""
    pose = DOWN.copy()
    pose[:3, 3] = x, y, z
    return pose


class PlainScene:
    """What PickWorld asks of a Scene: bodies made of colliders, at poses; the table's top is z = 0."""

    def __init__(self, *bodies: tuple[list[Collider], np.ndarray], density: float = 600.0) -> None:
        table = types.SimpleNamespace(colliders=(box_collider((1.0, 1.0, 0.2), (0, 0, -0.1)),))
        self.table = types.SimpleNamespace(furniture=table)
        self.objects = tuple(types.SimpleNamespace(label=label) for label, _ in enumerate(bodies, start=1))
        self._shapes = [types.SimpleNamespace(colliders=tuple(colliders), density=density) for colliders, _ in bodies]
        self._poses = [pose for _, pose in bodies]

    def thing(self, label: int) -> types.SimpleNamespace:
        return types.SimpleNamespace(shape=self._shapes[label - 1])

    def table_T_object(self, label: int) -> np.ndarray:
        return self._poses[label - 1]
