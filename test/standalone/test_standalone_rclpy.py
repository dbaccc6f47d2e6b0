"""What nodes of one process do for each other; the same on real rclpy, but for what is marked as standalone's own."""

import array
import re
import threading
import time

import pytest

from sam_perception.standalone import install_where_needed

IS_STANDALONE = install_where_needed()
rclpy = pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time as TimeMsg  # noqa: E402
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup  # noqa: E402
from rclpy.clock import Clock, ClockType  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rclpy.time import Time  # noqa: E402
from rosgraph_msgs.msg import Clock as ClockMsg  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Int32, String  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

DEADLINE_S = 20.0
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
standalone_only = pytest.mark.skipif(not IS_STANDALONE, reason="rclpy leaves this to its middleware")


@pytest.fixture(scope="module", autouse=True)
def _ros():
    rclpy.init(args=[])
    yield
    rclpy.try_shutdown()


@pytest.fixture
def node():
    made = Node("here", namespace="/lab", start_parameter_services=False)
    yield made
    made.destroy_node()


@pytest.fixture
def other():
    made = Node("there", start_parameter_services=False)
    yield made
    made.destroy_node()


@pytest.fixture
def executor(node, other):
    """Runs both nodes' callbacks when it is told to."""
    made = SingleThreadedExecutor()
    made.add_node(node)
    made.add_node(other)
    yield made
    made.shutdown()


@pytest.fixture
def threads(node, other):
    """Runs both nodes' callbacks in four threads."""
    made = MultiThreadedExecutor(num_threads=4)
    made.add_node(node)
    made.add_node(other)
    spinning = threading.Thread(target=made.spin)
    spinning.start()
    yield made
    made.shutdown()
    spinning.join()


def until(condition, executor=None):
    """Whether it becomes true, before long."""
    end = time.monotonic() + DEADLINE_S
    while not condition() and time.monotonic() < end:
        if executor:
            executor.spin_once(timeout_sec=0.05)
        else:
            time.sleep(0.01)
    return condition()


def quiet(executor):
    """Run all that is there to run."""
    for _ in range(30):
        executor.spin_once(timeout_sec=0.01)


def result(future, executor=None):
    assert until(future.done, executor)
    return future.result()


# ---- topics ----


def test_reliable_messages_all_arrive_in_order(node, other, executor):
    got = []
    node.create_subscription(Int32, "/count", lambda message: got.append(message.data), 100)
    publisher = other.create_publisher(Int32, "/count", 100)
    assert until(lambda: publisher.get_subscription_count() == 1)
    for number in range(100):
        publisher.publish(Int32(data=number))
    assert until(lambda: len(got) == 100, executor)
    assert got == list(range(100))


def test_a_slow_subscription_of_depth_one_gets_the_newest(node, other, executor):
    got, new = [], threading.Event()
    node.create_subscription(Int32, "/count", lambda message: got.append(message.data), NEWEST)
    node.create_subscription(Int32, "/end", lambda _: new.set(), 1)
    publisher, end = other.create_publisher(Int32, "/count", 10), other.create_publisher(Int32, "/end", 10)
    assert until(lambda: publisher.get_subscription_count() == end.get_subscription_count() == 1)
    for number in range(10):
        publisher.publish(Int32(data=number))
    end.publish(Int32())
    assert until(new.is_set, executor)
    quiet(executor)
    assert got == [9]


def test_who_comes_late_gets_what_is_latched_and_nothing_else(node, other, executor):
    latched, fleeting = other.create_publisher(String, "/map", LATCHED), other.create_publisher(String, "/talk", 10)
    for text in ("old", "new"):
        latched.publish(String(data=text))
        fleeting.publish(String(data=text))
    got = []
    node.create_subscription(String, "/map", lambda message: got.append(message.data), LATCHED)
    node.create_subscription(String, "/talk", lambda message: got.append(message.data), 10)
    assert until(lambda: "new" in got, executor)
    assert until(lambda: latched.get_subscription_count() == fleeting.get_subscription_count() == 1)
    latched.publish(String(data="newer"))
    assert until(lambda: "newer" in got, executor)
    assert got == ["new", "newer"]


def test_an_image_arrives_as_it_was_sent(node, other, executor):
    got = []
    node.create_subscription(Image, "/image", got.append, NEWEST)
    publisher = other.create_publisher(Image, "/image", 1)
    assert until(lambda: publisher.get_subscription_count() == 1)
    pixels = bytes(range(256)) * 3600
    image = Image(height=480, width=640, encoding="rgb8", step=1920, data=array.array("B", pixels))
    image.header.frame_id = "camera"
    publisher.publish(image)
    assert until(lambda: got, executor)
    assert bytes(memoryview(got[0].data)) == pixels
    assert got[0] == image


