"""What a driver's topics carry, made of what the robot has: the other way round from what the executor reads."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, Vector3
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from pi0_ros.robot.spec import StateSource
from pi0_ros.ros.driver_topics import DriverInputs, DriverOutputs, joint_message, odometry_message
from pi0_ros.ros.polled_subscriptions import frame_and_names

STAMP = Time(sec=7, nanosec=250)


def test_joints_go_out_under_the_drivers_names_and_in_its_units():
    """`left_` is put before what arrives, the gripper has a name of its own, angles arrive in degrees less a quarter of a turn."""
    degrees = math.pi / 180
    source = StateSource(
        "left/joint_states", "joint_state", 0.5, prefix="left_", joints=(("hand", "left_gripper"),),
        scale=(("", degrees), ("left_gripper", 0.001)), offset=(("left_elbow", math.pi / 2),),
    )  # fmt: skip
    names = ("left_waist", "right_waist", "left_gripper", "left_elbow")
    found = joint_message(source, STAMP, names, (0.5, 9.0, 0.04, 2.0), (0.1, 9.0, -0.02, -0.3))
    assert found.name == ["waist", "hand", "elbow"] and found.header.stamp == STAMP
    assert list(found.position) == pytest.approx([0.5 / degrees, 40.0, (2.0 - math.pi / 2) / degrees])
    assert list(found.velocity) == pytest.approx([0.1 / degrees, -20.0, -0.3 / degrees])


def test_an_odometry_has_its_pose_in_odom_and_its_velocity_in_base_link():
    found = odometry_message(STAMP, 1.0, -2.0, 0.8, 0.3, -0.4, 0.5)
    assert (found.header.frame_id, found.child_frame_id, found.header.stamp) == ("odom", "base_link", STAMP)
    at, turn, twist = found.pose.pose.position, found.pose.pose.orientation, found.twist.twist
    assert (at.x, at.y, at.z) == (1.0, -2.0, 0.0) and (turn.x, turn.y) == (0.0, 0.0)
    assert (turn.z, turn.w) == pytest.approx((math.sin(0.4), math.cos(0.4)))
    assert (twist.linear.x, twist.linear.y, twist.linear.z) == (0.3, -0.4, 0.0)
    assert (twist.angular.x, twist.angular.y, twist.angular.z) == (0.0, 0.0, 0.5)


def test_bytes_of_a_joint_state_are_of_one_subject_while_frame_and_names_are_the_same():
    """Behind the stamp: a frame of 3 letters, two names; what follows them, and the stamp before them, count nothing."""

    def data(frame="arm", names=("a", "wrist"), **more):
        message = JointState(name=list(names), **more)
        message.header.frame_id, message.header.stamp = frame, STAMP
        return bytes(serialize_message(message))

    one = frame_and_names(data())
    # 4 + "arm\0", the count of 4, 4 + "a\0" and 2 to the next multiple, 4 + "wrist\0"
    assert len(one) == 8 + 4 + 8 + 10 and one.startswith(b"\4\0\0\0arm\0\2\0\0\0\2\0\0\0a\0")
    assert one.endswith(b"\6\0\0\0wrist\0")
    assert frame_and_names(data(position=[0.5, 1.0], velocity=[2.0, 3.0])) == one
    aligned = bytearray(data())
    aligned[30:32] = b"\xe0\7"  # behind "a\0"; senders leave there what was in their memory
    assert frame_and_names(bytes(aligned)) == one
    others = [data(frame="leg"), data(names=("a", "wrists")), data(names=("a",)), data(names=("wrist", "a"))]
    assert len({one, *map(frame_and_names, others)}) == 5
    assert frame_and_names(data(names=())) == b"" == frame_and_names(data()[: 12 + len(one) - 1])


GROUPS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
base:
  kind: velocity
  channels: [base_vx, base_vy, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: 0.5, acceleration: 1.0}
"""
STATE = """state:
  - {topic: arm/joint_states, type: joint_state, max_age: 0.1, joints: {a: j1, b: j2}}
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: odom, type: odometry, max_age: 0.2}
"""
HEAD = """robot: small
urdf: small.urdf
cameras:
  front: {topic: eye, type: image, max_age: 0.3}
  hand: {topic: hand/eye, type: compressed_image, max_age: 0.3}
"""


class Sent:
    """A node whose publishers note what they are given."""

    def __init__(self):
        self.topics, self.messages = {}, []

    def create_publisher(self, kind, topic, quality):
        self.topics[topic] = kind
        return SimpleNamespace(publish=lambda message: self.messages.append((topic, message)))


