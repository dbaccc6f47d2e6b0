"""Boxes, centroids, markers and frames of TF are those of the objects, in the target frame, sizes unturned."""

import cv2
import numpy as np
import pytest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from sam_perception.geometry.objects import measure_object
from sam_perception.masks import Mask
from sam_perception.nodes.object_messages import (
    boxes_message,
    centroids_message,
    markers_message,
    object_transforms,
    place_objects,
)

TARGET_T_CAMERA = np.eye(4)
TARGET_T_CAMERA[:3, :3] = cv2.Rodrigues(np.array([2.0, 0.4, -0.7]))[0]
TARGET_T_CAMERA[:3, 3] = 0.3, -0.2, 1.1


@pytest.fixture(scope="module")
def geometries(sample):
    masks = [
        Mask.from_array(sample.truth(each), score=0.5, object_id=each["id"], label=each["name"])
        for each in sample.objects[:3]
    ]
    return [measure_object(sample.frame, mask, [other for other in masks if other is not mask]) for mask in masks]


@pytest.fixture(scope="module")
def placed(geometries):
    return place_objects(geometries, TARGET_T_CAMERA)


def corners(pose, size):
    """(8, 3) sorted corners of a box message, by Rodrigues' formula and not by our own quaternions."""
    vector = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z])
    sine = np.linalg.norm(vector)
    angle = 2 * np.arctan2(sine, pose.orientation.w)
    rotation = cv2.Rodrigues(vector / sine * angle)[0]
    signs = np.array(np.meshgrid(*[[-0.5, 0.5]] * 3)).reshape(3, 8).T
    center = [pose.position.x, pose.position.y, pose.position.z]
    return ordered(center + signs * [size.x, size.y, size.z] @ rotation.T)


def ordered(points):
    return points[np.lexsort(np.round(points, 6).T)]


def moved(points):
    return points @ TARGET_T_CAMERA[:3, :3].T + TARGET_T_CAMERA[:3, 3]


def test_boxes_enclose_the_same_space_in_the_target_frame(geometries, placed):
    message = boxes_message(Header(frame_id="base"), placed)
    assert message.header.frame_id == "base" and len(message.detections) == 3
    for detection, geometry in zip(message.detections, geometries, strict=True):
        np.testing.assert_allclose(
            corners(detection.bbox.center, detection.bbox.size), ordered(moved(geometry.box.corners())), atol=1e-9
        )
        size = detection.bbox.size  # |R| s or R s would differ
        np.testing.assert_allclose([size.x, size.y, size.z], geometry.box.size, atol=1e-12)
        mask = geometry.cloud.mask
        assert (detection.id, detection.results[0].hypothesis.class_id) == (str(mask.object_id), mask.label)
        assert detection.results[0].hypothesis.score == 0.5
        assert detection.header.frame_id == "base"


def test_centroids_are_in_the_order_of_the_boxes(geometries, placed):
    message = centroids_message(Header(frame_id="base"), placed)
    found = [[pose.position.x, pose.position.y, pose.position.z] for pose in message.poses]
    np.testing.assert_allclose(found, moved(np.array([each.centroid_m for each in geometries])), atol=1e-9)


def test_markers_replace_all_that_were_there(placed):
    message = markers_message(Header(frame_id="base"), placed)
    assert message.markers[0].action == Marker.DELETEALL
    assert len({(marker.ns, marker.id) for marker in message.markers[1:]}) == 2 * len(placed)
    for marker in message.markers[1:]:
        assert marker.action == Marker.ADD and marker.header.frame_id == "base" and 0 < marker.color.a <= 1
        assert min(marker.scale.x, marker.scale.y, marker.scale.z) > 0
    assert [marker.action for marker in markers_message(Header(), []).markers] == [Marker.DELETEALL]


def test_frames_of_tf_lie_in_the_boxes(placed):
    transforms = object_transforms(Header(frame_id="base"), placed)
    assert [each.child_frame_id for each in transforms] == [f"object_{each.mask.object_id}" for each in placed]
    for transform, each in zip(transforms, placed, strict=True):
        translation = transform.transform.translation
        np.testing.assert_allclose([translation.x, translation.y, translation.z], each.box.center, atol=1e-12)


def test_an_object_without_points_is_left_out_everywhere(geometries, sample):
    nothing = measure_object(sample.frame, Mask.from_array(np.zeros(sample.frame.size, bool), object_id=99))
    placed = place_objects([geometries[0], nothing, geometries[1]], np.eye(4))
    assert [each.mask.object_id for each in placed] == [geometry.cloud.mask.object_id for geometry in geometries[:2]]


def test_an_id_too_large_for_a_marker_does_not_stop_the_others(geometries):
    import dataclasses

    cloud = dataclasses.replace(
        geometries[0].cloud, mask=dataclasses.replace(geometries[0].cloud.mask, object_id=0xFFFFFFFF)
    )
    placed = place_objects([dataclasses.replace(geometries[0], cloud=cloud)], np.eye(4))
    assert len(markers_message(Header(), placed).markers) == 3
    assert boxes_message(Header(), placed).detections[0].id == "4294967295"