def test_a_destroyed_subscription_is_called_no_more(node, other, executor):
    got = []
    subscription = node.create_subscription(Int32, "/count", got.append, 10)
    publisher = other.create_publisher(Int32, "/count", 10)
    assert until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Int32())
    assert node.destroy_subscription(subscription)
    assert not node.destroy_subscription(subscription)
    quiet(executor)
    assert not got
    assert until(lambda: publisher.get_subscription_count() == 0)


def test_only_messages_of_the_topics_type_are_published(node):
    publisher = node.create_publisher(Int32, "/count", 10)
    with pytest.raises(TypeError, match=r"Expected .*Int32.*, got .*String"):
        publisher.publish(String())
    node.destroy_publisher(publisher)
    with pytest.raises(RuntimeError):
        publisher.publish(Int32())


@standalone_only
def test_a_publisher_of_another_type_is_warned_of_once(node, other, capfd):
    other.create_publisher(String, "/count", 10)
    node.create_subscription(Int32, "/count", print, 10)
    other.create_publisher(String, "/count", 10)
    warnings = re.findall(r"\[WARN\] .*", capfd.readouterr().err)
    assert len(warnings) == 1
    assert "/count: node there publishes std_msgs/msg/String" in warnings[0]
    assert "expects std_msgs/msg/Int32" in warnings[0]


@standalone_only
def test_bytes_that_are_no_message_are_dropped_with_one_warning(node, other, executor, capfd):
    got = []
    subscription = node.create_subscription(Image, "/image", got.append, 10)
    publisher = other.create_publisher(Image, "/image", 10)
    for garbage in (b"", b"\x00\x01\x00\x00", b"\xff" * 1000):
        node.graph.session.put(subscription._key, garbage)
    publisher.publish(Image(width=7))
    assert until(lambda: got, executor)
    assert [image.width for image in got] == [7]
    assert capfd.readouterr().err.count("/image: a message is dropped") == 1


# ---- services ----


def test_a_service_answers(node, other, executor):
    def switch(request, response):
        response.success, response.message = not request.data, "switched"
        return response

    node.create_service(SetBool, "~/switch", switch)
    client = other.create_client(SetBool, "/lab/here/switch")
    assert client.wait_for_service(timeout_sec=DEADLINE_S)
    answers = [client.call_async(SetBool.Request(data=data)) for data in (True, False)]
    assert [result(answer, executor).success for answer in answers] == [False, True]
    assert answers[0].exception() is None


def test_requests_are_answered_in_the_order_in_which_they_come(node, other, threads):
    order = []
    node.create_service(SetBool, "/slow", lambda request, response: order.append(request.data) or response)
    client = other.create_client(SetBool, "/slow")
    assert client.wait_for_service(timeout_sec=DEADLINE_S)
    sent = [number % 3 == 0 for number in range(200)]
    for start in range(0, len(sent), 10):  # what DDS keeps at once
        for future in [client.call_async(SetBool.Request(data=data)) for data in sent[start : start + 10]]:
            result(future)
    assert order == sent


def test_a_callback_may_call_another_service_of_a_group_of_its_own(node, other, threads):
    inner = other.create_client(Trigger, "/inner", callback_group=MutuallyExclusiveCallbackGroup())

    def outer(request, response):
        response.success = result(inner.call_async(Trigger.Request())).success
        return response

    def answer(request, response):
        response.success = True
        return response

    node.create_service(Trigger, "/inner", answer)
    other.create_service(Trigger, "/outer", outer)
    client = node.create_client(Trigger, "/outer", callback_group=MutuallyExclusiveCallbackGroup())
    assert inner.wait_for_service(timeout_sec=DEADLINE_S) and client.wait_for_service(timeout_sec=DEADLINE_S)
    assert result(client.call_async(Trigger.Request())).success


def test_a_service_that_is_not_there_is_not_waited_for_for_ever(node):
    client = node.create_client(Trigger, "/nowhere")
    assert not client.service_is_ready()
    assert not client.wait_for_service(timeout_sec=0.05)
    with pytest.raises(TypeError):
        client.call_async(SetBool.Request())


@standalone_only
def test_an_exception_in_a_service_reaches_the_client_and_the_node_lives(node, other, executor, capfd):
    def fail_at_first(request, response):
        if request.data:
            raise ValueError("no such prompt")
        return response

    node.create_service(SetBool, "/fragile", fail_at_first)
    client = other.create_client(SetBool, "/fragile")
    with pytest.raises(RuntimeError, match="/fragile answered with an error: ValueError: no such prompt"):
        result(client.call_async(SetBool.Request(data=True)), executor)
    assert result(client.call_async(SetBool.Request()), executor) == SetBool.Response()
    assert "fail_at_first" in capfd.readouterr().err


