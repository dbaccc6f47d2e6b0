"""Object families that hold something: cartons, cans, bottles, jars, mugs, cups, bowls, plates, tubs."""

from __future__ import annotations

import numpy as np

from sam_perception.sim.meshes import arc, box, chain, joined, lathe, tube
from sam_perception.sim.objects_parts import (
    Draw,
    Part,
    Role,
    Shape,
    box_collider,
    cylinder_collider,
    mesh_collider,
    path_colliders,
    shell_colliders,
    tube_colliders,
    turned_colliders,
)


def carton(draw: Draw) -> Shape:
    """A printed box, from a matchbox to a cereal packet."""
    tall = draw.size(0.05, 0.26)
    wide = tall * draw.size(0.45, 1.1)
    deep = min(wide, tall) * draw.size(0.22, 0.9)
    panels = {"front": (0.0, 0.0, 0.68, 1.0), "side": (0.7, 0.0, 1.0, 1.0), "top": (0.7, 0.3, 1.0, 0.5)}
    mesh = box((wide, deep, tall), 0.0015 if draw.chance(0.7) else 0.0, panels)
    return Shape("carton", (Part(mesh, Role.LABEL),), (box_collider((wide, deep, tall)),), 250.0, 0.6)


def can(draw: Draw) -> Shape:
    """A tin with sunk lids, short or tall, printed around."""
    radius = draw.size(0.024, 0.052)
    half = radius * (draw.size(0.3, 0.6) if draw.chance(0.3) else draw.size(0.9, 2.1))
    rim = 0.0022
    sunk, seam = half - 0.003, radius - rim
    wall = lathe([[(radius - 0.001, -half + rim), (radius - 0.001, half - rim)]], 44)
    lower = lathe([[(0, -half), (seam, -half)], arc(seam, -half + rim, rim, -90, 90)], 44)
    ridge = 0.66 * radius
    lid = chain((seam, half), (radius - 0.003, sunk), (ridge + 0.002, sunk), (ridge, sunk + 0.001), (0, sunk + 0.001))
    upper = lathe([arc(seam, half - rim, rim, -90, 90), *lid], 44)
    parts = [Part(wall, Role.LABEL), Part(lower, Role.METAL), Part(upper, Role.METAL)]
    if draw.chance(0.25):  # a plastic lid
        cap = lathe(
            [
                [(radius + 0.001, half - 0.009), (radius + 0.001, half + 0.001)],
                [(radius, half + 0.001), (0, half + 0.001)],
            ]
        )
        parts.append(Part(cap, Role.ACCENT))
    return Shape("can", tuple(parts), (cylinder_collider(radius, -half, half),), 600.0, 0.75)


def canister(draw: Draw) -> Shape:
    """A plain round tub with a lid that stands out: wipes, coffee, cashews, spices."""
    radius, ratio = draw.size(0.02, 0.055), draw.size(0.9, 2.8)
    half = radius * ratio
    lid_low = half * (1 - draw.size(0.12, 0.4))
    wide = radius * draw.size(1.0, 1.06)
    foot = [[(0, -half), (radius - 0.003, -half)], arc(radius - 0.003, -half + 0.003, 0.003, -90, 0)]
    wall = lathe([[(radius, -half + 0.003), (radius, lid_low)]], 44)
    lid = lathe(
        [
            *chain((radius, lid_low), (wide, lid_low), (wide, half - 0.003)),
            arc(wide - 0.003, half - 0.003, 0.003, 0, 90),
            [(wide - 0.003, half), (0, half)],
        ],
        44,
    )
    parts = (Part(wall, Role.LABEL), Part(lathe(foot, 44), Role.BODY), Part(lid, Role.ACCENT))
    return Shape("can", parts, (cylinder_collider(radius, -half, half),), 350.0, 0.8)


def bottle(draw: Draw) -> Shape:
    """A round or flattened bottle: foot, printed body, shoulder, neck, cap."""
    radius, tall = draw.size(0.018, 0.046), draw.size(0.1, 0.29)
    neck = radius * draw.size(0.3, 0.55)
    body_top = tall * draw.size(0.45, 0.72)
    shoulder_top = body_top + (tall - body_top) * draw.size(0.35, 0.7)
    t = np.linspace(0, 1, 12)
    bulge = 0.5 + 0.5 * np.cos(np.pi * t)
    if draw.chance(0.5):
        bulge = np.sqrt(np.maximum(1 - t ** draw.size(1.2, 2.6), 0))
    shoulder = [
        (neck + (radius - neck) * b, body_top + (shoulder_top - body_top) * s) for b, s in zip(bulge, t, strict=True)
    ]
    waist = draw.size(0.0, 0.22) if draw.chance(0.35) else 0.0
    z = np.linspace(0.006, body_top, 14)
    wall = [(radius * (1 - waist * np.sin(np.pi * (h - z[0]) / (z[-1] - z[0])) ** 2), h) for h in z]
    foot = [[(0, 0), (radius - 0.006, 0)], arc(radius - 0.006, 0.006, 0.006, -90, 0)]
    wide = neck * draw.size(1.05, 1.5)
    tip = neck * 0.35 if draw.chance(0.4) else wide * 0.95
    cap = chain(
        (neck, shoulder_top), (wide, shoulder_top), (wide, 0.4 * shoulder_top + 0.6 * tall), (tip, tall), (0, tall)
    )
    flat = (1.0, draw.size(0.55, 0.8), 1.0) if draw.chance(0.35) else (1.0, 1.0, 1.0)
    pieces = [
        (lathe(foot), Role.BODY),
        (lathe([wall]), Role.LABEL),
        (lathe([shoulder]), Role.BODY),
        (lathe(cap), Role.ACCENT),
    ]
    parts = tuple(Part(mesh.scaled(flat), role) for mesh, role in pieces)
    outside = [*foot[1], *wall, *shoulder, *(start for start, _ in cap), cap[-1][1]]
    return Shape("bottle", parts, tuple(turned_colliders(outside, flat)), 500.0, 0.75)


