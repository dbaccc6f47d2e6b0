"""Transforms between frames at a time, against products of matrices; the same on the real tf2_ros."""

import math
import random
import threading
import time

import numpy as np
import pytest

from sam_perception.standalone import install_where_needed

install_where_needed()
rclpy = pytest.importorskip("rclpy")
tf2_ros = pytest.importorskip("tf2_ros")

from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.time import Time  # noqa: E402

DEADLINE_S = 20.0
NEWEST = Time()


def at(seconds):
    return Time(nanoseconds=round(seconds * 1e9))


def transform(parent, child, seconds=0.0, translation=(0.0, 0.0, 0.0), axis=(0.0, 0.0, 1.0), angle=0.0):
    """The pose of child in parent."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = at(seconds).to_msg()
    vector, turn = message.transform.translation, message.transform.rotation
    vector.x, vector.y, vector.z = translation
    turn.x, turn.y, turn.z = (math.sin(angle / 2) * component for component in axis)
    turn.w = math.cos(angle / 2)
    return message


def matrix(message):
    """4 x 4; the rotation column by column, by the sandwich product written out (Hamilton)."""
    vector, turn = message.transform.translation, message.transform.rotation
    x, y, z, w = turn.x, turn.y, turn.z, turn.w
    found = np.eye(4)
    found[:3, :3] = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    found[:3, 3] = vector.x, vector.y, vector.z
    return found


@pytest.fixture
def buffer():
    return tf2_ros.Buffer(cache_time=Duration(seconds=10.0))


@pytest.mark.parametrize("seed", range(10))
def test_any_two_frames_of_a_tree(buffer, seed):
    dice = random.Random(seed)
    frames = [f"frame_{index}" for index in range(12)]
    in_root = {frames[0]: np.eye(4)}
    for index, child in enumerate(frames[1:], start=1):
        parent = dice.choice(frames[:index])
        axis = np.array([dice.gauss(0, 1) for _ in range(3)])
        pose = transform(
            parent,
            child,
            seconds=5.0,
            translation=[dice.uniform(-10, 10) for _ in range(3)],
            axis=(axis / np.linalg.norm(axis)).tolist(),
            angle=dice.uniform(-math.pi, math.pi),
        )
        set_pose = dice.choice([buffer.set_transform, buffer.set_transform_static])
        set_pose(pose, "test")
        in_root[child] = in_root[parent] @ matrix(pose)
    for target in frames:
        for source in frames:
            found = buffer.lookup_transform(target, source, at(5.0))
            assert (found.header.frame_id, found.child_frame_id) == (target, source)
            assert found.header.stamp == at(5.0).to_msg()
            np.testing.assert_allclose(matrix(found), np.linalg.inv(in_root[target]) @ in_root[source], atol=1e-12)


def test_points_go_from_the_source_to_the_target_frame(buffer):
    # A camera 0.8 m above the table that looks straight down.
    buffer.set_transform_static(transform("table", "camera", 0, (0.1, 0.0, 0.8), (1.0, 0.0, 0.0), math.pi), "test")
    seen = [0.02, 0.03, 0.8, 1.0]
    on_table = matrix(buffer.lookup_transform("table", "camera", NEWEST)) @ seen
    np.testing.assert_allclose(on_table, [0.12, -0.03, 0.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("start", "end"), [(0.2, 1.4), (3.0, -3.0), (1.0, 1.0)])
def test_between_two_times_a_frame_moves_evenly_and_turns_the_short_way(buffer, ratio, start, end):
    buffer.set_transform(transform("base", "camera", 1.0, (0.0, 1.0, 2.0), angle=start), "test")
    buffer.set_transform(transform("base", "camera", 2.0, (1.0, 1.0, 0.0), angle=end), "test")
    found = buffer.lookup_transform("base", "camera", at(1.0 + ratio))
    turned = (end - start + math.pi) % (2 * math.pi) - math.pi
    expected = matrix(transform("base", "camera", 0, (ratio, 1.0, 2 - 2 * ratio), angle=start + ratio * turned))
    np.testing.assert_allclose(matrix(found), expected, atol=1e-9)


def test_the_order_of_arrival_does_not_matter(buffer):
    for seconds in (3.0, 1.0, 2.0, 5.0, 4.0):
        buffer.set_transform(transform("base", "camera", seconds, (seconds**2, 0.0, 0.0)), "test")
    assert buffer.lookup_transform("base", "camera", at(2.5)).transform.translation.x == pytest.approx(6.5)
    assert buffer.lookup_transform("base", "camera", NEWEST).transform.translation.x == 25.0


def test_time_zero_is_the_newest_that_all_on_the_way_know(buffer):
    for seconds in (1.0, 2.0, 3.0):
        buffer.set_transform(transform("base", "arm", seconds, (seconds, 0.0, 0.0)), "test")
    for seconds in (1.0, 1.5):
        buffer.set_transform(transform("arm", "camera", seconds), "test")
    buffer.set_transform_static(transform("camera", "optical"), "test")
    found = buffer.lookup_transform("base", "optical", NEWEST)
    assert found.header.stamp == at(1.5).to_msg()
    assert found.transform.translation.x == pytest.approx(1.5)
    assert buffer.lookup_transform("camera", "optical", NEWEST).header.stamp == NEWEST.to_msg()


@pytest.mark.parametrize(
    ("target", "source", "seconds", "error", "text"),
    [
        ("base", "nowhere", 1.5, tf2_ros.LookupException, "nowhere"),
        ("nowhere", "camera", 1.5, tf2_ros.LookupException, "nowhere"),
        ("base", "other", 1.5, tf2_ros.ConnectivityException, "same tree"),
        ("base", "camera", 0.5, tf2_ros.ExtrapolationException, r"past.*0\.5\d*.*1\.0"),
        ("base", "camera", 2.5, tf2_ros.ExtrapolationException, r"future.*2\.5\d*.*2\.0"),
        ("camera", "base", 2.5, tf2_ros.ExtrapolationException, r"future.*\[base\].*\[camera\]"),
        ("other", "camera", 2.5, tf2_ros.ExtrapolationException, "future"),
        ("base", "", 1.5, tf2_ros.TransformException, "empty|not exist"),
    ],
)
def test_what_cannot_be_known_says_why(buffer, target, source, seconds, error, text):
    buffer.set_transform(transform("base", "camera", 1.0), "test")
    buffer.set_transform(transform("base", "camera", 2.0), "test")
    buffer.set_transform_static(transform("island", "other"), "test")
    assert not buffer.can_transform(target, source, at(seconds))
    with pytest.raises(error, match=text) as caught:
        buffer.lookup_transform(target, source, at(seconds))
    assert isinstance(caught.value, tf2_ros.TransformException)


def test_a_loop_is_an_error_and_not_a_hang(buffer):
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
        buffer.set_transform_static(transform(parent, child), "test")
    buffer.set_transform_static(transform("root", "leaf"), "test")
    with pytest.raises(tf2_ros.LookupException, match="loop"):
        buffer.lookup_transform("leaf", "a", at(1.0))


def test_a_malformed_transform_changes_nothing(buffer):
    good = transform("base", "camera", 1.0, (1.0, 2.0, 3.0))
    buffer.set_transform(good, "test")
    no_rotation = transform("base", "camera", 2.0)
    no_rotation.transform.rotation.w = 0.0
    for bad in (
        no_rotation,
        transform("base", "camera", 2.0, (math.nan, 0.0, 0.0)),
        transform("base", "camera", 2.0, angle=math.nan),
        transform("camera", "camera", 2.0),
        transform("", "camera", 2.0),
        transform("base", "", 2.0),
    ):
        buffer.set_transform(bad, "test")
    found = buffer.lookup_transform("base", "camera", NEWEST)
    assert (found.header.stamp, found.transform) == (good.header.stamp, good.transform)


def test_the_buffer_forgets_what_is_older_than_its_time(buffer):
    for seconds in range(1, 31):
        buffer.set_transform(transform("base", "camera", seconds), "test")
    assert buffer.can_transform("base", "camera", at(21.0))
    assert not buffer.can_transform("base", "camera", at(15.0))
    buffer.set_transform(transform("base", "camera", 3.0), "test")  # comes too late
    assert not buffer.can_transform("base", "camera", at(3.0))


def test_a_frame_may_get_another_parent(buffer):
    buffer.set_transform(transform("table", "cup", 1.0, (1.0, 0.0, 0.0)), "test")
    buffer.set_transform(transform("gripper", "cup", 2.0, (3.0, 0.0, 0.0)), "test")
    assert buffer.can_transform("table", "cup", at(1.0))
    assert buffer.can_transform("gripper", "cup", at(2.0))
    assert not buffer.can_transform("table", "cup", at(2.0))
    assert buffer.lookup_transform("table", "cup", at(1.5)).transform.translation.x == 1.0


def test_a_lookup_waits_for_a_transform_that_another_thread_brings(buffer):
    found = []

    def wait():
        found.append(buffer.lookup_transform("base", "camera", at(1.0), timeout=Duration(seconds=3600)))

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    buffer.set_transform_static(transform("base", "elbow"), "test")
    time.sleep(0.1)
    assert not found
    buffer.set_transform_static(transform("elbow", "camera"), "test")
    waiting.join(DEADLINE_S)
    assert found


def test_a_lookup_does_not_wait_longer_than_it_was_told(buffer):
    with pytest.raises(tf2_ros.LookupException):
        buffer.lookup_transform("base", "nowhere", at(1.0), timeout=Duration(seconds=0.05))


def test_transforms_cross_between_nodes_also_to_one_that_comes_late(buffer):
    rclpy.init(args=[])
    sender, receiver = Node("sender"), Node("receiver")
    static = tf2_ros.StaticTransformBroadcaster(sender)
    static.sendTransform(transform("base", "camera", translation=(1.0, 0.0, 0.0)))
    static.sendTransform([transform("camera", "optical", translation=(0.0, 2.0, 0.0))])
    moving = tf2_ros.TransformBroadcaster(sender)
    listener = tf2_ros.TransformListener(buffer, receiver)
    executor = SingleThreadedExecutor()
    executor.add_node(receiver)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        found = buffer.lookup_transform("base", "optical", NEWEST, timeout=Duration(seconds=DEADLINE_S))
        assert (found.transform.translation.x, found.transform.translation.y) == (1.0, 2.0)
        for seconds in range(1, 400):  # until the listener has been found
            moving.sendTransform(transform("optical", "object", seconds, (0.0, 0.0, 3.0)))
            time.sleep(0.05)
            if buffer.can_transform("base", "object", NEWEST):
                break
        assert buffer.lookup_transform("base", "object", NEWEST).transform.translation.z == 3.0
    finally:
        executor.shutdown()
        thread.join(DEADLINE_S)
        del listener  # the real one unregisters itself, which needs its node
        sender.destroy_node()
        receiver.destroy_node()
        rclpy.try_shutdown()
