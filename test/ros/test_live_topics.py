"""What is noted of a topic's messages while a robot is watched, and what follows from it at the end."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray

from pi0_ros.robot.measurement import SourceMap
from pi0_ros.robot.spec import StateSource
from pi0_ros.robot.twist_frame import TwistFrame
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.live_check import (
    NODE,
    _all_published,
    _finished,
    _Graph,
    _measured,
    _note,
    _note_lags,
    _nothing,
    _Watch,
    topics_of,
)
from pi0_ros.ros.live_verdict import Endpoint, Role, TopicObservation

JOINTS, ODOMETRY = "sensor_msgs/msg/JointState", "nav_msgs/msg/Odometry"
GROUPS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  teleop: {topic: leader/joint_states, type: joint_state, max_age: 0.25, joints: [j1, j2]}
  limits: {source: urdf, acceleration: 5.0}
base:
  kind: velocity
  channels: [base_vx, base_vy, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: 0.5, acceleration: 1.0}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: odom, type: odometry, max_age: 0.2}
"""
HEAD = """robot: small
urdf: small.urdf
cameras:
  front: {topic: eye, type: image, max_age: 0.3}
  hand: {topic: hand/eye/compressed, type: compressed_image, max_age: 0.4, required: false}
"""


def watched(role=Role.STATE, kind=JOINTS, **source):
    """A topic that is watched; source: of a state."""
    state = StateSource("said", "joint_state" if kind == JOINTS else "odometry", 0.1, **source)
    return _Watch(TopicObservation(role, "0", "said", kind), SourceMap(state) if source else None)


def joints(at=0.0, **positions):
    message = JointState(name=list(positions), position=list(positions.values()))
    message.header.stamp = time_message(at)
    return message


def test_every_topic_of_a_robot_is_watched_with_what_the_robot_yaml_says_of_it(small_robot):
    robot = small_robot(GROUPS, STATE, head=HEAD)
    found = topics_of(robot)
    expected = [
        (Role.CAMERA, "front", "eye", "sensor_msgs/msg/Image", 0.3, True),
        (Role.CAMERA, "hand", "hand/eye/compressed", "sensor_msgs/msg/CompressedImage", 0.4, False),
        (Role.STATE, "0", "joint_states", JOINTS, 0.1, True),
        (Role.STATE, "1", "odom", ODOMETRY, 0.2, True),
        (Role.COMMAND, "arm", "arm/commands", "std_msgs/msg/Float64MultiArray", math.inf, True),
        (Role.TELEOP, "arm", "leader/joint_states", JOINTS, 0.25, False),
        (Role.COMMAND, "base", "cmd_vel", "geometry_msgs/msg/Twist", math.inf, True),
        (Role.PLANS, "", "action_chunk", "pi0_ros/msg/ActionChunk", math.inf, False),
    ]
    assert [seen for seen, _ in found] == [
        TopicObservation(*what, max_age=age, required=required) for *what, age, required in expected
    ]
    assert [source and source.source for _, source in found] == [None, None, *robot.state, *[None] * 4]


def test_rate_gap_age_offset_and_range_are_those_of_the_messages():
    one = watched()
    for steady, ros, stamp, position in ((10.0, 50.0, 49.7, 0.2), (10.4, 50.4, 50.3, -0.3), (12.0, 52.0, 51.8, 0.1)):
        _note(one, joints(stamp, j1=position, j2=2.0), ros, steady)
    found = _measured(one, 12.5, ("/driver",))
    assert (found.count, found.rate, found.gap, found.age) == pytest.approx((3, 2 / 2.0, 1.6, 0.5))
    assert found.offset == pytest.approx(0.2, abs=1e-6)  # the median of 0.3, 0.1 and 0.2
    assert found.ranges == {"j1": (-0.3, 0.2), "j2": (2.0, 2.0)} and found.detail == "2 joints"
    assert found.stamped and found.contradiction == "" and found.twist is TwistFrame.UNKNOWN and math.isnan(found.lag)


def test_of_a_topic_without_messages_and_with_one_there_is_no_rate():
    one = watched()
    none = _measured(one, 12.5, ())
    assert none.count == 0 and all(math.isnan(v) for v in (none.rate, none.gap, none.age, none.offset))
    _note(one, joints(1.0, j1=0.2), 3.0, 10.0)
    alone = _measured(one, 12.5, ())
    assert (alone.count, alone.age, alone.offset) == (1, 2.5, 2.0) and math.isnan(alone.rate) and math.isnan(alone.gap)
    _note(one, joints(1.0, j1=0.2), 3.0, 10.0)
    assert math.isnan(_measured(one, 12.5, ()).rate)  # two at the same moment


