"""How a scene looks: the material and colour of each surface, and the lamps, chosen anew without new textures."""

from __future__ import annotations

import numpy as np

from sam_perception.sim.objects_parts import RGB, Part, Role, vivid_color
from sam_perception.sim.world import LAMPS, Furnishing, World, WorldObject

_NATURAL = 0.75  # share of parts that keep their usual colour
_TABLE_LOOKS = (
    ("wood", 0.42),
    ("plain", 0.26),
    ("stone", 0.06),
    ("cloth", 0.08),
    ("tiles", 0.04),
    ("pattern", 0.06),
    ("plaster", 0.08),
)
_FLOOR_LOOKS = (("carpet", 0.4), ("wood", 0.25), ("tiles", 0.1), ("plaster", 0.15), ("plain", 0.1))
_WALL_LOOKS = (("plaster", 0.4), ("plain", 0.4), ("wood", 0.06), ("tiles", 0.06), ("pattern", 0.08))
_PIECE_LOOKS = (("plain", 0.6), ("wood", 0.18), ("cloth", 0.12), ("label", 0.1))
_LOOKS_OF_ROLE = {
    Role.LABEL: (("label", 0.74), ("pattern", 0.14), ("plain", 0.12)),
    Role.BODY: (("plain", 0.7), ("pattern", 0.13), ("wood", 0.05), ("cloth", 0.04), ("stone", 0.04), ("label", 0.04)),
    Role.ACCENT: (("plain", 0.88), ("pattern", 0.08), ("wood", 0.04)),
}
_PLAIN = (("plain", 1.0),)


def paint(world: World, members: list[WorldObject], table: Furnishing, rng: np.random.Generator) -> None:
    """Gives every surface of the table, the room and the objects a material and a colour.

    Some objects get the colour of the table, and some that of the object before them, so that colour alone does not
    tell things apart.
    """
    world.model.mat_specular[:] = 0.1
    world.model.mat_shininess[:] = 0.3
    table_color = _paint_table(world, table, rng)
    for piece in world.surroundings:
        _paint_piece(world, piece, rng)
    schemes: list[tuple[RGB, RGB]] = []
    for thing in members:
        luck = rng.random()
        if schemes and luck < 0.24:
            scheme = schemes[-1]
        elif luck < 0.33:
            scheme = (_nearby(table_color, rng), _nearby(table_color, rng))
        else:
            scheme = (_object_color(rng), _object_color(rng))
        schemes.append(scheme)
        same_as_before = len(schemes) > 1 and scheme is schemes[-2]
        _paint_object(world, thing, scheme, 0.2 if same_as_before else _NATURAL, rng)


def light_up(world: World, rng: np.random.Generator) -> None:
    """Sets the lamps: one or two that cast shadows, some fill, and light from all around."""
    model = world.model
    warmth = rng.uniform(-0.12, 0.12)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    level = rng.uniform(0.7, 1.3)
    ambient = rng.uniform(0.18, 0.5)
    model.vis.headlight.ambient[:] = ambient * level * tint
    model.vis.headlight.diffuse[:] = rng.uniform(0.0, 0.2)
    model.vis.headlight.specular[:] = 0.0
    lamps = int(rng.integers(1, LAMPS + 1))
    shares = rng.dirichlet(np.full(lamps, 1.5)) * (1.15 - ambient) * level
    for k in range(LAMPS):
        active = k < lamps
        model.light_active[k] = active
        if not active:
            continue
        angle, tilt, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 1.1), rng.uniform(1.2, 2.2)
        if k < 2:  # shadow casters hang within the walls
            tilt = min(tilt, float(np.arcsin(0.85 / far)))
        place = far * np.array([np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), np.cos(tilt)])
        aim = np.array([*rng.uniform(-0.15, 0.15, 2), 0.0]) - place
        model.light_pos[k], model.light_dir[k] = place, aim / np.linalg.norm(aim)
        model.light_castshadow[k] = k < 2 and rng.random() < 0.85
        model.light_cutoff[k] = rng.uniform(60, 88)
        model.light_diffuse[k] = shares[k] * tint * rng.uniform(0.95, 1.05, 3)
        model.light_specular[k] = rng.uniform(0.0, 0.6) * min(1.0, shares[k] * 2)
        model.light_ambient[k] = 0.0


def _paint_table(world: World, table: Furnishing, rng: np.random.Generator) -> np.ndarray:
    look = _pick(_TABLE_LOOKS, rng)
    material = _material(world, look, rng)
    color = _ground_color(look, rng)
    leg_material, leg_color = (
        _material(world, _pick(_PIECE_LOOKS, rng), rng),
        _nearby(np.full(3, rng.uniform(0.05, 0.9)), rng),
    )
    one_piece = rng.random() < 0.5
    for geom, part in zip(table.geom_ids, table.furniture.parts, strict=True):
        if part.role is Role.BODY or one_piece:
            _apply(world, geom, material, color)
        else:
            _apply(world, geom, leg_material, leg_color)
    _finish(world, material, rng.choice([0.0, 0.1, 0.3, 0.6]), rng)
    return np.asarray(color) * world.palette.mean_color[material]


