"""Procedural textures: printed labels, wood, stone, cloth, tiles, stripes, noise."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from sam_perception.sim.objects_parts import RGB, Split, vivid_color

_WORDS = {
    Split.TRAIN: (
        "CRISP",
        "OATS",
        "TUNA",
        "FRESH",
        "PASTA",
        "MILK",
        "SOAP",
        "SUGAR",
        "RICE",
        "COCOA",
        "NUTS",
        "TOMATO",
        "ULTRA",
        "CLEAN",
        "GOLD",
        "BEANS",
    ),
    Split.HELD_OUT: ("VERDE", "LUMO", "KAFE", "NIMBUS", "PIKA", "ZEST", "BRUMA", "OKTO", "JUNIPER", "WEXO"),
}
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
# Kinds of textures in a world, and how many of each.
KIND_COUNTS = {"label": 9, "pattern": 6, "wood": 4, "stone": 1, "cloth": 2, "tiles": 1, "carpet": 2, "plaster": 1}


@dataclasses.dataclass(frozen=True)
class Texture:
    """A picture to put on a surface.

    Attributes:
        kind: one of KIND_COUNTS.
        image: (N, N, 3) uint8 RGB, row 0 on top.
    """

    kind: str
    image: np.ndarray


def make_textures(split: Split, rng: np.random.Generator) -> list[Texture]:
    """The textures of a world, KIND_COUNTS of each kind."""
    makers = {
        "label": lambda: _label(split, rng),
        "pattern": lambda: _pattern(rng),
        "wood": lambda: _wood(rng),
        "stone": lambda: _stone(rng),
        "cloth": lambda: _cloth(rng),
        "tiles": lambda: _tiles(rng),
        "carpet": lambda: _carpet(rng),
        "plaster": lambda: _plaster(rng),
    }
    return [Texture(kind, makers[kind]()) for kind, count in KIND_COUNTS.items() for _ in range(count)]


def cloud_noise(rng: np.random.Generator, size: int, cells: tuple[int, int], octaves: int = 4) -> np.ndarray:
    """(size, size) float32 noise in 0..1 that tiles; `cells` rows and columns of blobs in the coarsest octave."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        rows, columns = (min(size, max(2, cell * 2**octave)) for cell in cells)
        coarse = rng.random((rows, columns), dtype=np.float32)
        padded = np.pad(coarse, 2, mode="wrap")
        # Every coarse cell becomes a block of the same size; the padding makes opposite sides meet.
        fine = cv2.resize(
            padded, (size * (columns + 4) // columns, size * (rows + 4) // rows), interpolation=cv2.INTER_CUBIC
        )
        top, left = 2 * size // rows, 2 * size // columns
        total += fine[top : top + size, left : left + size] * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def _blend(weight: np.ndarray, low: np.ndarray | RGB, high: np.ndarray | RGB) -> np.ndarray:
    """(N, N, 3) between two colours 0..1 by a weight (N, N)."""
    return np.asarray(low) + weight[..., None] * (np.asarray(high) - np.asarray(low))


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.round(image * 255.0), 0, 255).astype(np.uint8)