def jar(draw: Draw) -> Shape:
    """A wide jar with a lid and a paper label."""
    radius, tall = draw.size(0.022, 0.05), draw.size(0.05, 0.15)
    mouth = radius * draw.size(0.7, 0.95)
    top = tall * draw.size(0.78, 0.9)
    round_ = min(0.012, 0.2 * tall)
    foot = [[(0, 0), (radius - 0.006, 0)], arc(radius - 0.006, 0.006, 0.006, -90, 0)]
    shoulder = [
        (mouth + (radius - mouth) * np.cos(a), top - round_ + round_ * np.sin(a)) for a in np.linspace(0, np.pi / 2, 8)
    ]
    lid = chain((mouth, top), (mouth * 1.06, top), (mouth * 1.06, tall), (0, tall))
    parts = (
        Part(lathe(foot), Role.BODY),
        Part(lathe([[(radius, 0.006), (radius, top - round_)]]), Role.LABEL),
        Part(lathe([shoulder]), Role.BODY),
        Part(lathe(lid), Role.METAL if draw.chance(0.4) else Role.ACCENT),
    )
    outside = [*foot[1], *shoulder, *(start for start, _ in lid), lid[-1][1]]
    return Shape("jar", parts, tuple(turned_colliders(outside)), 700.0, 0.8)


def mug(draw: Draw) -> Shape:
    """An open mug with a handle that one can see, and nearly reach, through."""
    radius, tall = draw.size(0.032, 0.052), draw.size(0.065, 0.125)
    low = radius * draw.size(0.62, 1.02)
    thickness = draw.size(0.0025, 0.005)
    printed = Role.LABEL if draw.chance(0.12) else Role.BODY
    body = _vessel(draw, _open_profile(low, radius, tall, thickness, draw.size(0.9, 1.2)), printed)
    reach, height = draw.size(0.022, 0.042), tall * draw.size(0.26, 0.4)
    middle = tall * draw.size(0.45, 0.58)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 22)
    squareness = draw.size(0.5, 1.0)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** squareness * reach
    z = np.sin(angle) * height
    root = low + (radius - low) * (middle + z) / tall - thickness / 2
    path = np.stack([x + root, np.zeros_like(x), middle + z], axis=1)
    handle = tube(path, draw.size(0.0035, 0.0065), aspect=draw.size(1.0, 1.9))
    role = Role.ACCENT if draw.chance(0.15) else Role.BODY
    colliders = [
        cylinder_collider(low * 0.95, 0, 0.007),
        *shell_colliders([(low - thickness / 2, 0.0), (radius - thickness / 2, tall)], thickness),
        *path_colliders(path, 0.005, 4),
    ]
    return Shape("mug", (*body, Part(handle, role)), tuple(colliders), 900.0, 0.75)


def cup(draw: Draw) -> Shape:
    """An open cup, tumbler or flower pot without a handle."""
    radius, tall = draw.size(0.024, 0.052), draw.size(0.045, 0.15)
    low = radius * draw.size(0.55, 0.98)
    thickness = draw.size(0.0015, 0.004)
    profile = _open_profile(low, radius, tall, thickness, draw.size(0.8, 1.3))
    parts = _vessel(draw, profile, Role.LABEL if draw.chance(0.2) else Role.BODY)
    if draw.chance(0.2):
        band = radius + 0.003
        parts.append(
            Part(
                lathe(chain((radius - 0.001, tall * 0.8), (band, tall * 0.8), (band, tall), (radius - 0.001, tall))),
                Role.BODY,
            )
        )
    colliders = [
        cylinder_collider(low * 0.95, 0, 0.006),
        *shell_colliders([(low - thickness / 2, 0.0), (radius - thickness / 2, tall)], thickness),
    ]
    return Shape("cup", tuple(parts), tuple(colliders), 500.0, 0.7)


