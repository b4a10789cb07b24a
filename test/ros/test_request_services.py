"""Trigger services that are answered with a refusal, or by whoever polls them; through the network in test/nodes."""

from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip("rclpy")

from std_srvs.srv import Trigger

from pi0_ros.control import Answer
from pi0_ros.ros.request_services import PolledGroup, RequestServices


@pytest.fixture
def services():
    rclpy.init()
    node = rclpy.create_node("executor")
    yield RequestServices(node, "not active")
    node.destroy_node()
    rclpy.shutdown()


class Waiting:
    """A service whose requests are here already: their headers are numbers."""

    def __init__(self, name, count, sent):
        self.handle, self._requests = self, [(Trigger.Request(), f"{name} {k}") for k in range(1, count + 1)]
        self.send_response = lambda response, header: sent.append((header, response.success, response.message))

    def service_take_request(self, kind):
        assert kind is Trigger.Request
        return self._requests.pop(0) if self._requests else (None, None)


def test_a_group_is_the_executors_until_somebody_polls_it():
    group = PolledGroup()
    assert group.can_execute(None) and group.beginning_execution(None) and group.ending_execution(None) is None
    group.polled = True
    assert not group.can_execute(None) and not group.beginning_execution(None)


def test_polling_is_told_to_the_group_and_the_executor_that_waits_is_woken(services):
    woken = []
    services.poll(True)  # nobody spins the node yet
    assert services._group.polled
    services._node = SimpleNamespace(executor=SimpleNamespace(wake=lambda: woken.append(services._group.polled)))
    services.poll(False)
    assert not services._group.polled and woken == [False]


def test_the_services_are_there_in_the_order_in_which_they_are_read_and_of_one_group(services):
    assert [(name, service.srv_name) for name, service in services._services] == [
        (name, f"~/{name}") for name in ("stop", "hold", "teleop", "autonomy", "reset")
    ]
    assert {service.callback_group for _, service in services._services} == {services._group}


def test_while_nobody_polls_every_request_is_refused_with_the_reason(services):
    for _, service in services._services:
        response = service.callback(Trigger.Request(), Trigger.Response(success=True))
        assert (response.success, response.message) == (False, "not active")


def test_what_came_is_answered_once_four_of_a_service_at_a_time_and_sent_with_the_next_reply(services):
    sent, asked = [], []
    services._services = [
        (name, Waiting(name, count, sent)) for name, count in (("stop", 1), ("hold", 0), ("reset", 6))
    ]

    def answer(name):
        asked.append(name)
        return Answer(name != "reset", f"{name}, {len(asked)}")

    services.take(answer)
    assert asked == ["stop"] + 4 * ["reset"] and not sent
    services.reply()
    expected = [("stop 1", True, "stop, 1"), *((f"reset {k}", False, f"reset, {k + 1}") for k in (1, 2, 3, 4))]
    assert sent == expected
    services.reply()
    assert sent == expected, "nothing is answered twice"
    services.take(answer)
    services.reply()
    assert sent[5:] == [("reset 5", False, "reset, 6"), ("reset 6", False, "reset, 7")]
