"""`sam-perception record` and `play`: real nodes are asked, recorded, and asked again."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import sys

import command_line
import numpy as np
import pytest
from command_line import COMMAND, PATIENCE_S, run, sentence, until, until_log

highlevel = pytest.importorskip("rosbags.highlevel", reason="rosbags is not installed")

from sam_perception.frame_files import read_sample  # noqa: E402
from sam_perception.nodes.recorded_prompts import decoded  # noqa: E402
from sam_perception.standalone.interfaces import type_hash  # noqa: E402

COLOR, DEPTH = "/camera/camera/color/image_raw", "/camera/camera/aligned_depth_to_color/image_raw"
# ROS domains: of the nodes that are recorded, of those that are asked again, and of others that are.
RECORDED, REPLAYED, OTHERS = (str(first + os.getpid() % 40) for first in (100, 140, 180))
SERVICES = 6  # answers of services in ask.py that can be compared, /sam/clear among them
CLICKS = 2
UP = ("up", "--model", "grabcut")  # the quickest to load; every machine has it


@contextlib.contextmanager
def running(folder, *command, domain=RECORDED):
    """A process of the command, with its log; ended by Ctrl-C."""
    log = folder / f"log_{len(list(folder.iterdir()))}"
    process = command_line.start((*COMMAND, *map(str, command)), log, ROS_DOMAIN_ID=domain)
    try:
        yield process, log
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def ask(folder):
    """Ask the nodes in every way."""
    log = folder / f"log_{len(list(folder.iterdir()))}"
    process = command_line.start((sys.executable, str(command_line.FOLDER / "ask.py")), log, ROS_DOMAIN_ID=RECORDED)
    assert process.wait(5 * PATIENCE_S) == 0, log.read_text()


def play(path, *options, domain=REPLAYED):
    return run("play", path, *options, ROS_DOMAIN_ID=domain)


def messages(path, *topics):
    """All messages of these topics, decoded by the classes that are installed here."""
    with highlevel.AnyReader([path]) as reader:
        wanted = [each for each in reader.connections if each.topic in topics]
        return [decoded(each, data) for each, _, data in reader.messages(wanted)]


def until_all_are_recorded(log):
    for topic in (COLOR, DEPTH, "/sam/click", "/sam/objects", "/sam/segment/_service_event", "/tf_static"):
        until_log(log, f"records {topic} ")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A file of everything that ask.py asks."""
    folder = tmp_path_factory.mktemp("recording")
    path = folder / "bug.mcap"
    with running(folder, *UP), running(folder, "record", "-o", path) as (_, log):
        until_all_are_recorded(log)
        ask(folder)
    assert f"wrote {path}: " in log.read_text()
    assert "dropped" not in log.read_text()
    assert sorted(each.suffix for each in folder.iterdir() if each.name.startswith("bug")) == [".mcap"]
    return path


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """sam and sam_grasp without a camera."""
    with running(tmp_path_factory.mktemp("nodes"), *UP, "--camera", "none", domain=REPLAYED) as (_, log):
        until_log(log, "sam is active")
        yield log


def test_play_gets_the_same_masks_for_everything_that_was_asked(recording, nodes):
    done = play(recording, "--check", "--rate", "3", "--min-iou", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.partition(" ")[2] for line in done.stdout.splitlines() if line[0].isdigit()]
    assert lines[-1] == f"of {SERVICES + CLICKS} answers are as recorded"
    assert sum(": same mask, IoU 1.0000" in line for line in lines) == 6
    assert "/sam/segment_points: refused, as recorded: points: expected at least one, got none" in lines
    assert "/sam/clear: done, as recorded" in lines
    assert [line.split(" at (")[0] for line in lines if " at (" in line] == [
        "/sam/click",
        "/sam/mask_overlay_mouse_left",
    ]


def test_play_says_which_answers_differ_and_what_has_changed(recording, tmp_path):
    without_depth = ("run", "sam", "--ros-args", "-r", f"image:={COLOR}", "-p", "max_points:=77")
    with running(tmp_path, *without_depth, domain=OTHERS):
        done = play(recording, "--check", "--rate", "10", domain=OTHERS)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "another mask, IoU 0." in done.stdout
        assert "/sam: max_points was 10000, and is 77\n" in done.stdout
        assert play(recording, "--rate", "10", domain=OTHERS).returncode == 0