@pytest.mark.parametrize("own_clock", [True, False])
def test_a_driver_sends_what_the_robot_yaml_says_each_on_its_topic(small_robot, own_clock):
    node = Sent()
    outputs = DriverOutputs(node, small_robot(GROUPS, STATE, head=HEAD), own_clock)
    assert {topic: kind.__name__ for topic, kind in node.topics.items()} == {
        "arm/joint_states": "JointState",
        "joint_states": "JointState",
        "odom": "Odometry",
        "eye": "Image",
        "hand/eye": "CompressedImage",
        **({"/clock": "Clock"} if own_clock else {}),
    }
    outputs.clock(STAMP)
    outputs.joints(STAMP, ("j1", "j2"), iter((0.1, 0.2)), iter((1.0, 2.0)))
    outputs.odometry(STAMP, 1.0, 2.0, 0.5, 0.1, 0.2, 0.3)
    outputs.pictures(STAMP, lambda camera: np.full((4, 6, 3), 90 if camera == "front" else 30, np.uint8))
    found = node.messages if own_clock else [("/clock", None), *node.messages]
    topics, messages = zip(*found, strict=True)
    assert topics == ("/clock", "arm/joint_states", "joint_states", "odom", "eye", "hand/eye")
    clock, arm, joints, odometry, front, hand = messages
    assert clock is None or clock.clock == STAMP
    assert (arm.name, list(arm.position), list(arm.velocity)) == (["a", "b"], [0.1, 0.2], [1.0, 2.0])
    assert (joints.name, list(joints.position)) == (["j1", "j2"], [0.1, 0.2])
    assert (odometry.pose.pose.position.y, odometry.twist.twist.linear.y) == (2.0, 0.2)
    assert front.header.frame_id == "front_camera_optical_frame" and set(front.data) == {90}
    assert hand.header.frame_id == "hand_camera_optical_frame" and hand.header.stamp == STAMP


@pytest.fixture
def driven(small_robot):
    """(inputs, say): what a driver of this robot reads; `say(group, message, age)` as if it had just come."""
    rclpy.init()
    node, clock = rclpy.create_node("driver"), [100.0]
    inputs = DriverInputs(node, small_robot(GROUPS), SimpleNamespace(steady=lambda: clock[0]), 0.5)
    readers = {s.topic_name.strip("/"): s for s in inputs._polled.subscriptions}

    def say(topic, message, age=0.0):
        inputs._polled.age = age
        readers[topic].callback(message)

    inputs.clock = clock
    yield inputs, say
    node.destroy_node()
    rclpy.shutdown()


def wanted(inputs):
    return {group.name: values for group, values in inputs.targets()}


def test_a_group_follows_its_newest_command_and_a_base_stands_still_once_it_is_silent(driven):
    inputs, say = driven
    assert wanted(inputs) == {} and inputs.silent == set()
    say("arm/commands", Float64MultiArray(data=[0.5, 0.75]))
    say("arm/commands", Float64MultiArray(data=[0.25, -0.75]), age=0.25)
    say("cmd_vel", Twist(linear=Vector3(x=0.5, y=0.25), angular=Vector3(z=-0.125)))
    assert wanted(inputs) == {"arm": [0.25, -0.75], "base": [0.5, 0.25, -0.125]} and inputs.silent == set()
    inputs.clock[0] = 100.375  # the arm's is 0.625 s old, and holds by itself
    assert wanted(inputs) == {"base": [0.5, 0.25, -0.125]} and inputs.silent == {"arm"}
    inputs.clock[0] = 100.5
    assert wanted(inputs) == {"base": [0.5, 0.25, -0.125]}
    inputs.clock[0] = 100.625
    assert wanted(inputs) == {"base": [0.0, 0.0, 0.0]} and inputs.silent == {"arm", "base"}
    say("arm/commands", Float64MultiArray(data=[0.125, 0.25]))
    assert wanted(inputs) == {"arm": [0.125, 0.25], "base": [0.0, 0.0, 0.0]} and inputs.silent == {"base"}
    inputs.forget()
    assert wanted(inputs) == {}


def test_a_command_that_cannot_be_followed_is_refused_by_its_topic_and_the_one_before_stands(driven, capfd):
    inputs, say = driven
    say("arm/commands", Float64MultiArray(data=[0.5, 0.75]))
    for wrong in ([0.5], [0.5, math.nan], [math.inf, 0.5]):
        say("arm/commands", Float64MultiArray(data=wrong))
        assert wanted(inputs) == {"arm": [0.5, 0.75]}
    assert "command on arm/commands refused" in capfd.readouterr().err
    inputs._refuse("/arm/commands", ValueError("too large"))
    inputs.read()
    assert wanted(inputs) == {"arm": [0.5, 0.75]}
