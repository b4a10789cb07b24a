"""Who else publishes on a command topic, as the graph says it."""

import os
import threading

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from std_msgs.msg import String

from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.second_publishers import SecondPublishers, second_publishers_sentence
from pi0_ros.ros.spinning import Spinner

PATIENCE = 60.0


@pytest.fixture
def watch():
    """(wait(condition on the newest sentence), node that publishes on a second topic of the same names)."""
    rclpy.init(domain_id=1 + os.getpid() % 100)
    node = rclpy.create_node("executor", namespace="/left")
    others = [rclpy.create_node("executor", namespace="/left"), rclpy.create_node("joystick")]
    said, news = [""], threading.Condition()

    def found(sentence):
        with news:
            said.append(sentence)
            news.notify_all()

    topics = ("arm", "arm", "base")  # two groups on one topic
    SecondPublishers(node, Clocks(node), [node.create_publisher(String, t, 1) for t in topics], found)
    spinner = Spinner()
    spinner.add(node)
    spinner.start()

    def wait(condition):
        with news:
            assert news.wait_for(lambda: condition(said[-1]), PATIENCE), said[-1]
        return said[-1]

    wait.said, wait.others = said, others
    yield wait
    assert spinner.stop(PATIENCE)
    for one in (node, *others):
        one.destroy_node()
    rclpy.shutdown()


def test_own_publishers_are_nobody_else_even_two_on_one_topic(watch):
    stranger = watch.others[1].create_publisher(String, "/left/base", 1)
    expected = "/left/base is also published by /joystick; end one of the two"
    watch(lambda sentence: sentence == expected)
    assert watch.said == ["", expected]  # nothing was said before it came
    watch.others[1].destroy_publisher(stranger)


def test_a_namesake_and_a_stranger_are_told_apart_and_gone_when_they_go(watch):
    namesake, stranger = watch.others
    first = namesake.create_publisher(String, "base", 1)
    assert watch(bool) == "/left/base is also published by another /left/executor; end one of the two"
    second = [stranger.create_publisher(String, f"/left/{topic}", 1) for topic in ("arm", "base")]
    namesake.destroy_publisher(first)
    expected = "/left/arm and 1 more command topics are also published by /joystick; end one of the two"
    watch(lambda sentence: sentence == expected)
    for one in second:
        stranger.destroy_publisher(one)
    watch(lambda sentence: not sentence)


def test_what_somebody_publishes_elsewhere_does_not_count(watch):
    stranger = watch.others[1]
    stranger.create_publisher(String, "/right/arm", 1)
    stranger.create_publisher(String, "/left/base", 1)
    assert watch(bool) == "/left/base is also published by /joystick; end one of the two"


def test_nobody_is_no_sentence():
    assert second_publishers_sentence({}) == ""