@pytest.mark.parametrize(("role", "stamped"), [(Role.STATE, False), (Role.CAMERA, True)])
def test_one_message_without_a_stamp_is_told_of_a_state_alone(role, stamped):
    one = watched(role)
    for stamp in (0.5, 0.0, 0.5):
        _note(one, joints(stamp, j1=0.0), 0.75, 1.0)
    found = _measured(one, 2.0, ())
    assert found.stamped is stamped and found.offset == pytest.approx(0.25)


def test_a_message_without_a_header_has_no_stamp_and_says_how_many_numbers_it_has():
    one = watched(Role.TELEOP, "std_msgs/msg/Float64MultiArray")
    _note(one, Float64MultiArray(data=[1.0, 2.0, 3.0]), 5.0, 1.0)
    assert one.offsets == [] and one.unstamped == 1 and one.detail == "3 numbers"


def test_what_is_in_a_picture_is_told():
    raw, packed = watched(Role.CAMERA, "sensor_msgs/msg/Image"), watched(Role.CAMERA, "sensor_msgs/msg/CompressedImage")
    _note(raw, Image(width=64, height=48, encoding="bgr8"), 5.0, 1.0)
    _note(packed, CompressedImage(format="jpeg", data=bytes(5 * 1024)), 5.0, 1.0)
    assert (raw.detail, packed.detail) == ("64x48 bgr8", "jpeg, 5 KiB")


def test_joints_are_told_in_the_robots_words_and_one_that_was_not_finite_stays_so():
    one = watched(joints={"a": "j1"}, scale={"": 2.0}, offset={"j1": 0.5})
    for value in (0.1, math.nan, 0.4):
        _note(one, joints(a=value, b=value / value), 5.0, 1.0)
    assert set(one.ranges) == {"j1", "b"} and all(math.isnan(end) for end in one.ranges["j1"])


def test_two_sources_of_one_joint_are_told_apart_but_not_by_whole_turns():
    one, turned = watched(), watched()
    for k in range(12):
        _note(one, joints(a=(1.0, 1.5)[k % 2]), 5.0, 10.0 + 0.01 * k)
        _note(turned, joints(a=1.0 + (0.0, 2.0 * math.pi)[k % 2]), 5.0, 10.0 + 0.01 * k)
    said = _measured(one, 10.2, ("/x", "/y")).contradiction
    assert "/x and /y publish a on said, as 1.50 and as 1.00" in said
    assert _measured(one, 13.0, ("/x", "/y")).contradiction == "" == _measured(turned, 10.2, ()).contradiction


def odometry(at, x, y, heading, vx, vy, wz=0.0, child="base_link"):
    message = Odometry(child_frame_id=child)
    message.header.frame_id = "odom"
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y = x, y
    # Tilted by 0.2 about x before the heading: that turns nothing about z.
    half, tilt = heading / 2.0, 0.1
    q = pose.orientation
    q.w, q.x = math.cos(half) * math.cos(tilt), math.cos(half) * math.sin(tilt)
    q.z, q.y = math.sin(half) * math.cos(tilt), math.sin(half) * math.sin(tilt)
    twist.linear.x, twist.linear.y, twist.angular.z = vx, vy, wz
    message.header.stamp = time_message(at)
    return message


@pytest.mark.parametrize(("frame", "expected"), [("base", TwistFrame.BASE), ("world", TwistFrame.WORLD)])
def test_the_frame_of_an_odometrys_velocity_follows_from_the_way_that_it_went(frame, expected):
    one = watched(kind=ODOMETRY)
    speed, course, heading = 0.4, 0.7, 2.2  # to one side: the way is not where the base looks
    for k in range(30):
        at = 10.0 + 0.1 * k
        x, y = (3.0 + speed * 0.1 * k * math.cos(course), 1.0 + speed * 0.1 * k * math.sin(course))
        angle = course if frame == "world" else course - heading
        _note(one, odometry(at, x, y, heading, speed * math.cos(angle), speed * math.sin(angle)), 50.0, at)
    time, *row = one.moves[-1]
    np.testing.assert_allclose(row, [x, y, heading, speed * math.cos(angle), speed * math.sin(angle)], atol=1e-9)
    assert time == at and one.detail == "twist in base_link"
    assert _measured(one, 13.0, ()).twist is expected


@pytest.mark.parametrize("axis", ["vx", "vy", "wz"])
def test_two_sources_of_one_velocity_are_told_apart(axis):
    one = watched(kind=ODOMETRY)
    for k in range(12):
        said = {"vx": 0.1, "vy": 0.2, "wz": 0.3} | ({axis: 0.9} if k % 2 else {})
        _note(one, odometry(1.0, 0.0, 0.0, 0.0, **said), 5.0, 10.0 + 0.01 * k)
    assert f"publish {axis} on said" in _measured(one, 10.2, ("/x", "/y")).contradiction


