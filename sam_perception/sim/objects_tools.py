"""Object families to work or eat with: screwdrivers, hammers, drills, scissors, wrenches, clamps, pens, cutlery."""

from __future__ import annotations

import numpy as np

from sam_perception.sim.meshes import Mesh, arc, box, chain, extrude, joined, lathe, rotation_about, tube
from sam_perception.sim.objects_parts import (
    Collider,
    Draw,
    Part,
    Role,
    Shape,
    box_collider,
    capsule_collider,
    cylinder_collider,
    mesh_collider,
    path_colliders,
    plate_collider,
    tube_colliders,
    turned_colliders,
)

_ALONG_X = rotation_about("y", np.pi / 2)  # z of a lathe becomes x


def screwdriver(draw: Draw) -> Shape:
    """A grip with grooves or swells, a collar and a thin shaft, along x."""
    grip_length, shaft_length = draw.size(0.06, 0.12), draw.size(0.05, 0.18)
    grip, shaft = draw.size(0.009, 0.017), draw.size(0.002, 0.0045)
    t = np.linspace(0, 1, 14)
    radii = grip * (1 - draw.size(0.05, 0.3) * np.sin(np.pi * t * draw.count(1, 2)) ** 2)
    handle = lathe([[(0, 0), (grip * 0.8, 0)], list(zip(radii, t * grip_length, strict=True))], draw.count(6, 24))
    collar = lathe(
        [
            [(radii[-1], grip_length), (grip * 0.5, grip_length + 0.012)],
            [(grip * 0.5, grip_length + 0.012), (0, grip_length + 0.012)],
        ]
    )
    end = grip_length + shaft_length
    rod = lathe(chain((shaft, grip_length), (shaft, end - 0.01), (shaft * 0.6, end), (0, end)), 16)
    pieces = [(handle, Role.BODY), (collar, Role.DARK if draw.chance(0.5) else Role.ACCENT), (rod, Role.METAL)]
    parts = tuple(Part(mesh.moved((0, 0, 0), _ALONG_X), role) for mesh, role in pieces)
    colliders = (
        capsule_collider((grip, 0, 0), (grip_length - grip, 0, 0), grip * 0.95),
        capsule_collider((grip_length - grip, 0, 0), (end - shaft, 0, 0), shaft),
    )
    return Shape("screwdriver", parts, colliders, 1200.0, 1.0)


def hammer(draw: Draw) -> Shape:
    """A hammer or mallet, lying."""
    length, grip = draw.size(0.16, 0.32), draw.size(0.009, 0.015)
    head, reach = draw.size(0.011, 0.024), draw.size(0.07, 0.13)
    path = np.linspace([0, 0, 0], [length, 0, 0], 10)
    handle = tube(path, grip * (1 - 0.25 * np.sin(np.linspace(0, np.pi, 10))), aspect=1.35)
    face = lathe(
        chain((0, 0), (head, 0), (head, 0.025), (head * 0.65, 0.032), (head * 0.65, reach * 0.6), (0, reach * 0.6))
    )
    turn = rotation_about("x", -np.pi / 2)
    parts = [
        Part(handle, Role.BODY, texture="wood" if draw.chance(0.5) else None),
        Part(face.moved((length, -reach * 0.55, 0), turn), Role.METAL if draw.chance(0.75) else Role.DARK),
    ]
    claw_size = (head * 1.1, reach * 0.5, head * draw.size(0.4, 1.2))
    claw = box(claw_size, 0.002).moved((length, reach * 0.25, 0))
    parts.append(Part(claw, parts[1].role))
    colliders = (
        *tube_colliders(handle, path, 2),
        *(mesh_collider(part.mesh) for part in parts[1:]),
    )
    return Shape("hammer", tuple(parts), colliders, 1500.0, 1.0)


