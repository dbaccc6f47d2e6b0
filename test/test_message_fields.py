"""Messages as text and back, beside what rosidl_runtime_py (which ros2 prints with) makes of the same messages."""

import importlib
import itertools
import math
import random

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import ParameterValue
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray, LabelInfo

from sam_perception.errors import InvalidInputError
from sam_perception.message_fields import (
    FieldType,
    Style,
    field_at,
    fields,
    message_from_yaml,
    message_to_csv,
    message_to_yaml,
    plain_text,
)
from sam_perception.msg import ObjectMaskArray, Prompt
from sam_perception.srv import Segment

MESSAGES = [CameraInfo, DiagnosticStatus, Detection3DArray, Image, LabelInfo, ObjectMaskArray, ParameterValue, Prompt]
STYLES = [
    Style(),
    Style(truncate_length=2),
    Style(no_arr=True),
    Style(no_str=True),
    Style(flow_style=True),
    Style(truncate_length=3, no_str=True, flow_style=True),
]


def some_message(kind, chance):
    """Every field filled, with values that are hard to print."""
    message = kind()
    for name, field_type, _ in fields(message):
        count = field_type.length if field_type.is_array else chance.randrange(0, 1 + min(field_type.length or 5, 5))
        values = [some_value(field_type.element, chance) for _ in range(count)]
        is_single = not (field_type.is_array or field_type.is_sequence)
        setattr(message, name, some_value(field_type.element, chance) if is_single else values)
    return message


def some_value(element, chance):
    package, _, name = element.rpartition("/")
    if package:
        return some_message(getattr(importlib.import_module(f"{package}.msg"), name), chance)
    if element.startswith("string"):
        return chance.choice(["abc", "héllo: x", "true", "10", "a\nb", "- b", "'"])
    if element == "octet":
        return bytes([chance.randrange(256)])
    if element == "boolean":
        return chance.random() < 0.5
    if "int" in element:
        bits = int(element.strip("uint"))
        return chance.randrange(2**bits) if element[0] == "u" else chance.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    value = chance.choice([0.1, -3.0, 1e30, 1e-7, math.inf, -math.inf, chance.random()])
    return float(np.float32(value)) if element == "float" else value


def test_text_is_that_of_ros2():
    rosidl_runtime_py = pytest.importorskip("rosidl_runtime_py")
    for kind, style, seed in itertools.product(MESSAGES, STYLES, range(5)):
        message = some_message(kind, random.Random(seed))
        lengths = {"truncate_length": style.truncate_length, "no_arr": style.no_arr, "no_str": style.no_str}
        expected = rosidl_runtime_py.message_to_yaml(message, flow_style=style.flow_style, **lengths)
        assert message_to_yaml(message, style) == expected
        expected = rosidl_runtime_py.message_to_csv(message, **lengths)
        assert columns(message_to_csv(message, style)) == columns(expected)


def columns(csv):
    """Those that are not empty: ros2 drops empty ones at the start of a message."""
    return [column for column in csv.split(",") if column]


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_is_printed_can_be_read_again(kind):
    for seed in range(5):
        message = some_message(kind, random.Random(seed))
        assert message_from_yaml(kind, message_to_yaml(message)) == message


def test_yaml_of_a_message_with_every_sort_of_field():
    message = Prompt(object_id=3, point_labels=[1, 0], box=[1.0, 2.5], text="a: b")
    message.mask.header.frame_id = "camera"
    text = message_to_yaml(message, Style(no_arr=True))
    assert text.startswith("object_id: 3\npoints: '<sequence type: vision_msgs/msg/Point2D, length: 0>'\n")
    assert "\nbox: '<sequence type: double[4], length: 2>'\nmask:\n  header:\n    stamp:\n      sec: 0\n" in text
    assert text.endswith("\n  data: '<sequence type: uint8, length: 0>'\ntext: 'a: b'\n")
    text = message_to_yaml(message)
    assert "\npoint_labels:\n- 1\n- 0\nbox:\n- 1.0\n- 2.5\n" in text
    assert yaml.safe_load(text)["mask"]["header"] == {"stamp": {"sec": 0, "nanosec": 0}, "frame_id": "camera"}
    assert message_to_csv(message) == "3,1,0,1.0,2.5,0,0,camera,0,0,,0,0,,a: b".replace("3,", "3,,", 1)


def test_fixed_arrays_are_named_with_their_length():
    text = message_to_yaml(CameraInfo(), Style(no_arr=True))
    assert "k: '<array type: double[9]>'\n" in text
    assert FieldType.parse("string<10>[3]") == FieldType("string<10>", is_array=True, length=3)
    assert FieldType.parse("sequence<string<10>, 5>").element_name == "string"


def test_a_field_of_a_field():
    message = Image(data=[1, 2], header=Header(frame_id="f"))
    assert field_at(message, "header.frame_id")[0] == "f"
    assert plain_text(*field_at(message, "data")) == "array('B', [1, 2])"
    for path in ("header.nothing", "height.x", "data.0"):
        with pytest.raises(InvalidInputError, match=path):
            field_at(message, path)


def test_numbers_become_what_the_field_holds():
    request = message_from_yaml(
        Segment.Request,
        "{stamp: {sec: 1.0}, prompts: [{points: [{x: 320, y: 1e-3}], box: [1, 2], text: 5}], multimask: 1}",
    )
    (prompt,) = request.prompts
    assert request.stamp.sec == 1
    assert request.multimask is True
    assert (prompt.points[0].x, prompt.points[0].y, list(prompt.box), prompt.text) == (320.0, 0.001, [1.0, 2.0], "5")
    assert message_from_yaml(Prompt, "") == Prompt()
    assert math.isnan(message_from_yaml(Prompt, "box: [.nan]").box[0])
    assert message_from_yaml(DiagnosticStatus, "level: 2").level == DiagnosticStatus.ERROR


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (Prompt, "{", ["YAML"]),
        (Prompt, "3", ["sam_perception/Prompt", "mapping", "3"]),
        (Prompt, "{pionts: []}", ["pionts", "points"]),
        (Prompt, "{points: [{x: 1}, {z: 1}]}", ["points[1].z", "vision_msgs/Point2D", "x, y"]),
        (Prompt, "{points: {x: 1}}", ["points", "a list of vision_msgs/msg/Point2D"]),
        (Prompt, "{points: [{x: one}]}", ["points[0].x", "double", "'one'"]),
        (Prompt, "{points: [{x: [1]}]}", ["points[0].x", "double"]),
        (Prompt, "{point_labels: [256]}", ["point_labels[0]", "uint8 from 0 to 255", "256"]),
        (Prompt, "{object_id: -1}", ["object_id", "-1"]),
        (Prompt, "{object_id: 1.5}", ["object_id", "1.5"]),
        (Prompt, "{box: [1, 2, 3, 4, 5]}", ["box", "at most 4", "5"]),
        (Prompt, "{text: [a]}", ["text", "string"]),
        (Prompt, "{mask: {header: 3}}", ["mask.header", "mapping"]),
        (CameraInfo, "{k: [1]}", ["k", "9 elements"]),
        (Segment.Request, "{multimask: maybe}", ["multimask", "true or false", "'maybe'"]),
        (Segment.Request, "{stamp: {sec: 3000000000}}", ["stamp.sec", "int32"]),
        (LabelInfo, "{threshold: 1e39}", ["threshold", "float"]),
    ],
)
def test_what_does_not_fit_is_named(kind, text, words):
    with pytest.raises(InvalidInputError) as caught:
        message_from_yaml(kind, text)
    for word in words:
        assert word in str(caught.value)
