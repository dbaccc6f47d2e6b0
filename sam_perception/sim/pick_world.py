"""A scene as the physics of a pick: real weights, contacts and friction, and a gripper that grasps and shakes."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.grasping.gripper import Gripper
from sam_perception.sim.gripper_body import GripperBody, add_gripper
from sam_perception.sim.library import import_mujoco
from sam_perception.sim.meshes import rotation_about
from sam_perception.sim.objects_parts import Collider, ColliderKind
from sam_perception.sim.rendering import overview
from sam_perception.sim.scene import Scene

LIFT_M = 0.20
HELD_RISE_M = 0.05  # of the object's middle: a plate held by its rim hangs lower than the fingers
SHAKE_M, SHAKE_HZ, SHAKE_DEG = 0.03, 3.0, 20.0

_TIMESTEP_S = 0.002
_CHECK_EVERY_M = 0.003
_APPROACH_M_S, _CLOSE_M_S = 0.15, 0.1
_CLOSE_LIMIT_S, _SQUEEZE_S = 1.2, 0.15
_LIFT_S, _HOLD_S, _SHAKE_S = 0.8, 2.0, 2.0
_LET_GO_S, _SETTLE_S, _BACK_OFF_M = 0.3, 0.8, 0.12
_STILL_M_S = 0.004
_PUSH_LIMIT_N, _PUSHES = 30.0, 3  # a nudge is shorter than three samples, 30 ms
_AIR_PER_S = 0.2  # damping of speed and spin of things that roll about
_TABLE_FRICTION = (0.7, 0.01, 0.002)

Array = NDArray[np.float64]


class Outcome(str, enum.Enum):
    """What became of an executed grasp."""

    HELD = "held"
    COLLISION = "collision"  # the gripper touched the table or a neighbour, or pushed the object hard
    MISSED = "missed"  # the fingers closed and do not both touch the object
    SLIPPED = "slipped"  # lost while lifting, holding or shaking


@dataclasses.dataclass(frozen=True)
class Contacts:
    """What an open gripper touches on its straight way to a grasp.

    Attributes:
        table: it touches the table.
        neighbours: labels of other objects that it touches.
        target: it touches the object that it is to grasp.
        where: "pre-grasp", "approach" or "grasp", the first place with a contact; empty without one.
    """

    table: bool = False
    neighbours: tuple[int, ...] = ()
    target: bool = False
    where: str = ""

    @property
    def is_collision(self) -> bool:
        """Whether anything but the object itself is touched."""
        return self.table or bool(self.neighbours)


@dataclasses.dataclass(frozen=True)
class PickResult:
    """What became of an executed grasp, and why.

    Attributes:
        outcome: see Outcome.
        detail: in words; empty for a pick without anything special.
        contacts: of the way to the grasp.
        drift_m: how far the object's middle moved in the gripper from the lift to the end; not a number when it was
            lost.
        turn_deg: how far the object turned in the gripper, likewise.
        table_T_object: label -> (4, 4) where each object is afterwards.
        table_T_tcp: (4, 4) where the gripper is afterwards; after a failure it has let go and backed away.
        opening_m: between its pads afterwards.
    """

    outcome: Outcome
    detail: str
    contacts: Contacts
    drift_m: float
    turn_deg: float
    table_T_object: dict[int, Array]
    table_T_tcp: Array
    opening_m: float


class PickWorld:
    """The table and objects of a scene with a gripper. Every call starts with the objects where the scene has them.

    The objects have the weight that their volume and density give, and hardly any damping; pads have the gripper's
    friction, everything else that of the scene.

    Args:
        scene: its objects; those whose labels are left out are not there.
        gripper: which one.
        labels: of the objects that are there; None: all.
    """

    def __init__(self, scene: Scene, gripper: Gripper, labels: tuple[int, ...] | None = None) -> None:
        mujoco = self._mujoco = import_mujoco()
        self.labels = tuple(item.label for item in scene.objects) if labels is None else labels
        spec = mujoco.MjSpec()
        _set_options(mujoco, spec)
        _add_table(mujoco, spec, scene)
        for label in self.labels:
            _add_object(mujoco, spec, scene, label)
        add_gripper(spec, gripper)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.gripper = GripperBody(self.model, self.data)
        self._max_opening_m = gripper.max_opening_m
        self._bodies = {label: int(self.model.body(_name(label)).id) for label in self.labels}
        self._is_gripper = np.zeros(self.model.ngeom, bool)
        self._is_gripper[list(self.gripper.geom_ids)] = True
        self._label_of_geom = np.zeros(self.model.ngeom, int)  # 0: the table
        for label, body in self._bodies.items():
            self._label_of_geom[self.model.geom_bodyid == body] = label
            self._damp(body)
        self._start = self.data.qpos.copy()
        self._moment: Array | None = None  # when the last pick failed
        self._poses = {label: scene.table_T_object(label) for label in self.labels}

    def mass_kg(self, label: int) -> float:
        """Of an object."""
        return float(self.model.body_mass[self._bodies[label]])

    def narrowest_m(self, label: int) -> float:
        """The opening that an object needs at least, as it lies: its narrowest convex part in any level direction."""
        body = self._bodies[label]
        rotation = self._poses[label][:3, :3]
        first = int(self.model.body_geomadr[body])
        geoms = range(first, first + int(self.model.body_geomnum[body]))
        angles = np.linspace(0, np.pi, 180, endpoint=False)
        level = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
        return min(float(_widths_m(self._mujoco, self.model, geom, level @ rotation).min()) for geom in geoms)

    def contacts(self, table_T_tcp: Array, opening_m: float, pregrasp_distance_m: float, target: int) -> Contacts:
        """What the open gripper touches at its pre-grasp, on the straight way and at the grasp; nothing moves.

        Args:
            table_T_tcp: (4, 4) the grasp.
            opening_m: between the pads.
            pregrasp_distance_m: how long the way is.
            target: label of the object to grasp.
        """
        self._reset()
        table, target_touched, neighbours, where = False, False, set(), ""
        for name, pose in _way(table_T_tcp, pregrasp_distance_m):
            self.gripper.place(pose, min(opening_m, self._max_opening_m))
            self._mujoco.mj_kinematics(self.model, self.data)
            self._mujoco.mj_comPos(self.model, self.data)
            self._mujoco.mj_collision(self.model, self.data)
            touched = self._touched()
            if touched and not where:
                where = name
            table |= 0 in touched
            target_touched |= target in touched
            neighbours |= touched - {0, target}
        return Contacts(table, tuple(sorted(neighbours)), target_touched, where)

    def pick(self, table_T_tcp: Array, opening_m: float, pregrasp_distance_m: float, target: int) -> PickResult:
        """Executes a grasp: approach, close, lift, hold, shake. A gripper that hits table or neighbours stops there.

        Args:
            table_T_tcp: (4, 4) the grasp.
            opening_m: between the pads on the way.
            pregrasp_distance_m: how long the straight way is.
            target: label of the object to grasp.
        """
        opening_m = min(opening_m, self._max_opening_m)
        contacts = self.contacts(table_T_tcp, opening_m, pregrasp_distance_m, target)
        if contacts.is_collision:
            self._stand_at(table_T_tcp, opening_m)
            return self._result(Outcome.COLLISION, _collision_text(contacts), contacts)
        if contacts.target and not self._approach(table_T_tcp, opening_m, pregrasp_distance_m):
            return self._failed(Outcome.COLLISION, "pushed the object on the way", contacts)
        if not contacts.target:
            self._stand_at(table_T_tcp, opening_m)
        self._close(opening_m)
        if not self._is_between(target):
            return self._failed(Outcome.MISSED, self._missed_text(target), contacts)
        return self._carry(table_T_tcp, target, contacts)

    def picture(self, height: int, width: int, label: int, distance_m: float = 0.5) -> NDArray[np.uint8]:
        """(H, W, 3) RGB from the side, of the convex parts that the physics knows: as the last pick ended or failed.

        Args:
            height: pixels.
            width: pixels.
            label: of the object in the middle of the picture.
            distance_m: from there to the camera.
        """
        shown = self._mujoco.MjData(self.model)
        shown.qpos[:] = self.data.qpos if self._moment is None else self._moment
        self._mujoco.mj_forward(self.model, shown)
        camera = self._mujoco.MjvCamera()
        camera.lookat[:] = shown.xpos[self._bodies[label]]
        camera.distance, camera.azimuth, camera.elevation = distance_m, 60.0, -20.0
        return overview(self.model, shown, camera, height, width)

    def stand_back(self) -> None:
        """Puts the objects back where the scene has them, and the gripper high above."""
        away = np.diag([1.0, -1.0, -1.0, 1.0])
        away[2, 3] = 3.0
        self._stand_at(away, 0.0)

    # --- how -------------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._moment = None
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self._start

    def _stand_at(self, pose: Array, opening_m: float) -> None:
        self._reset()
        self.gripper.place(pose, opening_m)
        self._mujoco.mj_forward(self.model, self.data)

    def _approach(self, grasp: Array, opening_m: float, distance_m: float) -> bool:
        """Moves in from the pre-grasp, pushing what gives way; False when it keeps pushing with more than the limit."""
        self._stand_at(_back(grasp, distance_m), opening_m)
        chunk, pushing = 5, 0
        steps = max(1, round(distance_m / _APPROACH_M_S / _TIMESTEP_S / chunk))
        for k in range(1, steps + 1):
            self.gripper.drive_to(_back(grasp, distance_m * (1 - k / steps)))
            self._step(chunk)
            pushing = pushing + 1 if self._push_n() > _PUSH_LIMIT_N else 0
            if pushing == _PUSHES:
                return False
        return True

    def _close(self, opening_m: float) -> None:
        """Closes with a limited speed until both fingers stand still, then waits a moment."""
        chunk = 5
        aim = opening_m
        for _ in range(round(_CLOSE_LIMIT_S / _TIMESTEP_S / chunk)):
            aim = max(aim - 2 * _CLOSE_M_S * chunk * _TIMESTEP_S, -0.02)
            self.gripper.open_to(aim)
            self._step(chunk)
            if aim < self.gripper.opening_m - 0.015 and self.gripper.closing_m_s < _STILL_M_S:
                break
        self.gripper.open_to(-0.02)
        self._step(round(_SQUEEZE_S / _TIMESTEP_S))

    def _carry(self, grasp: Array, target: int, contacts: Contacts) -> PickResult:
        before = self._pose(target)[2, 3]
        held_from = self._tcp_T_object(target)
        for stage, way in (("lifting", _lift(grasp)), ("holding", _hold(grasp)), ("shaking", _shake(grasp))):
            self._follow(way)
            held, hangs = self._is_between(target), self._rests_on_something(target)
            if not held or hangs or self._pose(target)[2, 3] - before < HELD_RISE_M:
                what = f"hangs down onto something after {stage}" if held else f"lost while {stage}"
                return self._failed(Outcome.SLIPPED, what, contacts)
        held_at = self._tcp_T_object(target)
        drift = float(np.linalg.norm((held_at - held_from)[:3, 3]))
        cosine = (np.trace(held_at[:3, :3].T @ held_from[:3, :3]) - 1) / 2
        turn = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        return self._result(Outcome.HELD, "", contacts, drift, turn)

    def _follow(self, way: Iterator[Array]) -> None:
        """A pose every 10 ms."""
        for pose in way:
            self.gripper.drive_to(pose)
            self._step(5)

    def _step(self, steps: int) -> None:
        self._mujoco.mj_step(self.model, self.data, steps)

    def _touched(self) -> set[int]:
        """Labels of what the gripper touches, 0 for the table."""
        geoms = self.data.contact.geom[self.data.contact.dist < 0]
        ours = self._is_gripper[geoms]
        others = geoms[ours.any(axis=1) & ~ours.all(axis=1)]
        other = np.where(self._is_gripper[others[:, 0]], others[:, 1], others[:, 0]) if len(others) else []
        return {int(self._label_of_geom[geom]) for geom in other}

    def _is_between(self, target: int) -> bool:
        """Whether both fingers touch the object."""
        geoms = self.data.contact.geom
        touching = self._label_of_geom[geoms].max(axis=1, initial=0) == target
        pairs = geoms[touching]
        return all(bool((pairs == finger).any()) for finger in self.gripper.geom_ids[1:])

    def _rests_on_something(self, target: int) -> bool:
        """Whether the object touches more than the gripper."""
        labels = self._label_of_geom[self.data.contact.geom]
        theirs = (labels == target).any(axis=1)
        grippers = self._is_gripper[self.data.contact.geom].any(axis=1)
        return bool((theirs & ~grippers).any())

    def _push_n(self) -> float:
        """The force of the strongest contact of the gripper."""
        strongest, force = 0.0, np.zeros(6)
        for k in range(self.data.ncon):
            if self._is_gripper[self.data.contact.geom[k]].any():
                self._mujoco.mj_contactForce(self.model, self.data, k, force)
                strongest = max(strongest, float(force[0]))
        return strongest

    def _pose(self, label: int) -> Array:
        """Of the body."""
        pose = np.eye(4)
        pose[:3, :3] = self.data.xmat[self._bodies[label]].reshape(3, 3)
        pose[:3, 3] = self.data.xpos[self._bodies[label]]
        return pose

    def _tcp_T_object(self, label: int) -> Array:
        return np.linalg.inv(self.gripper.world_T_tcp) @ self._pose(label)

    def _missed_text(self, target: int) -> str:
        touched = self._touched()
        if target in touched:
            return "one finger alone touches the object"
        return "closed on another object" if touched - {0} else "closed on nothing"

    def _failed(self, outcome: Outcome, detail: str, contacts: Contacts) -> PickResult:
        """Lets go, backs away, and waits until the objects have come to rest where the next pick finds them."""
        self._moment = self.data.qpos.copy()
        pose = self.gripper.world_T_tcp
        self.gripper.open_to(self._max_opening_m)
        self._step(round(_LET_GO_S / _TIMESTEP_S))
        self._follow(_back(pose, back) for back in np.linspace(0, _BACK_OFF_M, 60))
        self._step(round(_SETTLE_S / _TIMESTEP_S))
        return self._result(outcome, detail, contacts)

    def _result(
        self,
        outcome: Outcome,
        detail: str,
        contacts: Contacts,
        drift_m: float = np.nan,
        turn_deg: float = np.nan,
    ) -> PickResult:
        poses = {label: self._pose(label) for label in self.labels}
        tcp, opening = self.gripper.world_T_tcp, self.gripper.opening_m
        return PickResult(outcome, detail, contacts, drift_m, turn_deg, poses, tcp, opening)

    def _damp(self, body: int) -> None:
        dof = int(self.model.body_dofadr[body])
        self.model.dof_damping[dof : dof + 3] = _AIR_PER_S * self.model.body_mass[body]
        self.model.dof_damping[dof + 3 : dof + 6] = _AIR_PER_S * self.model.body_inertia[body].mean()


def _set_options(mujoco: Any, spec: Any) -> None:
    spec.option.timestep = _TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.option.iterations = 100
    spec.option.ls_iterations = 50
    spec.stat.extent, spec.stat.center = 1.0, [0.0, 0.0, 0.0]
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.45] * 3, [0.55] * 3


def _add_table(mujoco: Any, spec: Any, scene: Scene) -> None:
    for collider in scene.table.furniture.colliders:
        geom = _add_collider(mujoco, spec, spec.worldbody, collider)
        geom.condim, geom.friction = 6, _TABLE_FRICTION  # rolling friction too, so that balls and cans stay
        geom.rgba = [0.75, 0.68, 0.55, 1.0]


def _add_object(mujoco: Any, spec: Any, scene: Scene, label: int) -> None:
    pose, shape = scene.table_T_object(label), scene.thing(label).shape
    body = spec.worldbody.add_body(name=_name(label), pos=pose[:3, 3], quat=_quat(mujoco, pose[:3, :3]))
    body.add_freejoint()
    color = np.random.default_rng(label).uniform(0.3, 0.95, 3)
    for collider in shape.colliders:
        geom = _add_collider(mujoco, spec, body, collider)
        geom.density, geom.condim, geom.friction = shape.density, 4, _TABLE_FRICTION
        geom.rgba = [*color, 1.0]


def _add_collider(mujoco: Any, spec: Any, body: Any, collider: Collider) -> Any:
    kinds = {
        ColliderKind.BOX: mujoco.mjtGeom.mjGEOM_BOX,
        ColliderKind.CYLINDER: mujoco.mjtGeom.mjGEOM_CYLINDER,
        ColliderKind.CAPSULE: mujoco.mjtGeom.mjGEOM_CAPSULE,
        ColliderKind.ELLIPSOID: mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    }
    if collider.kind is ColliderKind.HULL:
        assert collider.points is not None
        name = f"hull {len(spec.meshes)}"
        spec.add_mesh(name=name).uservert = collider.points.astype(np.float32).ravel()
        geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name)
    else:
        geom = body.add_geom(type=kinds[collider.kind], size=[*collider.size, 0.0, 0.0][:3])
    geom.pos, geom.quat = collider.position, _quat(mujoco, collider.rotation)
    geom.solref = [0.01, 1.0]
    return geom


def _widths_m(mujoco: Any, model: Any, geom: int, directions: Array) -> Array:
    """(N,) extents of a geom along (N, 3) unit directions in its body's frame."""
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    local = directions @ rotation.reshape(3, 3)
    kind, size = model.geom_type[geom], model.geom_size[geom]
    kinds = mujoco.mjtGeom
    if kind == kinds.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        start = model.mesh_vertadr[mesh]
        return np.ptp(local @ model.mesh_vert[start : start + model.mesh_vertnum[mesh]].T, axis=1)
    if kind == kinds.mjGEOM_BOX:
        return 2 * np.abs(local) @ size
    if kind == kinds.mjGEOM_ELLIPSOID:
        return 2 * np.linalg.norm(local * size, axis=1)
    along, across = np.abs(local[:, 2]), np.hypot(local[:, 0], local[:, 1])
    return 2 * (along * size[1] + (size[0] if kind == kinds.mjGEOM_CAPSULE else across * size[0]))


