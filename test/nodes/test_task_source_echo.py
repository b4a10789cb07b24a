"""Which text on `task` is a person's and which an echo, in a time that the test turns on."""

from types import SimpleNamespace

import pytest
import rclpy
from std_msgs.msg import String
from wiring import deliver

from pi0_ros.nodes import task_source


@pytest.fixture
def source(monkeypatch):
    """A source of the task "one"; what it says is in `said`, and it is `now`."""
    rclpy.init(args=["--ros-args", "-p", "task:='one'"])
    node = task_source.TaskSourceNode()
    node.said, node.now = [], 50.0
    monkeypatch.setattr(task_source, "time", SimpleNamespace(monotonic=lambda: node.now))
    monkeypatch.setattr(node._publisher, "publish", lambda message: node.said.append(message.data), raising=False)
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_it_says_the_launchs_task_once_and_then_each_new_one(source):
    assert source.bring_up() is True and source.said == ["one"]
    deliver(source, "task", String(data="one"))  # its own
    deliver(source, "task", String(data="two"))
    deliver(source, "task", String(data="two"))
    assert source.said == ["one", "two"]


def test_the_task_before_is_an_echo_for_a_second_and_a_persons_after_that(source):
    deliver(source, "task", String(data="two"))
    source.now += 0.9
    deliver(source, "task", String(data="one"))
    assert source.said == ["two"]
    deliver(source, "task", String(data="three"))  # no task before: a person's at any time
    source.now += 0.9
    deliver(source, "task", String(data="two"))
    assert source.said == ["two", "three"]
    source.now += 0.2
    deliver(source, "task", String(data="two"))
    assert source.said == ["two", "three", "two"]
