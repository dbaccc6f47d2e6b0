"""What a node's parameters accept, and what its parameter services answer; the same on real rclpy."""

import threading

import pytest

from sam_perception.standalone import install_where_needed

install_where_needed()
rclpy = pytest.importorskip("rclpy")

from rcl_interfaces import srv  # noqa: E402
from rcl_interfaces.msg import (  # noqa: E402
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterEvent,
    SetParametersResult,
)
from rclpy.exceptions import (  # noqa: E402
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterAlreadyDeclaredException,
    ParameterNotDeclaredException,
    ParameterUninitializedException,
)
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

DEADLINE_S = 20.0


@pytest.fixture(scope="module", autouse=True)
def _ros():
    rclpy.init(args=["--ros-args", "-p", "given:=7", "-p", "empty:=[]"])
    yield
    rclpy.try_shutdown()


@pytest.fixture
def node():
    node = Node("sam", namespace="/lab")
    yield node
    node.destroy_node()


@pytest.fixture
def call(node):
    """Calls one of the node's services from another node."""
    caller = Node("caller", use_global_arguments=False)
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    executor.add_node(caller)
    thread = threading.Thread(target=executor.spin)
    thread.start()

    def call(type_, name, **fields):
        client = caller.create_client(type_, f"/lab/sam/{name}")
        assert client.wait_for_service(timeout_sec=DEADLINE_S)
        done = threading.Event()
        future = client.call_async(type_.Request(**fields))
        future.add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S)
        return future.result()

    yield call
    executor.shutdown()
    thread.join(DEADLINE_S)
    caller.destroy_node()


def change(node, name, value):
    return node.set_parameters([Parameter(name, value=value)])[0]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "BOOL"),
        (1, "INTEGER"),
        (1.0, "DOUBLE"),
        ("a", "STRING"),
        ([True], "BOOL_ARRAY"),
        ([1, 2], "INTEGER_ARRAY"),
        ((1.0, 2.0), "DOUBLE_ARRAY"),
        (["a"], "STRING_ARRAY"),
        (None, "NOT_SET"),
    ],
)
def test_a_parameter_has_the_type_of_its_value_also_across_a_message(value, name):
    parameter = Parameter("x", value=value)
    assert parameter.type_ is Parameter.Type[name]
    back = Parameter.from_parameter_msg(parameter.to_parameter_msg())
    assert (back.name, back.type_) == ("x", parameter.type_)
    assert back.value == value or list(back.value) == list(value)


@pytest.mark.parametrize("value", [{}, [1, "a"], [1, 2.0], object()])
def test_other_values_are_no_parameters(value):
    with pytest.raises(TypeError, match="allowed types"):
        Parameter("x", value=value)


def test_a_type_must_fit_its_value():
    with pytest.raises(ValueError, match="do not agree"):
        Parameter("x", Parameter.Type.DOUBLE, 1)


def test_the_command_line_counts_more_than_the_default(node):
    assert node.declare_parameter("given", 1).value == 7
    assert node.get_parameter("given").value == 7
    assert node.declare_parameter("other", 1).value == 1


def test_a_value_of_another_type_on_the_command_line_is_refused(node):
    with pytest.raises(InvalidParameterTypeException, match=r"given.*INTEGER.*expecting type 'STRING'"):
        node.declare_parameter("given", "text")
    assert not node.has_parameter("given")


def test_an_empty_list_on_the_command_line_leaves_a_parameter_without_value(node):
    node.declare_parameter("empty", ["a"])
    with pytest.raises(ParameterUninitializedException, match="empty"):
        node.get_parameter("empty")
    assert change(node, "empty", ["b"]).successful
    assert node.get_parameter("empty").value == ["b"]