def _name(label: int) -> str:
    return f"object {label}"


def _quat(mujoco: Any, rotation: Array) -> Array:
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(rotation, np.float64).ravel())
    return quat


def _back(grasp: Array, distance_m: float) -> Array:
    pose = grasp.copy()
    pose[:3, 3] -= distance_m * grasp[:3, 2]
    return pose


def _way(grasp: Array, distance_m: float) -> Iterator[tuple[str, Array]]:
    """Where the gripper is checked, from the pre-grasp to the grasp."""
    count = max(2, int(np.ceil(distance_m / _CHECK_EVERY_M)) + 1)
    for k, back in enumerate(np.linspace(distance_m, 0.0, count)):
        yield ("pre-grasp" if k == 0 else "grasp" if k == count - 1 else "approach"), _back(grasp, back)


def _lift(grasp: Array) -> Iterator[Array]:
    """Straight up, beginning and ending at rest."""
    for share in np.linspace(0, 1, round(_LIFT_S / 0.01)):
        yield _raised(grasp, LIFT_M * (3 * share**2 - 2 * share**3))


def _hold(grasp: Array) -> Iterator[Array]:
    for _ in range(round(_HOLD_S / 0.01)):
        yield _raised(grasp, LIFT_M)


def _shake(grasp: Array) -> Iterator[Array]:
    """To and fro along the table's x, then up and down, then turning about the vertical, two or three times each."""
    count = round(_SHAKE_S / 3 / 0.01)
    for axis in (0, 2, None):
        for k in range(1, count + 1):
            swing = np.sin(2 * np.pi * SHAKE_HZ * k * 0.01) * np.sin(np.pi * k / count)
            pose = _raised(grasp, LIFT_M)
            if axis is None:
                pose[:3, :3] = rotation_about("z", np.deg2rad(SHAKE_DEG) * swing) @ pose[:3, :3]
            else:
                pose[axis, 3] += SHAKE_M * swing
            yield pose


def _raised(grasp: Array, height_m: float) -> Array:
    pose = grasp.copy()
    pose[2, 3] += height_m
    return pose


def _collision_text(contacts: Contacts) -> str:
    what = (["the table"] if contacts.table else []) + (["a neighbour"] if contacts.neighbours else [])
    return f"touches {' and '.join(what)} at the {contacts.where}"
