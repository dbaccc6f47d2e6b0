"""The part of tf2_ros that our nodes use: a buffer of transforms, a listener and two broadcasters."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

Array = np.ndarray

_STAMP = attrgetter("stamp")
_IDENTITY = (np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))
_INVERSE = np.array([-1.0, -1.0, -1.0, 1.0])  # times a quaternion: the rotation back


class TransformException(Exception):
    """There is no such transform; the message says why."""


class LookupException(TransformException):
    """A frame is not known, or the frames form a loop."""


class ConnectivityException(TransformException):
    """The two frames belong to different trees."""


class ExtrapolationException(TransformException):
    """The time lies outside what the buffer holds."""


class Buffer:
    """The transforms of the last `cache_time` (10 s), and what follows from them between any two frames."""

    def __init__(self, cache_time: Duration | None = None) -> None:
        self._cache_ns = 10**10 if cache_time is None else cache_time.nanoseconds
        self._histories: dict[str, _History] = {}
        self._frames: set[str] = set()
        self._changed = threading.Condition()

    def set_transform(self, transform: TransformStamped, authority: str, is_static: bool = False) -> None:
        """Take one in; a malformed one, or one older than the buffer, is ignored with a warning."""
        try:
            sample = _Sample.of(transform, is_static)
            with self._changed:
                history = self._histories.get(sample.child)
                if history is None or history.is_static != is_static:
                    history = self._histories[sample.child] = _History(is_static)
                history.add(sample, self._cache_ns)
                self._frames |= {sample.child, sample.parent}
                self._changed.notify_all()
        except ValueError as fault:
            names = f"'{transform.child_frame_id}' in '{transform.header.frame_id}'"
            text = f"Ignoring the transform of {names} from {authority}: {fault}"
            get_logger("tf2_ros").warning(text, throttle_duration_sec=5.0)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Take in one that holds at all times."""
        self.set_transform(transform, authority, is_static=True)

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration | None = None
    ) -> TransformStamped:
        """The transform that takes points from source_frame to target_frame.

        A time of zero is the newest at which every transform between the two is known. With a timeout it waits for
        what is missing, while another thread receives; a TransformException says what is missing then.
        """
        with self._changed:
            if timeout is not None:
                seconds = timeout.nanoseconds / 1e9
                self._changed.wait_for(lambda: self.can_transform(target_frame, source_frame, time), seconds)
            stamp, rotation, translation = self._lookup(target_frame, source_frame, time.nanoseconds)
        found = TransformStamped(child_frame_id=source_frame)
        found.header.frame_id, found.header.stamp = target_frame, Time(nanoseconds=stamp).to_msg()
        vector, turn = found.transform.translation, found.transform.rotation
        vector.x, vector.y, vector.z = translation.tolist()
        turn.x, turn.y, turn.z, turn.w = rotation.tolist()
        return found

    def can_transform(self, target_frame: str, source_frame: str, time: Time) -> bool:
        """Whether lookup_transform succeeds now."""
        try:
            return self.lookup_transform(target_frame, source_frame, time) is not None
        except TransformException:
            return False

    def _lookup(self, target: str, source: str, stamp: int) -> tuple[int, Array, Array]:
        if target == source:
            newest = self._histories[target].samples[-1].stamp if target in self._histories else 0
            return stamp or newest, *_IDENTITY
        for frame in (target, source):
            if frame not in self._frames:
                raise LookupException(f'"{frame}" passed to lookupTransform does not exist.')
        above_source, source_gap = self._climb(source, stamp)
        above_target, target_gap = self._climb(target, stamp)
        meeting = next((frame for frame in above_target if frame in above_source), None)
        if meeting is None and (gap := target_gap or source_gap):
            raise ExtrapolationException(f"{gap}, when looking up transform from frame [{source}] to frame [{target}]")
        if meeting is None:
            raise ConnectivityException(f"'{target}' and '{source}' are not part of the same tree.")
        source_newest, source_rotation, source_translation = above_source[meeting]
        target_newest, target_rotation, target_translation = above_target[meeting]
        common = min(source_newest, target_newest)
        if stamp == 0 and common < math.inf:
            return self._lookup(target, source, int(common))
        back = target_rotation * _INVERSE
        return stamp, _product(back, source_rotation), _rotated(back, source_translation - target_translation)

    def _climb(self, frame: str, stamp: int) -> tuple[dict[str, tuple[float, Array, Array]], str]:
        """Every frame from this one to the root, with this one's pose in it, and what kept from going on.

        Before the pose: the time up to which all moving transforms on the way are known.
        """
        newest, (rotation, translation) = math.inf, _IDENTITY
        above: dict[str, tuple[float, Array, Array]] = {frame: (newest, rotation, translation)}
        while history := self._histories.get(frame):
            sample = history.at(stamp)
            if isinstance(sample, str):
                return above, sample
            newest = min(newest, sample.stamp or math.inf)
            rotation = _product(sample.rotation, rotation)
            translation = sample.translation + _rotated(sample.rotation, translation)
            frame = sample.parent
            if frame in above:
                raise LookupException(f"The tf tree is invalid because it contains a loop through '{frame}'.")
            above[frame] = (newest, rotation, translation)
        return above, ""