def drill(draw: Draw) -> Shape:
    """A pistol drill: motor, chuck, slanted grip, battery."""
    length, radius = draw.size(0.1, 0.16), draw.size(0.02, 0.032)
    tall, lean = draw.size(0.08, 0.14), draw.size(-0.25, 0.35)
    motor = lathe(
        [
            [(0, 0), (radius * 0.8, 0)],
            arc(radius * 0.8, radius * 0.2, radius * 0.2, -90, 0),
            [(radius, radius * 0.2), (radius, length * 0.75)],
            [(radius, length * 0.75), (radius * 0.7, length)],
        ]
    ).moved((-length * 0.4, 0, 0), _ALONG_X)
    chuck_length = draw.size(0.03, 0.055)
    chuck = lathe(
        chain((radius * 0.62, 0), (radius * 0.55, chuck_length * 0.7), (radius * 0.25, chuck_length), (0, chuck_length))
    )
    chuck = chuck.moved((length * 0.6, 0, 0), _ALONG_X)
    grip_size = (draw.size(0.028, 0.042), draw.size(0.024, 0.034), tall)
    tilt = rotation_about("y", lean)
    grip_middle = np.array([-0.02, 0.0, -radius * 0.6]) + tilt @ np.array([0, 0, -tall / 2])
    grip = box(grip_size, 0.009).moved(grip_middle, tilt)
    foot_middle = np.array([-0.02, 0.0, -radius * 0.6]) + tilt @ np.array([0, 0, -tall]) + np.array([0.012, 0, -0.012])
    foot_size = (draw.size(0.06, 0.11), draw.size(0.04, 0.06), draw.size(0.022, 0.045))
    foot = box(foot_size, 0.006).moved(foot_middle)
    parts = [
        Part(motor, Role.BODY),
        Part(chuck, Role.DARK),
        Part(grip, Role.BODY),
        Part(foot, Role.DARK if draw.chance(0.6) else Role.BODY),
    ]
    bits: list[Collider] = []
    if draw.chance(0.6):
        start = length * 0.6 + chuck_length - 0.004
        end = start + 0.004 + draw.size(0.02, 0.07)
        bit = tube(np.linspace([start, 0, 0], [end, 0, 0], 3), 0.0028, 8)
        bits.append(capsule_collider((start, 0, 0), (end - 0.0028, 0, 0), 0.0028))
        parts.append(Part(bit, Role.METAL))
    if draw.chance(0.6):
        ring = lathe([[(radius * 1.03, length * 0.45), (radius * 1.03, length * 0.62)]]).moved(
            (-length * 0.4, 0, 0), _ALONG_X
        )
        parts.append(Part(ring, Role.ACCENT if draw.chance(0.4) else Role.DARK))
    colliders = (
        *(mesh_collider(mesh) for mesh in (motor, chuck, grip, foot)),
        *bits,
    )
    return Shape("drill", tuple(parts), colliders, 500.0, 0.5)


def scissors(draw: Draw) -> Shape:
    """Scissors or pliers: two crossed halves with ring or curved grips, lying flat."""
    blade, opening = draw.size(0.05, 0.11), draw.size(0.02, 0.35)
    wide, thick = draw.size(0.008, 0.018), draw.size(0.003, 0.007)
    rx, ry = draw.size(0.016, 0.032), draw.size(0.01, 0.02)
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    loop = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    grip_loop = extrude(loop * [rx, ry], thick * 1.8, loop * [rx * 0.68, ry * 0.6])
    parts: list[Part] = []
    colliders: list[Collider] = []
    role = Role.DARK if draw.chance(0.35) else Role.BODY
    for side in (-1, 1):
        edge = np.array(
            [
                [-0.01, -wide / 2],
                [blade * 0.6, -wide / 2],
                [blade, wide * 0.1 * side],
                [blade * 0.55, wide / 2],
                [-0.01, wide / 2],
            ]
        )
        turn = rotation_about("z", side * opening / 2)
        lift = side * thick * 0.25
        parts.append(Part(extrude(edge, thick / 2).moved((0, 0, lift), turn), Role.METAL))
        shank = np.array([[0.012, -side * 0.001, lift], [-0.025, -side * ry * 0.55, 0], [-0.045, -side * ry * 1.05, 0]])
        shank = np.stack([np.interp(np.linspace(0, 2, 8), [0, 1, 2], shank[:, k]) for k in range(3)], axis=1) @ turn.T
        parts.append(Part(tube(shank, thick * 0.75, 10, 1.3), role))
        middle = turn @ np.array([-0.045 - rx * 0.85, -side * ry * 1.15, 0])
        parts.append(Part(grip_loop.moved(middle, turn), role))
        colliders.append(plate_collider(edge @ turn[:2, :2].T, thick / 2, lift))
        colliders += path_colliders(shank, thick * 0.8, 1)
        for k in range(0, len(loop), 4):
            some = loop[np.arange(k, k + 5) % len(loop)]
            piece = np.concatenate([some * [rx, ry], some * [rx * 0.68, ry * 0.6]]) @ turn[:2, :2].T + middle[:2]
            colliders.append(plate_collider(piece, thick * 1.8))
    return Shape("scissors", tuple(parts), tuple(colliders), 1500.0, 1.0)


