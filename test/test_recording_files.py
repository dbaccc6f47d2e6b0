"""Files of messages: their times, their names, and what is left of one that was cut off anywhere."""

import struct

import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed")

from sam_perception.errors import InvalidInputError
from sam_perception.message_ring import MessageRing
from sam_perception.recording_files import RecordingFile, Topic, opened, repair
from sam_perception.recording_queue import RecordingQueue

TEXT = Topic("/text", "std_msgs/msg/String")
LATCHED = Topic("/latched", "std_msgs/msg/String", latched=True)
SECOND = 10**9


def text(string):
    data = string.encode() + b"\0"
    return b"\0\1\0\0" + struct.pack("<I", len(data)) + data


def read(path):
    with opened(path) as reader:
        return [(each.topic, at_ns, data[8:-1].decode()) for each, at_ns, data in reader.messages()]


def test_messages_come_back_with_topics_and_times(tmp_path):
    path = tmp_path / "a.mcap"
    file = RecordingFile(path, about={"made_by": "me"})
    file.write(TEXT, 5, text("one"))
    file.write(LATCHED, 3, text("two"))  # the clock was set back
    assert not path.exists()
    file.close()
    assert read(path) == [("/text", 5, "one"), ("/latched", 5, "two")]
    assert [each.name for each in tmp_path.iterdir()] == ["a.mcap"]
    with opened(path) as reader:
        qos = {each.topic: each.ext.offered_qos_profiles[0].durability.name for each in reader.connections}
    assert qos == {"/text": "VOLATILE", "/latched": "TRANSIENT_LOCAL"}


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "a.mcap"
    file = RecordingFile(path)
    file.write(TEXT, 5, text("one"))
    path.write_text("mine")
    with pytest.raises(InvalidInputError, match="is not overwritten"):
        file.close()
    assert path.read_text() == "mine"
    assert read(tmp_path / "a.mcap.part" / "a" / "a.mcap") == [("/text", 5, "one")]


def test_what_was_flushed_survives_a_cut_at_every_byte(tmp_path):
    file = RecordingFile(tmp_path / "a.mcap")
    for i in range(4):
        file.write(TEXT, i, text(str(i)))
        file.flush()
    (written,) = (tmp_path / "a.mcap.part").glob("*/*.mcap")
    whole = written.read_bytes()
    sizes = []
    for end in range(8 + 9, len(whole) + 1):
        cut = tmp_path / "cut.mcap"
        cut.write_bytes(whole[:end])
        repair(cut)
        if end >= 100:  # what has no header yet has no messages either
            messages = read(cut)
            assert messages == [("/text", i, str(i)) for i in range(len(messages))]
            sizes.append(len(messages))
    assert sizes == sorted(sizes)
    assert sizes[-1] == 4


def test_the_queue_writes_everything_in_order_and_counts_what_does_not_fit(tmp_path):
    file = RecordingFile(tmp_path / "a.mcap")
    queue = RecordingQueue(file, max_bytes=1000)
    queue.put(TEXT, 0, bytes(1001))
    for i in range(100):
        while True:
            before = queue.dropped["/text"]
            queue.put(TEXT, i, text(f"{i:03}"))
            if queue.dropped["/text"] == before:
                break
    queue.close()
    queue.put(TEXT, 101, text("too late"))
    file.close()
    assert queue.dropped["/text"] >= 1
    assert [message for _, _, message in read(tmp_path / "a.mcap")] == [f"{i:03}" for i in range(100)]


def test_the_queue_keeps_the_reason_why_nothing_is_written(tmp_path):
    class FullDisk:
        def write(self, *_):
            raise OSError(28, "No space left on device")

    queue = RecordingQueue(FullDisk())
    queue.put(TEXT, 0, text("a"))
    queue.close()
    assert "No space left" in str(queue.failure)


def test_the_ring_keeps_the_last_seconds_and_all_that_is_latched(tmp_path):
    ring = MessageRing(seconds=2.0, max_bytes=1 << 20)
    ring.put(LATCHED, 0, text("map"))
    ring.put(LATCHED, 1, text("map"))
    for i in range(10):
        ring.put(TEXT, i * SECOND, text(str(i)))
    assert not ring.is_cut_by_memory
    assert ring.held_s == 2.0
    file = RecordingFile(tmp_path / "a.mcap")
    ring.write_to(file)
    file.close()
    assert read(tmp_path / "a.mcap") == [
        ("/latched", 7 * SECOND, "map"),
        *(("/text", i * SECOND, str(i)) for i in (7, 8, 9)),
    ]


def test_the_ring_is_bounded_in_bytes():
    ring = MessageRing(seconds=100.0, max_bytes=100)
    for i in range(10):
        ring.put(TEXT, i * SECOND, bytes(40))
    assert ring.is_cut_by_memory
    assert ring.held_s == 1.0