class TransformListener:
    """Fills a buffer from /tf and /tf_static."""

    def __init__(self, buffer: Buffer, node: Node) -> None:
        self._buffer = buffer
        group = ReentrantCallbackGroup()  # so that a callback of the node may wait for a transform
        static = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(TFMessage, "/tf", self._receive, 100, callback_group=group)
        node.create_subscription(TFMessage, "/tf_static", self._receive_static, static, callback_group=group)

    def _receive(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._buffer.set_transform(transform, "/tf")

    def _receive_static(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._buffer.set_transform_static(transform, "/tf_static")


class TransformBroadcaster:
    """Publishes moving transforms on /tf."""

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(TFMessage, "/tf", 100)

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish one or several."""
        self._publisher.publish(TFMessage(transforms=_list(transform)))


class StaticTransformBroadcaster:
    """Publishes transforms that never change on /tf_static, where late listeners still get them."""

    def __init__(self, node: Node) -> None:
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(TFMessage, "/tf_static", qos)
        self._sent: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish one or several, with all that were sent before."""
        self._sent |= {each.child_frame_id: each for each in _list(transform)}
        self._publisher.publish(TFMessage(transforms=list(self._sent.values())))


class _Sample(NamedTuple):
    stamp: int  # ns; 0 for a static transform
    child: str
    parent: str
    rotation: Array
    translation: Array

    @classmethod
    def of(cls, message: TransformStamped, is_static: bool) -> _Sample:
        child, parent = (name.removeprefix("/") for name in (message.child_frame_id, message.header.frame_id))
        if not child or not parent or child == parent:
            raise ValueError("the two frames need names, and different ones")
        vector, turn = message.transform.translation, message.transform.rotation
        translation, rotation = np.array([vector.x, vector.y, vector.z]), np.array([turn.x, turn.y, turn.z, turn.w])
        length = np.linalg.norm(rotation)
        if length == 0 or not np.isfinite([length, *translation]).all():
            raise ValueError(f"the rotation {rotation} is zero or not finite, or the translation {translation} is not")
        stamp = 0 if is_static else Time.from_msg(message.header.stamp).nanoseconds
        return cls(stamp, child, parent, rotation / length, translation)


class _History:
    """What was heard about the place of one frame in its parent, oldest first."""

    def __init__(self, is_static: bool) -> None:
        self.is_static = is_static
        self.samples: list[_Sample] = []

    def add(self, sample: _Sample, cache_ns: int) -> None:
        samples = self.samples
        if self.is_static:
            samples.clear()
        oldest = samples[-1].stamp - cache_ns if samples else sample.stamp
        del samples[: bisect_left(samples, oldest, key=_STAMP)]
        if sample.stamp < oldest:
            raise ValueError("it is older than what the buffer keeps")
        place = bisect_left(samples, sample.stamp, key=_STAMP)
        again = place < len(samples) and samples[place].stamp == sample.stamp
        samples[place : place + again] = [sample]

    def at(self, stamp: int) -> _Sample | str:
        """The place at a time (0: the newest); or why it is not known."""
        samples = self.samples
        if self.is_static or stamp == 0:
            return samples[-1]
        place = bisect_left(samples, stamp, key=_STAMP)
        if place < len(samples) and samples[place].stamp == stamp:
            return samples[place]
        if 0 < place < len(samples):
            return _between(samples[place - 1], samples[place], stamp)
        where, which, end = ("future", "latest", -1) if place else ("past", "earliest", 0)
        return (
            f"Lookup would require extrapolation into the {where}.  Requested time {stamp / 1e9:.6f} "
            f"but the {which} data is at time {samples[end].stamp / 1e9:.6f}"
        )


def _between(older: _Sample, newer: _Sample, stamp: int) -> _Sample:
    """Linear in the translation; the rotation goes the short way round at constant speed (Shoemake 1985)."""
    if older.parent != newer.parent:
        return older
    ratio = (stamp - older.stamp) / (newer.stamp - older.stamp)
    translation = older.translation + ratio * (newer.translation - older.translation)
    cosine = float(older.rotation @ newer.rotation)
    angle = math.acos(min(abs(cosine), 1.0))
    rotation = older.rotation
    if angle > 1e-9:
        end = math.copysign(math.sin(ratio * angle), cosine) * newer.rotation
        rotation = (math.sin((1 - ratio) * angle) * older.rotation + end) / math.sin(angle)
    return older._replace(stamp=stamp, rotation=rotation, translation=translation)


def _product(a: Array, b: Array) -> Array:
    """The rotation b, then a; quaternions x y z w."""
    x, y, z, w = a.tolist()
    return np.array([[w, -z, y, x], [z, w, -x, y], [-y, x, w, z], [-x, -y, -z, w]]) @ b


def _rotated(rotation: Array, vector: Array) -> Array:
    return _product(_product(rotation, np.append(vector, 0.0)), rotation * _INVERSE)[:3]


def _list(transform: TransformStamped | Iterable[TransformStamped]) -> list[TransformStamped]:
    return [transform] if isinstance(transform, TransformStamped) else list(transform)
