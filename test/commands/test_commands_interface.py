"""`sam-perception interface`, beside the definitions and what `ros2 interface show` prints of them."""

import shutil
import subprocess

import pytest
from command_line import COMMAND, ENVIRONMENT, REPOSITORY, output, run, sentence

NO_COMMENTS = """\
std_msgs/Header header
	builtin_interfaces/Time stamp
		int32 sec
		uint32 nanosec
	string frame_id
uint32 object_id
string label
float32 score
sensor_msgs/RegionOfInterest roi
	uint32 x_offset
	uint32 y_offset
	uint32 height
	uint32 width
	bool do_rectify
sensor_msgs/Image mask
	std_msgs/Header header
		builtin_interfaces/Time stamp
			int32 sec
			uint32 nanosec
		string frame_id
	uint32 height
	uint32 width
	string encoding
	uint8 is_bigendian
	uint32 step
	uint8[] data
"""


def test_show_expands_what_is_within():
    assert output("interface", "show", "--no-comments", "sam_perception/msg/ObjectMask") == NO_COMMENTS


def test_show_keeps_the_comments_of_the_definition_and_not_those_within():
    lines = output("interface", "show", "sam_perception/srv/SegmentPoints").splitlines()
    definition = (REPOSITORY / "srv" / "SegmentPoints.srv").read_text().splitlines()
    assert [line for line in lines if not line.startswith("\t")] == definition
    assert not [line for line in lines if line.startswith("\t") and "#" in line]


def test_show_reads_a_name_from_a_pipe():
    done = subprocess.run(
        [*COMMAND, "interface", "show", "-"],
        input="sam_perception/msg/ObjectSummary\n",
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.stdout == output("interface", "show", "sam_perception/msg/ObjectSummary")


def test_constants_and_bounds_are_no_messages():
    text = output("interface", "show", "--no-comments", "sam_perception/msg/Prompt")
    assert text.startswith("uint8 BACKGROUND=0\nuint8 FOREGROUND=1\nuint32 object_id\nvision_msgs/Point2D[] points\n\t")
    assert "\nfloat64[<=4] box\nsensor_msgs/Image mask\n\tstd_msgs/Header header\n" in text


def test_list():
    lines = output("interface", "list").splitlines()
    assert {"Messages:", "Services:", "Actions:"} == {line for line in lines if not line.startswith("    ")}
    assert lines.index("    sam_perception/msg/Prompt") < lines.index("Services:")
    assert lines.index("    sam_perception/srv/Track") > lines.index("Services:")
    messages = output("interface", "list", "-m").splitlines()
    assert messages == lines[: lines.index("Services:")]
    assert {"    sensor_msgs/msg/Image", "    vision_msgs/msg/Detection2DArray"} <= set(messages)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ObjectMask", ["Invalid name 'ObjectMask'", "three parts"]),
        ("sam_perception/msg/ObjectMsk", ["Unknown interface", "did you mean sam_perception/msg/ObjectMask"]),
        ("../msg/Prompt", ["Invalid name"]),
    ],
)
def test_bad_names(name, words):
    text = sentence("interface", "show", name)
    assert all(word in text for word in words)


@pytest.mark.parametrize("name", ["sensor_msgs/msg/CameraInfo", "sam_perception/srv/Segment", "std_msgs/msg/Empty"])
def test_show_is_that_of_ros2(name):
    if shutil.which("ros2") is None:
        pytest.skip("needs ros2")
    for options in ([], ["--all-comments"]):
        theirs = subprocess.run(["ros2", "interface", "show", name, *options], capture_output=True, text=True).stdout
        ours = run("interface", "show", name, *options).stdout
        if options:
            assert ours == theirs
        # Of the comments within, ros2 leaves the second and further lines where they stand behind a field.
        assert fields(ours) == fields(theirs)


def fields(text):
    return [code for line in text.splitlines() if (code := line.partition("#")[0].rstrip())]
