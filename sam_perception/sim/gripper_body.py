"""A floating parallel gripper for MuJoCo: palm and fingers of a Gripper's measures, with a real one's force."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.gripper import Gripper
from sam_perception.sim.library import import_mujoco

GRIP_FORCE_N = 40.0  # of each finger; a Franka Hand holds 70 N continuously, a 2F-85 grips with 20 to 235 N
_PAD_SOLREF, _DRIVE_SOLREF = (0.006, 1.0), (0.01, 1.0)
_PALM_KG, _FINGER_KG = 0.7, 0.08
_DRIVE_KG = 0.5  # what the motor's gears add to a finger; without it light objects make the contacts unstable
_STIFFNESS_N_M = 6000.0
_PATCH_M = 0.01  # torsional friction of a pad per unit of its friction: it touches with an area, not in a point

PALM, DRIVER, FINGERS = "gripper", "gripper driver", ("gripper finger +y", "gripper finger -y")


def add_gripper(spec: Any, gripper: Gripper) -> None:
    """Adds a gripper to a model: a free body that follows a mocap body, and fingers that move alike.

    Args:
        spec: mujoco.MjSpec.
        gripper: its measures; its friction is that of the pads against everything.
    """
    mujoco = import_mujoco()
    centers, halves = gripper.boxes(0.0)
    palm = spec.worldbody.add_body(name=PALM, gravcomp=1.0)
    palm.add_freejoint()
    _add_box(mujoco, palm, centers[0], halves[0], _PALM_KG, gripper.friction)
    for k, (name, side) in enumerate(zip(FINGERS, (1.0, -1.0), strict=True), start=1):
        finger = palm.add_body(name=name, gravcomp=1.0)
        finger.add_joint(
            name=name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, side, 0],
            range=[gripper.min_opening_m / 2, gripper.max_opening_m / 2],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            solref_limit=[0.004, 1.0],
            armature=_DRIVE_KG,
        )
        _add_box(mujoco, finger, centers[k], halves[k], _FINGER_KG, gripper.friction)
        _add_motor(mujoco, spec, name)
    spec.add_exclude(bodyname1=FINGERS[0], bodyname2=FINGERS[1])
    _couple_fingers(mujoco, spec)
    spec.worldbody.add_body(name=DRIVER, mocap=True)
    _drive(mujoco, spec)


class GripperBody:
    """The gripper of a compiled model.

    Args:
        model: mujoco.MjModel to which ``add_gripper`` added one.
        data: mujoco.MjData of it.

    Attributes:
        geom_ids: palm, finger at +Y, finger at -Y.
    """

    def __init__(self, model: Any, data: Any) -> None:
        self._model, self._data = model, data
        self._body = model.body(PALM).id
        self._mocap = int(model.body(DRIVER).mocapid[0])
        self._free = int(model.jnt_qposadr[model.body_jntadr[self._body]])
        self._slides = [int(model.joint(name).qposadr[0]) for name in FINGERS]
        self._slide_dofs = [int(model.joint(name).dofadr[0]) for name in FINGERS]
        self._actuators = [int(model.actuator(name).id) for name in FINGERS]
        bodies = [self._body, *(model.body(name).id for name in FINGERS)]
        self.geom_ids = tuple(int(model.body_geomadr[body]) for body in bodies)

    @property
    def world_T_tcp(self) -> NDArray[np.float64]:
        """(4, 4) where it is."""
        pose = np.eye(4)
        pose[:3, :3] = self._data.xmat[self._body].reshape(3, 3)
        pose[:3, 3] = self._data.xpos[self._body]
        return pose

    @property
    def opening_m(self) -> float:
        """Between the pads."""
        return float(sum(self._data.qpos[self._slides]))

    @property
    def closing_m_s(self) -> float:
        """How fast the faster finger moves."""
        return float(np.abs(self._data.qvel[self._slide_dofs]).max())

    @property
    def aim_m(self) -> float:
        """The opening that the fingers are told to have."""
        return float(sum(self._data.ctrl[self._actuators]))

    def place(self, world_T_tcp: NDArray[np.float64], opening_m: float) -> None:
        """Puts it somewhere at once, at rest."""
        self.drive_to(world_T_tcp)
        self._data.qpos[self._free : self._free + 3] = self._data.mocap_pos[self._mocap]
        self._data.qpos[self._free + 3 : self._free + 7] = self._data.mocap_quat[self._mocap]
        self._data.qpos[self._slides] = opening_m / 2
        self.open_to(opening_m)

    def drive_to(self, world_T_tcp: NDArray[np.float64]) -> None:
        """Moves what it follows."""
        self._data.mocap_pos[self._mocap] = world_T_tcp[:3, 3]
        quat = np.zeros(4)
        import_mujoco().mju_mat2Quat(quat, np.ascontiguousarray(world_T_tcp[:3, :3]).ravel())
        self._data.mocap_quat[self._mocap] = quat

    def open_to(self, opening_m: float) -> None:
        """Tells the fingers where to go; they push with GRIP_FORCE_N at most."""
        self._data.ctrl[self._actuators] = opening_m / 2


def _add_box(mujoco: Any, body: Any, center: Any, half: Any, mass: float, friction: float) -> None:
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=half, pos=center, mass=mass)
    geom.condim, geom.priority = 4, 1  # the pads' friction counts, not the larger one of both
    geom.friction = [friction, _PATCH_M * friction, 0.0001]
    geom.solref, geom.solimp = _PAD_SOLREF, [0.95, 0.99, 0.001, 0.5, 2]
    geom.rgba = [0.25, 0.3, 0.4, 1.0]


def _add_motor(mujoco: Any, spec: Any, joint: str) -> None:
    """Holds a position, critically damped, with a limited force."""
    motor = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    motor.gaintype, motor.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    motor.gainprm[0] = _STIFFNESS_N_M
    motor.biasprm[:3] = [0.0, -_STIFFNESS_N_M, -2 * np.sqrt(_STIFFNESS_N_M * (_FINGER_KG + _DRIVE_KG))]
    motor.forcerange, motor.forcelimited = [-GRIP_FORCE_N, GRIP_FORCE_N], mujoco.mjtLimited.mjLIMITED_TRUE


def _couple_fingers(mujoco: Any, spec: Any) -> None:
    equality = spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=FINGERS[0], name2=FINGERS[1]
    )
    equality.data[:5] = [0, 1, 0, 0, 0]
    equality.solref = _DRIVE_SOLREF


def _drive(mujoco: Any, spec: Any) -> None:
    weld = spec.add_equality(type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_BODY, name1=DRIVER, name2=PALM)
    weld.data[:] = 0.0
    weld.data[6], weld.data[10] = 1.0, 1.0  # relative pose: the same place, quaternion 1 0 0 0 begins at 6
    weld.solref = _DRIVE_SOLREF