def pliers(draw: Draw) -> Shape:
    """Pliers: short jaws, long bowed grips."""
    jaw, grip = draw.size(0.025, 0.06), draw.size(0.08, 0.13)
    radius, spread = draw.size(0.004, 0.008), draw.size(0.014, 0.032)
    opening = draw.size(0.0, 0.2)
    parts: list[Part] = []
    colliders: list[Collider] = []
    joint = lathe(chain((0, -radius), (radius * 2.0, -radius), (radius * 2.0, radius), (0, radius)), 20)
    parts.append(Part(joint, Role.METAL))
    t = np.linspace(0, 1, 12)
    for side in (-1, 1):
        turn = rotation_about("z", side * opening / 2)
        tip = box((jaw, radius * 1.4, radius * 1.6), radius * 0.4).moved(
            turn @ np.array([jaw / 2, side * radius * 0.75, 0]), turn
        )
        parts.append(Part(tip, Role.METAL))
        bow = np.stack([-t * grip, -side * (spread * np.sin(np.pi * 0.6 * t) + 0.002), np.zeros(12)], axis=1) @ turn.T
        parts.append(Part(tube(bow, radius * 1.1, 12, 1.2), Role.BODY))
        colliders.append(
            box_collider((jaw, radius * 1.4, radius * 1.6), turn @ np.array([jaw / 2, side * radius * 0.75, 0]), turn)
        )
        colliders += path_colliders(bow, radius * 1.1, 3)
    return Shape("pliers", tuple(parts), tuple(colliders), 2500.0, 1.0)


