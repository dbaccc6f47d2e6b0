"""Clouds of shapes on a table, their surfaces in closed form, and a check of a gripper's way against points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_perception.geometry.boxes import oriented_box
from sam_perception.geometry.planes import Plane
from sam_perception.grasping.candidates import GraspCandidate
from sam_perception.grasping.gripper import Gripper
from sam_perception.grasping.scene import GraspScene

Points = NDArray[np.float64]

# A camera 0.6 m from the table's origin, looking down at it at 55 degrees; table z is up.
_DOWN = np.radians(55)
TABLE_T_CAMERA = np.eye(4)
TABLE_T_CAMERA[:3, :3] = np.stack(
    [
        [1.0, 0.0, 0.0],
        [0.0, -np.sin(_DOWN), -np.cos(_DOWN)],
        [0.0, np.cos(_DOWN), -np.sin(_DOWN)],
    ],
    axis=1,
)
TABLE_T_CAMERA[:3, 3] = -0.6 * TABLE_T_CAMERA[:3, 2]
CAMERA_T_TABLE = np.linalg.inv(TABLE_T_CAMERA)


def in_camera(points: Points) -> Points:
    return points @ CAMERA_T_TABLE[:3, :3].T + CAMERA_T_TABLE[:3, 3]


def in_table(candidate: GraspCandidate) -> Points:
    """(4, 4) table_T_tcp."""
    return TABLE_T_CAMERA @ candidate.camera_T_tcp


def scene_of(cloud: Points, obstacles: Points | None = None, with_plane: bool = True) -> GraspScene:
    """A scene of points in the table's frame."""
    plane = Plane.through(CAMERA_T_TABLE[:3, 3], CAMERA_T_TABLE[:3, 2]) if with_plane else None
    points = in_camera(cloud)
    around = np.empty((0, 3)) if obstacles is None else in_camera(obstacles)
    return GraspScene(points, around, plane, oriented_box(points, plane))


def box_surface(size: tuple[float, float, float], yaw_deg: float = 0.0, step: float = 0.004) -> Points:
    """The top and the sides of a box on the table, in the middle."""
    half = np.array(size) / 2
    grids = [np.linspace(-h, h, max(2, round(2 * h / step))) for h in half]
    faces = []
    for axis in range(3):
        first, second = (other for other in range(3) if other != axis)
        a, b = np.meshgrid(grids[first], grids[second])
        for side in (-1, 1):
            if axis == 2 and side < 0:
                continue
            face = np.empty((a.size, 3))
            face[:, first], face[:, second], face[:, axis] = a.ravel(), b.ravel(), side * half[axis]
            faces.append(face)
    return turned(np.concatenate(faces) + np.array([0, 0, half[2]]), yaw_deg)


def tube(radius: float, height: float, step: float = 0.004) -> Points:
    """The side of an upright cylinder on the table."""
    angles = np.linspace(0, 2 * np.pi, round(2 * np.pi * radius / step), endpoint=False)
    a, z = np.meshgrid(angles, np.linspace(0, height, round(height / step)))
    return np.stack([radius * np.cos(a).ravel(), radius * np.sin(a).ravel(), z.ravel()], axis=1)


def disc(radius: float, height: float, step: float = 0.004) -> Points:
    axis = np.arange(-radius, radius + step, step)
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    inside = x * x + y * y <= radius * radius
    return np.stack([x[inside], y[inside], np.full(np.count_nonzero(inside), height)], axis=1)


def ball(radius: float, count: int = 800) -> Points:
    """A sphere on the table; points on a Fibonacci spiral."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z * z)
    return radius * np.stack([ring * np.cos(angle), ring * np.sin(angle), z + 1], axis=1)


def slab(low: tuple[float, float, float], high: tuple[float, float, float], step: float = 0.006) -> Points:
    """Points that fill a box evenly."""
    axes = [np.linspace(a, b, max(2, round((b - a) / step))) for a, b in zip(low, high, strict=True)]
    return np.stack([grid.ravel() for grid in np.meshgrid(*axes)], axis=1)


def turned(points: Points, yaw_deg: float) -> Points:
    cos, sin = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    return points @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T


def met_points(candidate: GraspCandidate, gripper: Gripper, points: Points, lift_m: float = 0.0) -> int:
    """How many points, in the table's frame, some box of the gripper contains on its way in small steps.

    The way is that of the open gripper from the pre-grasp to the grasp, or, with ``lift_m``, that of the gripper
    from the grasp upwards.
    """
    pose, count = in_table(candidate), 0
    centers, halves = gripper.boxes(candidate.width_m)
    for share in np.linspace(0, 1, 41):
        at = pose.copy()
        if lift_m:
            at[2, 3] += share * lift_m
        else:
            at[:3, 3] -= share * candidate.pregrasp_distance_m * pose[:3, 2]
        local = (points - at[:3, 3]) @ at[:3, :3]
        for center, half in zip(centers, halves, strict=True):
            count += int(np.count_nonzero((np.abs(local - center) < half).all(axis=1)))
    return count


def lowest_corner_m(candidate: GraspCandidate, gripper: Gripper) -> float:
    """Height over the table of the open gripper's lowest corner at the grasp."""
    pose = in_table(candidate)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = [center + signs * half for center, half in zip(*gripper.boxes(candidate.width_m), strict=True)]
    return float((np.concatenate(corners) @ pose[:3, :3].T + pose[:3, 3])[:, 2].min())