def _paint_piece(world: World, piece: Furnishing, rng: np.random.Generator) -> None:
    looks = {"floor": _FLOOR_LOOKS, "wall": _WALL_LOOKS, "mat": _TABLE_LOOKS}.get(piece.furniture.kind)
    if looks is not None:
        look = _pick(looks, rng)
        _apply(world, piece.geom_ids[0], _material(world, look, rng), _ground_color(look, rng))
        return
    by_role = {}
    for geom, part in zip(piece.geom_ids, piece.furniture.parts, strict=True):
        if part.role not in by_role or part.role is Role.LABEL:
            look = _pick(_PIECE_LOOKS, rng)
            by_role[part.role] = (
                _material(world, look, rng),
                _role_color(part, (vivid_color(rng), vivid_color(rng)), 1.0, rng),
            )
        _apply(world, geom, *by_role[part.role])


def _paint_object(
    world: World, thing: WorldObject, scheme: tuple[RGB, RGB], natural: float, rng: np.random.Generator
) -> None:
    gloss = rng.choice([rng.uniform(0.0, 0.2), rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.9)])
    natural_colors = rng.random() < natural
    chosen: dict[tuple, tuple[int, RGB]] = {}
    for geom, part in zip(thing.geom_ids, thing.shape.parts, strict=True):
        key = (part.role, part.color, part.texture)
        if key not in chosen:
            look = _look(part, natural_colors, rng)
            color = _role_color(part, scheme, float(natural_colors), rng)
            if look != "plain":
                color = _tinted(look, color, rng)
            chosen[key] = (_material(world, look, rng), color)
            shine = rng.uniform(0.75, 1.0) if part.role is Role.METAL else gloss
            _finish(world, chosen[key][0], shine, rng)
        _apply(world, geom, *chosen[key])


def _look(part: Part, natural: bool, rng: np.random.Generator) -> str:
    if part.texture is not None and rng.random() < _NATURAL:
        return part.texture
    if part.color is not None and natural and rng.random() < _NATURAL:
        return "plain"
    return _pick(_LOOKS_OF_ROLE.get(part.role, _PLAIN), rng)


def _role_color(part: Part, scheme: tuple[RGB, RGB], natural: float, rng: np.random.Generator) -> RGB:
    if part.color is not None and rng.random() < natural:
        return _nearby(np.array(part.color), rng, 0.06)
    if part.role is Role.METAL:
        return _nearby(np.full(3, rng.uniform(0.4, 0.8)), rng, 0.02)
    if part.role is Role.DARK:
        return _nearby(np.full(3, rng.uniform(0.03, 0.14)), rng, 0.02)
    if part.role is Role.LIGHT:
        return _nearby(np.full(3, rng.uniform(0.8, 0.95)), rng, 0.04)
    return scheme[1] if part.role is Role.ACCENT else scheme[0]


def _tinted(look: str, color: RGB, rng: np.random.Generator) -> RGB:
    """Near white over printed labels and wood, which have colours of their own; a light tint over the rest."""
    pale = 0.94 if look == "label" else 0.75 if look == "wood" else rng.uniform(0.0, 0.8)
    red, green, blue = (pale + (1 - pale) * np.asarray(color)).tolist()
    return red, green, blue


def _ground_color(look: str, rng: np.random.Generator) -> RGB:
    """Of a table, floor or wall: white, grey, black or muted when plain, near white over a texture."""
    if look == "plain":
        luck = rng.random()
        level = (
            rng.uniform(0.82, 1.0)
            if luck < 0.45
            else rng.uniform(0.05, 0.25)
            if luck < 0.65
            else rng.uniform(0.25, 0.8)
        )
        if rng.random() < 0.25:
            return _nearby(0.5 * np.array(vivid_color(rng)) + 0.5 * level, rng)
        return _nearby(np.full(3, level), rng, 0.03)
    return _nearby(np.full(3, rng.uniform(0.7, 1.0)), rng, 0.035)


def _object_color(rng: np.random.Generator) -> RGB:
    """Any hue in three of five objects; else white, grey, black, brown."""
    luck = rng.random()
    if luck < 0.62:
        return vivid_color(rng)
    if luck < 0.76:
        return _nearby(np.full(3, rng.uniform(0.85, 1.0)), rng, 0.03)
    if luck < 0.86:
        return _nearby(np.full(3, rng.uniform(0.03, 0.15)), rng, 0.02)
    if luck < 0.93:
        return _nearby(np.full(3, rng.uniform(0.2, 0.8)), rng, 0.04)
    return _nearby(np.array([0.6, 0.42, 0.26]) * rng.uniform(0.6, 1.3), rng, 0.05)


def _nearby(color: np.ndarray, rng: np.random.Generator, spread: float = 0.05) -> RGB:
    red, green, blue = np.clip(color + rng.normal(0, spread, 3), 0.01, 1.0).tolist()
    return red, green, blue


def _pick(looks: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    return looks[rng.choice(len(looks), p=[share for _, share in looks])][0]


def _material(world: World, look: str, rng: np.random.Generator) -> int:
    if look == "plain":
        return int(rng.choice(world.palette.plain))
    textures = world.palette.textured[look]
    return int(rng.choice(textures[rng.integers(len(textures))]))


def _apply(world: World, geom: int, material: int, color: RGB) -> None:
    world.model.geom_matid[geom] = material
    world.model.geom_rgba[geom] = (*color, 1.0)


def _finish(world: World, material: int, gloss: float, rng: np.random.Generator) -> None:
    world.model.mat_specular[material] = gloss
    world.model.mat_shininess[material] = np.clip(0.15 + 0.7 * gloss + rng.uniform(-0.1, 0.1), 0.05, 1.0)