def bowl(draw: Draw) -> Shape:
    """An open bowl, from a dip dish to a salad bowl."""
    radius = draw.size(0.045, 0.115)
    tall = radius * draw.size(0.45, 1.0)
    low = radius * draw.size(0.35, 0.6)
    thickness = draw.size(0.002, 0.005)
    power = draw.size(0.4, 0.8)
    profile = _open_profile(low, radius, tall, thickness, power)
    parts = _vessel(draw, profile, Role.LABEL if draw.chance(0.1) else Role.BODY)
    wall = [(low + (radius - low) * s**power - 0.002, tall * s) for s in (0.02, 0.2, 0.55, 1.0)]
    colliders = [cylinder_collider(low, 0, 0.006), *shell_colliders(wall, 0.004, 12)]
    return Shape("bowl", tuple(parts), tuple(colliders), 900.0, 0.85)


def plate(draw: Draw) -> Shape:
    """A plate or saucer with a raised rim, or a tray."""
    radius = draw.size(0.055, 0.135)
    tall = draw.size(0.008, 0.026)
    inner = radius * draw.size(0.55, 0.8)
    thickness = draw.size(0.0025, 0.004)
    t = np.linspace(0, 1, 8)
    outer = [(inner + (radius - inner) * s, tall * s**1.4) for s in t]
    upper = [(r - 0.001, z + thickness) for r, z in outer[::-1]]
    profile = [
        [(0, 0), outer[0]],
        outer,
        [outer[-1], (radius, tall + thickness), upper[0]],
        upper,
        [upper[-1], (0, thickness)],
    ]
    colliders = [
        cylinder_collider(inner, 0, thickness),
        *shell_colliders([(inner, thickness / 2), (radius, tall)], thickness, 12),
    ]
    return Shape(
        "plate",
        (Part(lathe(profile, 56), Role.LABEL if draw.chance(0.25) else Role.BODY),),
        tuple(colliders),
        1200.0,
        0.95,
    )


def tub(draw: Draw) -> Shape:
    """A lidded food box, or a printed tin with a metal lid."""
    size = np.array([draw.size(0.07, 0.22), draw.size(0.05, 0.14), draw.size(0.03, 0.1)])
    lid = draw.size(0.007, 0.022)
    bevel = draw.size(0.006, 0.022)
    tin = draw.chance(0.25)
    printed = Role.LABEL if tin or draw.chance(0.3) else Role.BODY
    cover = Role.METAL if tin else Role.ACCENT
    lid = 0.006 if tin else lid
    body = box(size, min(bevel, size[2] * 0.45))
    top = box((size[0] + 0.008, size[1] + 0.008, lid), lid * 0.4).moved((0, 0, size[2] / 2))
    rib = box((size[0] * 0.8, size[1] * 0.75, 0.004), 0.0018).moved((0, 0, size[2] / 2 + lid / 2 + 0.001))
    parts = (Part(body, printed), Part(top, cover), Part(rib, cover))
    colliders = (mesh_collider(body), mesh_collider(joined([top, rib])))  # the rib alone could be taken for a handle
    return Shape("tub", parts, colliders, 400.0, 0.85)


def pan(draw: Draw) -> Shape:
    """A pan or ladle-like dish with one long handle."""
    radius, tall, thickness = draw.size(0.045, 0.095), draw.size(0.02, 0.06), 0.003
    reach = draw.size(0.08, 0.17)
    body = lathe(_open_profile(radius * 0.88, radius, tall, thickness, 0.8), 48)
    path = np.array(
        [[radius - 0.002, 0, tall * 0.8], [radius + 0.3 * reach, 0, tall * 0.95], [radius + reach, 0, tall]]
    )
    path = np.stack([np.interp(np.linspace(0, 2, 12), [0, 1, 2], path[:, k]) for k in range(3)], axis=1)
    handle = tube(path, draw.size(0.005, 0.009), aspect=1.4)
    colliders = [
        cylinder_collider(radius * 0.9, 0, 0.005),
        *shell_colliders([(radius * 0.88, 0.0), (radius, tall)], thickness),
        *tube_colliders(handle, path, 2),
    ]
    roles = (Role.METAL if draw.chance(0.5) else Role.DARK, Role.DARK if draw.chance(0.6) else Role.ACCENT)
    return Shape("pan", (Part(body, roles[0]), Part(handle, roles[1])), tuple(colliders), 1500.0, 0.9)


def _vessel(draw: Draw, profile: list, role: Role) -> list[Part]:
    """The outside and the inside of an open vessel; the inside has a colour of its own now and then."""
    inside = Role.ACCENT if draw.chance(0.2) else Role.LIGHT if draw.chance(0.1) else role
    return [Part(lathe(profile[:2], 48), role), Part(lathe(profile[2:], 48), inside)]


def _open_profile(low: float, high: float, tall: float, thickness: float, power: float) -> list:
    """Profile of an open vessel: radius `low` at the foot, `high` at the rim, r ~ (z / tall)^power between."""
    t = np.linspace(0.0, 1.0, 12)
    outside = [(low + (high - low) * s**power, tall * s) for s in t]
    floor = thickness * 1.5
    inside = [(max(low + (high - low) * s**power - thickness, 0.001), floor + (tall - floor) * s) for s in t[::-1]]
    rim = arc(high - thickness / 2, tall, thickness / 2, 0, 180, 4)
    return [[(0, 0), outside[0]], outside, rim, inside, [inside[-1], (0, floor)]]
