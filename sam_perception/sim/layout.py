"""Where things stand in a scene: the room around the table, and the objects that physics drops on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from sam_perception.sim.library import import_mujoco
from sam_perception.sim.meshes import rotation_about
from sam_perception.sim.world import FELT_GROUP, HIDDEN_GROUP, SEEN_GROUP, Furnishing, World, WorldObject

_DROP_M = 0.003
_CHUNK_STEPS = 20
_CHUNKS = 20
_REST_M_S = 0.02
_STILL_MOVING_M_S = 0.15
_SUNK_M = 0.006
_AWAY_M = -60.0
_BESIDE = 0.3  # share of objects that are set down right beside the one before
_HOLLOW = ("bowl", "tub", "pan", "plate")  # families in which other objects come to lie


@dataclasses.dataclass(frozen=True)
class _Style:
    """How the objects of a scene are spread.

    Attributes:
        count: fewest and most objects.
        spread_m: how far from the middle they are set down.
        pull: acceleration towards the middle while they settle, m/s^2; makes them touch.
        tumble: share of objects that are dropped in any orientation.
        stack: share of objects that are set on top of an earlier one.
        share: of the scenes.
    """

    count: tuple[int, int]
    spread_m: float
    pull: float
    tumble: float
    stack: float
    share: float


_STYLES = (
    _Style((3, 6), 0.36, 0.0, 0.05, 0.03, 0.18),  # sparse
    _Style((5, 11), 0.32, 0.0, 0.10, 0.08, 0.26),  # scattered
    _Style((6, 13), 0.16, 9.0, 0.08, 0.10, 0.30),  # crowded, touching
    _Style((8, 15), 0.26, 5.0, 0.15, 0.15, 0.16),  # cluttered
    _Style((7, 15), 0.09, 3.0, 0.60, 0.30, 0.10),  # a heap
)


@dataclasses.dataclass
class _Placed:
    """An object set down before physics: its middle and half extents in the table frame, its pose and its turn."""

    thing: WorldObject
    middle: np.ndarray
    half: np.ndarray
    rotation: np.ndarray
    yaw: float


def furnish(world: World, data: Any, rng: np.random.Generator) -> Furnishing:
    """Hides all objects, shows one table, and sets the floor, walls and furniture around it; returns the table."""
    for thing in world.objects:
        hide_object(world, data, thing)
    for piece in (*world.tables, *world.surroundings):
        _put_piece(world, data, piece, None)
    table = world.tables[rng.integers(len(world.tables))]
    _put_piece(world, data, table, (0.0, 0.0, 0.0))
    floor_z = -rng.uniform(0.35, 0.95)
    half = np.array(table.furniture.size_m) / 2
    turn = rng.uniform(-0.3, 0.3)
    sides = iter(range(4))
    for piece in world.surroundings:
        kind = piece.furniture.kind
        if kind == "floor":
            _put_piece(world, data, piece, (0.0, 0.0, floor_z), _yaw_quat(turn))
        elif kind == "wall":
            _put_wall(world, data, piece, next(sides), floor_z, half, turn, rng)
        elif kind == "mat" and rng.random() < 0.12:
            _put_piece(world, data, piece, (*rng.uniform(-0.1, 0.1, 2), 0.0006), _yaw_quat(rng.uniform(0, 2 * np.pi)))
        elif kind == "furniture" and rng.random() < 0.5:
            angle, far = rng.uniform(0, 2 * np.pi), float(np.linalg.norm(half)) + rng.uniform(0.35, 1.5)
            if floor_z + piece.furniture.height_m > 0.0:  # would hide the table from a camera near it
                far = max(far, 1.7)
            place = (far * np.cos(angle), far * np.sin(angle), floor_z)
            _put_piece(world, data, piece, place, _yaw_quat(rng.uniform(0, 2 * np.pi)))
    return table


def lay_out(
    world: World, data: Any, table: Furnishing, rng: np.random.Generator, piled: float = 0.0
) -> list[WorldObject]:
    """Chooses objects, sets them down and lets them settle; returns those that came to rest on the table.

    Args:
        world: whose objects and physics.
        data: mujoco.MjData of its model.
        table: the one that is shown.
        rng: decides everything.
        piled: share of objects that are set on or in an earlier one, where the layout has fewer; hollow things then
            come first, so that others come to lie in them, and nothing pulls them towards the middle.
    """
    style = _STYLES[rng.choice(len(_STYLES), p=[style.share for style in _STYLES])]
    count = int(rng.integers(style.count[0], style.count[1] + 1))
    chosen = [world.objects[k] for k in _choose(world, count, rng)]
    if piled > style.stack:
        style = dataclasses.replace(style, stack=piled, pull=0.0)
        chosen.sort(key=lambda thing: thing.family not in _HOLLOW)
    center = _cluster_center(table, rng)
    placed: list[_Placed] = []
    for thing in chosen:
        _set_down(world, data, thing, placed, table, center, style, rng)
    members = _settle(world, data, chosen, table, center, style.pull)
    if members:
        return members
    _set_down(world, data, chosen[0], [], table, np.zeros(2), _STYLES[0], rng)
    return _settle(world, data, chosen[:1], table, center, 0.0) or chosen[:1]


def lay_out_these(
    world: World, data: Any, table: Furnishing, things: list[WorldObject], rng: np.random.Generator
) -> list[WorldObject]:
    """Sets given objects down, well apart or crowded with chance, and lets them settle; returns those on the table.

    A single one stands or lies as it usually does; of several some may lean on others.
    """
    style = _STYLES[0] if len(things) == 1 else _STYLES[rng.integers(1, 4)]
    center = _cluster_center(table, rng)
    placed: list[_Placed] = []
    for thing in things:
        _set_down(world, data, thing, placed, table, center, style, rng)
    return _settle(world, data, things, table, center, style.pull)


def _choose(world: World, count: int, rng: np.random.Generator) -> list[int]:
    """Indices of objects; often with the twin of one of them."""
    order = [int(k) for k in rng.permutation(len(world.objects))][:count]
    if rng.random() < 0.5:
        for k in range(len(world.objects)):
            twin = next((n for n in order if world.objects[n].shape is world.objects[k].shape), None)
            if twin is not None and k not in order and len(order) > 2:
                order.insert(order.index(twin) + 1, k)
                return order[:-1]
    return order


def _cluster_center(table: Furnishing, rng: np.random.Generator) -> np.ndarray:
    half = np.array(table.furniture.size_m) / 2
    reach = np.maximum(half - 0.3, 0.0)
    if table.furniture.kind == "round table":
        reach = reach * 0.6
    return rng.uniform(-1, 1, 2) * np.minimum(reach, 0.45)


def _set_down(
    world: World,
    data: Any,
    thing: WorldObject,
    placed: list[_Placed],
    table: Furnishing,
    center: np.ndarray,
    style: _Style,
    rng: np.random.Generator,
) -> None:
    """Finds a free place for an object, or one on top of others, and puts it there."""
    yaw = float(rng.uniform(0, 2 * np.pi))
    neighbour = placed[-1] if placed and rng.random() < _BESIDE else None
    if neighbour is not None and rng.random() < 0.6:
        yaw = neighbour.yaw + float(rng.choice([0.0, np.pi / 2]))
    rotation = rotation_about("z", yaw) @ _pose(thing, style, rng)
    half = np.abs(rotation) @ thing.size_m / 2
    others = placed
    if placed and rng.random() < style.stack:
        below = placed[rng.integers(len(placed))]
        place = below.middle[:2] + rng.uniform(-0.25, 0.25, 2) * below.half[:2]
    elif neighbour is not None:
        place = _beside(neighbour, rotation, thing, rng)
        others = [other for other in placed if other is not neighbour]
        if not _on_table(table, place, 0.3 * half[:2]) or any(_overlap(place, half, other) for other in others):
            place, others = _free_place(half, placed, table, center, style, rng), placed
    else:
        place = _free_place(half, placed, table, center, style, rng)
    overlapping = [other for other in others if _overlap(place, half, other)]
    low = max((other.middle[2] + other.half[2] for other in overlapping), default=0.0)
    middle = np.array([*place, low + half[2] + _DROP_M])
    placed.append(_Placed(thing, middle, half, rotation, yaw))
    put_object(world, data, thing, middle, rotation)


def _beside(neighbour: _Placed, rotation: np.ndarray, thing: WorldObject, rng: np.random.Generator) -> np.ndarray:
    """The place at which an object touches, or nearly touches, a side of the bounding box of another."""
    turn = rotation_about("z", neighbour.yaw)
    theirs = np.abs(turn.T @ neighbour.rotation) @ neighbour.thing.size_m / 2
    ours = np.abs(turn.T @ rotation) @ thing.size_m / 2
    axis = int(rng.integers(2))
    offset = np.zeros(3)
    offset[axis] = rng.choice([-1.0, 1.0]) * (theirs[axis] + ours[axis] + rng.uniform(0.0002, 0.004))
    offset[1 - axis] = rng.uniform(-0.6, 0.6) * theirs[1 - axis]
    return neighbour.middle[:2] + (turn @ offset)[:2]


def _pose(thing: WorldObject, style: _Style, rng: np.random.Generator) -> np.ndarray:
    """(3, 3) of the body before its turn about z: as modelled, lying on a side, or any."""
    if rng.random() < style.tumble:
        return rotation_about("x", rng.uniform(0, 2 * np.pi)) @ rotation_about("y", rng.uniform(0, 2 * np.pi))
    if rng.random() < thing.shape.upright:
        return np.eye(3)
    quarter = rng.choice([-np.pi / 2, np.pi / 2, np.pi], p=[0.42, 0.42, 0.16])
    return rotation_about(str(rng.choice(["x", "y"])), quarter)


def _free_place(
    half: np.ndarray,
    placed: list[_Placed],
    table: Furnishing,
    center: np.ndarray,
    style: _Style,
    rng: np.random.Generator,
) -> np.ndarray:
    """A place near the middle that overlaps nothing, if one turns up."""
    place = center
    for attempt in range(24):
        reach = style.spread_m * (0.4 + attempt / 16)
        place = center + rng.uniform(-1, 1, 2) * reach
        if _on_table(table, place, 0.3 * half[:2]) and not any(_overlap(place, half, other) for other in placed):
            return place
    return place if _on_table(table, place, 0.3 * half[:2]) else center


def _overlap(place: np.ndarray, half: np.ndarray, other: _Placed) -> bool:
    return bool(np.all(np.abs(place - other.middle[:2]) < half[:2] + other.half[:2] + 0.001))


def _on_table(table: Furnishing, place: np.ndarray, margin: np.ndarray) -> bool:
    half = np.array(table.furniture.size_m) / 2
    if table.furniture.kind == "round table":
        return bool(np.hypot(*place) < half[0] - margin.max())
    return bool(np.all(np.abs(place) < half - margin))


def _settle(
    world: World, data: Any, things: list[WorldObject], table: Furnishing, center: np.ndarray, pull: float
) -> list[WorldObject]:
    """Steps the physics until all is at rest or time is up; hides what fell off or sank; returns the rest."""
    mujoco = import_mujoco()
    model = world.model
    data.qvel[:] = 0
    mass = model.body_mass[[thing.body_id for thing in things]]
    for chunk in range(_CHUNKS):
        data.xfrc_applied[:] = 0
        if pull > 0 and chunk < 4:
            for thing, m in zip(things, mass, strict=True):
                way = center - data.xpos[thing.body_id, :2] if chunk else center - data.qpos[thing.qpos_address :][:2]
                data.xfrc_applied[thing.body_id, :2] = pull * m * way / max(float(np.linalg.norm(way)), 0.05)
        mujoco.mj_step(model, data, _CHUNK_STEPS)
        if chunk >= 4 and _fastest(data, things) < _REST_M_S:
            break
    sunk = _sunk_bodies(world, data)
    kept = [thing for thing in things if thing.body_id not in sunk and _rests(data, thing, table)]
    for thing in things:
        if thing not in kept:
            hide_object(world, data, thing)
    data.qvel[:] = 0
    return kept


def _fastest(data: Any, things: list[WorldObject]) -> float:
    return max(float(np.abs(data.qvel[thing.dof_address : thing.dof_address + 3]).max()) for thing in things)


def _rests(data: Any, thing: WorldObject, table: Furnishing) -> bool:
    place = data.qpos[thing.qpos_address : thing.qpos_address + 3]
    speed = float(np.abs(data.qvel[thing.dof_address : thing.dof_address + 3]).max())
    return bool(place[2] > 0 and speed < _STILL_MOVING_M_S and _on_table(table, place[:2], np.zeros(2)))


def _sunk_bodies(world: World, data: Any) -> set[int]:
    """The bodies that stick in another by more than a few millimetres; of two objects, the one added later."""
    deep = data.contact.dist < -_SUNK_M
    bodies = world.model.geom_bodyid[data.contact.geom[deep]]
    things = {thing.body_id for thing in world.objects}
    return {int(max(b for b in pair if b in things)) for pair in bodies if any(b in things for b in pair)}


def put_object(world: World, data: Any, thing: WorldObject, middle: np.ndarray, rotation: np.ndarray) -> None:
    """Shows an object, at rest, where the middle of its bounding box (metres) and its axes (3, 3) are to be."""
    quat = np.zeros(4)
    import_mujoco().mju_mat2Quat(quat, rotation.ravel())
    start = thing.qpos_address
    data.qpos[start : start + 3], data.qpos[start + 3 : start + 7] = middle, quat
    data.qvel[thing.dof_address : thing.dof_address + 6] = 0.0
    model = world.model
    model.geom_group[list(thing.geom_ids)] = SEEN_GROUP
    _collide(model, thing.collider_ids, True)
    model.body_gravcomp[thing.body_id] = 0.0


def hide_object(world: World, data: Any, thing: WorldObject) -> None:
    """Takes an object away: far off, out of what is drawn, without contacts and weight."""
    start = thing.qpos_address
    data.qpos[start : start + 7] = [3.0 * thing.body_id, 0.0, _AWAY_M, 1.0, 0.0, 0.0, 0.0]
    data.qvel[thing.dof_address : thing.dof_address + 6] = 0.0
    model = world.model
    model.geom_group[list(thing.geom_ids)] = HIDDEN_GROUP
    _collide(model, thing.collider_ids, False)
    model.body_gravcomp[thing.body_id] = 1.0


def _put_piece(
    world: World,
    data: Any,
    piece: Furnishing,
    place: tuple[float, float, float] | None,
    quat: np.ndarray | None = None,
) -> None:
    """Shows a table, wall or piece of furniture at a place, or hides it when there is none."""
    data.mocap_pos[piece.mocap_id] = (3.0 * piece.body_id, 5.0, _AWAY_M) if place is None else place
    data.mocap_quat[piece.mocap_id] = (1.0, 0.0, 0.0, 0.0) if quat is None else quat
    world.model.geom_group[list(piece.geom_ids)] = HIDDEN_GROUP if place is None else SEEN_GROUP
    _collide(world.model, piece.collider_ids, place is not None)


def _collide(model: Any, geoms: tuple[int, ...], on: bool) -> None:
    model.geom_contype[list(geoms)] = int(on)
    model.geom_conaffinity[list(geoms)] = int(on)
    model.geom_group[list(geoms)] = FELT_GROUP


def _put_wall(
    world: World,
    data: Any,
    piece: Furnishing,
    side: int,
    floor_z: float,
    half: np.ndarray,
    turn: float,
    rng: np.random.Generator,
) -> None:
    """A wall on one side of the room, from right behind the table to 3.5 m away, facing inwards."""
    angle = side * np.pi / 2 + turn
    far = max(half[side % 2] + 0.25, 0.95) + rng.choice([rng.uniform(0.0, 0.3), rng.uniform(0.0, 2.5)])
    if rng.random() < 0.15:
        return
    rotation = rotation_about("z", angle) @ np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    quat = np.zeros(4)
    import_mujoco().mju_mat2Quat(quat, rotation.ravel())
    _put_piece(world, data, piece, (far * np.cos(angle), far * np.sin(angle), floor_z + 1.3), quat)


def _yaw_quat(angle: float) -> np.ndarray:
    return np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