@standalone_only
def test_a_request_to_nobody_ends_with_an_exception(node, other, executor):
    client = other.create_client(Trigger, "/gone")
    with pytest.raises(RuntimeError, match="/gone went away"):
        result(client.call_async(Trigger.Request()), executor)
    service = node.create_service(Trigger, "/gone", lambda request, response: response)
    future = client.call_async(Trigger.Request())
    node.destroy_service(service)
    with pytest.raises(RuntimeError, match="/gone went away"):
        result(future, executor)


# ---- executors, groups, timers ----


def test_callbacks_of_one_group_never_overlap(node, other, threads):
    group, running, overlaps, calls = MutuallyExclusiveCallbackGroup(), [], [], []

    def callback():
        overlaps.append(len(running))
        running.append(1)
        time.sleep(0.002)
        running.pop()
        calls.append(1)

    for _ in range(3):
        node.create_timer(0.001, callback, callback_group=group)
    assert until(lambda: len(calls) > 50)
    assert not any(overlaps)


@pytest.mark.parametrize("together", [True, False])
def test_callbacks_of_different_groups_and_of_a_reentrant_one_do_overlap(node, other, threads, together):
    meeting = threading.Barrier(2, timeout=DEADLINE_S)
    met, group = [], ReentrantCallbackGroup()

    def meet():
        if not met:
            met.append(meeting.wait())

    for _ in range(2):
        node.create_timer(0.001, meet, callback_group=group if together else MutuallyExclusiveCallbackGroup())
    assert until(lambda: sorted(met) == [0, 1])


def test_no_callback_starves(node, executor):
    calls = {"a": 0, "b": 0, "c": 0}

    def count(name):
        calls[name] += 1

    for name in calls:
        node.create_timer(0.0, lambda name=name: count(name))
    for _ in range(90):
        executor.spin_once(timeout_sec=DEADLINE_S)
    assert min(calls.values()) >= 20


def test_a_cancelled_timer_is_called_no_more(node, executor):
    calls = []

    def callback():
        calls.append(1)
        if len(calls) == 3:
            timer.cancel()

    timer = node.create_timer(0.001, callback)
    assert until(lambda: len(calls) == 3, executor)
    quiet(executor)
    assert len(calls) == 3


def test_a_timer_leaves_out_what_it_missed(node, executor):
    calls = []
    node.create_timer(0.05, lambda: calls.append(1))
    time.sleep(0.5)
    executor.spin_once(timeout_sec=0)
    executor.spin_once(timeout_sec=0)
    assert len(calls) == 1


@pytest.mark.parametrize("executor_class", [SingleThreadedExecutor, lambda: MultiThreadedExecutor(num_threads=2)])
def test_an_exception_in_a_callback_ends_the_spinning(node, executor_class):
    executor = executor_class()
    executor.add_node(node)

    def callback():
        node.destroy_timer(timer)
        raise ZeroDivisionError("in a timer")

    timer = node.create_timer(0.001, callback)
    node.create_timer(0.01, lambda: None)
    with pytest.raises(ZeroDivisionError, match="in a timer"):
        executor.spin()
    executor.shutdown()


def test_an_executor_that_is_shut_down_stops_spinning(node, executor):
    node.create_timer(0.001, executor.shutdown)
    executor.spin()


@standalone_only
def test_a_callback_of_a_future_that_fails_does_not_keep_the_others(node, other, executor):
    node.create_service(Trigger, "/inner", lambda request, response: response)
    client = other.create_client(Trigger, "/inner")
    assert client.wait_for_service(timeout_sec=DEADLINE_S)
    future, called = client.call_async(Trigger.Request()), []
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(called.append)
    result(future, executor)
    assert until(lambda: called == [future], executor)
    future.add_done_callback(called.append)
    assert until(lambda: called == [future, future], executor)


# ---- time ----


def test_times_and_durations_are_exact():
    time_ = Time(seconds=1, nanoseconds=500_000_001)
    assert time_.nanoseconds == 1_500_000_001
    assert (time_ - Time(seconds=1)).nanoseconds == 500_000_001
    assert (time_ - Duration(seconds=0.5)).nanoseconds == 1_000_000_001
    assert time_ + Duration(nanoseconds=1) > time_ >= Time(nanoseconds=1_500_000_001)
    assert Duration(seconds=-1) < Duration(nanoseconds=-1)
    assert Time.from_msg(TimeMsg(sec=3, nanosec=4)).to_msg() == TimeMsg(sec=3, nanosec=4)
    with pytest.raises(TypeError):
        _ = time_ < Time(seconds=2, clock_type=ClockType.ROS_TIME)
    with pytest.raises(ValueError, match="negative"):
        Time(nanoseconds=-1)


