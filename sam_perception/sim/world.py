"""A world: one compiled MuJoCo model of a room with tables, lamps, textures and the objects of its scenes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from sam_perception.sim.library import import_mujoco
from sam_perception.sim.objects import make_objects
from sam_perception.sim.objects_parts import ColliderKind, Draw, Part, Shape, Split
from sam_perception.sim.room import Furniture, make_furniture, make_tables
from sam_perception.sim.textures import Texture, make_textures

SCENES_PER_WORLD = 40
SEEN_GROUP, FELT_GROUP, HIDDEN_GROUP = 1, 3, 5  # geom groups; a renderer shows 0..2 unless told otherwise
LAMPS = 4

_OBJECTS, _TWINS = 24, 5
_PLAIN_MATERIALS = 40
# How often a texture repeats, one material each: a label is printed once, a ground repeats.
_REPEATS = {"label": (1, 1, 1), "pattern": (1, 1, 2, 4), "wood": (1, 1, 2, 3)}
_OTHER_REPEATS = (1, 2, 4)
_STREAMS = {"objects": 0, "textures": 1, "room": 2}
_SPLIT_CODES = {Split.TRAIN: 101, Split.HELD_OUT: 202}


@dataclasses.dataclass(frozen=True)
class WorldObject:
    """An object that scenes of this world may show.

    Attributes:
        name: unique in the world, such as "mug 3"; twins of one shape have a name each.
        family: which kind of object it is.
        shape: its parts and colliders in the frame of the body.
        body_id: of the model.
        geom_ids: what is seen, in the order of shape.parts.
        collider_ids: what collides.
        qpos_address: of its seven pose numbers.
        dof_address: of its six velocities.
        size_m: (3,) extents of its bounding box along the axes of the body.
        glossiness: 0 = matt .. 1 = mirror, how it usually is; a scene may paint it otherwise (Scene.geom_gloss).
    """

    name: str
    family: str
    shape: Shape
    body_id: int
    geom_ids: tuple[int, ...]
    collider_ids: tuple[int, ...]
    qpos_address: int
    dof_address: int
    size_m: np.ndarray
    glossiness: float


@dataclasses.dataclass(frozen=True)
class Furnishing:
    """A table, the floor, a wall or a piece of furniture; a scene places it by its mocap number.

    Attributes:
        furniture: what it is.
        body_id: of the model.
        mocap_id: row of MjData.mocap_pos and mocap_quat.
        geom_ids: what is seen, in the order of furniture.parts.
        collider_ids: what collides.
    """

    furniture: Furniture
    body_id: int
    mocap_id: int
    geom_ids: tuple[int, ...]
    collider_ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Palette:
    """The materials of a world, by what they show.

    Attributes:
        plain: material ids without a texture.
        textured: kind of texture -> for each texture of it, its material ids, one per number of repeats.
        mean_color: material id -> (3,) mean of its texture, 0..1; ones for a plain material.
    """

    plain: tuple[int, ...]
    textured: dict[str, tuple[tuple[int, ...], ...]]
    mean_color: np.ndarray


@dataclasses.dataclass(frozen=True)
class World:
    """One compiled model; shows one scene at a time, because a scene edits the model's colours and lamps.

    Attributes:
        split: which half of all objects it is made of.
        seed: what it was made from.
        model: mujoco.MjModel.
        objects: all that scenes draw from.
        tables: one of which each scene shows.
        surroundings: floor first, then four walls, then furniture.
        palette: the materials.
    """

    split: Split
    seed: int
    model: Any
    objects: tuple[WorldObject, ...]
    tables: tuple[Furnishing, ...]
    surroundings: tuple[Furnishing, ...]
    palette: Palette


def build_world(split: Split, world_seed: int) -> World:
    """Builds the world of a seed; the same seed gives the same world.

    Args:
        split: TRAIN and HELD_OUT worlds have no shape and no texture in common.
        world_seed: 0 or more.

    Raises:
        ModelUnavailableError: MuJoCo or its GL library is missing.
    """
    mujoco = import_mujoco()
    split = Split(split)
    shapes = _shapes(Draw(split, stream(split, world_seed, _STREAMS["objects"])))
    textures = make_textures(split, stream(split, world_seed, _STREAMS["textures"]))
    room = stream(split, world_seed, _STREAMS["room"])
    tables, furniture = make_tables(room), make_furniture(room)
    builder = _Builder(mujoco)
    palette = builder.add_materials(textures)
    for k, shape in enumerate(shapes):
        builder.add_object(f"{shape.family} {k}", shape)
    for k, piece in enumerate([*tables, *furniture]):
        builder.add_furnishing(f"{piece.kind} {k}", piece)
    model = builder.compile()
    objects = tuple(_world_object(model, f"{shape.family} {k}", shape, 1 + k) for k, shape in enumerate(shapes))
    first = 1 + len(shapes)
    pieces = [_furnishing(model, piece, first + k) for k, piece in enumerate([*tables, *furniture])]
    _damp(model, objects)
    return World(split, world_seed, model, objects, tuple(pieces[: len(tables)]), tuple(pieces[len(tables) :]), palette)


def stream(split: Split, *numbers: int) -> np.random.Generator:
    """The random stream of a purpose; those of the two splits are independent."""
    return np.random.default_rng(np.random.SeedSequence([_SPLIT_CODES[split], *numbers]))


def _shapes(draw: Draw) -> list[Shape]:
    shapes = make_objects(draw, _OBJECTS)
    twins = draw.rng.choice(len(shapes), size=_TWINS, replace=False)
    return shapes + [shapes[k] for k in twins]


class _Builder:
    """Collects a model piece by piece; bodies are numbered in the order in which they are added, from 1."""

    def __init__(self, mujoco: Any):
        self._mujoco = mujoco
        self._spec = mujoco.MjSpec()
        self._meshes: dict[int, str] = {}  # by the identity of the mesh, so that twins share it
        self._kept: list[Any] = []  # keeps those identities alive
        self._set_options()
        for k in range(LAMPS):
            self._spec.worldbody.add_light(name=f"lamp {k}", pos=[0, 0, 2], dir=[0, 0, -1], cutoff=70, exponent=0)

    def add_materials(self, textures: list[Texture]) -> Palette:
        plain = tuple(self._add_material() for _ in range(_PLAIN_MATERIALS))
        means = [np.ones(3)] * len(plain)
        textured: dict[str, list[tuple[int, ...]]] = {}
        for k, texture in enumerate(textures):
            name = f"texture {k}"
            height, width = texture.image.shape[:2]
            added = self._spec.add_texture(
                name=name, type=self._mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
            )
            added.data = texture.image.tobytes()
            repeats = _REPEATS.get(texture.kind, _OTHER_REPEATS)
            ids = tuple(self._add_material(name, repeat) for repeat in repeats)
            textured.setdefault(texture.kind, []).append(ids)
            means += [texture.image.mean(axis=(0, 1)) / 255.0] * len(ids)
        return Palette(plain, {kind: tuple(ids) for kind, ids in textured.items()}, np.array(means))

    def add_object(self, name: str, shape: Shape) -> None:
        body = self._spec.worldbody.add_body(name=name, pos=[0, 0, -50], gravcomp=1.0)
        body.add_freejoint()
        for part in shape.parts:
            self._add_seen(body, part)
        for collider in shape.colliders:
            self._add_felt(body, collider, shape.density)

    def add_furnishing(self, name: str, piece: Furniture) -> None:
        body = self._spec.worldbody.add_body(name=name, mocap=True)
        for part in piece.parts:
            self._add_seen(body, part)
        for collider in piece.colliders:
            self._add_felt(body, collider, 1000.0)

    def compile(self) -> Any:
        return self._spec.compile()

    def _set_options(self) -> None:
        spec, mujoco = self._spec, self._mujoco
        spec.option.timestep = 0.004
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.iterations = 20
        spec.option.ls_iterations = 10
        spec.stat.extent = 1.0
        spec.stat.center = [0.0, 0.0, 0.0]
        spec.stat.meansize = 0.05
        spec.visual.map.znear, spec.visual.map.zfar = 0.02, 15.0
        spec.visual.map.shadowclip, spec.visual.map.shadowscale = 1.5, 0.6
        spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 2048, 4
        spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960

    def _add_material(self, texture: str | None = None, repeat: int = 1) -> int:
        number = len(self._spec.materials)
        material = self._spec.add_material(name=f"material {number}", texrepeat=[repeat, repeat])
        if texture is not None:
            material.textures[self._mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture
        return number

    def _add_seen(self, body: Any, part: Part) -> None:
        mesh = part.mesh
        name = self._meshes.get(id(mesh))
        if name is None:
            name = self._add_mesh(mesh.vertices)
            added = self._spec.mesh(name)
            added.userface = mesh.faces.astype(np.int32).ravel()
            added.usernormal = mesh.normals.astype(np.float32).ravel()
            added.usertexcoord = (mesh.uv * [1, -1] + [0, 1]).astype(np.float32).ravel()  # MuJoCo's v runs down
            added.inertia = self._mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
            self._meshes[id(mesh)] = name
            self._kept.append(mesh)
        geom = self._mesh_geom(body, name)
        geom.contype = geom.conaffinity = 0
        geom.mass, geom.group, geom.material = 0.0, SEEN_GROUP, "material 0"

    def _add_felt(self, body: Any, collider: Any, density: float) -> None:
        kinds = self._mujoco.mjtGeom
        if collider.kind is ColliderKind.HULL:
            geom = self._mesh_geom(body, self._add_mesh(collider.points))
        else:
            kind = {
                ColliderKind.BOX: kinds.mjGEOM_BOX,
                ColliderKind.CYLINDER: kinds.mjGEOM_CYLINDER,
                ColliderKind.CAPSULE: kinds.mjGEOM_CAPSULE,
                ColliderKind.ELLIPSOID: kinds.mjGEOM_ELLIPSOID,
            }[collider.kind]
            size = [*collider.size, 0.0, 0.0][:3]
            geom = body.add_geom(type=kind, size=size)
        quat = np.zeros(4)
        self._mujoco.mju_mat2Quat(quat, collider.rotation.ravel())
        geom.pos, geom.quat = collider.position, quat
        geom.group, geom.density = FELT_GROUP, density
        geom.condim = 4
        geom.friction = [0.7, 0.01, 0.002]
        geom.solref = [0.01, 1.0]

    def _add_mesh(self, vertices: np.ndarray) -> str:
        name = f"mesh {len(self._spec.meshes)}"
        self._spec.add_mesh(name=name).uservert = vertices.astype(np.float32).ravel()
        return name

    def _mesh_geom(self, body: Any, mesh: str) -> Any:
        return body.add_geom(type=self._mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh)


def _world_object(model: Any, name: str, shape: Shape, body_id: int) -> WorldObject:
    seen, felt = _geoms(model, body_id, len(shape.parts))
    joint = model.body_jntadr[body_id]
    low, high = shape.bounds()
    metal = any(part.role.value == "metal" for part in shape.parts)
    return WorldObject(
        name=name,
        family=shape.family,
        shape=shape,
        body_id=body_id,
        geom_ids=seen,
        collider_ids=felt,
        qpos_address=int(model.jnt_qposadr[joint]),
        dof_address=int(model.jnt_dofadr[joint]),
        size_m=high - low,
        glossiness=0.8 if metal else 0.3,
    )


def _furnishing(model: Any, piece: Furniture, body_id: int) -> Furnishing:
    seen, felt = _geoms(model, body_id, len(piece.parts))
    return Furnishing(piece, body_id, int(model.body_mocapid[body_id]), seen, felt)


def _geoms(model: Any, body_id: int, seen: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    first, count = int(model.body_geomadr[body_id]), int(model.body_geomnum[body_id])
    ids = tuple(range(first, first + count))
    return ids[:seen], ids[seen:]


def _damp(model: Any, objects: tuple[WorldObject, ...]) -> None:
    """Lets air and carpet-soft contacts stop what would rock or roll for long; per second: 3 of speed, 5 of spin."""
    for thing in objects:
        mass, inertia = model.body_mass[thing.body_id], model.body_inertia[thing.body_id]
        model.dof_damping[thing.dof_address : thing.dof_address + 3] = 3.0 * mass
        model.dof_damping[thing.dof_address + 3 : thing.dof_address + 6] = 5.0 * inertia.mean()
