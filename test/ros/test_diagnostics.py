"""What a node publishes of itself, whatever its report does, and how often something happens."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.time import Time

from pi0_ros.ros.diagnostics import ERROR, WARN, Diagnostics, Health, Rate
from pi0_ros.ros.texts import StateText


class Node:
    def __init__(self):
        self.made, self.sent = [], []

    def create_publisher(self, kind, topic, qos):
        self.made.append((kind, topic))
        return SimpleNamespace(publish=self.sent.append)

    def get_fully_qualified_name(self):
        return "/robot/policy"

    def get_clock(self):
        return SimpleNamespace(now=lambda: Time(seconds=12, nanoseconds=34))


def published(report):
    node, timers = Node(), []
    Diagnostics(node, report, SimpleNamespace(timer=lambda period, callback: timers.append((period, callback))))
    ((period, callback),) = timers
    assert period == 1.0 and node.made == [(DiagnosticArray, "/diagnostics")] and not node.sent
    callback()
    (message,) = node.sent
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 34)
    (status,) = message.status
    assert (status.name, status.hardware_id) == ("robot/policy", "pi0_ros")
    return status


def test_a_report_is_published_with_its_level_and_numbers():
    status = published(lambda: Health(WARN, "slow\x1b[2J", {"hz": 12.34567, "camera": "eye"}))
    assert status.level == WARN and "slow" in status.message and status.message.isprintable()
    assert {value.key: value.value for value in status.values} == {"hz": "12.35", "camera": "eye"}


def test_a_report_that_raises_is_an_error_that_says_where():
    def report():
        return inner()

    def inner():
        raise KeyError("lost")

    status = published(report)
    assert status.level == ERROR and "KeyError" in status.message and "inner" in status.message
    assert status.message.count("File ") == 1


def test_a_text_is_published_when_it_changes():
    node = Node()
    state = StateText(node, "policy_state")
    for text in ("", "no task", "no task", "", "no task"):
        state.update(text)
    assert [message.data for message in node.sent] == ["no task", "", "no task"]
    ((kind, topic),) = node.made
    assert topic == "policy_state" and isinstance(node.sent[0], kind)


def test_a_rate_counts_what_happened_within_its_window():
    rate = Rate(2.0)
    assert rate.hz(5.0) == 0.0 and rate.age(5.0) == float("inf")
    for at in (1.0, 2.5, 3.5, 4.0):
        rate.tick(at)
    assert rate.hz(4.5) == 1.5 and rate.age(4.5) == 0.5
    assert rate.hz(6.25) == 0.0