def test_the_clocks_show_the_systems_time(node):
    before = time.time_ns()
    shown = node.get_clock().now()
    assert shown.clock_type == ClockType.ROS_TIME
    assert before <= shown.nanoseconds <= time.time_ns()
    steady = Clock(clock_type=ClockType.STEADY_TIME)
    assert steady.now() <= steady.now()


def test_simulated_time_moves_the_clock_and_the_timers(other):
    node = Node("simulated", parameter_overrides=[Parameter("use_sim_time", value=True)])
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    assert node.get_clock().now().nanoseconds == 0
    called_at = []
    node.create_timer(1.0, lambda: called_at.append(node.get_clock().now().nanoseconds // 10**9))
    publisher = other.create_publisher(ClockMsg, "/clock", 10)
    assert until(lambda: publisher.get_subscription_count() == 1)
    for second in (5, 5, 6, 9, 9):
        publisher.publish(ClockMsg(clock=TimeMsg(sec=second, nanosec=1)))
        assert until(lambda second=second: node.get_clock().now().nanoseconds == second * 10**9 + 1, executor)
        quiet(executor)
    assert called_at == [5, 6, 9]
    node.set_parameters([Parameter("use_sim_time", value=False)])
    assert node.get_clock().now().nanoseconds > 10**18
    assert until(lambda: publisher.get_subscription_count() == 0)
    executor.shutdown()
    node.destroy_node()


# ---- graph and log ----


def test_the_graph_shows_who_has_what(node, other):
    node.create_publisher(String, "chatter", LATCHED)
    other.create_subscription(String, "/lab/chatter", print, 10)
    node.create_service(Trigger, "~/go", print)
    other.create_client(Trigger, "/lab/here/go")
    kind, name = ["std_msgs/msg/String"], "/lab/chatter"
    assert until(lambda: (name, kind) in other.get_subscriber_names_and_types_by_node("there", "/"))
    assert until(lambda: (name, kind) in other.get_publisher_names_and_types_by_node("here", "/lab"))
    assert {("here", "/lab"), ("there", "/")} <= set(other.get_node_names_and_namespaces())
    assert (name, kind) in other.get_topic_names_and_types()
    assert (node.count_publishers("chatter"), node.count_subscribers("chatter")) == (1, 1)
    assert node.count_publishers("nothing") == 0
    service = ("/lab/here/go", ["std_srvs/srv/Trigger"])
    assert until(lambda: service in other.get_service_names_and_types_by_node("here", "/lab"))
    assert until(lambda: service in node.get_client_names_and_types_by_node("there", "/"))
    assert service in other.get_service_names_and_types()
    (publisher,) = other.get_publishers_info_by_topic(name)
    assert publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL


def test_a_destroyed_node_leaves_the_graph_with_all_it_had(node):
    gone = Node("gone")
    gone.create_publisher(String, "/gone", 10)
    assert until(lambda: ("gone", "/") in node.get_node_names_and_namespaces() and node.count_publishers("/gone"))
    gone.destroy_node()
    gone.destroy_node()
    assert until(lambda: ("gone", "/") not in node.get_node_names_and_namespaces())
    assert until(lambda: not node.count_publishers("/gone"))
    assert not [name for name, _ in node.get_service_names_and_types() if re.match("/gone/.*param", name)]


def test_the_log_looks_like_rcls(node, capfd):
    assert node.get_logger().info("all is well")
    node.get_logger().debug("not shown")
    for _ in range(3):
        node.get_logger().warning("often", throttle_duration_sec=1000.0)
    lines = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"\[INFO\] \[\d{10}\.\d{9}\] \[lab\.here\]: all is well", lines[0])
    assert [line.split(": ")[1] for line in lines] == ["all is well", "often"]


def test_a_second_init_is_refused():
    with pytest.raises(RuntimeError):
        rclpy.init(args=[])


@standalone_only
def test_a_pool_without_threads_is_told_and_one_that_has_ended_is_not(node, monkeypatch):
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    called = []
    node.create_timer(0.001, lambda: called.append(1), callback_group=ReentrantCallbackGroup())

    def none_left(*arguments):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            executor.spin_once(timeout_sec=DEADLINE_S)
    executor._pool.shutdown(cancel_futures=True)
    executor.spin_once(timeout_sec=DEADLINE_S)
    assert not called
    executor.shutdown()
