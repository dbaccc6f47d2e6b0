"""The commands that look at running nodes; what they print is what `ros2` printed for the same node."""

import re
import signal

import pytest
from command_line import COMMAND, PATIENCE_S, output, run, sentence, until, until_log

pytestmark = pytest.mark.usefixtures("talker")

TALKER_TOPICS = """\
/chatter [std_msgs/msg/String]
/heard [std_msgs/msg/String]
/talker/image [sensor_msgs/msg/Image]
/talker/info [sensor_msgs/msg/CameraInfo]
/talker/status [diagnostic_msgs/msg/DiagnosticStatus]
/talker/transition_event [lifecycle_msgs/msg/TransitionEvent]
""".splitlines()
TALKER_SERVICES = """\
/talker/change_state [lifecycle_msgs/srv/ChangeState]
/talker/describe_parameters [rcl_interfaces/srv/DescribeParameters]
/talker/die [std_srvs/srv/Trigger]
/talker/get_available_states [lifecycle_msgs/srv/GetAvailableStates]
/talker/get_available_transitions [lifecycle_msgs/srv/GetAvailableTransitions]
/talker/get_parameter_types [rcl_interfaces/srv/GetParameterTypes]
/talker/get_parameters [rcl_interfaces/srv/GetParameters]
/talker/get_state [lifecycle_msgs/srv/GetState]
/talker/get_transition_graph [lifecycle_msgs/srv/GetAvailableTransitions]
/talker/list_parameters [rcl_interfaces/srv/ListParameters]
/talker/segment_points [sam_perception/srv/SegmentPoints]
/talker/set [std_srvs/srv/SetBool]
/talker/set_parameters [rcl_interfaces/srv/SetParameters]
/talker/set_parameters_atomically [rcl_interfaces/srv/SetParametersAtomically]
""".splitlines()
# What each node of the real rclpy has besides, from Jazzy on.
OF_ROS_ITSELF = re.compile(r"rosout|type_description|/parameter_events")


def of_talker(text):
    return [line for line in text.splitlines() if not OF_ROS_ITSELF.search(line)]


def test_topic_list():
    lines = of_talker(output("topic", "list", "-t"))
    assert lines == TALKER_TOPICS
    assert of_talker(output("topic", "list")) == [line.split()[0] for line in TALKER_TOPICS]


def test_topic_info():
    expected = "Type: std_msgs/msg/String\nPublisher count: 1\nSubscription count: 0\n"
    assert output("topic", "info", "/chatter") == expected
    assert output("topic", "info", "chatter") == expected


def test_service_list():
    assert set(TALKER_SERVICES) <= set(output("service", "list", "-t").splitlines())
    names = output("service", "list").splitlines()
    assert {line.split()[0] for line in TALKER_SERVICES} <= set(names)
    assert names == sorted(names)
    assert not [name for name in names if "/_" in name]


def test_node_list_and_its_own_node_is_hidden():
    assert output("node", "list") == "/talker\n"
    assert output("node", "list", "--count-nodes") == "1\n"
    assert len(output("node", "list", "--all").splitlines()) == 2


def test_node_info():
    lines = of_talker(output("node", "info", "/talker"))
    titles = [line.strip() for line in lines if line.endswith(":")]
    assert titles == [
        *("Subscribers:", "Publishers:", "Service Servers:", "Service Clients:", "Action Servers:", "Action Clients:")
    ]
    sections = {title: [] for title in titles}
    for line in lines[1:]:
        if line.strip() in sections:
            title = line.strip()
        elif line:
            sections[title].append(line)
    assert lines[0] == "/talker"
    assert sections["Subscribers:"] == ["    /heard: std_msgs/msg/String"]
    published = [line for line in TALKER_TOPICS if not line.startswith("/heard")]
    assert sections["Publishers:"] == [f"    {line.replace(' [', ': ')[:-1]}" for line in published]
    assert sections["Service Servers:"] == [f"    {line.replace(' [', ': ')[:-1]}" for line in TALKER_SERVICES]
    assert sections["Service Clients:"] == ["    /somebody/reset: std_srvs/srv/Trigger"]
    assert sections["Action Servers:"] == []


