"""One table makes a node's parameters: defaults, overrides, refusals in words, changes at run time."""

import pytest
import rclpy
from rcl_interfaces.srv import DescribeParameters
from rclpy.parameter import Parameter as RosParameter

from sam_perception.errors import InvalidInputError
from sam_perception.nodes.parameters import Parameter, declare

TABLE = (
    Parameter("rate_hz", 5.0, "Rate, 1/s.", minimum=0.5, maximum=60.0),
    Parameter("tries", 3, "Tries.", minimum=1),
    Parameter("mode", "slow", "Mode.", choices=("slow", "fast")),
    Parameter("model", "grabcut", "Model.", changeable=False),
    Parameter("loud", False, "Loud."),
)


@pytest.fixture
def node(ros):
    node = rclpy.create_node("with_parameters")
    yield node
    node.destroy_node()


@pytest.fixture
def parameters(node):
    return declare(node, TABLE)


def set_one(node, name, value):
    (result,) = node.set_parameters([RosParameter(name, value=value)])
    return result


def test_values_are_the_defaults_with_their_types(parameters):
    assert (parameters.rate_hz, parameters.tries, parameters.mode, parameters.loud) == (5.0, 3, "slow", False)
    assert type(parameters.rate_hz) is float
    with pytest.raises(AttributeError, match="nonsense"):
        _ = parameters.nonsense


def test_what_is_set_counts_from_then_on(node, parameters):
    assert set_one(node, "rate_hz", 10.0).successful
    assert set_one(node, "loud", True).successful
    assert (parameters.rate_hz, parameters.loud) == (10.0, True)
    assert node.get_parameter("rate_hz").value == 10.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_hz", 0.4),
        ("rate_hz", 61.0),
        ("rate_hz", float("nan")),
        ("rate_hz", 10),
        ("tries", 0),
        ("tries", 2.0),
        ("tries", True),
        ("mode", "fastest"),
        ("mode", ""),
        ("loud", "yes"),
    ],
)
def test_what_the_table_does_not_allow_is_refused_with_a_reason_and_changes_nothing(node, parameters, name, value):
    heard = []
    parameters.on_change(lambda name, value: heard.append(name))
    before = getattr(parameters, name)
    result = set_one(node, name, value)
    assert not result.successful
    assert result.reason
    assert getattr(parameters, name) == before == node.get_parameter(name).value
    assert heard == []


def test_a_refused_choice_names_the_choices(node, parameters):
    assert "'slow', 'fast'" in set_one(node, "mode", "fastest").reason


def test_listeners_hear_of_changes_and_find_the_new_value_in_place(node, parameters):
    heard = []
    parameters.on_change(lambda name, value: heard.append((name, value, getattr(parameters, name))))
    set_one(node, "mode", "fast")
    assert heard == [("mode", "fast", "fast")]


def test_while_locked_only_what_is_changeable_changes(node, parameters):
    parameters.locked = True
    assert set_one(node, "rate_hz", 7.0).successful
    assert set_one(node, "model", "grabcut").successful  # as it is
    refused = set_one(node, "model", "sam_vit_b")
    assert "unconfigured" in refused.reason
    assert parameters.model == "grabcut"
    parameters.locked = False
    assert set_one(node, "model", "sam_vit_b").successful


def test_of_several_set_together_all_count_or_none(node, parameters):
    changes = [RosParameter("rate_hz", value=9.0), RosParameter("mode", value="fastest")]
    assert not node.set_parameters_atomically(changes).successful
    assert (parameters.rate_hz, parameters.mode) == (5.0, "slow")


def made_with(**overrides):
    listed = [RosParameter(name, value=value) for name, value in overrides.items()]
    return rclpy.create_node("with_overrides", parameter_overrides=listed)


def test_overrides_count_instead_of_defaults(ros):
    node = made_with(rate_hz=1.0, model="sam_vit_b")
    parameters = declare(node, TABLE)
    assert (parameters.rate_hz, parameters.model, parameters.tries) == (1.0, "sam_vit_b", 3)
    node.destroy_node()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"rate_hz": 5}, "a number with a decimal point, such as 2.0"),
        ({"rate_hz": 99.0}, "from 0.5 to 60.0"),
        ({"mode": "fastest"}, "one of 'slow', 'fast'"),
        ({"tries": "many"}, "a whole number, 1 or more"),
    ],
)
def test_an_override_that_is_not_allowed_names_the_parameter_and_what_it_takes(ros, overrides, sentence):
    node = made_with(**overrides)
    with pytest.raises(InvalidInputError) as refused:
        declare(node, TABLE)
    assert sentence in str(refused.value)
    assert next(iter(overrides)) in str(refused.value)
    node.destroy_node()


def test_the_table_can_be_read_from_outside(client, run_node):
    from sam_perception.nodes.managed_node import ManagedNode

    run_node(lambda **options: ManagedNode("described", TABLE, **options), autostart=False)
    names = ["rate_hz", "tries", "mode", "model"]
    rate, tries, mode, model = client.call(
        DescribeParameters, "/described/describe_parameters", names=names
    ).descriptors
    assert rate.description == "Rate, 1/s."
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (0.5, 60.0)
    assert (tries.integer_range[0].from_value, tries.integer_range[0].to_value) == (1, 2**63 - 1)
    assert "'slow', 'fast'" in mode.additional_constraints
    assert "unconfigured" in model.additional_constraints