def test_parameters_are_declared_once_and_before_use(node):
    node.declare_parameter("a", 1)
    with pytest.raises(ParameterAlreadyDeclaredException, match="a"):
        node.declare_parameter("a", 1)
    with pytest.raises(ParameterNotDeclaredException, match="b"):
        node.get_parameter("b")
    with pytest.raises(ParameterNotDeclaredException):
        change(node, "b", 1)
    with pytest.raises(ValueError, match="static"):
        node.declare_parameter("c", None, ParameterDescriptor())


def test_a_parameter_keeps_its_type(node):
    node.declare_parameter("rate", 1.0)
    result = change(node, "rate", 2)
    assert not result.successful
    assert result.reason == "Wrong parameter type, expected 'Type.DOUBLE' got 'Type.INTEGER'"
    assert change(node, "rate", None).reason == "Static parameter cannot be undeclared"
    assert node.get_parameter("rate").value == 1.0


def test_a_read_only_parameter_is_set_by_the_command_line_alone(node):
    assert node.declare_parameter("given", 1, ParameterDescriptor(read_only=True)).value == 7
    assert change(node, "given", 8).reason == "Trying to set a read-only parameter: given."
    assert node.get_parameter("given").value == 7


@pytest.mark.parametrize(
    ("value", "fault"), [(2, ""), (10, ""), (4, ""), (3, "valid step"), (0, "out of range"), (12, "out of range")]
)
def test_an_integer_stays_on_the_steps_of_its_range(node, value, fault):
    limits = IntegerRange(from_value=2, to_value=10, step=2)
    node.declare_parameter("n", 2, ParameterDescriptor(integer_range=[limits]))
    result = change(node, "n", value)
    assert result.successful == (not fault)
    assert fault in result.reason
    assert node.get_parameter("n").value == (2 if fault else value)


@pytest.mark.parametrize(
    ("value", "fault"),
    [(0.0, ""), (1.0, ""), (1.0 + 1e-9, ""), (0.3, ""), (0.1 + 0.2, ""), (0.35, "valid step"), (1.1, "out of range"),
     (float("nan"), "out of range"), (float("inf"), "out of range")],
)  # fmt: skip
def test_a_float_stays_near_the_steps_of_its_range(node, value, fault):
    limits = FloatingPointRange(from_value=0.0, to_value=1.0, step=0.1)
    node.declare_parameter("x", 0.5, ParameterDescriptor(floating_point_range=[limits]))
    result = change(node, "x", value)
    assert result.successful == (not fault)
    assert fault in result.reason


def test_a_default_out_of_its_range_is_refused(node):
    descriptor = ParameterDescriptor(integer_range=[IntegerRange(from_value=0, to_value=5)])
    with pytest.raises(InvalidParameterValueException, match=r"given.*out of range|out of range.*given"):
        node.declare_parameter("given", 1, descriptor)


def test_callbacks_may_refuse_and_are_asked_before_anything_changes(node):
    asked = []

    def refuse_odd(parameters):
        asked.append([(parameter.name, parameter.value) for parameter in parameters])
        odd = [parameter.name for parameter in parameters if parameter.value % 2]
        return SetParametersResult(successful=not odd, reason=f"odd: {odd}" if odd else "")

    node.declare_parameter("a", 0)
    node.declare_parameter("b", 0)
    node.add_on_set_parameters_callback(refuse_odd)
    assert change(node, "a", 1).reason == "odd: ['a']"
    assert change(node, "a", 2).successful
    result = node.set_parameters_atomically([Parameter("a", value=4), Parameter("b", value=5)])
    assert result.reason == "odd: ['b']"
    assert [node.get_parameter(name).value for name in "ab"] == [2, 0]
    with pytest.raises(InvalidParameterValueException, match="odd"):
        node.declare_parameter("c", 3)
    assert asked == [[("a", 1)], [("a", 2)], [("a", 4), ("b", 5)], [("c", 3)]]
    node.remove_on_set_parameters_callback(refuse_odd)
    assert change(node, "a", 1).successful


