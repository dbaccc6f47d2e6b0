"""The cloud's bytes say what PointCloud2's fields promise."""

import struct

import numpy as np
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from sam_perception.geometry.clouds import deproject_mask
from sam_perception.masks import Mask
from sam_perception.nodes.clouds import cloud_message

CAMERA_TO_TARGET = np.array([[0, 0, 1, 10], [-1, 0, 0, 20], [0, -1, 0, 30], [0, 0, 0, 1]], np.float64)


def clouds_of(scene, *names):
    described = [scene.named(name) for name in names]
    return [deproject_mask(scene.frame, Mask.from_array(scene.truth(each), object_id=each["id"])) for each in described]


def unpacked(message):
    """Every point by way of the message's own fields and struct, as a foreign reader would do it."""
    assert not message.is_bigendian and message.row_step == message.width * message.point_step
    assert len(message.data) == message.height * message.row_step
    formats = {PointField.FLOAT32: "<f", PointField.UINT32: "<I"}
    data = bytes(message.data)
    columns = {
        field.name: [
            struct.unpack_from("<I" if field.name == "rgb" else formats[field.datatype], data, start + field.offset)[0]
            for start in range(0, len(data), message.point_step)
        ]
        for field in message.fields
    }
    return {name: np.array(column) for name, column in columns.items()}


def test_points_are_moved_and_carry_their_own_colour_and_object(sample):
    clouds = clouds_of(sample, "soup can", "cracker box")
    message = cloud_message(Header(frame_id="base"), clouds, CAMERA_TO_TARGET)
    columns = unpacked(message)
    assert list(columns) == ["x", "y", "z", "rgb", "object_id"] and message.height == 1 and message.is_dense
    assert message.header.frame_id == "base"
    assert next(field for field in message.fields if field.name == "rgb").datatype == PointField.FLOAT32
    expected = np.concatenate([cloud.points for cloud in clouds]).astype(np.float64)
    # The axes of the transform, written out: forward becomes x, left y, up z.
    np.testing.assert_allclose(columns["x"], expected[:, 2] + 10, atol=2e-6)
    np.testing.assert_allclose(columns["y"], -expected[:, 0] + 20, atol=2e-6)
    np.testing.assert_allclose(columns["z"], -expected[:, 1] + 30, atol=2e-6)
    ids = np.repeat([cloud.mask.object_id for cloud in clouds], [len(cloud) for cloud in clouds])
    np.testing.assert_array_equal(columns["object_id"], ids)
    pixels = np.concatenate([cloud.pixels for cloud in clouds])
    colors = sample.frame.color[pixels[:, 1], pixels[:, 0]].astype(int)
    np.testing.assert_array_equal(columns["rgb"], colors @ [1 << 16, 1 << 8, 1])


def test_without_objects_the_cloud_is_empty_but_has_its_fields():
    message = cloud_message(Header(frame_id="base"), [], np.eye(4))
    assert (message.width, message.row_step, len(message.data), message.point_step) == (0, 0, 0, 20)
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb", "object_id"]
