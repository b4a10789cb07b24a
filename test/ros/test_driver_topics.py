"""What a driver's topics carry, made of what the robot has: the other way round from what the executor reads."""

import math

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from pi0_ros.robot.spec import StateSource
from pi0_ros.ros.driver_topics import joint_message, odometry_message
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
    assert one.endswith(b"\6\0\0\0wrist\0") and data()[12:].startswith(one)
    assert frame_and_names(data(position=[0.5, 1.0], velocity=[2.0, 3.0])) == one
    others = [data(frame="leg"), data(names=("a", "wrists")), data(names=("a",)), data(names=("wrist", "a"))]
    assert len({one, *map(frame_and_names, others)}) == 5
    assert frame_and_names(data(names=())) == b"" == frame_and_names(data()[: 12 + len(one) - 1])
