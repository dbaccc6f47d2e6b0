"""Point clouds as PLY and PCD files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_perception.atomic_files import write_atomically
from sam_perception.errors import InvalidInputError

_PLY_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
_PLY_COLOR = np.dtype([("red", "u1"), ("green", "u1"), ("blue", "u1")])
_PCD_COLOR = np.dtype([("rgb", "<u4")])


def write_ply(path: Path | str, points: ArrayLike, colors: ArrayLike | None = None, *, ascii: bool = False) -> None:
    """Write a PLY file: float x y z and, with colours, uchar red green blue; little endian, or text.

    Args:
        path: the file; it appears whole or not at all.
        points: (N, 3) metres.
        colors: (N, 3) uint8 RGB, or None.
        ascii: text instead of binary.

    Raises:
        InvalidInputError: points or colours of another shape or dtype, or a path that cannot be written.
    """
    points, colors = _checked(points, colors)
    fields = _PLY_POINT.descr + ([] if colors is None else _PLY_COLOR.descr)
    types = {"<f4": "float", "|u1": "uchar", "u1": "uchar"}
    header = [
        "ply",
        f"format {'ascii' if ascii else 'binary_little_endian'} 1.0",
        "comment metres, camera optical frame: x right, y down, z forward",
        f"element vertex {len(points)}",
        *(f"property {types[field[1]]} {field[0]}" for field in fields),
        "end_header",
    ]
    table = np.empty(len(points), dtype=fields)
    for i, name in enumerate("xyz"):
        table[name] = points[:, i]
    if colors is not None:
        for i, name in enumerate(("red", "green", "blue")):
            table[name] = colors[:, i]
    _write(path, header, table, ascii=ascii)


def write_pcd(path: Path | str, points: ArrayLike, colors: ArrayLike | None = None, *, ascii: bool = False) -> None:
    """Write a PCD v0.7 file: x y z and, with colours, rgb packed as PCL expects (the bits 0x00RRGGBB).

    Binary files declare rgb as PCL itself does, as a float whose bits are the colour. Text files declare it as an
    unsigned integer, which PCL reads since 1.8.1, because a float's digits would not keep every bit pattern.

    Args:
        path: the file; it appears whole or not at all.
        points: (N, 3) metres.
        colors: (N, 3) uint8 RGB, or None.
        ascii: text instead of binary.

    Raises:
        InvalidInputError: points or colours of another shape or dtype, or a path that cannot be written.
    """
    points, colors = _checked(points, colors)
    table = np.empty(len(points), dtype=_PLY_POINT.descr + ([] if colors is None else _PCD_COLOR.descr))
    for i, name in enumerate("xyz"):
        table[name] = points[:, i]
    if colors is not None:
        red, green, blue = colors.astype(np.uint32).T
        table["rgb"] = red << 16 | green << 8 | blue
    names = table.dtype.names or ()
    header = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        f"FIELDS {' '.join(names)}",
        f"SIZE {' '.join('4' for _ in names)}",
        f"TYPE {' '.join('U' if name == 'rgb' and ascii else 'F' for name in names)}",
        f"COUNT {' '.join('1' for _ in names)}",
        f"WIDTH {len(points)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(points)}",
        f"DATA {'ascii' if ascii else 'binary'}",
    ]
    _write(path, header, table, ascii=ascii)


def _checked(points: ArrayLike, colors: ArrayLike | None) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise InvalidInputError.for_field("points", "numbers of shape (N, 3)", f"{points.dtype} {points.shape}")
    if colors is None:
        return points.astype(np.float32), None
    colors = np.asarray(colors)
    if colors.shape != points.shape or colors.dtype != np.uint8:
        raise InvalidInputError.for_field("colors", f"uint8 of shape {points.shape}", f"{colors.dtype} {colors.shape}")
    return points.astype(np.float32), colors


def _write(path: Path | str, header: list[str], table: NDArray[np.void], *, ascii: bool) -> None:
    rows = "".join(f"{' '.join(map(_text, row))}\n" for row in table.tolist()).encode() if ascii else table.tobytes()
    try:
        write_atomically(path, "".join(f"{line}\n" for line in header).encode("ascii") + rows)
    except OSError as error:
        raise InvalidInputError.for_field("path", "a file that can be written", f"{path}: {error.strerror}") from None


def _text(value: float | int) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)
