"""A call from within a callback ends: with the answer, with a reason, or when the node is told to end."""

import threading

import pytest

from sam_perception.errors import PerceptionError
from sam_perception.nodes.service_calls import ServiceCalls

import rclpy.task  # isort: skip


class Service:
    """A client of a service that answers when the test says so."""

    def __init__(self, is_ready=True):
        self.future, self.is_ready, self.asked = rclpy.task.Future(), is_ready, threading.Event()

    def service_is_ready(self):
        return self.is_ready

    def call_async(self, request):
        self.asked.set()
        return self.future


def test_the_answer_comes_back():
    service = Service()
    threading.Thread(target=lambda: service.asked.wait() and service.future.set_result("yes")).start()
    assert ServiceCalls().call(service, None, "/sam/segment", 30.0) == "yes"


def test_what_the_transport_raises_becomes_a_sentence():
    service = Service()
    service.future.set_exception(RuntimeError("it went away"))
    with pytest.raises(PerceptionError, match="/sam/segment did not answer: it went away"):
        ServiceCalls().call(service, None, "/sam/segment", 30.0)


def test_silence_ends_the_wait_and_the_request_is_forgotten():
    service = Service()
    with pytest.raises(PerceptionError, match=r"did not answer within 0\.01 s"):
        ServiceCalls().call(service, None, "/sam/segment", 0.01)
    assert service.future.cancelled()


def test_a_service_that_is_not_there_is_named_at_once():
    with pytest.raises(PerceptionError, match="the service /sam/segment is not there: start sam"):
        ServiceCalls().call(Service(is_ready=False), None, "/sam/segment", 30.0)


def test_closing_ends_a_wait_and_refuses_what_comes_after():
    calls, service, ended = ServiceCalls(), Service(), []

    def wait():
        with pytest.raises(PerceptionError, match="being deactivated"):
            calls.call(service, None, "/sam/segment", 600.0)
        ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    service.asked.wait()
    calls.close()
    thread.join(30.0)
    assert ended == [True]
    with pytest.raises(PerceptionError, match="was not asked"):
        calls.call(service, None, "/sam/segment", 600.0)
