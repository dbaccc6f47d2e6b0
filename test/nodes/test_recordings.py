"""Recordings that rosbags' own writer made play as frames, with the depth that belongs to each image."""

import numpy as np
import pytest

pytest.importorskip("rosbags")
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sam_perception.errors import InvalidInputError
from sam_perception.frame_files import SAMPLE_DIRECTORY
from sam_perception.nodes.recordings import RecordingPlayback, is_recording
from sam_perception.nodes.sample_camera_node import open_playback

MS = 1_000_000
START_S = 1_714_652_389
OPTICAL = "camera_color_optical_frame"
COLOR = "/camera/camera/color/image_raw"
DEPTH = "/camera/camera/aligned_depth_to_color/image_raw"
INFO = "/camera/camera/color/camera_info"
STORE = get_typestore(Stores.ROS2_HUMBLE)


class Recorder:
    """Collects messages and writes them with rosbags."""

    def __init__(self) -> None:
        self.messages: list = []

    def image(self, topic, at_ms, value, *, encoding="rgb8", size=(4, 6), frame_id=OPTICAL, padding=0):
        dtype, channels = {"16UC1": ("<u2", 1), "mono8": ("u1", 1)}.get(encoding, ("u1", 3))
        pixels = np.empty((*size, channels), dtype)
        pixels[:] = value
        rows = np.pad(pixels.view(np.uint8).reshape(size[0], -1), ((0, 0), (0, padding)), constant_values=99)
        types = STORE.types
        self.messages.append(
            (
                topic,
                at_ms,
                types["sensor_msgs/msg/Image"](
                    self._header(at_ms, frame_id), *size, encoding, 0, rows.shape[1], rows.reshape(-1)
                ),
            )
        )

    def info(self, topic=INFO, size=(4, 6), k=(5.0, 0, 2.5, 0, 5.0, 1.5, 0, 0, 1.0), model="plumb_bob"):
        types = STORE.types
        roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        self.messages.append(
            (
                topic,
                0,
                types["sensor_msgs/msg/CameraInfo"](
                    self._header(0, OPTICAL),
                    *size,
                    model,
                    np.zeros(5),
                    np.array(k, float),
                    np.eye(3).ravel(),
                    np.zeros(12),
                    0,
                    0,
                    roi,
                ),
            )
        )

    def write(self, path, plugin=StoragePlugin.MCAP):
        with Writer(path, version=9, storage_plugin=plugin) as writer:
            kinds = {topic: message.__msgtype__ for topic, _, message in self.messages}
            connections = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds.items()}
            for number, (topic, _, message) in enumerate(self.messages):
                writer.write(connections[topic], number, STORE.serialize_cdr(message, message.__msgtype__))
        return path

    @staticmethod
    def _header(at_ms, frame_id):
        types = STORE.types
        stamp = types["builtin_interfaces/msg/Time"](START_S + at_ms // 1000, at_ms % 1000 * MS)
        return types["std_msgs/msg/Header"](stamp, frame_id)


def played(playback):
    """(ms, colour of the first pixel, depth or None) of each frame."""
    return [
        (
            (frame.stamp_ns - START_S * 1000 * MS) // MS,
            frame.color[0, 0].tolist(),
            None if frame.depth is None else int(frame.depth[0, 0]),
        )
        for frame in playback.frames()
    ]


def a_stream(recorder, frames=4):
    recorder.info()
    for number in range(frames):
        recorder.image(COLOR, 33 * number, (number, 10, 20))
        recorder.image(DEPTH, 33 * number, 500 + number, encoding="16UC1")


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_a_recording_plays_every_frame_again_and_again(tmp_path, plugin):
    recorder = Recorder()
    a_stream(recorder)
    path = recorder.write(tmp_path / "bag", plugin)
    assert is_recording(path)
    playback = RecordingPlayback(path)
    expected = [(33 * number, [number, 10, 20], 500 + number) for number in range(4)]
    assert played(playback) == played(playback) == expected
    frame = next(playback.frames())
    assert (frame.frame_id, frame.intrinsics.fx, frame.intrinsics.size) == (OPTICAL, 5.0, (4, 6))
    assert playback.notes == [] and COLOR in playback.name


@pytest.mark.parametrize(("plugin", "suffix"), [(StoragePlugin.MCAP, "mcap"), (StoragePlugin.SQLITE3, "db3")])
def test_a_single_file_of_a_recording_plays_as_well(tmp_path, plugin, suffix):
    recorder = Recorder()
    a_stream(recorder)
    (file,) = recorder.write(tmp_path / "bag", plugin).glob(f"*.{suffix}")
    assert is_recording(file)
    assert len(played(RecordingPlayback(file))) == 4


def test_encodings_and_padded_rows_are_honoured(tmp_path):
    recorder = Recorder()
    recorder.image(COLOR, 0, (1, 2, 3), encoding="bgr8", padding=5)
    recorder.image(DEPTH, 0, 500, encoding="16UC1", padding=2)
    ((_, color, depth),) = played(RecordingPlayback(recorder.write(tmp_path / "bag")))
    assert (color, depth) == ([3, 2, 1], 500)


def test_depth_is_found_by_stamp_wherever_it_was_written(tmp_path):
    recorder = Recorder()
    for number in range(6):
        recorder.image(COLOR, 100 * number, (number, 0, 0))
    for number in (0, 1, 3, 4):  # all depth after all colour; that of image 2 was lost, that of 5 is a few ms off
        recorder.image(DEPTH, 100 * number, 500 + number, encoding="16UC1")
    recorder.image(DEPTH, 100 * 5 + 4, 505, encoding="16UC1")
    found = played(RecordingPlayback(recorder.write(tmp_path / "bag")))
    assert [depth for *_, depth in found] == [500, 501, None, 503, 504, 505]


def test_unaligned_depth_is_left_out_with_a_note_or_refused_when_asked_for(tmp_path):
    recorder = Recorder()
    recorder.info()
    recorder.image(COLOR, 0, (1, 2, 3))
    topic = "/camera/camera/depth/image_rect_raw"
    recorder.image(topic, 0, 500, encoding="16UC1", frame_id="camera_depth_optical_frame")
    path = recorder.write(tmp_path / "bag")
    playback = RecordingPlayback(path)
    assert played(playback) == [(0, [1, 2, 3], None)]
    assert "'camera_depth_optical_frame'" in playback.notes[0] and "without depth" in playback.notes[0]
    with pytest.raises(InvalidInputError, match="aligned"):
        RecordingPlayback(path, depth_topic=topic)


def test_infrared_and_masks_are_not_taken_for_colour(tmp_path):
    recorder = Recorder()
    a_stream(recorder, 1)
    recorder.image("/camera/camera/infra1/image_rect_raw", 0, 5, encoding="mono8")
    recorder.image("/sam/mask", 0, 5, encoding="mono8")
    recorder.image("/camera/camera/depth/image_rect_raw", 0, 5, encoding="16UC1")
    assert played(RecordingPlayback(recorder.write(tmp_path / "bag"))) == [(0, [0, 10, 20], 500)]


def test_two_cameras_are_told_apart_by_the_parameters(tmp_path):
    recorder = Recorder()
    for side, value in (("left", 1), ("right", 2)):
        recorder.image(f"/{side}/color/image_raw", 0, (value, 0, 0))
        recorder.image(f"/{side}/aligned_depth_to_color/image_raw", 0, 500 + value, encoding="16UC1")
    path = recorder.write(tmp_path / "bag")
    with pytest.raises(InvalidInputError, match=r"color_topic; .*/left/color/image_raw.*/right/color/image_raw"):
        RecordingPlayback(path)
    playback = RecordingPlayback(path, "/right/color/image_raw", "/right/aligned_depth_to_color/image_raw")
    assert played(playback) == [(0, [2, 0, 0], 502)]
    with pytest.raises(InvalidInputError, match="expected the image topic /middle/image; its image topics are"):
        RecordingPlayback(path, "/middle/image")


def test_a_recording_without_camera_info_or_with_another_ones_is_played_with_a_note(tmp_path):
    recorder = Recorder()
    recorder.image(COLOR, 0, (1, 2, 3))
    playback = RecordingPlayback(recorder.write(tmp_path / "without"))
    assert next(playback.frames()).intrinsics is None and INFO in playback.notes[0]
    recorder.info(model="equidistant", k=(5.0, 0, 2.5, 0, 5.0, 1.5, 0, 0, 1.0))
    playback = RecordingPlayback(recorder.write(tmp_path / "unknown"))
    assert next(playback.frames()).intrinsics is None and "equidistant" in playback.notes[0]


@pytest.mark.parametrize("content", [b"", b"no recording", b"\x89MCAP0\r\n" + bytes(100)])
@pytest.mark.parametrize("suffix", ["mcap", "db3"])
def test_a_damaged_file_is_named(tmp_path, content, suffix):
    path = tmp_path / f"bag.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"bag.{suffix}: expected"):
        RecordingPlayback(path)


def test_a_truncated_recording_is_named(tmp_path):
    recorder = Recorder()
    a_stream(recorder)
    (file,) = recorder.write(tmp_path / "bag").glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InvalidInputError, match=r"\.mcap: expected"):
        list(RecordingPlayback(file).frames())


def test_a_recording_of_other_things_is_named(tmp_path):
    recorder = Recorder()
    recorder.info("/somewhere/camera_info")
    with pytest.raises(InvalidInputError, match="it has no topic of sensor_msgs/msg/Image"):
        RecordingPlayback(recorder.write(tmp_path / "bag"))


def test_the_camera_tells_a_recording_from_a_folder_of_images(tmp_path, sample):
    recorder = Recorder()
    a_stream(recorder, 2)
    path = recorder.write(tmp_path / "bag")
    assert [color for _, color, _ in played(open_playback(str(path)))] == [[0, 10, 20], [1, 10, 20]]
    (frame,) = open_playback(str(SAMPLE_DIRECTORY)).frames()
    np.testing.assert_array_equal(frame.depth, sample.frame.depth)
    for missing in (tmp_path / "missing", tmp_path / "missing.mcap"):
        with pytest.raises(InvalidInputError, match="missing"):
            open_playback(str(missing))
