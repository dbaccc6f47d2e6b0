"""Views of boxes on a table, found by intersecting each pixel's ray with their faces: depth in closed form."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

Camera = tuple[float, float, float, float]
Box = tuple[float, float, float, float, float]
"""x_min, y_min, x_max, y_max on the table, and height, in metres."""

TABLE, FLOOR = 0, -1
D435: Camera = (610.0, 612.0, 322.5, 241.0)  # of a 640x480 image


@dataclasses.dataclass(frozen=True)
class View:
    """What a pinhole camera over the table sees.

    Attributes:
        depth_m: (H, W) float32.
        heights_m: (H, W) of the surface over the table.
        objects: (H, W) int, number of the box from 1; TABLE, or FLOOR.
        faces: (H, W) int, another number for every face.
        plane: the table's n and d in the camera's frame: n . p = d, n towards the camera.
    """

    depth_m: NDArray[np.float32]
    heights_m: NDArray[np.float64]
    objects: NDArray[np.int64]
    faces: NDArray[np.int64]
    plane: tuple[NDArray[np.float64], float]


@functools.cache
def view_of(
    boxes: tuple[Box, ...],
    size: tuple[int, int] = (480, 640),
    camera: Camera = D435,
    eye: tuple[float, float, float] = (0.05, -0.35, 0.6),
    half_table: float = 9.0,
    floor_m: float = -0.7,
    roll_deg: float = 0.0,
) -> View:
    """Look from ``eye`` (metres, over the table's middle) at the middle of a square table.

    The arrays are shared by all who ask for the same view, and cannot be written to.
    """
    roll = np.deg2rad(roll_deg)
    turned = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rotation = _looking_at_origin(np.asarray(eye)) @ turned
    fx, fy, cx, cy = camera
    v, u = np.mgrid[: size[0], : size[1]]
    rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(size)], axis=-1) @ rotation.T  # z of the camera: 1
    depth, objects, faces = np.full(size, np.inf), np.full(size, FLOOR), np.zeros(size, np.int64)

    def hit(at: NDArray[np.float64], where: NDArray[np.bool_], number: int, face: int) -> None:
        nearer = where & (at > 0) & (at < depth)
        depth[nearer], objects[nearer], faces[nearer] = at[nearer], number, face

    with np.errstate(divide="ignore", invalid="ignore"):
        for level, number, half in ((floor_m, FLOOR, 99.0), (0.0, TABLE, half_table)):
            at = (level - eye[2]) / rays[..., 2]
            on = np.asarray(eye) + at[..., None] * rays
            hit(at, (np.abs(on[..., :2]) < half).all(axis=-1), number, number)
        for number, (x0, y0, x1, y1, height) in enumerate(boxes, 1):
            low, high = np.array([x0, y0, 0.0]), np.array([x1, y1, height])
            for axis in range(3):
                for face, value in enumerate((low[axis], high[axis])):
                    at = (value - eye[axis]) / rays[..., axis]
                    on = np.asarray(eye) + at[..., None] * rays
                    others = [other for other in range(3) if other != axis]
                    inside = ((on >= low) & (on <= high))[..., others].all(axis=-1)
                    hit(at, inside, number, 10 * number + 2 * axis + face)
    heights = eye[2] + depth * rays[..., 2]
    images = (depth.astype(np.float32), heights, objects, faces)
    for image in images:
        image.flags.writeable = False
    return View(*images, (rotation.T @ [0.0, 0.0, 1.0], -eye[2]))


def scaled(camera: Camera, size: tuple[int, int], to: tuple[int, int]) -> Camera:
    """The camera of the same view at another size."""
    (fx, fy, cx, cy), (y, x) = camera, (to[0] / size[0], to[1] / size[1])
    return fx * x, fy * y, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5


def _looking_at_origin(eye: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) columns: the optical frame's axes in the table's."""
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)
