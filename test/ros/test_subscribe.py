"""What is subscribed to on behalf of a node, and what becomes of messages on their way to the callback; without a graph."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Empty, String

from pi0_ros.robot.spec import Camera, StateSource
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.bounded import listen, subscribe_bounded, subscribe_raw
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.qos import MEASURED, SENSOR
from pi0_ros.ros.subscribe import subscribe_camera, subscribe_state, wanted_topics


class Node:
    """Notes what is subscribed to and what is logged."""

    def __init__(self):
        self.made, self.said = [], []

    def create_subscription(self, kind, topic, callback, qos, **more):
        self.made.append(SimpleNamespace(kind=kind, topic=topic, callback=callback, qos=qos, more=more))
        return self.made[-1]

    def get_logger(self):
        return SimpleNamespace(warning=lambda text, **how: self.said.append((text, how)))


INFO = {"source_timestamp": 7, "publication_sequence_number": 3}


def data(text):
    return serialize_message(String(data=text))


@pytest.fixture
def node():
    return Node()


def test_a_raw_subscription_gets_bytes_in_its_group_and_a_type_without_a_bound_is_none(node):
    callback, group, events = (lambda data, info: None), object(), object()
    made = subscribe_raw(node, String, "words", callback, SENSOR, group, events)
    assert (made.kind, made.topic, made.callback, made.qos) == (String, "words", callback, SENSOR)
    assert made.more == {"callback_group": group, "raw": True, "event_callbacks": events}
    assert subscribe_raw(node, String, "words", callback, SENSOR).more == {
        "callback_group": None, "raw": True, "event_callbacks": None,
    }  # fmt: skip
    with pytest.raises(AssertionError, match="Empty has no largest size"):
        subscribe_raw(node, Empty, "nothing", callback, SENSOR)


@pytest.mark.parametrize("timed", [False, True])
def test_messages_reach_the_callback_and_what_is_none_is_refused_with_its_topic(node, timed):
    heard, refused, group = [], [], object()
    callback = (lambda message, info: heard.append((message.data, info))) if timed else (lambda m: heard.append(m.data))
    note = lambda topic, error: refused.append((topic, str(error)))
    made = subscribe_bounded(node, String, "words", callback, SENSOR, note, group, timed)
    assert made.more["callback_group"] is group
    for text in ("one", "two"):
        made.callback(data(text), INFO)
    made.callback(b"\0\1\0\0", INFO)
    assert heard == ([("one", INFO), ("two", INFO)] if timed else ["one", "two"])
    assert len(refused) == 1 and refused[0][0] == "words" and "no String" in refused[0][1]


def test_who_listens_is_told_in_the_log_what_is_refused_at_most_once_a_second(node):
    heard = []
    made = listen(node, String, "words", lambda message, info: heard.append((message.data, info)), SENSOR, timed=True)
    made.callback(data("one"), INFO)
    made.callback(b"", INFO)
    ((text, how),) = node.said
    assert heard == [("one", INFO)] and text.startswith("message on words refused: ")
    assert how == {"throttle_duration_sec": 1.0}
    plain = listen(node, String, "words", lambda message: heard.append(message.data), SENSOR)
    plain.callback(data("two"), INFO)
    assert heard[1:] == ["two"]


def test_of_any_publisher_a_message_is_heard_once_whichever_reader_it_comes_by(node):
    heard = []
    readers = subscribe_to_any(node, String, "words", lambda m: heard.append(m.data))
    reliable, kept = ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL
    assert [(r.qos.reliability is reliable, r.qos.durability is kept, r.qos.depth) for r in readers] == [
        (True, True, 8), (True, False, 8), (False, False, 8),
    ]  # fmt: skip
    assert all((r.kind, r.topic, r.more["raw"]) == (String, "words", True) for r in readers)
    for reader in readers:
        reader.callback(data("one"), INFO)
    readers[1].callback(data("one"), {"source_timestamp": 8})
    assert heard == ["one", "one"]
    for reader in readers:
        reader.callback(b"\0\1", {"source_timestamp": 9})
    assert heard == ["one", "one"] and len(node.said) == 1 and node.said[0][1] == {"throttle_duration_sec": 1.0}


def test_of_a_group_that_nobody_spins_every_reader_has_the_callback_itself(node):
    group, callback = object(), print
    readers = subscribe_to_any(node, String, "words", callback, 3, False, group)
    assert [(r.callback, r.qos.depth, r.more) for r in readers] == [(callback, 3, {"callback_group": group})] * 2
    assert len(subscribe_to_any(node, String, "words", callback, 3, group=group)) == 3


def test_a_camera_is_heard_in_bytes_of_the_type_that_the_robot_yaml_says(node):
    for word, kind in (("image", Image), ("compressed_image", CompressedImage)):
        made = subscribe_camera(node, Camera("front", "eye", word, max_age=0.3), print)
        assert (made.kind, made.topic, made.callback, made.qos) == (kind, "eye", print, SENSOR)
        assert made.more["raw"] is True


def state(node, source, group=None):
    """What a state source's callbacks and refusals are given, and its subscription."""
    heard = []
    made = subscribe_state(
        node, source, lambda *what: heard.append(what), lambda *what: heard.append(what),
        lambda topic, error: heard.append((topic, str(error))), group,
    )  # fmt: skip
    return heard, made


