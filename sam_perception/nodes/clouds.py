"""Objects' points as one PointCloud2."""

from __future__ import annotations

import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from sam_perception.geometry.clouds import ObjectCloud

# rgb: 0x00RRGGBB in the bits of a float, as RViz and PCL read it.
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("object_id", "<u4")])
_FIELD_TYPES = {
    "x": PointField.FLOAT32,
    "y": PointField.FLOAT32,
    "z": PointField.FLOAT32,
    "rgb": PointField.FLOAT32,
    "object_id": PointField.UINT32,
}


def cloud_message(header: Any, clouds: Iterable[ObjectCloud], target_T_camera: NDArray[np.float64]) -> Any:
    """An unordered cloud with fields x y z rgb object_id.

    Args:
        header: of the frame "target".
        clouds: in the camera's optical frame; the masks say whose they are.
        target_T_camera: (4, 4) takes their points to "target".
    """
    points = np.concatenate([np.empty(0, POINT), *(_points(cloud, target_T_camera) for cloud in clouds)])
    data = array.array("B")
    data.frombytes(points.tobytes())
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=POINT.fields[name][1], datatype=_FIELD_TYPES[name], count=1)  # type: ignore[index]
            for name in POINT.names or ()
        ],
        is_bigendian=False,
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * len(points),
        data=data,
        is_dense=True,
    )


def _points(cloud: ObjectCloud, target_T_camera: NDArray[np.float64]) -> NDArray[Any]:
    points = np.empty(len(cloud), POINT)
    moved = cloud.points @ target_T_camera[:3, :3].T + target_T_camera[:3, 3]
    points["x"], points["y"], points["z"] = moved.T
    red, green, blue = cloud.colors.T.astype(np.uint32)
    points["rgb"] = red << 16 | green << 8 | blue
    points["object_id"] = cloud.mask.object_id
    return points