@pytest.mark.parametrize(
    ("twist", "child", "world"),
    [
        ("world", "base_link", True), ("base", "odom", False), ("", "odom", True), ("", "base_link", False),
        (None, "odom", True), (None, "base_link", False),
    ],
)  # fmt: skip
def test_a_twist_is_taken_in_the_frame_that_is_declared_and_else_in_that_of_its_child(twist, child, world):
    one = watched(kind=ODOMETRY) if twist is None else watched(kind=ODOMETRY, twist=twist)
    _note(one, odometry(1.0, 0.0, 0.0, 0.0, 0.1, 0.2, child=child), 5.0, 1.0)
    assert one.as_world is world is _measured(one, 2.0, ()).as_world


def test_the_lag_of_a_group_is_in_the_status_of_its_own_executor():
    arm, base = watched(Role.COMMAND), watched(Role.COMMAND)
    values = [
        KeyValue(key="base lag_ms", value="-"),
        KeyValue(key="arm lag_ms", value="140"),
        KeyValue(key="n", value="7"),
    ]
    others = DiagnosticStatus(name="right/executor", values=[KeyValue(key="arm lag_ms", value="20")])
    status = [others, DiagnosticStatus(name="left/executor", values=values), others]
    _note_lags({"arm lag_ms": arm, "base lag_ms": base}, "left/executor", DiagnosticArray(status=status))
    assert _measured(arm, 1.0, ()).lag == pytest.approx(0.14) and math.isnan(base.lag)


def test_where_nothing_was_found_is_told_with_what_there_is(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    names = ["g", "b", "e", NODE, "a", "f", "d", "c"]
    text = _nothing("small", names, "/left")
    for part in ("robot small", "ROS_DOMAIN_ID=42", "discovery SUBNET", "namespace /left", "7 nodes (a, b, c, d, e)"):
        assert part in text
    monkeypatch.delenv("ROS_DOMAIN_ID")
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE")
    alone = _nothing("small", [NODE], "/")
    assert "ROS_DOMAIN_ID=0" in alone and "no other node" in alone
    assert "discovery" not in alone and "namespace /" not in alone


def end(name, kind, space="/"):
    quality = QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )
    return SimpleNamespace(node_name=name, node_namespace=space, topic_type=kind, qos_profile=quality)


class Graph:
    """A node in /left, and who publishes and reads which topic."""

    def __init__(self, publishers, readers=None, types=()):
        readers = readers or {}
        self.get_publishers_info_by_topic = lambda topic: publishers.get(topic, [])
        self.get_subscriptions_info_by_topic = lambda topic: readers.get(topic, [])
        self.get_topic_names_and_types = lambda: list(types)
        self.get_namespace = lambda: "/left"


def test_discovery_is_over_once_every_camera_and_state_that_is_required_has_a_publisher():
    watches = [watched(), watched(Role.CAMERA), watched(Role.COMMAND), watched(Role.CAMERA)]
    for one, (topic, required) in zip(watches, (("s", True), ("c", True), ("x", True), ("o", False)), strict=True):
        one.seen = replace(one.seen, topic=topic, required=required)
    assert not _all_published(Graph({"s": [1]}), watches) and not _all_published(Graph({"c": [1], "o": [1]}), watches)
    assert _all_published(Graph({"s": [1], "c": [1]}), watches)


def test_a_topic_has_those_who_publish_and_read_it_but_for_the_watch_itself_and_others_of_its_type_that_are_in_use():
    types = [("/a", [JOINTS]), ("/b", [JOINTS]), ("/c", ["std_msgs/msg/String"]), ("/said", [JOINTS]), ("/d", [JOINTS])]
    publishers = {"said": [end("driver", JOINTS)], "/a": [1], "/c": [1], "/said": [1]}
    readers = {"said": [end(NODE, JOINTS, "/left"), end(NODE, JOINTS), end("bag", JOINTS)], "/b": [1]}
    graph = Graph(publishers, readers, types)
    there = _Graph(graph, {"said"})
    state = _finished(graph, watched(), 1.0, there)
    driver = Endpoint("/driver", JOINTS, "best_effort", "transient_local")
    assert state.publishers == (driver,) and [s.node for s in state.subscribers] == [f"/{NODE}", "/bag"]
    assert state.alike == ("a",)
    assert _finished(graph, watched(Role.COMMAND), 1.0, there).alike == ("b",)