def test_joints_come_in_the_robots_words_with_their_stamp(node):
    source = StateSource(
        "arm/joint_states", "joint_state", 0.1, joints=(("a", "j1"),), scale=(("j1", 2.0),), offset=(("j1", 0.5),)
    )
    heard, made = state(node, source)
    assert (made.kind, made.topic, made.qos, made.more["raw"]) == (JointState, "arm/joint_states", SENSOR, True)
    message = JointState(name=["a", "b"], position=[0.25, 3.0], velocity=[0.125, 4.0])
    message.header.stamp = time_message(12.5)
    made.callback(serialize_message(message), INFO)
    assert heard == [(source, 12.5, {"j1": 1.0, "b": 3.0}, {"j1": 0.25, "b": 4.0})]
    made.callback(serialize_message(JointState(name=["a"])), INFO)
    assert len(heard) == 1, "neither positions nor velocities"
    made.callback(serialize_message(JointState(name=["a"], velocity=[0.5])), INFO)
    assert heard[1] == (source, 0.0, {}, {"j1": 1.0})
    made.callback(serialize_message(JointState(name=["a", "a"], position=[1.0, 2.0])), INFO)
    assert heard[2][0] == "arm/joint_states" and "twice" in heard[2][1]


def test_a_source_in_a_group_of_its_own_is_read_by_somebody_else(node):
    group = object()
    heard, made = state(node, StateSource("joint_states", "joint_state", 0.1), group)
    assert made.qos == MEASURED and made.more == {"callback_group": group}
    made.callback(JointState(name=["a"], position=[0.25]))
    assert heard[0][2] == {"a": 0.25}


@pytest.mark.parametrize(("child", "twist", "told"), [("", "", 1), ("base", "", 0), ("", "base", 0)])
def test_a_velocity_is_the_bases_and_that_its_frame_is_not_said_is_told_once(node, child, twist, told):
    source = StateSource("odom", "odometry", 0.1, twist=twist)
    heard, made = state(node, source)
    message = Odometry(child_frame_id=child)
    message.header.stamp, message.header.frame_id = time_message(2.5), "odom"
    message.twist.twist.linear.x, message.twist.twist.linear.y, message.twist.twist.angular.z = 0.1, 0.2, 0.3
    made.callback(serialize_message(message), INFO)
    assert made.kind is Odometry and heard == [(source, 2.5, (0.1, 0.2, 0.3))]
    assert len(node.said) == told and all(how == {"once": True} and "twist: world" in text for text, how in node.said)


def test_what_is_wanted_of_a_robot_is_one_publisher_a_camera_and_any_number_a_state(small_robot):
    group = """
    arm:
      kind: position
      channels: [j1]
      command: {topic: arm/commands, type: float64_multi_array}
      limits: {source: urdf, acceleration: 5.0}
    """
    found = wanted_topics(small_robot(group))
    assert [(w.topic, w.single, w.ros_type) for w in found] == [
        ("front/image_raw", True, "sensor_msgs/msg/Image"),
        ("joint_states", False, "sensor_msgs/msg/JointState"),
    ]
    assert dict(found[0].types)["compressed_image"] == "sensor_msgs/msg/CompressedImage"
    assert dict(found[1].types)["odometry"] == "nav_msgs/msg/Odometry"