def wrench(draw: Draw) -> Shape:
    """A spanner: a shank, a ring at one end, an open jaw at the other, flat."""
    length, wide, thick = draw.size(0.1, 0.24), draw.size(0.009, 0.018), draw.size(0.004, 0.009)
    ring, bite = wide * draw.size(0.9, 1.3), draw.size(0.5, 1.1)
    jaw = ring * 1.25
    around = np.linspace(0, 2 * np.pi, 26, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    eye = extrude(circle * ring, thick * 1.2, circle * ring * draw.size(0.5, 0.68)).moved((-length / 2, 0, 0))
    mouth = np.linspace(bite / 2 + 0.15, 2 * np.pi - bite / 2 - 0.15, 22)
    outer = jaw * np.stack([np.cos(mouth), np.sin(mouth)], axis=1)
    inner = 0.5 * jaw * np.stack([np.cos(mouth[::-1]), np.sin(mouth[::-1])], axis=1)
    head = extrude(np.concatenate([outer, inner]), thick * 1.2).moved(
        (length / 2, 0, 0), rotation_about("z", draw.size(-0.4, 0.4))
    )
    shank = box((length - ring - 0.8 * jaw, wide * 0.75, thick), thick * 0.3).moved(((ring - 0.8 * jaw) / 2, 0, 0))
    role = Role.METAL if draw.chance(0.75) else Role.BODY
    colliders = (
        box_collider((length, wide * 0.75, thick)),
        cylinder_collider(ring, -thick * 0.6, thick * 0.6, -length / 2),
        cylinder_collider(jaw * 0.9, -thick * 0.6, thick * 0.6, length / 2),
    )
    return Shape("wrench", (Part(eye, role), Part(head, role), Part(shank, role)), colliders, 3000.0, 1.0)


def pen(draw: Draw) -> Shape:
    """A marker, pen, pencil, lipstick or glue stick; lies, now and then stands."""
    radius, length = (
        (draw.size(0.008, 0.015), draw.size(0.09, 0.15))
        if draw.chance(0.6)
        else (draw.size(0.0035, 0.006), draw.size(0.12, 0.19))
    )
    cap = length * draw.size(0.15, 0.45)
    sides = 6 if draw.chance(0.15) else 24
    body = lathe([[(0, 0), (radius * 0.9, 0)], [(radius * 0.92, 0), (radius * 0.92, length - cap)]], sides)
    pointed = draw.chance(0.3)
    tip = radius * (0.15 if pointed else 0.8)
    top = lathe(
        [
            [(radius, length - cap), (radius, length - cap * 0.3)],
            [(radius, length - cap * 0.3), (tip, length)],
            [(tip, length), (0, length)],
        ],
        sides,
    )
    end = lathe([[(radius * 0.96, 0.0), (radius * 0.96, length * 0.06)]], sides)
    parts = (
        Part(body, Role.LABEL if draw.chance(0.35) else Role.LIGHT if draw.chance(0.3) else Role.BODY),
        Part(top, Role.ACCENT),
        Part(end, Role.ACCENT),
    )
    body_only = length - cap * 0.3
    colliders = (cylinder_collider(radius, 0, body_only), *turned_colliders([(radius, body_only), (tip, length)]))
    standing = 0.12 if radius > 0.008 and not pointed else 0.0
    return Shape("pen", parts, colliders, 600.0, standing)


def flashlight(draw: Draw) -> Shape:
    """A torch, whisk-less rod, thermometer or rolling pin: a turned body that lies along x."""
    radius, length = draw.size(0.01, 0.018), draw.size(0.1, 0.24)
    head, neck = radius * draw.size(1.1, 1.8), length * draw.size(0.6, 0.8)
    grip = lathe([[(0, 0), (radius, 0)], [(radius, 0), (radius, neck)]])
    cone = lathe(
        [
            [(radius, neck), (head, neck + (length - neck) * 0.5)],
            [(head, neck + (length - neck) * 0.5), (head, length)],
            [(head, length), (head * 0.85, length), (0, length - 0.004)],
        ]
    )
    ring = lathe([[(radius * 1.05, neck * 0.8), (radius * 1.05, neck * 0.9)]])
    roles = [Role.DARK if draw.chance(0.4) else Role.BODY, Role.METAL if draw.chance(0.3) else Role.BODY, Role.ACCENT]
    parts = tuple(Part(mesh, role) for mesh, role in zip((grip, cone, ring), roles, strict=True))
    colliders = (cylinder_collider(radius, 0, neck), cylinder_collider(head, neck + (length - neck) * 0.4, length))
    return Shape("flashlight", parts, colliders, 900.0, 0.15)


def clamp(draw: Draw) -> Shape:
    """A spring clamp: two jaws in a V; or a G clamp: a frame with a screw."""
    return _spring_clamp(draw) if draw.chance(0.55) else _screw_clamp(draw)


def tape(draw: Draw) -> Shape:
    """A roll of tape or a bangle; lies or stands."""
    radius, wide = draw.size(0.022, 0.058), draw.size(0.01, 0.05)
    inner = radius * draw.size(0.5, 0.85)
    core = inner + (radius - inner) * 0.25
    around = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    roll = extrude(circle * radius, wide, circle * core)
    hub = extrude(circle * core, wide * 0.98, circle * inner)
    middle, width = (radius + inner) / 2, 2 * radius * np.tan(np.pi / 10)
    colliders = tuple(
        box_collider((radius - inner, width, wide), (middle * np.cos(t), middle * np.sin(t), 0), rotation_about("z", t))
        for t in np.arange(10) * np.pi / 5
    )
    return Shape("tape", (Part(roll, Role.BODY), Part(hub, Role.LIGHT, (0.75, 0.62, 0.45))), colliders, 600.0, 0.75)


def cutlery(draw: Draw) -> Shape:
    """A fork, spoon, knife, spatula or brush, along x."""
    kind = draw.count(0, 4)
    length, wide = draw.size(0.07, 0.13), draw.size(0.003, 0.007)
    role = Role.METAL if draw.chance(0.6) else Role.BODY
    grip_role = role if draw.chance(0.6) else Role.DARK if draw.chance(0.5) else Role.ACCENT
    t = np.linspace(0, 1, 12)
    path = np.stack([-t[::-1] * length, np.zeros(12), 0.004 + 0.006 * np.sin(np.pi * t)], axis=1)
    grip = tube(path, wide * 0.35 * (1.3 - 0.5 * t), 10, 2.4)
    makers = (_fork_head, _spoon_head, _knife_blade, _spatula_head, _brush_head)
    head, head_collider = makers[kind](draw, wide)
    parts = [Part(grip, grip_role)] + [Part(mesh, role if kind < 3 else Role.ACCENT) for mesh in head]
    colliders = (*tube_colliders(grip, path, 3), head_collider)
    return Shape("cutlery", tuple(parts), colliders, 2000.0, 1.0)


def sprayer(draw: Draw) -> Shape:
    """A spray bottle with a trigger."""
    radius, tall = draw.size(0.025, 0.04), draw.size(0.1, 0.17)
    neck = radius * 0.35
    body = lathe([[(0, 0), (radius, 0)], [(radius, 0), (radius, tall * 0.72)]])
    t = np.linspace(0, 1, 10)
    shoulder = lathe([[(neck + (radius - neck) * np.cos(np.pi / 2 * s), tall * (0.72 + 0.28 * s)) for s in t]])
    collar = lathe(chain((neck * 1.4, tall), (neck * 1.4, tall + 0.014), (0, tall + 0.014)))
    head_size = (draw.size(0.05, 0.085), 0.022, draw.size(0.018, 0.03))
    head_middle = (0.016, 0, tall + 0.014 + head_size[2] / 2)
    head = box(head_size, 0.005).moved(head_middle)
    lever = tube(
        np.array([[0.02, 0, tall + 0.012], [0.032, 0, tall - 0.012], [0.028, 0, tall - 0.036]]), 0.004, 10, 1.8
    )
    nozzle = lathe(chain((0.008, 0), (0.008, 0.012), (0, 0.012))).moved(
        (0.016 + head_size[0] / 2, 0, head_middle[2]), _ALONG_X
    )
    parts = (
        Part(body, Role.LABEL),
        Part(shoulder, Role.BODY),
        Part(collar, Role.ACCENT),
        Part(head, Role.ACCENT),
        Part(lever, Role.LIGHT if draw.chance(0.5) else Role.ACCENT),
        Part(nozzle, Role.ACCENT),
    )
    colliders = (
        cylinder_collider(radius, 0, tall * 0.8),
        cylinder_collider(neck * 1.4, tall * 0.8, tall + 0.014),
        box_collider(head_size, head_middle),
        box_collider((0.024, 0.014, 0.014), (0.016 + head_size[0] / 2, 0, head_middle[2])),
    )
    return Shape("bottle", parts, colliders, 400.0, 0.8)


def _spring_clamp(draw: Draw) -> Shape:
    length, spread = draw.size(0.06, 0.14), draw.size(0.15, 0.4)
    thick, wide = length * draw.size(0.09, 0.16), length * draw.size(0.12, 0.28)
    parts: list[Part] = []
    colliders: list[Collider] = []
    for side in (-1, 1):
        turn = rotation_about("z", side * spread)
        middle = turn @ np.array([0.0, 0.0, 0.0]) + [0, side * thick * 0.2, 0]
        parts.append(Part(box((length, thick, wide), thick * 0.3).moved(middle, turn), Role.BODY))
        tip = turn @ np.array([length * 0.47, -side * thick * 0.4, 0])
        parts.append(Part(box((thick, thick * 1.4, wide * 1.05), thick * 0.2).moved(tip, turn), Role.ACCENT))
        cover = turn @ np.array([-length * 0.42, 0, 0])
        parts.append(Part(box((length * 0.3, thick * 1.25, wide * 1.1), thick * 0.35).moved(cover, turn), Role.ACCENT))
        colliders += [mesh_collider(part.mesh) for part in parts[-3:]]
    pin = lathe(chain((0, -wide * 0.6), (thick * 0.5, -wide * 0.6), (thick * 0.5, wide * 0.6), (0, wide * 0.6)), 16)
    return Shape("clamp", (*parts, Part(pin, Role.METAL)), tuple(colliders), 700.0, 0.85)


def _screw_clamp(draw: Draw) -> Shape:
    wide, tall, arm = draw.size(0.04, 0.09), draw.size(0.05, 0.14), draw.size(0.008, 0.014)
    thick = arm * draw.size(0.7, 1.2)
    outline = np.array(
        [[0, 0], [wide, 0], [wide, arm], [arm, arm], [arm, tall - arm], [wide, tall - arm], [wide, tall], [0, tall]]
    )
    frame = extrude(outline, thick)
    screw = np.array([[wide - arm / 2, -0.04, 0], [wide - arm / 2, tall * draw.size(0.3, 0.75), 0]])
    rod = tube(np.linspace(screw[0], screw[1], 3), arm * 0.35, 10)
    bar = tube(np.linspace([wide - arm / 2 - 0.02, -0.036, 0], [wide - arm / 2 + 0.02, -0.036, 0], 3), arm * 0.22, 8)
    colliders = (
        box_collider((wide, arm, thick), (wide / 2, arm / 2, 0)),
        box_collider((wide, arm, thick), (wide / 2, tall - arm / 2, 0)),
        box_collider((arm, tall, thick), (arm / 2, tall / 2, 0)),
        mesh_collider(rod),
        mesh_collider(bar),
    )
    return Shape(
        "clamp", (Part(frame, Role.BODY), Part(rod, Role.METAL), Part(bar, Role.METAL)), colliders, 3000.0, 1.0
    )


def _fork_head(draw: Draw, wide: float) -> tuple[list[Mesh], Collider]:
    tine, half = draw.size(0.03, 0.05), wide * 1.7
    palm = extrude(
        np.array(
            [[-0.004, -wide * 0.5], [0.018, -half], [0.024, -half], [0.024, half], [0.018, half], [-0.004, wide * 0.5]]
        ),
        0.002,
    )
    meshes = [palm.moved((0, 0, 0.005))]
    for y in np.linspace(-half, half, draw.count(3, 4)) * 0.88:
        path = np.array([[0.022, y, 0.005], [0.022 + tine * 0.5, y, 0.003], [0.022 + tine, y, 0.006]])
        meshes.append(tube(path, 0.0013, 6))
    return meshes, mesh_collider(joined(meshes))


def _spoon_head(draw: Draw, wide: float) -> tuple[list[Mesh], Collider]:
    radius, deep = wide * draw.size(2.0, 4.2), draw.size(0.35, 0.6)
    angle = np.linspace(0, np.pi / 2, 10)
    outer = [(radius * np.sin(a), -radius * deep * np.cos(a)) for a in angle]
    inner = [(0.93 * r, 0.9 * z) for r, z in outer[::-1]]
    stretch = draw.size(1.1, 1.6)
    dish = (
        lathe([outer, [outer[-1], inner[0]], inner], 28)
        .scaled((stretch, 1.0, 1.0))
        .moved((radius * stretch * 0.95, 0, 0.006))
    )
    return [dish], mesh_collider(dish)


def _knife_blade(draw: Draw, wide: float) -> tuple[list[Mesh], Collider]:
    blade, tall = draw.size(0.06, 0.16), wide * draw.size(2.0, 4.5)
    outline = np.array(
        [
            [-0.005, -tall * 0.3],
            [blade * 0.7, -tall * 0.5],
            [blade, tall * 0.3],
            [blade * 0.92, tall * 0.5],
            [-0.005, tall * 0.4],
        ]
    )
    return [extrude(outline, 0.0018).moved((0, 0, 0.004))], plate_collider(outline, 0.003, 0.004)


def _spatula_head(draw: Draw, wide: float) -> tuple[list[Mesh], Collider]:
    size = (draw.size(0.05, 0.1), draw.size(0.035, 0.075), draw.size(0.002, 0.006))
    head = box(size, size[2] * 0.4).moved((size[0] / 2 - 0.004, 0, 0.004))
    return [head], mesh_collider(head)


def _brush_head(draw: Draw, wide: float) -> tuple[list[Mesh], Collider]:
    size = np.array([draw.size(0.025, 0.06), draw.size(0.02, 0.06), draw.size(0.008, 0.016)])
    stock = box((0.014, size[1] * 1.05, size[2] * 1.1), 0.002).moved((0.004, 0, 0.005))
    bristles = box(size).moved((size[0] / 2 + 0.008, 0, 0.005))
    return [stock, bristles], mesh_collider(bristles)