CAMERA_INFO_CSV = ",".join(
    ["0,0,camera,480,640,plumb_bob", "0.1,-0.2,0.0,0.0,0.3", "600.5,0.0,320.0,0.0,601.0,240.0,0.0,0.0,1.0"]
    + ["0.0"] * 21
    + ["0,0,0,0,0,0,False\n"]
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["info", "--csv"], CAMERA_INFO_CSV),
        (["info", "--field", "header"], "stamp:\n  sec: 0\n  nanosec: 0\nframe_id: camera\n---\n"),
        (["info", "--field", "header.frame_id"], "camera\n---\n"),
        (["info", "--field", "d"], "array('d', [0.1, -0.2, 0.0, 0.0, 0.3])\n---\n"),
        (["info", "--field", "k"], "[600.5   0.  320.    0.  601.  240.    0.    0.    1. ]\n---\n"),
        (["status"], "level: \"\\x01\"\nname: n\nmessage: m\nhardware_id: ''\nvalues: []\n---\n"),
        (
            ["image", "-l", "5"],
            "header:\n  stamp:\n    sec: 0\n    nanosec: 0\n  frame_id: ''\nheight: 2\nwidth: 100\nencoding: mono8\n"
            "is_bigendian: 0\nstep: 100\ndata:\n- 0\n- 1\n- 2\n- 3\n- 4\n- '...'\n---\n",
        ),
        (
            ["image", "--no-arr", "--no-str"],
            "header:\n  stamp:\n    sec: 0\n    nanosec: 0\n  frame_id: '<string length: <0>>'\nheight: 2\nwidth: 100\n"
            "encoding: '<string length: <5>>'\nis_bigendian: 0\nstep: 100\n"
            "data: '<sequence type: uint8, length: 200>'\n---\n",
        ),
    ],
)
def test_topic_echo_of_latched_and_of_best_effort_publishers(options, expected):
    topic, *rest = options
    assert output("topic", "echo", f"/talker/{topic}", "--once", *rest) == expected


def test_topic_echo_goes_on_until_ctrl_c(start):
    process, log = start(*COMMAND, "topic", "echo", "/chatter", "--field", "data")
    until_log(log, "héllo: ", times=3)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    lines = log.read_text().splitlines()
    numbers = [int(line.removeprefix("héllo: ")) for line in lines[0:-1:2]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert set(lines[1::2]) == {"---"}


def test_topic_echo_ends_on_sigterm(start):
    process, log = start(*COMMAND, "topic", "echo", "/chatter")
    until_log(log, "héllo")
    process.terminate()
    assert process.wait(PATIENCE_S) == 143
    assert "Traceback" not in log.read_text()


def test_topic_echo_ends_when_its_reader_leaves(start, tmp_path):
    script = f"set -o pipefail; {' '.join(COMMAND)} topic echo /chatter 2>{tmp_path}/errors | head -1; echo $?"
    process, log = start("bash", "-c", script)
    assert process.wait(PATIENCE_S) == 0
    assert re.fullmatch(r"data: 'héllo: \d+'\n0\n", log.read_text())
    assert (tmp_path / "errors").read_text() == ""


def test_topic_echo_with_a_timeout_says_that_nothing_came():
    assert "/talker/silent" in sentence("topic", "echo", "/talker/silent", "std_msgs/msg/String", "--timeout", "0.5")


def test_topic_hz(start):
    process, log = start(*COMMAND, "topic", "hz", "/chatter", "--window", "7")
    until_log(log, "window: 7")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    form = r"average rate: (\d+\.\d{3})\n\tmin: \d\.\d{3}s max: \d\.\d{3}s std dev: \d\.\d{5}s window: \d+\n"
    assert re.fullmatch(f"(?:{form})+", log.read_text())


def test_topic_hz_waits_for_a_topic(start):
    process, log = start(*COMMAND, "topic", "hz", "/later", "--spin-time", "0.1")
    until_log(log, re.escape("WARNING: topic [/later] does not appear to be published yet\n"))
    start(*COMMAND, "topic", "echo", "/later", "std_msgs/msg/String")
    until(lambda: "Subscription count: 2" in run("topic", "info", "/later").stdout, log.read_text)
    assert process.poll() is None


def test_service_call():
    assert output("service", "call", "/talker/set", "std_srvs/srv/SetBool", "{data: true}") == (
        "requester: making request: std_srvs.srv.SetBool_Request(data=True)\n\n"
        "response:\nstd_srvs.srv.SetBool_Response(success=True, message='got True')\n\n"
    )
    request = "{points: [{x: 320, y: 240.5}], point_labels: [1, 0], stamp: {sec: 3}}"
    answer = output("service", "call", "/talker/segment_points", "sam_perception/SegmentPoints", request)
    assert "point_labels=[1, 0]" in answer
    assert "success=True, message='[(320.0, 240.5)] [1, 0] 3'" in answer


def test_service_call_whose_server_dies_ends(talker_of_this_test):
    assert "/mine/talker/die" in sentence("service", "call", "/mine/talker/die", "std_srvs/srv/Trigger")
    talker_of_this_test.wait(PATIENCE_S)


def test_param_list():
    names = output("param", "list", "/talker").split()
    assert {"count", "fixed", "loud", "name", "sizes", "speed", "use_sim_time", "weights", "words"} <= set(names)
    assert names == sorted(names)
    everything = output("param", "list", "--param-type")
    assert "/talker:\n" in everything
    assert "\n  speed (type: double)\n" in everything
    assert "\n  words (type: string array)\n" in everything


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("speed", "Double value is: 1.5"),
        ("count", "Integer value is: 3"),
        ("name", "String value is: tom"),
        ("loud", "Boolean value is: True"),
        ("sizes", "Integer values are: [1, 2, 3]"),
        ("weights", "Double values are: [0.5, 1.0]"),
        ("words", "String values are: ['a', 'b']"),
    ],
)
def test_param_get(name, expected):
    assert output("param", "get", "talker", name) == f"{expected}\n"
    assert output("param", "get", "--hide-type", "/talker", name) == f"{expected.partition(': ')[2]}\n"


