"""`sam-perception run` and `up`: command lines, and the real nodes as processes."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import COMMAND, PATIENCE_S, output, run, sentence, until, until_log

from sam_perception import cli
from sam_perception.commands import ros_arguments, up
from sam_perception.frame_files import SAMPLE_DIRECTORY

CLICK = json.loads((SAMPLE_DIRECTORY / "objects.json").read_text())[0]["click"]
SEGMENT = ("service", "call", "/sam/segment_points", "sam_perception/srv/SegmentPoints")
POINT = f"{{points: [{{x: {CLICK[0]}, y: {CLICK[1]}}}]}}"


def command_lines(*arguments):
    """What `up` would start: each process' arguments behind `run`, and those for ROS."""
    ours, for_ros = ros_arguments.split(["up", *arguments])
    options = cli.build_parser().parse_args(ours)
    options.ros_arguments = for_ros
    return {command.name: command.arguments[4:] for command in up.commands(options)}


def parameters(arguments):
    return [value for option, value in itertools.pairwise(arguments) if option == "-p"]


def remaps(arguments):
    return [value for option, value in itertools.pairwise(arguments) if option == "-r"]


def test_ros_arguments_end_at_two_dashes():
    assert ros_arguments.split(
        ["sam", "--ros-args", "-p", "a:=b", "--", "--listen", "x", "--ros-args", "-r", "c:=d"]
    ) == (
        ["sam", "--listen", "x"],
        ["--ros-args", "-p", "a:=b", "--", "--ros-args", "-r", "c:=d"],
    )


def test_up_connects_the_topics_of_realsense():
    lines = command_lines()
    assert [line[0] for line in lines.values()] == ["sample_camera", "sam", "sam_grasp"]
    assert remaps(lines["sam"]) == [
        "image:=/camera/camera/color/image_raw",
        "depth:=/camera/camera/aligned_depth_to_color/image_raw",
    ]
    assert set(remaps(lines["sam_grasp"])) == {
        *remaps(lines["sam"]),
        "objects:=/sam/objects",
        "camera_info:=/camera/camera/color/camera_info",
    }
    assert list(command_lines("--camera", "none")) == ["sam", "sam_grasp"]


def test_up_gives_each_process_its_parameters():
    lines = command_lines(
        *("--model", "1e5", "--target-frame", "base_link", "--camera", str(SAMPLE_DIRECTORY)),
        *("-p", "sam:cache_mb:=100", "-p", "use_sim_time:=true", "-p", "camera:source:=a:=b"),
    )
    assert parameters(lines["sam"]) == ['model:="1e5"', "cache_mb:=100", "use_sim_time:=true"]
    assert parameters(lines["sam_grasp"]) == ['target_frame:="base_link"', "use_sim_time:=true"]
    assert parameters(lines["camera"]) == [f'source:="{SAMPLE_DIRECTORY}"', "use_sim_time:=true", "source:=a:=b"]


def test_up_runs_the_camera_that_was_asked_for():
    for camera, node, given in (
        ("sim", "sim_camera", []),
        ("sim:7", "sim_camera", ["seed:=7"]),
        ("realsense", "realsense_camera", []),
        ("realsense:0123", "realsense_camera", ['serial_number:="0123"']),
    ):
        line = command_lines("--camera", camera)["camera"]
        assert (line[0], parameters(line)) == (node, given)


def test_up_passes_ros_arguments_on_and_the_first_remap_wins():
    for line in command_lines("--ros-args", "-r", "image:=/mine").values():
        assert remaps(line)[0] == "image:=/mine"


def test_up_gives_each_process_a_port():
    lines = command_lines("--listen", "tcp/0.0.0.0:7450", "--listen", "tcp/[::]:0")
    listened = [line[1:5] for line in lines.values()]
    assert listened == [("--listen", f"tcp/0.0.0.0:{port}", "--listen", "tcp/[::]:0") for port in (7450, 7451, 7452)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--camera", "/no/such/folder"], ["--camera", "/no/such/folder"]),
        (["up", "--camera", "sim:seven"], ["--camera", "sim:SEED", "sim:seven"]),
        (["up", "-p", "model"], ["-p", "[PROCESS:]NAME:=VALUE", "model"]),
        (["up", "-p", "cam:rate_hz:=3"], ["camera, sam, sam_grasp", "cam:rate_hz"]),
        (["up", "--connect", "robot"], ["--connect", "tcp/", "robot"]),
        (["up", "--zenoh-config", "/no/such/file"], ["--zenoh-config", "/no/such/file"]),
        (["run", "sma"], ["sma", "sam_grasp"]),
        (["run", "sam", "image:=/x"], ["image:=/x"]),
        (["run", "sample_camera", "--ros-args", "--nonsense"], ["--nonsense"]),
        (["topic", "list", "--ros-args", "-p", "a:=b"], ["--ros-args"]),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, words):
    text = sentence(*arguments)
    for word in words:
        assert word in text


def test_run_one_node_with_ros_arguments_until_ctrl_c(start):
    names = ("-r", "__ns:=/other", "-r", "__node:=eye")
    process, log = start(*COMMAND, "run", "sample_camera", "--ros-args", *names, "-p", "rate_hz:=7.5")
    until(lambda: "/other/eye" in output("node", "list").splitlines(), log.read_text)
    assert output("param", "get", "/other/eye", "rate_hz", "--hide-type") == "7.5\n"
    topic = output("topic", "echo", "/other/eye/color/camera_info", "--once", "--field", "width")
    assert topic == "640\n---\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0, log.read_text()


@pytest.fixture
def system(start):
    # grabcut, because it is the quickest to load; test_cli's demo starts the default.
    process, log = start(*COMMAND, "up", "--model", "grabcut", "-p", "camera:rate_hz:=10.0")
    until(lambda: "success=True" in run(*SEGMENT, POINT).stdout, log.read_text)
    return process, log


def pid_of(process, node):
    """The process of one of `up`'s children."""
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if f"\0run\0{node}\0" in Path(f"/proc/{pid}/cmdline").read_text():
            return int(pid)
    return None


def test_up_runs_all_three_and_one_ctrl_c_ends_them(system):
    process, log = system
    names = {"/camera/camera", "/sam", "/sam_grasp"}
    until(lambda: names <= set(output("node", "list").splitlines()), log.read_text)
    until(lambda: output("lifecycle", "get", "/sam_grasp") == "active [3]\n", log.read_text)
    prefixes = {line.partition("]")[0] for line in log.read_text().splitlines()}
    assert {"[camera", "[sam", "[sam_grasp"} <= prefixes <= {"[camera", "[sam", "[sam_grasp", "[up"}
    assert "\033[" not in log.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert "Traceback" not in log.read_text()
    assert "SIGTERM" not in log.read_text()
    until(lambda: not re.search("sam|camera", output("node", "list")), log.read_text)


def test_up_heals_after_a_process_was_killed(system):
    process, log = system
    others = pid_of(process, "sample_camera"), pid_of(process, "sam_grasp")
    os.kill(pid_of(process, "sam"), signal.SIGKILL)
    until_log(log, "sam was ended by SIGKILL; starting it again")
    until(lambda: "success=True" in run(*SEGMENT, POINT).stdout, log.read_text)
    assert (pid_of(process, "sample_camera"), pid_of(process, "sam_grasp")) == others
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


def test_importing_the_command_imports_no_runtime():
    code = "import sys, sam_perception.cli; print({'rclpy', 'zenoh', 'rosbags', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
