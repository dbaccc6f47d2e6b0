"""Objects measured in space as messages: boxes, centroids, markers and frames of TF."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesis, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from sam_perception.geometry.boxes import OrientedBox, transform_box
from sam_perception.geometry.objects import ObjectGeometry
from sam_perception.masks import Mask, object_color
from sam_perception.nodes.transform_messages import pose_message, transform_message, vector_message

_BOX_OPACITY = 0.4
_CENTROID_DIAMETER_M = 0.012
_THINNEST_MARKER_M = 1e-4  # RViz refuses a scale of 0
_LARGEST_MARKER_ID = (1 << 31) - 1


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedObject:
    """An object's centroid and box in the frame that the messages are in.

    Attributes:
        mask: the object's id, label and score.
        centroid_m: (3,) float64.
        box: around the object.
    """

    mask: Mask
    centroid_m: NDArray[np.float64]
    box: OrientedBox


def place_objects(geometries: Sequence[ObjectGeometry], target_T_camera: NDArray[np.float64]) -> list[PlacedObject]:
    """The objects that have a centroid and a box, moved from the camera's frame to "target"; their order stays."""
    rotation, translation = target_T_camera[:3, :3], target_T_camera[:3, 3]
    return [
        PlacedObject(
            geometry.cloud.mask,
            rotation @ geometry.centroid_m + translation,
            transform_box(geometry.box, target_T_camera),
        )
        for geometry in geometries
        if geometry.centroid_m is not None and geometry.box is not None
    ]


def boxes_message(header: Any, objects: Sequence[PlacedObject]) -> Any:
    """A Detection3DArray with one oriented box for each object; id is the object's id, class_id its label."""
    return Detection3DArray(header=header, detections=[_detection(header, placed) for placed in objects])


def centroids_message(header: Any, objects: Sequence[PlacedObject]) -> Any:
    """A PoseArray with the middle of each object's visible points, in the order of the boxes."""
    return PoseArray(header=header, poses=[pose_message(placed.centroid_m) for placed in objects])


def markers_message(header: Any, objects: Sequence[PlacedObject], grippers: Sequence[Any] = ()) -> Any:
    """A MarkerArray that takes away all earlier markers, then shows each object's box and centroid, and grippers.

    Args:
        header: of the message.
        objects: what is shown.
        grippers: markers of ``grasp_messages.gripper_markers``.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for placed in objects:
        markers += [_box_marker(header, placed), _centroid_marker(header, placed)]
    return MarkerArray(markers=[*markers, *grippers])


def object_transforms(header: Any, objects: Sequence[PlacedObject]) -> list[Any]:
    """A TransformStamped for each object: `object_<id>` lies in the middle of its box, along the box's axes."""
    transforms = []
    for placed in objects:
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = placed.box.rotation, placed.box.center
        transforms.append(transform_message(header, f"object_{placed.mask.object_id}", pose))
    return transforms


def _detection(header: Any, placed: PlacedObject) -> Any:
    box = pose_message(placed.box.center, placed.box.rotation)
    result = ObjectHypothesisWithPose(
        hypothesis=ObjectHypothesis(class_id=placed.mask.label, score=float(placed.mask.score))
    )
    result.pose.pose = box
    return Detection3D(
        header=header,
        results=[result],
        bbox=BoundingBox3D(center=box, size=vector_message(placed.box.size)),
        id=str(placed.mask.object_id),
    )


def _box_marker(header: Any, placed: PlacedObject) -> Any:
    return Marker(
        header=header,
        ns="boxes",
        id=placed.mask.object_id & _LARGEST_MARKER_ID,
        type=Marker.CUBE,
        action=Marker.ADD,
        pose=pose_message(placed.box.center, placed.box.rotation),
        scale=vector_message(np.maximum(placed.box.size, _THINNEST_MARKER_M)),
        color=_color(placed, _BOX_OPACITY),
    )


def _centroid_marker(header: Any, placed: PlacedObject) -> Any:
    return Marker(
        header=header,
        ns="centroids",
        id=placed.mask.object_id & _LARGEST_MARKER_ID,
        type=Marker.SPHERE,
        action=Marker.ADD,
        pose=pose_message(placed.centroid_m),
        scale=vector_message([_CENTROID_DIAMETER_M] * 3),
        color=_color(placed, 1.0),
    )


def _color(placed: PlacedObject, opacity: float) -> Any:
    red, green, blue = (value / 255 for value in object_color(placed.mask.object_id))
    return ColorRGBA(r=red, g=green, b=blue, a=opacity)