def test_play_refuses_a_second_camera(recording, nodes, tmp_path):
    with running(tmp_path, "run", "sample_camera", domain=REPLAYED) as (_, log):
        until_log(log, "camera is active")
        done = play(recording)
    assert done.returncode == 2
    assert f"{DEPTH} is published already" in done.stderr


def stamps(path, topic):
    return [(message.header.stamp.sec, message.header.stamp.nanosec) for message in messages(path, topic)]


def test_frames_are_recorded_with_their_stamps_and_pixels(recording):
    colors = stamps(recording, COLOR)
    assert colors == sorted(set(colors))
    assert len(colors) > 10
    assert len(set(colors) & set(stamps(recording, "/camera/camera/color/camera_info"))) > 10
    pixels = np.frombuffer(messages(recording, COLOR)[0].data, np.uint8).reshape(480, 640, 3)
    assert np.array_equal(pixels, read_sample().color)


def test_frames_are_played_with_their_recorded_stamps_again_and_again(recording, tmp_path):
    def is_played_twice():
        lines = [line for line in heard.read_text().splitlines() if line.count(",") == 1]
        played = [tuple(map(int, line.split(","))) for line in lines]
        assert set(played) <= set(stamps(recording, COLOR))
        return any(before > after for before, after in itertools.pairwise(played))

    listen = ("topic", "echo", COLOR, "--field", "header.stamp", "--csv", "--spin-time", PATIENCE_S)
    options = ("--no-prompts", "--loop", "--rate", "5", "--clock")
    with running(tmp_path, "play", recording, *options, domain=OTHERS):
        heard = tmp_path / "heard"
        process = command_line.start((*COMMAND, *map(str, listen)), heard, ROS_DOMAIN_ID=OTHERS)
        try:
            until(is_played_twice, heard.read_text)
        finally:
            process.kill()
            process.wait()
        shown = run("topic", "echo", "/clock", "--once", "--csv", ROS_DOMAIN_ID=OTHERS).stdout.split(",")
    first, last = stamps(recording, COLOR)[0][0], stamps(recording, COLOR)[-1][0]
    assert first - 10 <= int(shown[0]) <= last + 10


def test_the_file_tells_what_ran(recording):
    (about,) = messages(recording, "/sam_perception/_recording")
    values = {each.key: each.value for each in about.status[0].values}
    assert values["sam_perception"] == "0.1.0"
    parameters = {each.name: each.value for each in messages(recording, "/sam/_parameters")[0].new_parameters}
    assert parameters["model"].string_value == "grabcut"
    assert messages(recording, "/camera/camera/_parameters")
    assert messages(recording, "/diagnostics")
    frames = {each.child_frame_id for message in messages(recording, "/tf_static") for each in message.transforms}
    assert "camera_color_optical_frame" in frames
    assert messages(recording, "/sam_grasp/boxes")
    assert messages(recording, "/sam_grasp/centroids")


def test_every_definition_is_the_one_that_ros_has(recording):
    with highlevel.AnyReader([recording]) as reader:
        checked = [each.msgtype for each in reader.connections if "/msg/" in each.msgtype]
        assert "sam_perception/msg/ObjectMaskArray" in checked
        assert {kind: reader.typestore.hash_rihs01(kind) for kind in checked} == {k: type_hash(k) for k in checked}


def test_an_independent_reader_understands_the_file(recording):
    reader_module = pytest.importorskip("mcap.reader", reason="mcap is not installed")
    decoder = pytest.importorskip("mcap_ros2.decoder", reason="mcap-ros2-support is not installed")
    with recording.open("rb") as file:
        reader = reader_module.make_reader(file, validate_crcs=True, decoder_factories=[decoder.DecoderFactory()])
        summary = reader.get_summary()
        assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
        topics = [each.topic for each in summary.channels.values() if not each.topic.endswith("_service_event")]
        masks = {}
        for _, channel, _, message in reader.iter_decoded_messages(topics=topics):
            if channel.topic == "/sam/objects":
                for each in message.objects:
                    masks[each.object_id] = each
        assert masks[7].mask.encoding == "mono8"
        assert (masks[7].mask.width, masks[7].mask.height) == (masks[7].roi.width, masks[7].roi.height)
        assert summary.statistics.channel_message_counts.keys() == summary.channels.keys()


