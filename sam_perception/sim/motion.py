"""Objects that are dragged about on the table, for a live camera and for tracking."""

from __future__ import annotations

from typing import Any

import numpy as np

from sam_perception.sim.library import import_mujoco
from sam_perception.sim.world import Furnishing, World, WorldObject

_PULL_PER_S2, _DAMPING_PER_S, _MAX_M_S2 = 500.0, 40.0, 25.0
_STEPS_BETWEEN_PULLS = 5


class Motion:
    """Drags up to three objects along smooth loops that start where they stand, and moves whatever they push.

    Args:
        world: whose model holds the objects.
        data: mujoco.MjData of the scene, settled; is moved on in time.
        members: the objects of the scene.
        table: whose top the loops stay on.
        rng: decides which objects move, and where.
    """

    def __init__(
        self, world: World, data: Any, members: list[WorldObject], table: Furnishing, rng: np.random.Generator
    ):
        self._model, self._data = world.model, data
        count = min(len(members), int(rng.integers(1, 4)))
        self._moving = [members[k] for k in rng.choice(len(members), size=count, replace=False)]
        self._starts = np.array([data.xpos[thing.body_id, :2] for thing in self._moving])
        self._reach_m = rng.uniform(0.03, 0.1, (count, 2))
        self._periods_s = rng.uniform(5.0, 11.0, (count, 2))
        half = np.array(table.furniture.size_m) / 2
        self._limit_m = half * (0.65 if table.furniture.kind == "round table" else 0.9)
        self._began_s = float(data.time)

    def advance(self, seconds: float) -> None:
        """Moves on by at least one step of the physics."""
        mujoco = import_mujoco()
        left = max(1, round(seconds / self._model.opt.timestep))
        while left > 0:
            steps = min(left, _STEPS_BETWEEN_PULLS)
            self._pull()
            mujoco.mj_step(self._model, self._data, steps)
            left -= steps
        mujoco.mj_forward(self._model, self._data)

    def targets_m(self) -> np.ndarray:
        """(K, 2) where on the table the dragged objects are pulled to at this moment."""
        phase = 2 * np.pi * (self._data.time - self._began_s) / self._periods_s
        return np.clip(self._starts + self._reach_m * np.sin(phase), -self._limit_m, self._limit_m)

    def _pull(self) -> None:
        for thing, target in zip(self._moving, self.targets_m(), strict=True):
            place = self._data.qpos[thing.qpos_address : thing.qpos_address + 2]
            speed = self._data.qvel[thing.dof_address : thing.dof_address + 2]
            pull = _PULL_PER_S2 * (target - place) - _DAMPING_PER_S * speed
            pull *= min(1.0, _MAX_M_S2 / max(float(np.linalg.norm(pull)), 1e-9))
            self._data.xfrc_applied[thing.body_id, :2] = pull * self._model.body_mass[thing.body_id]
