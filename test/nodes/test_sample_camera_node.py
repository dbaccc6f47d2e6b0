"""The camera plays what it was told to in realsense-ros's topics and frames, one stamp for what belongs together."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from sam_perception.frame_files import SAMPLE_DIRECTORY
from sam_perception.geometry.rays import project
from sam_perception.nodes.camera_messages import intrinsics_from_message
from sam_perception.nodes.client import LATCHED, wait_until
from sam_perception.nodes.sample_camera_node import SampleCameraNode

COLOR = "/camera/camera/color"
DEPTH = "/camera/camera/aligned_depth_to_color"


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def same_stamp(message):
    return lambda other: stamp(other) == stamp(message)


def pixels(message, dtype, channels):
    rows = np.frombuffer(bytes(message.data), dtype).reshape(message.height, message.width, channels)
    assert message.step == rows[0].nbytes
    return rows


def test_the_sample_arrives_whole_with_one_stamp_and_frame(run_node, client, sample):
    colors, depths = client.listen(Image, f"{COLOR}/image_raw"), client.listen(Image, f"{DEPTH}/image_raw")
    infos = [client.listen(CameraInfo, f"{kind}/camera_info") for kind in (COLOR, DEPTH)]
    run_node(SampleCameraNode)
    color = colors.wait(lambda color: any(stamp(depth) == stamp(color) for depth in depths.messages))
    depth = depths.wait(same_stamp(color))
    np.testing.assert_array_equal(pixels(color, np.uint8, 3), sample.frame.color)
    np.testing.assert_array_equal(pixels(depth, np.uint16, 1)[..., 0], sample.frame.depth)
    assert (color.encoding, depth.encoding) == ("rgb8", "16UC1")
    for message in (color, depth, *(inbox.wait(same_stamp(color)) for inbox in infos)):
        assert message.header.frame_id == "camera_color_optical_frame"
    assert intrinsics_from_message(infos[0].wait()).matrix().tolist() == sample.frame.intrinsics.matrix().tolist()
    later = colors.wait(lambda message: stamp(message) > stamp(color))
    assert later.header.stamp.sec > 1_700_000_000


def test_the_table_is_where_the_image_shows_it(run_node, client, sample):
    """Through the frames of TF, an object's middle in the table's frame lands on the object's pixels."""
    tf = client.listen(TFMessage, "/tf_static", LATCHED)
    run_node(SampleCameraNode)
    (message,) = [tf.wait()]
    frames = {each.child_frame_id: each for each in message.transforms}
    assert {name: each.header.frame_id for name, each in frames.items()} == {
        "camera_color_frame": "camera_link",
        "camera_color_optical_frame": "camera_color_frame",
        "table": "camera_color_optical_frame",
    }
    rotation = frames["camera_color_optical_frame"].transform.rotation  # as REP 103 has it
    assert np.round([rotation.x, rotation.y, rotation.z, rotation.w], 9).tolist() == [-0.5, 0.5, -0.5, 0.5]
    table = frames["table"].transform
    vector = np.array([table.rotation.x, table.rotation.y, table.rotation.z])
    angle = 2 * np.arctan2(np.linalg.norm(vector), table.rotation.w)
    camera_R_table = cv2.Rodrigues(vector / np.linalg.norm(vector) * angle)[0]
    translation = np.array([table.translation.x, table.translation.y, table.translation.z])
    origin = project(translation, sample.frame.intrinsics)
    assert ((origin >= 0) & (origin < [640, 480])).all()
    expected = json.loads((SAMPLE_DIRECTORY / "camera.json").read_text())["camera_T_table"]
    np.testing.assert_allclose(np.column_stack([camera_R_table, translation]), np.array(expected)[:3], atol=1e-6)


@pytest.mark.parametrize(
    ("encoding", "channels", "back"),
    [
        ("bgr8", 3, cv2.COLOR_BGR2RGB),
        ("rgba8", 4, cv2.COLOR_RGBA2RGB),
        ("bgra8", 4, cv2.COLOR_BGRA2RGB),
    ],
)
def test_colour_comes_in_the_encoding_that_was_asked_for(run_node, client, sample, encoding, channels, back):
    colors = client.listen(Image, f"{COLOR}/image_raw")
    run_node(SampleCameraNode, encoding=encoding)
    message = colors.wait(lambda message: message.encoding == encoding)
    np.testing.assert_array_equal(cv2.cvtColor(pixels(message, np.uint8, channels), back), sample.frame.color)


def test_depth_comes_in_metres_with_nan_for_no_data(run_node, client, sample):
    depths = client.listen(Image, f"{DEPTH}/image_raw")
    run_node(SampleCameraNode, depth_encoding="32FC1")
    metres = pixels(depths.wait(lambda message: message.encoding == "32FC1"), np.float32, 1)[..., 0]
    np.testing.assert_array_equal(np.isnan(metres), sample.frame.depth == 0)
    np.testing.assert_allclose(np.nan_to_num(metres) * 1000, sample.frame.depth, atol=1e-3)


def a_folder(path, count):
    for number in range(count):
        PillowImage.fromarray(np.full((3, 4, 3), number, np.uint8)).save(path / f"{number}-color.png")
        np.save(path / f"{number}-depth.npy", np.full((3, 4), 0.5 + number / 10, np.float32))


def test_a_folder_of_float_depth_plays_in_order_and_ends_without_loop(run_node, client, tmp_path, wait_for_text):
    a_folder(tmp_path, 4)
    colors, depths = client.listen(Image, f"{COLOR}/image_raw"), client.listen(Image, f"{DEPTH}/image_raw")
    node = run_node(SampleCameraNode, source=str(tmp_path), loop=False, rate_hz=5.0, autostart=False)
    node.trigger_configure()
    for publisher in node._images.values():  # else the first frames would find nobody there
        wait_until(publisher.get_subscription_count, f"a subscription of {publisher.topic_name}")
    node.trigger_activate()
    wait_for_text("has played all of 4 frames")
    wait_for_text("no camera_info")
    colors.wait(lambda message: message.data[0] == 3)
    assert [message.data[0] for message in colors.messages] == [0, 1, 2, 3]
    depths.wait(lambda message: pixels(message, np.uint16, 1)[0, 0, 0] == 800)


def test_a_source_that_is_none_leaves_a_node_that_can_be_told_a_better_one(run_node, client, tmp_path, wait_for_text):
    node = run_node(SampleCameraNode, source=str(tmp_path / "missing"))
    wait_for_text("source: expected a folder of images")
    assert node.state == "unconfigured"
    assert node.set_parameters([Parameter("source", value="")])[0].successful
    colors = client.listen(Image, f"{COLOR}/image_raw")
    node.trigger_configure()
    node.trigger_activate()
    assert colors.wait().width == 640