def test_the_last_seconds_are_written_on_a_signal_and_at_the_end(tmp_path):
    path = tmp_path / "last.mcap"
    with running(tmp_path, *UP), running(tmp_path, "record", "-o", path, "--last", "2") as (process, log):
        until_all_are_recorded(log)
        until(lambda: not process.poll(), log.read_text)
        ask(tmp_path)
        process.send_signal(signal.SIGUSR1)
        until_log(log, "wrote .*last.mcap: ")
        assert process.poll() is None
    assert (tmp_path / "last-2.mcap").is_file()
    with highlevel.AnyReader([path]) as reader:
        assert 1e9 < reader.duration < 2.1e9
        topics = {each.topic for each in reader.connections if each.msgcount}
    assert {COLOR, "/tf_static", "/sam/_parameters", "/sam_perception/_recording"} <= topics


def test_what_sigkill_leaves_is_repaired_and_played(tmp_path, nodes):
    path = tmp_path / "cut.mcap"
    with (
        running(tmp_path, *UP),
        contextlib.suppress(AssertionError),
        running(tmp_path, "record", "-o", path) as (process, log),
    ):
        until_all_are_recorded(log)
        ask(tmp_path)
        until(lambda: sum(each.stat().st_size for each in tmp_path.glob("cut.mcap.part/*/*")) > 100e6, log.read_text)
        process.kill()
        process.wait()
    part = tmp_path / "cut.mcap.part"
    assert not path.exists()
    assert f"sam-perception record --repair {part}" in sentence("play", part)
    assert "is not overwritten" in sentence("record", "-o", path)
    assert run("record", "--repair", part).stdout == f"{path} can be read now\n"
    assert not part.exists()
    assert "nothing to repair" in sentence("record", "--repair", path)
    done = play(path, "--check", "--rate", "10")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_folder_as_ros2_bag_makes_it(tmp_path, nodes):
    folder = tmp_path / "bag"
    with running(tmp_path, *UP), running(tmp_path, "record", "-o", folder, "--compress", "/rosout") as (_, log):
        until_all_are_recorded(log)
        ask(tmp_path)
    assert sorted(each.name for each in folder.iterdir()) == ["bag.mcap", "metadata.yaml"]
    assert re.search(r"type_description_hash:\s+RIHS01_", (folder / "metadata.yaml").read_text())
    alone = shutil.copy(folder / "bag.mcap", tmp_path / "alone.mcap")
    with highlevel.AnyReader([folder]) as reader:
        assert {COLOR, "/sam/segment/_service_event"} <= {each.topic for each in reader.connections}
    for path in (folder, alone):
        assert play(path, "--check", "--rate", "10").returncode == 0


def test_recordings_that_cannot_be_made_or_played(tmp_path):
    (tmp_path / "there.mcap").write_bytes(b"mine")
    assert "there.mcap is there already" in sentence("record", "-o", tmp_path / "there.mcap")
    assert (tmp_path / "there.mcap").read_bytes() == b"mine"
    assert "the folder" in sentence("record", "-o", tmp_path / "no" / "x.mcap")
    assert "expected a rosbag2 recording" in sentence("play", tmp_path / "there.mcap")
    assert "nothing is there" in sentence("play", tmp_path / "nothing.mcap")
    assert "expected the beginning of an MCAP file" in sentence("record", "--repair", tmp_path / "there.mcap")
    assert (tmp_path / "there.mcap").read_bytes() == b"mine"


def test_a_recording_without_prompts_has_nothing_to_check(tmp_path):
    path = tmp_path / "quiet.mcap"
    with running(tmp_path, *UP), running(tmp_path, "record", "-o", path) as (_, log):
        until_all_are_recorded(log)
    assert "nothing was asked in this recording" in sentence("play", path, "--check")


def test_nothing_to_record(tmp_path):
    done = run("record", "-o", tmp_path / "x.mcap", "--duration", "1", ROS_DOMAIN_ID="1")
    assert done.returncode in (0, 2)  # ROS itself publishes /rosout
    assert ("nothing was recorded" in done.stderr) == (done.returncode == 2)
    assert len(list(tmp_path.iterdir())) == (done.returncode == 0)


def test_nobody_to_ask(recording):
    done = run("play", recording, "--timeout", "1", ROS_DOMAIN_ID="1")
    assert done.returncode == 2
    assert "sam-perception up --camera none" in done.stderr
