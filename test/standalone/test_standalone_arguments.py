"""Every expectation here is rcl's: the same tests pass on real rclpy."""

import math
import re

import pytest

from sam_perception.standalone import install_where_needed

install_where_needed()
rclpy = pytest.importorskip("rclpy")

from rclpy.node import Node  # noqa: E402
from rclpy.utilities import remove_ros_args  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _ros():
    rclpy.init(args=["sam", "--ros-args", "-p", "a:=1", "-p", "b:=1", "-r", "image:=c", "-r", "depth:=d"])
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_node():
    nodes = []

    def make(*arguments, name="sam", namespace=None):
        node = Node(
            name,
            namespace=namespace,
            cli_args=["--ros-args", *arguments],
            use_global_arguments=False,
            start_parameter_services=False,
            automatically_declare_parameters_from_overrides=True,
        )
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()


def value_of(node, name):
    return node.get_parameter(name).value if node.has_parameter(name) else None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "/a/sam"),
        (["-r", "__ns:=/x/y"], "/x/y/sam"),
        (["-r", "__ns:=/"], "/sam"),
        (["-r", "__node:=left", "-r", "__ns:=/x"], "/x/left"),
        (["--remap", "__name:=left"], "/a/left"),
        (["-r", "sam:__node:=left", "-r", "left:__ns:=/x"], "/x/left"),
        (["-r", "other:__node:=left", "-r", "other:__ns:=/x"], "/a/sam"),
    ],
)
def test_a_node_takes_its_name_from_the_command_line(make_node, arguments, expected):
    assert make_node(*arguments, namespace="a").get_fully_qualified_name() == expected


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        ([], "image", "/a/image"),
        ([], "~/click", "/a/sam/click"),
        ([], "~", "/a/sam"),
        ([], "/tf", "/tf"),
        (["-r", "image:=/camera/color"], "image", "/camera/color"),
        (["-r", "image:=camera/color"], "image", "/a/camera/color"),
        (["-r", "image:=camera/color"], "/a/image", "/a/camera/color"),
        (["-r", "image:=camera/color"], "/image", "/image"),
        (["-r", "/a/image:=~/image"], "image", "/a/sam/image"),
        (["-r", "~/click:=/click"], "~/click", "/click"),
        (["-r", "~/click:=/click"], "sam/click", "/click"),
        (["-r", "image:=first", "-r", "image:=second"], "image", "/a/first"),
        (["-r", "image:=b", "-r", "b:=c"], "image", "/a/b"),
        (["-r", "sam:image:=b"], "image", "/a/b"),
        (["-r", "other:image:=b"], "image", "/a/image"),
        (["-r", "__node:=left", "-r", "left:image:=b"], "~/x", "/a/left/x"),
        (["-r", "__node:=left", "-r", "left:image:=b"], "image", "/a/b"),
        (["-r", "__ns:=/x", "-r", "image:=b"], "image", "/x/b"),
    ],
)
def test_names_are_expanded_then_remapped(make_node, arguments, name, expected):
    node = make_node(*arguments, namespace="a")
    assert node.resolve_topic_name(name) == expected
    assert node.resolve_service_name(name) == expected


@pytest.mark.parametrize("name", ["", "a/", "a//b", "1a", "a/1b", "a~", "~~", "~a/b", "a b", "a-b", "ä"])
def test_a_name_that_breaks_a_rule_is_refused(make_node, name):
    with pytest.raises(Exception, match=r"must|may|start"):
        make_node().resolve_topic_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("-5", -5),
        ("0x1F", 31),
        ("010", 8),
        ("08", 8.0),
        ("9223372036854775808", 9223372036854775808.0),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("inf", math.inf),
        ("true", True),
        ("off", False),
        ("y", True),
        ("'5'", "5"),
        ("''", ""),
        ("null", "null"),
        ("~", "~"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("a, b", "a, b"),
        ("/dev/video0", "/dev/video0"),
        ("[1, 2]", [1, 2]),
        ("[1.0, 2e0]", [1.0, 2.0]),
        ("[a, 'true']", ["a", "true"]),
        ("[yes, no]", [True, False]),
    ],
)
def test_the_type_of_a_value_follows_from_how_it_is_written(make_node, text, expected):
    value = value_of(make_node("-p", f"x.y:={text}"), "x.y")
    assert value == expected
    assert type(value) is type(expected)


