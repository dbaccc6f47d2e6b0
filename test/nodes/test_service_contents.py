"""What a service is asked and answers, seen by others."""

import pytest
from std_srvs.srv import SetBool

from sam_perception.nodes.client import wait_until
from sam_perception.nodes.service_contents import show_contents

pytest.importorskip("rclpy.service_introspection", reason="this ROS shows no contents of services")

EVENTS = "/lamp/_service_event"
REQUEST_RECEIVED, RESPONSE_SENT = 1, 2


def test_a_request_and_its_response_are_seen(client):
    def switch(request, response):
        response.success, response.message = not request.data, "it was off"
        return response

    show_contents(client.node, client.node.create_service(SetBool, "/lamp", switch))
    seen = client.listen(SetBool.Event, EVENTS)
    wait_until(lambda: client.node.count_publishers(EVENTS) and client.node.count_subscribers(EVENTS), EVENTS)
    client.call(SetBool, "/lamp", data=True)
    asked = seen.wait(lambda event: event.info.event_type == REQUEST_RECEIVED)
    answered = seen.wait(lambda event: event.info.event_type == RESPONSE_SENT)
    assert [request.data for request in asked.request] == [True]
    assert len(asked.response) == 0
    assert [(response.success, response.message) for response in answered.response] == [(False, "it was off")]
    assert len(answered.request) == 0
    assert asked.info.sequence_number == answered.info.sequence_number
    assert list(asked.info.client_gid) == list(answered.info.client_gid)
    assert any(asked.info.client_gid)
    assert asked.info.stamp.sec > 0


def test_raw_subscriptions_and_publishers_pass_messages_on_as_they_are(client):
    from rclpy.serialization import deserialize_message, serialize_message
    from std_msgs.msg import String

    received = []
    client.node.create_subscription(String, "/raw", received.append, 10, raw=True)
    publisher = client.publisher(String, "/raw")
    publisher.publish(String(data="as a message"))
    publisher.publish(serialize_message(String(data="as bytes")))
    wait_until(lambda: len(received) == 2, "two messages")
    assert [type(each) for each in received] == [bytes, bytes]
    assert [deserialize_message(each, String).data for each in received] == ["as a message", "as bytes"]
    with pytest.raises(TypeError, match="Expected"):
        publisher.publish(bytearray(b"neither"))