def test_others_read_parameters(node, call):
    limits = IntegerRange(from_value=0, to_value=9)
    node.declare_parameter("model.size", 3, ParameterDescriptor(description="How big.", integer_range=[limits]))
    node.declare_parameter("model.name", "grabcut")
    values = call(srv.GetParameters, "get_parameters", names=["model.size", "use_sim_time", "model.name"]).values
    assert [Parameter.from_parameter_msg(_named(value)).value for value in values] == [3, False, "grabcut"]
    assert list(call(srv.GetParameterTypes, "get_parameter_types", names=["model.size", "model.name"]).types) == [2, 4]
    described = call(srv.DescribeParameters, "describe_parameters", names=["model.size"]).descriptors
    assert described == [ParameterDescriptor(name="model.size", type=2, description="How big.", integer_range=[limits])]
    for type_, name, answer in (
        (srv.GetParameters, "get_parameters", "values"),
        (srv.GetParameterTypes, "get_parameter_types", "types"),
        (srv.DescribeParameters, "describe_parameters", "descriptors"),
    ):
        assert len(getattr(call(type_, name, names=["model.size", "missing"]), answer)) == 0


def _named(value):
    from rcl_interfaces.msg import Parameter as ParameterMsg

    return ParameterMsg(name="x", value=value)


@pytest.mark.parametrize(
    ("prefixes", "depth", "expected"),
    [
        ([], 0, {"a", "b.c", "b.d.e"}),
        ([], 1, {"a"}),
        ([], 2, {"a", "b.c"}),
        (["b"], 0, {"b.c", "b.d.e"}),
        (["b"], 1, {"b.c"}),
        (["b.d", "a"], 0, {"b.d.e", "a"}),
        (["b.", "x"], 0, set()),
    ],
)
def test_others_list_parameters(node, call, prefixes, depth, expected):
    for name in ("a", "b.c", "b.d.e"):
        node.declare_parameter(name, 1)
    result = call(srv.ListParameters, "list_parameters", prefixes=prefixes, depth=depth).result
    own = {name for name in result.names if name[:2] in ("a", "b.")}
    assert own == expected
    assert {prefix for prefix in result.prefixes if prefix.startswith("b")} == {
        name.rpartition(".")[0] for name in expected if "." in name
    }


def test_others_set_parameters(node, call):
    node.declare_parameter("a", 1)
    node.declare_parameter("b", [0.5])
    messages = [
        Parameter(*each).to_parameter_msg() for each in (("a", None, 2), ("missing", None, 1), ("b", None, [1.5, 2.5]))
    ]
    results = call(srv.SetParameters, "set_parameters", parameters=messages).results
    assert [result.successful for result in results] == [True, False, True]
    assert "undeclared" in results[1].reason
    assert (node.get_parameter("a").value, list(node.get_parameter("b").value)) == (2, [1.5, 2.5])
    messages = [Parameter(*each).to_parameter_msg() for each in (("a", None, 3), ("b", None, 4))]
    result = call(srv.SetParametersAtomically, "set_parameters_atomically", parameters=messages).result
    assert not result.successful
    assert "Wrong parameter type" in result.reason
    assert node.get_parameter("a").value == 2


def test_every_change_is_announced(node, call):
    events, heard = [], threading.Event()

    def hear(event):
        if event.node == "/lab/sam":
            events.append(event)
            if any(changed.name == "a" for changed in event.changed_parameters):
                heard.set()

    listener = Node("listener", use_global_arguments=False)
    listener.create_subscription(ParameterEvent, "/parameter_events", hear, 1000)
    executor = SingleThreadedExecutor()
    executor.add_node(listener)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    node.declare_parameter("a", 0)
    for value in range(1, 1000):  # until the listener has been found
        assert change(node, "a", value).successful
        if heard.wait(0.05):
            break
    executor.shutdown()
    thread.join(DEADLINE_S)
    listener.destroy_node()
    (changed,) = events[-1].changed_parameters
    assert changed.name == "a"
    assert 0 < changed.value.integer_value <= value
    assert not events[-1].new_parameters
    assert events[-1].stamp.sec > 0
