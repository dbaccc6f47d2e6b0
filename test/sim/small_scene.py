"""A world of four objects in plain MJCF, for tests of the camera that need no other part of the simulator."""

from __future__ import annotations

import types

import numpy as np

from sam_perception.sim.library import import_mujoco

MJCF = """
<mujoco>
  <statistic extent="1" center="0 0 0"/>
  <visual><headlight ambient="0.3 0.3 0.3" diffuse="0.3 0.3 0.3" specular="0 0 0"/>
    <quality numslices="160" numstacks="80"/></visual>
  <asset>
    <texture name="wood" type="2d" builtin="checker" rgb1="0.6 0.4 0.25" rgb2="0.55 0.36 0.22" width="64" height="64"/>
    <material name="wood" texture="wood" texrepeat="4 4" specular="0.1"/>
    <material name="red" rgba="0.8 0.1 0.1 1" specular="0.3"/>
    <material name="blue" rgba="0.1 0.2 0.8 1" specular="0.3"/>
    <material name="steel" rgba="0.6 0.6 0.62 1" specular="1" shininess="0.9"/>
  </asset>
  <worldbody>
    <light pos="0.6 0.5 1.8" dir="-0.3 -0.25 -1" diffuse="0.6 0.6 0.6" castshadow="true"/>
    <geom name="floor" type="plane" size="5 5 0.1" pos="0 0 -0.75" rgba="0.4 0.42 0.45 1"/>
    <geom name="table" type="box" size="0.6 0.45 0.02" pos="0 0 -0.02" material="wood"/>
    <body name="ball" pos="0 0 0.05"><freejoint/><geom type="sphere" size="0.05" material="red"/></body>
    <body name="box" pos="0.15 0.05 0.06"><freejoint/><geom type="box" size="0.05 0.04 0.06" material="blue"/></body>
    <body name="can" pos="-0.16 0.02 0.05"><freejoint/>
      <geom type="cylinder" size="0.035 0.05" material="steel"/>
      <geom type="box" size="0.2 0.2 0.2" group="3"/>
    </body>
    <body name="behind" pos="-0.16 0.12 0.03"><freejoint/><geom type="box" size="0.03 0.02 0.03" material="red"/></body>
  </worldbody>
</mujoco>"""

SIZES_M = {"ball": (0.1, 0.1, 0.1), "box": (0.1, 0.08, 0.12), "can": (0.07, 0.07, 0.1), "behind": (0.06, 0.04, 0.06)}


class SmallScene:
    """What the renderer and the camera poses ask of a Scene."""

    def __init__(self, world: types.SimpleNamespace, data) -> None:
        self.world = world
        self.seed = 0
        self.data = data
        self.objects = tuple(
            types.SimpleNamespace(label=number, name=name, size_m=np.array(size_m), body_id=world.model.body(name).id)
            for number, (name, size_m) in enumerate(SIZES_M.items(), start=1)
        )
        self.table_size_m = (1.2, 0.9)
        model, bodies = world.model, [item.body_id for item in self.objects]
        numbers = [bodies.index(body) + 1 if body in bodies else 0 for body in model.geom_bodyid]
        self.geom_labels = np.array(numbers, np.uint8)
        self.geom_gloss = np.where(model.geom_matid >= 0, model.mat_specular[model.geom_matid], 0).astype(np.float32)

    def table_T_object(self, label: int) -> np.ndarray:
        body = self.objects[label - 1].body_id
        pose = np.eye(4)
        pose[:3, :3] = self.data.xmat[body].reshape(3, 3)
        pose[:3, 3] = self.data.xpos[body]
        return pose


def small_scene(furniture: str = "") -> SmallScene:
    """The scene, with more geoms in MJCF when some are given."""
    mujoco = import_mujoco()
    model = mujoco.MjModel.from_xml_string(MJCF.replace("</worldbody>", furniture + "</worldbody>"))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return SmallScene(types.SimpleNamespace(model=model), data)
