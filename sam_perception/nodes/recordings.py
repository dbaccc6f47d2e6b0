"""Plays the images of a rosbag2 or MCAP recording as frames."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_perception.errors import InvalidInputError, PerceptionError
from sam_perception.frames import NANOSECONDS, CameraIntrinsics, RgbdFrame
from sam_perception.nodes.camera_messages import intrinsics_from_message
from sam_perception.nodes.images import color_from_message, depth_from_message
from sam_perception.nodes.messages import stamp_ns

_IMAGE = "sensor_msgs/msg/Image"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_NOT_COLOR = ("depth", "infra", "/ir/", "disparity", "mask", "label")
# Depth belongs to the colour image nearest in time, if they lie no further apart than half a period of 30 Hz.
_DEPTH_SLOP_NS = NANOSECONDS // 60


def is_recording(path: Path) -> bool:
    """Whether this is the folder of a rosbag2 recording, or one of its files."""
    return path.suffix in (".mcap", ".db3") or (path / "metadata.yaml").is_file()


class RecordingPlayback:
    """Plays the colour images of a recording with the depth that belongs to each: a ``playback.Playback``.

    Args:
        path: the recording's folder, or a single .mcap or .db3 file.
        color_topic: the colour images; empty: the image topic with `color` or `rgb` in its name, or else the only one
            that is not depth, infrared or a mask.
        depth_topic: depth aligned to colour; empty: the one with `aligned_depth` in its name, or else with `depth`,
            where it lies in the colour image's frame and has its size.

    Raises:
        InvalidInputError: no recording, a damaged one, or one without such a topic; the message lists its image topics.
        PerceptionError: rosbags is not installed.
    """

    def __init__(self, path: Path | str, color_topic: str = "", depth_topic: str = "") -> None:
        self._path = Path(path)
        self.notes: list[str] = []
        self.camera_T_table: NDArray[np.float64] | None = None
        with self._opened() as reader:
            kinds = {connection.topic: connection.msgtype for connection in reader.connections}
        images = sorted(topic for topic, kind in kinds.items() if kind == _IMAGE)
        self._color_topic = self._chosen(images, color_topic, _color_topics(images))
        depths = _depth_topics(images)
        self._depth_topic = self._chosen(images, depth_topic, depths) if depth_topic or depths else None
        color = next(self._messages(self._color_topic), None)
        if color is None:
            raise InvalidInputError(f"{self._path}: {self._color_topic} has no messages")
        self._leave_out_unaligned_depth(color, asked_for=bool(depth_topic))
        self._intrinsics = self._read_intrinsics(color)
        self.name = f"{self._color_topic} of {self._path}"

    def frames(self) -> Iterator[RgbdFrame]:
        """See ``playback.Playback``."""
        depths = _NearestInTime(self._messages(self._depth_topic)) if self._depth_topic else None
        for message in self._messages(self._color_topic):
            at_ns = stamp_ns(message.header.stamp)
            depth = depths.find(at_ns) if depths else None
            with self._named():
                color = color_from_message(message)
                depth_image = None if depth is None else depth_from_message(depth)
                frame = RgbdFrame(color, depth_image, self._intrinsics, at_ns, message.header.frame_id)
            yield frame

    def _chosen(self, images: list[str], asked: str, found: list[str]) -> str:
        listed = f"its image topics are {', '.join(images)}" if images else f"it has no topic of {_IMAGE}"
        if asked and asked not in images:
            raise InvalidInputError(f"{self._path}: expected the image topic {asked}; {listed}")
        if not asked and len(found) != 1:
            raise InvalidInputError(f"{self._path}: name the topic of the colour images in color_topic; {listed}")
        return asked or found[0]

    def _leave_out_unaligned_depth(self, color: Any, asked_for: bool) -> None:
        depth = next(self._messages(self._depth_topic), None) if self._depth_topic else None
        if depth is None or _place(depth) == _place(color):
            return
        reason = (
            f"{self._depth_topic} is {_place(depth)} and {self._color_topic} {_place(color)}: depth has to be aligned "
            "to colour (realsense-ros: align_depth.enable:=true while recording)"
        )
        if asked_for:
            raise InvalidInputError(f"{self._path}: {reason}")
        self.notes.append(f"{reason}; it is played without depth")
        self._depth_topic = None

    def _read_intrinsics(self, color: Any) -> CameraIntrinsics | None:
        topic = f"{self._color_topic.rpartition('/')[0]}/camera_info"
        try:
            info = next(self._messages(topic, _CAMERA_INFO), None)
            intrinsics = None if info is None else intrinsics_from_message(info)
        except InvalidInputError as error:
            self.notes.append(f"{topic} is not understood ({error}): it is played without camera_info")
            return None
        if intrinsics is None or intrinsics.size != (color.height, color.width):
            self.notes.append(f"the recording has no {topic} of the images' size: it is played without camera_info")
            return None
        return intrinsics

    def _messages(self, topic: str, kind: str = _IMAGE) -> Iterator[Any]:
        with self._opened() as reader:
            wanted = [each for each in reader.connections if (each.topic, each.msgtype) == (topic, kind)]
            for _, _, data in reader.messages(wanted) if wanted else ():
                yield reader.deserialize(data, kind)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise PerceptionError(f"a recording is read with rosbags: pip install rosbags ({error})") from None
        # Recordings of Humble carry no definitions; those of images have not changed since.
        with self._named(), AnyReader([self._path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever a damaged recording raises becomes an error that names the recording."""
        try:
            yield
        except PerceptionError:
            raise
        except Exception as error:
            raise InvalidInputError(
                f"{self._path}: expected a rosbag2 recording (a folder, .mcap or .db3), got {error}"
            ) from error


class _NearestInTime:
    """Looks messages up by stamps that grow, and keeps only those that can still be asked for."""

    def __init__(self, messages: Iterator[Any]) -> None:
        self._messages = messages
        self._held: deque[Any] = deque()

    def find(self, at_ns: int) -> Any | None:
        while self._held and stamp_ns(self._held[0].header.stamp) < at_ns - _DEPTH_SLOP_NS:
            self._held.popleft()
        while not self._held or stamp_ns(self._held[-1].header.stamp) <= at_ns + _DEPTH_SLOP_NS:
            message = next(self._messages, None)
            if message is None:
                break
            self._held.append(message)

        def distance(message: Any) -> int:
            return abs(stamp_ns(message.header.stamp) - at_ns)

        nearest = min(self._held, key=distance, default=None)
        return None if nearest is None or distance(nearest) > _DEPTH_SLOP_NS else nearest


def _color_topics(images: list[str]) -> list[str]:
    candidates = [topic for topic in images if not any(word in topic for word in _NOT_COLOR)]
    named = [topic for topic in candidates if "color" in topic or "rgb" in topic]
    raw = [topic for topic in named if topic.endswith("image_raw")]
    return next((found for found in (raw, named, candidates) if len(found) == 1), candidates)


def _depth_topics(images: list[str]) -> list[str]:
    depths = [topic for topic in images if "depth" in topic]
    aligned = [topic for topic in depths if "aligned_depth" in topic or "registered" in topic]
    return aligned if len(aligned) == 1 else depths if len(depths) == 1 else []


def _place(message: Any) -> str:
    return f"of {message.width}x{message.height} in frame {message.header.frame_id!r}"