def _grain(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    return (strength * rng.standard_normal((size, size), dtype=np.float32))[..., None]


def _label(split: Split, rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """A printed packet: a ground, bands, a picture, big words, small print, a bar code."""
    ground = np.array(vivid_color(rng)) if rng.random() < 0.75 else np.full(3, rng.uniform(0.8, 1.0))
    image = np.ones((size, size, 3)) * ground
    if rng.random() < 0.4:
        image = _blend(np.linspace(0, 1, size)[:, None] * np.ones((1, size)), ground, vivid_color(rng))
    image = _to_bytes(image)
    for _ in range(rng.integers(1, 4)):
        _print_shape(image, rng)
    if rng.random() < 0.5:
        _print_picture(image, rng)
    for _ in range(rng.integers(1, 4)):
        _print_word(image, str(rng.choice(_WORDS[split])), rng)
    if rng.random() < 0.7:
        _print_small(image, rng)
    if rng.random() < 0.4:
        _print_bars(image, rng)
    return image


def _ink(rng: np.random.Generator) -> tuple[int, int, int]:
    if rng.random() < 0.35:
        value = int(rng.choice([10, 245]))
        return (value, value, value)
    red, green, blue = vivid_color(rng)
    return int(255 * red), int(255 * green), int(255 * blue)


def _print_shape(image: np.ndarray, rng: np.random.Generator) -> None:
    size = len(image)
    color, kind = _ink(rng), rng.integers(4)
    a, b = (rng.integers(0, size, 2).tolist() for _ in range(2))
    if kind == 0:
        top, height = int(rng.integers(0, size)), int(rng.integers(size // 12, size // 3))
        cv2.rectangle(image, (0, top), (size, top + height), color, -1)
    elif kind == 1:
        cv2.ellipse(
            image,
            a,
            (int(rng.integers(20, 110)), int(rng.integers(20, 70))),
            float(rng.uniform(0, 180)),
            0,
            360,
            color,
            -1,
            cv2.LINE_AA,
        )
    elif kind == 2:
        cv2.rectangle(image, a, b, color, -1)
    else:
        corners = rng.integers(0, size, (3, 1, 2)).astype(np.int32)
        cv2.fillPoly(image, [corners], color, cv2.LINE_AA)


def _print_picture(image: np.ndarray, rng: np.random.Generator) -> None:
    """Heaps of small round or square things, as food packets show."""
    size = len(image)
    x, y = rng.integers(size // 5, 4 * size // 5, 2)
    color = np.array(_ink(rng))
    for _ in range(int(rng.integers(6, 24))):
        center = (int(x + rng.normal(0, 28)), int(y + rng.normal(0, 20)))
        shade = tuple(int(c) for c in np.clip(color * rng.uniform(0.6, 1.3), 0, 255))
        radius = int(rng.integers(6, 20))
        if rng.random() < 0.6:
            cv2.circle(image, center, radius, shade, -1, cv2.LINE_AA)
        else:
            corner = (center[0] + radius, center[1] + int(radius * rng.uniform(0.5, 1.5)))
            cv2.rectangle(image, center, corner, shade, -1)


def _print_word(image: np.ndarray, word: str, rng: np.random.Generator) -> None:
    size = len(image)
    font, scale = int(rng.choice(_FONTS)), float(rng.uniform(0.8, 2.4))
    thickness = int(rng.integers(2, 7))
    (width, height), _ = cv2.getTextSize(word, font, scale, thickness)
    if width > 0.95 * size:
        scale *= 0.95 * size / width
        width = int(0.95 * size)
    origin = (int(rng.integers(0, max(1, size - width))), int(rng.integers(height, size)))
    cv2.putText(image, word, origin, font, scale, _ink(rng), thickness, cv2.LINE_AA)


def _print_small(image: np.ndarray, rng: np.random.Generator) -> None:
    size = len(image)
    x, y = int(rng.integers(0, size // 2)), int(rng.integers(size // 3, size))
    color = _ink(rng)
    for line in range(int(rng.integers(3, 9))):
        end = x + int(rng.integers(30, 110))
        cv2.line(image, (x, y + 8 * line), (end, y + 8 * line), color, 2)


def _print_bars(image: np.ndarray, rng: np.random.Generator) -> None:
    size = len(image)
    x, y = (int(v) for v in rng.integers(0, size - 60, 2))
    cv2.rectangle(image, (x, y), (x + 56, y + 34), (250, 250, 250), -1)
    for k in np.flatnonzero(rng.random(24) < 0.5):
        cv2.line(image, (x + 4 + 2 * int(k), y + 3), (x + 4 + 2 * int(k), y + 28), (10, 10, 10), 2)


def _pattern(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Stripes, checks, dots, speckle, gradient or clouds in two colours; often light, so that a tint shows."""
    low, high = np.array(vivid_color(rng)), np.array(vivid_color(rng))
    if rng.random() < 0.5:
        low, high = np.full(3, rng.uniform(0.3, 0.8)), np.full(3, rng.uniform(0.85, 1.0))
    v, u = np.mgrid[0:size, 0:size] / size
    count = int(rng.integers(2, 12))
    kind = rng.integers(7)
    if kind == 0:
        weight = (u * count + rng.integers(0, 3) * v) % 1 < rng.uniform(0.2, 0.7)
    elif kind == 1:
        weight = ((u * count).astype(int) + (v * count).astype(int)) % 2
    elif kind == 2:
        weight = np.hypot((u * count) % 1 - 0.5, (v * count) % 1 - 0.5) < rng.uniform(0.15, 0.42)
    elif kind == 3:
        weight = rng.random((size, size)) < rng.uniform(0.03, 0.4)
        weight = cv2.GaussianBlur(weight.astype(np.float32), (0, 0), rng.uniform(0.4, 2.0))
        weight = weight / weight.max()
    elif kind == 4:
        weight = v
    elif kind == 5:
        weight = cloud_noise(rng, size, (int(rng.integers(2, 9)), int(rng.integers(2, 9))))
    else:
        weight = (u * count) % 1 < 0.1
        weight = weight | ((v * count) % 1 < 0.1)
    return _to_bytes(_blend(weight.astype(np.float32), low, high) + _grain(rng, size, 0.01))


def _wood(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """Planks or a veneer: streaks along u, rings, joints."""
    tones = np.array(
        [[0.76, 0.58, 0.38], [0.62, 0.43, 0.26], [0.86, 0.72, 0.54], [0.42, 0.27, 0.17], [0.90, 0.82, 0.70]]
    )
    tone = tones[rng.integers(len(tones))] * rng.uniform(0.85, 1.08, 3)
    streaks = cloud_noise(rng, size, (int(rng.integers(14, 40)), 2), 4)
    warp = cloud_noise(rng, size, (3, 2), 2)
    v = np.arange(size)[:, None] / size
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (v * rng.integers(3, 14) + warp * rng.uniform(0.5, 3.0)))
    figure = 0.6 * streaks + 0.4 * rings
    strength = rng.uniform(0.08, 0.45)
    image = tone * (1.0 - strength * figure[..., None])
    planks = int(rng.choice([0, 0, 2, 3, 5]))
    for k in range(planks):
        top, bottom = k * size // planks, (k + 1) * size // planks
        image[top:bottom] *= rng.uniform(0.85, 1.1)
        image[top : top + 2] *= 0.45
    return _to_bytes(image + _grain(rng, size, 0.012))


def _stone(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """Marble with veins, or granite."""
    base, vein = np.full(3, rng.uniform(0.15, 0.95)) * rng.uniform(0.9, 1.0, 3), np.full(3, rng.uniform(0.1, 0.9))
    clouds = cloud_noise(rng, size, (3, 3), 5)
    if rng.random() < 0.6:
        weight = np.abs(clouds - 0.5) * rng.uniform(4, 12)
        weight = 1 - np.clip(weight, 0, 1)
    else:
        weight = cloud_noise(rng, size, (60, 60), 3)
    return _to_bytes(_blend(weight * rng.uniform(0.3, 0.9), base, vein) + _grain(rng, size, 0.02))


def _cloth(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """A woven cloth: plain, striped or tartan."""
    image = np.ones((size, size, 3)) * np.array(
        vivid_color(rng) if rng.random() < 0.6 else np.full(3, rng.uniform(0.5, 1))
    )
    v, u = np.mgrid[0:size, 0:size] / size
    for coordinate in (u, v)[: int(rng.integers(0, 3))]:
        count, duty = int(rng.integers(2, 9)), rng.uniform(0.1, 0.5)
        band = ((coordinate * count) % 1 < duty)[..., None]
        image = np.where(band, 0.45 * image + 0.55 * np.array(vivid_color(rng)), image)
    weave = 0.06 * (np.sin(u * 2 * np.pi * 128) * np.sin(v * 2 * np.pi * 128))
    folds = 0.12 * (cloud_noise(rng, size, (3, 3), 2) - 0.5)
    return _to_bytes(image + weave[..., None] + folds[..., None] + _grain(rng, size, 0.02))


def _tiles(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """Tiles with joints, each of a slightly other tone."""
    count = int(rng.integers(3, 9))
    tone = np.full(3, rng.uniform(0.4, 0.95))
    if rng.random() < 0.4:
        tone = 0.6 * tone + 0.4 * np.array(vivid_color(rng))
    shades = rng.uniform(0.88, 1.06, (count, count, 1)) * tone
    v, u = np.mgrid[0:size, 0:size] * count / size
    image = shades[v.astype(int) % count, u.astype(int) % count]
    joint = ((u % 1 < 0.04) | (v % 1 < 0.04))[..., None]
    image = np.where(joint, rng.uniform(0.2, 0.9), image)
    return _to_bytes(image + _grain(rng, size, 0.015))


def _carpet(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """Carpet: flecks of a few colours along one direction."""
    colors = np.array([vivid_color(rng) for _ in range(3)]) * 0.35 + rng.uniform(0.1, 0.5)
    columns, rows = int(rng.integers(40, 200)), int(rng.integers(40, 200))
    flecks = rng.integers(0, 3, (rows, columns))
    image = cv2.resize(colors[flecks], (size, size), interpolation=cv2.INTER_NEAREST)
    return _to_bytes(image * (0.8 + 0.4 * cloud_noise(rng, size, (4, 4), 5)[..., None]) + _grain(rng, size, 0.05))


def _plaster(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """A painted wall or concrete."""
    tone = np.full(3, rng.uniform(0.45, 0.95)) * rng.uniform(0.9, 1.05, 3)
    clouds = cloud_noise(rng, size, (4, 4), 6)
    return _to_bytes(tone * (1 - rng.uniform(0.03, 0.3) * clouds[..., None]) + _grain(rng, size, 0.015))
