"""Devices on topics of teleop: who is followed, and who is named, as real publishers and the graph have it."""

import os
import time

import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from std_msgs.msg import String

from pi0_ros.ros.publishers import UNKNOWN, GraphNames
from pi0_ros.ros.teleop_devices import TeleopDevices, two_devices, two_devices_sentence

PATIENCE = 30.0


@pytest.fixture
def nodes():
    """A reader in /left, and two other nodes."""
    rclpy.init(domain_id=1 + os.getpid() % 100)
    made = [
        rclpy.create_node("executor", namespace="/left"),
        rclpy.create_node("leader"),
        rclpy.create_node("joystick", namespace="/desk"),
    ]
    yield made
    for node in made:
        node.destroy_node()
    rclpy.shutdown()


def wait(condition):
    """Until the graph, which tells nobody that it has changed, says so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()


def test_a_silent_device_of_another_name_is_named_and_gone_when_it_goes(nodes):
    reader, leader, joystick = nodes
    devices, now = TeleopDevices(GraphNames(reader), ["arm", "lift"]), 100.0
    leader.create_publisher(String, "/left/arm", 1)
    wait(lambda: reader.count_publishers("arm") == 1)
    assert devices.sentence(now) == ""
    second = joystick.create_publisher(String, "/left/arm", 1)
    wait(lambda: reader.count_publishers("arm") == 2)
    assert devices.sentence(now + 0.1) == ""  # the graph is asked twice a second
    assert devices.sentence(now + 0.6) == (
        "/desk/joystick and /leader publish on arm, which has room for one teleop device; end one of the two"
    )
    joystick.destroy_publisher(second)
    wait(lambda: reader.count_publishers("arm") == 1)
    assert devices.sentence(now + 1.2) == ""


def test_a_device_that_was_restarted_is_one_until_both_are_heard_and_then_they_are_named_at_once(nodes):
    reader, leader, _ = nodes
    devices, now = TeleopDevices(GraphNames(reader), ["arm"]), 100.0
    first, second = (leader.create_publisher(String, "/left/arm", 1) for _ in range(2))
    wait(lambda: reader.count_publishers("arm") == 2)
    ids = [bytes(info.endpoint_gid) for info in reader.get_publishers_info_by_topic("/left/arm")]
    assert devices.sentence(now) == "" and devices.follows("arm", ids[1], now) and devices.sentence(now) == ""
    assert not devices.follows("arm", ids[0], now + 0.01)
    assert devices.sentence(now + 0.02) == (
        "/leader and another /leader publish on arm, which has room for one teleop device; end one of the two"
    )
    assert devices.follows("arm", ids[0], now + 2.0) and devices.sentence(now + 2.0) == ""
    for one in (first, second):
        leader.destroy_publisher(one)


@pytest.mark.parametrize(
    ("heard", "publishers", "names"),
    [
        ((), {}, ()),
        ((b"1",), {b"1": "/a"}, ()),
        ((), {b"1": "/a", b"2": "/a"}, ()),
        ((b"1",), {b"1": "/a", b"2": "/a"}, ()),
        ((b"2", b"1"), {b"1": "/a", b"2": "/b"}, ("/b", "/a")),  # the one that is followed first
        ((b"1", b"3"), {b"1": "/a"}, ("/a", UNKNOWN)),
        ((b"1",), {b"1": "/a", b"2": UNKNOWN}, ()),  # its name is known in a moment
        ((), {b"1": "/b", b"2": "/a"}, ("/a", "/b")),
        ((b"3", b"2"), {b"1": "/b", b"2": "/a", b"3": "/a", b"4": "/c"}, ("/a", "/a", "/b", "/c")),
    ],
)
def test_two_are_there_when_two_are_heard_or_two_names_are_known(heard, publishers, names):
    assert two_devices(heard, publishers) == names


def test_three_are_told_in_one_sentence():
    assert two_devices_sentence("lift", ("/a", "/a", "/b")) == (
        "/a, another /a and /b publish on lift, which has room for one teleop device; end all but one"
    )