def test_param_describe():
    assert output("param", "describe", "/talker", "speed", "fixed") == (
        "Parameter name: speed\n  Type: double\n  Description: How fast.\n  Constraints:\n    Min value: 0.0\n"
        "    Max value: 2.0\n    Step: 0.5\n"
        "Parameter name: fixed\n  Type: integer\n  Constraints:\n    Read only: true\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "printed"),
    [
        ("speed", "2.0", "2.0"),
        ("sizes", "[4, 5]", "[4, 5]"),
        ("weights", "[1.5]", "[1.5]"),
        ("words", "[c, d e]", "['c', 'd e']"),
        ("loud", "off", "False"),
        ("name", "a: b: c", "a: b: c"),
        ("name", "2024-01-01", "2024-01-01"),
    ],
)
def test_param_set(talker_of_this_test, name, value, printed):
    assert output("param", "set", "/mine/talker", name, value) == "Set parameter successful\n"
    assert output("param", "get", "--hide-type", "/mine/talker", name) == f"{printed}\n"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("speed", "3.0", "out of range"),
        ("speed", "1", "Wrong parameter type"),
        ("name", "''", "a name is never empty"),
        ("fixed", "8", "read-only"),
        ("sped", "1.0", "did you mean speed?"),
    ],
)
def test_param_set_that_the_node_refuses(name, value, why):
    refusal = sentence("param", "set", "/talker", name, value)
    assert "Setting parameter failed" in refusal
    assert why in refusal


def test_lifecycle(talker_of_this_test):
    node = "/mine/talker"
    assert f"{node}: unconfigured [1]\n/talker: unconfigured [1]\n" == output("lifecycle", "get")
    assert output("lifecycle", "nodes") == f"{node}\n/talker\n"
    assert output("lifecycle", "list", node) == (
        "- configure [1]\n\tStart: unconfigured\n\tGoal: configuring\n"
        "- shutdown [5]\n\tStart: unconfigured\n\tGoal: shuttingdown\n"
    )
    assert "- activate [3]\n\tStart: inactive\n\tGoal: activating\n" in output("lifecycle", "list", "--all", node)
    assert output("lifecycle", "set", node, "configure") == "Transitioning successful\n"
    assert output("lifecycle", "get", node) == "inactive [2]\n"
    assert "Transitioning failed" in sentence("lifecycle", "set", node, "activate")
    assert output("lifecycle", "set", node, "2") == "Transitioning successful\n"
    assert output("lifecycle", "get", node) == "unconfigured [1]\n"
    refused = run("lifecycle", "set", node, "activate")
    assert refused.returncode == 2
    assert "available ones are:\n- configure [1]\n- shutdown [5]\n" in refused.stderr


QUICK = ("--spin-time", "1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["topic", "info", "/chater", *QUICK], ["Unknown topic '/chater'", "/chatter"]),
        (["topic", "echo", "/chatter", "std_msgs/msg/Strin"], ["message type is invalid", "Strin"]),
        (["topic", "echo", "/chatter", "nowhere/msg/String"], ["message type is invalid", "nowhere"]),
        (["topic", "echo", "/chater", *QUICK], ["Could not determine the type", "/chatter"]),
        (["topic", "echo", "/talker/info", "--once", "--field", "header.x"], ["header.x", "frame_id"]),
        (["topic", "echo", "/talker/info", "--timeout", "-1"], ["--timeout", "positive"]),
        (["service", "call", "/talker/set", "std_srvs/srv/Nothing"], ["service type is invalid", "Nothing"]),
        (["service", "call", "/talker/set", "std_srvs/msg/SetBool"], ["package/srv/Name"]),
        (["service", "call", "/talker/set", "std_srvs/srv/Trigger"], ["is std_srvs/srv/SetBool, not"]),
        (["service", "call", "/talker/set", "std_srvs/srv/SetBool", "{dat: true}"], ["populate", "dat", "data"]),
        (["service", "call", "/talker/set", "std_srvs/srv/SetBool", "{data: 7}"], ["data", "true or false", "7"]),
        (["service", "call", "/talker/set", "std_srvs/srv/SetBool", "{data: "], ["YAML"]),
        (["service", "call", "/talker/st", "std_srvs/srv/SetBool", "--timeout", "2"], ["/talker/st", "/talker/set"]),
        (["node", "info", "/walker", *QUICK], ["Unable to find node '/walker'", "/talker"]),
        (["param", "get", "/walker", "speed", *QUICK], ["Node not found", "/talker"]),
        (["param", "get", "/talker", "sped"], ["Parameter not set", "speed"]),
        (["param", "describe", "/talker", "sped"], ["sped", "speed"]),
        (["lifecycle", "get", "/walker"], ["Node not found", "/talker"]),
    ],
)
def test_bad_names_are_one_sentence_and_exit_code_2(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2, done
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