def test_a_parameter_may_be_meant_for_one_node(make_node):
    arguments = ["-p", "a:=1", "-p", "sam:b:=1", "-p", "other:c:=1"]
    node = make_node(*arguments)
    assert [value_of(node, name) for name in "abc"] == [1, 1, None]
    below = make_node(*arguments, namespace="/x")
    assert [value_of(below, name) for name in "abc"] == [1, None, None]


def test_a_file_names_nodes_by_name_or_pattern(make_node, tmp_path):
    path = tmp_path / "parameters.yaml"
    path.write_text(
        """
/**:
  ros__parameters: {everywhere: 1, overridden: 1, later: 1}
/x/sam:
  ros__parameters:
    exact: 1
    overridden: 2
    model: {name: grabcut, size: {width: 640}}
/x:
  sam:
    ros__parameters: {nested: 1}
/*/sam:
  ros__parameters: {one_level: 1}
/**/sam:
  ros__parameters: {any_level: 1}
sam:
  ros__parameters: {in_the_root: 1}
x/other:
  ros__parameters: {of_another: 1}
"""
    )
    names = ["everywhere", "overridden", "exact", "nested", "one_level", "any_level", "in_the_root", "of_another"]
    arguments = ["--params-file", str(path), "-p", "later:=3"]
    node = make_node(*arguments, namespace="/x")
    assert [value_of(node, name) for name in names] == [1, 2, 1, 1, 1, 1, None, None]
    assert (value_of(node, "model.name"), value_of(node, "model.size.width")) == ("grabcut", 640)
    assert value_of(node, "later") == 3
    in_root = make_node(*arguments)
    assert [value_of(in_root, name) for name in names] == [1, 1, None, None, None, 1, 1, None]
    deep = make_node(*arguments, namespace="/x/y")
    assert [value_of(deep, name) for name in names] == [1, 1, None, None, None, 1, None, None]


def test_what_a_node_was_given_wins_over_what_the_process_was_given():
    node = Node(
        "sam",
        cli_args=["--ros-args", "-p", "b:=2", "-r", "depth:=e"],
        automatically_declare_parameters_from_overrides=True,
    )
    assert [value_of(node, name) for name in "ab"] == [1, 2]
    assert [node.resolve_topic_name(name) for name in ("image", "depth")] == ["/c", "/e"]
    node.destroy_node()


@pytest.mark.parametrize(
    "arguments",
    [
        ["-r", "image"],
        ["-r", "image:="],
        ["-r", "image:=a//b"],
        ["-r", "__ns:=x"],
        ["-r", "__node:=a/b"],
        ["-p", "a"],
        ["-p", "a:="],
        ["-p", "1a:=1"],
        ["-p", "a:=[1, 2.0]"],
        ["-p", "a:={b: 1}"],
        ["-p", "a:=[1"],
        ["--log-level", "loud"],
        ["--params-file", "missing.yaml"],
        ["--parameters", "x"],
    ],
)
def test_a_malformed_argument_is_quoted(make_node, arguments):
    with pytest.raises(Exception, match=re.escape(arguments[0])):
        make_node(*arguments)


@pytest.mark.parametrize(
    "text",
    ["sam:\n  a: 1\n", "- 1\n", "sam:\n  ros__parameters:\n    a:\n", "sam: {", "a-b:\n  ros__parameters: {a: 1}\n"],
)
def test_a_file_of_another_form_is_refused(make_node, tmp_path, text):
    path = tmp_path / "parameters.yaml"
    path.write_text(text)
    with pytest.raises(Exception, match=re.escape(str(path))):
        make_node("--params-file", str(path))


def test_what_is_not_for_ros_is_left_over():
    line = [
        "sam",
        "--fast",
        "--ros-args",
        "-r",
        "a:=b",
        "--log-level",
        "debug",
        "--",
        "file",
        "--ros-args",
        "-p",
        "a:=1",
    ]
    assert remove_ros_args(line) == ["sam", "--fast", "file"]
