from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from pi0_ros.msg import ActionChunk
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.teleop import Teleop
from pi0_ros.robot import load_robot
from pi0_ros.ros.clock import duration_message, seconds, time_message
from pi0_ros.ros.commands import GroupCommand, shared_message
from pi0_ros.ros.conversions import (
    ConversionError,
    channel_values,
    chunk_from_message,
    chunk_message,
    joint_state_values,
    odometry_values,
)
from pi0_ros.ros.rotations import orientation_of_yaw

MOBILE, ALOHA = load_robot("mobile_bimanual"), load_robot("aloha")
ARM, BASE = MOBILE.group("left_arm"), MOBILE.group("base")
SIX = np.linspace(0.1, 0.6, 6)


@pytest.mark.parametrize("at", [0.0, 1.5, 1_795_272_800.123456])
def test_stamps_and_durations_survive(at):
    assert seconds(time_message(at)) == pytest.approx(at, abs=1e-6)
    assert seconds(duration_message(0.02)) == pytest.approx(0.02)


def test_joints_are_matched_by_name_whatever_their_order():
    names = [c.name for c in ARM.channels]
    message = JointState(name=[*names[::-1], "other"], position=array("d", [*SIX[::-1], 9.0]))
    np.testing.assert_allclose(channel_values(ARM, message, ARM.command), SIX)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Float64MultiArray(data=array("d", [0.0] * 5)), "5 values for the 6 channels of left_arm"),
        (JointState(name=["left_joint1"], position=array("d", [0.0])), "left_joint2.*are missing"),
        (JointState(name=["left_joint1"], position=array("d")), "1 names and 0 values"),
        (JointTrajectory(), "without points"),
    ],
)
def test_a_message_that_does_not_fit_is_refused_with_the_reason(message, why):
    with pytest.raises(ConversionError, match=why):
        channel_values(ARM, message, ARM.command)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], "0 names and 2 positions"),
        (["a"], "1 names and 2 positions"),
        (["a", "lift", "lift"], "names 'lift' twice"),
    ],
)
def test_a_broken_joint_state_is_refused(names, why):
    with pytest.raises(ConversionError, match=why):
        joint_state_values(JointState(name=names, position=array("d", [1.0, 2.0])))


def test_a_joint_state_of_wheels_that_says_no_positions_is_fine():
    wheels = JointState(name=["left", "right"], velocity=array("d", [1.0, 2.0]))
    assert joint_state_values(wheels) == ({}, {"left": 1.0, "right": 2.0})


def odometry(child, header="odom", yaw=np.pi / 2):
    message = Odometry(child_frame_id=child)
    message.header.frame_id = header
    message.pose.pose.orientation = orientation_of_yaw(yaw)
    message.twist.twist.linear.y, message.twist.twist.angular.z = 0.3, 0.2
    return message


@pytest.mark.parametrize(
    ("child", "frame", "expected"),
    [
        ("base_link", "", (0.0, 0.3, 0.2)),
        ("odom", "", (0.3, 0.0, 0.2)),
        ("", "", (0.0, 0.3, 0.2)),
        ("base_link", "world", (0.3, 0.0, 0.2)),
        ("odom", "base", (0.0, 0.3, 0.2)),
    ],
)
def test_a_twist_in_the_worlds_frame_is_turned_and_one_in_the_bases_is_not(child, frame, expected):
    assert odometry_values(odometry(child), frame) == pytest.approx(expected)


TWICE = """
arm:
  kind: position
  channels: [j1, j2, j3]
  command: {topic: arm/commands, type: joint_trajectory, joints: [joint0, joint1, joint2]}
  limits: {source: urdf, acceleration: 5.0}
  teleop: {topic: leader, type: joint_state, max_age: 0.2, joints: [JOINTS]}
"""


@pytest.mark.parametrize("names", [["j2", "j1", "j3"], ["j0", "j1", "j2"], ["j3", "j1", "j2"]])
def test_the_names_of_a_leader_are_mapped_once_even_where_they_are_other_channels_names(small_robot, names):
    group = small_robot(TWICE.replace("JOINTS", ", ".join(names))).group("arm")
    message = JointState(name=names[::-1], position=array("d", [-0.1, 0.0, 0.2]))
    values = channel_values(group, message, group.teleop)
    assert values == [0.2, 0.0, -0.1]
    device = Teleop(small_robot(TWICE.replace("JOINTS", ", ".join(names))), ExecutorSettings())
    assert device.hear(0.0, "arm", [c.name for c in group.channels], values) == ""
    assert device.devices["arm"].goal[0].tolist() == [0.2, 0.0, -0.1]


@pytest.mark.parametrize("kind", ["joint_trajectory", "joint_state"])
def test_a_driver_that_counts_from_zero_is_commanded_in_its_names(small_robot, kind):
    text = TWICE.replace("JOINTS", "a, b, c").replace("type: joint_trajectory", f"type: {kind}")
    group = small_robot(text).group("arm")
    message = shared_message((group,), (GroupCommand((0, 0), [0.1, 0.2, 0.3], [0.0] * 3, 0.02),))
    names, values = (
        (message.name, message.position)
        if kind == "joint_state"
        else (message.joint_names, message.points[0].positions)
    )
    assert dict(zip(names, values, strict=True)) == {"joint0": 0.1, "joint1": 0.2, "joint2": 0.3}


def test_a_joint_state_without_velocities_is_fine():
    assert joint_state_values(JointState(name=["a"], position=array("d", [1.0]))) == ({"a": 1.0}, {})


def test_a_plain_twist_is_read_too():
    message = Twist()
    message.linear.x = 0.4
    assert channel_values(BASE, message, BASE.command) == [0.4, 0.0, 0.0]


def test_a_chunk_survives_the_way_through_its_message():
    chunk = Chunk(3.25, 0.1, ("a", "b"), np.arange(6.0).reshape(3, 2), 7, 2, "policy", 1, "touch")
    message = chunk_message(chunk, 0.04)
    assert seconds(message.inference_time) == pytest.approx(0.04)
    back = chunk_from_message(message)
    np.testing.assert_array_equal(back.values, chunk.values)
    same = ("start", "period", "names", "sequence", "epoch", "source", "frozen_rows", "subtask")
    assert [getattr(back, n) for n in same] == [getattr(chunk, n) for n in same]


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0]])
def test_a_chunk_whose_values_are_no_rows_does_not_raise_but_cannot_pass_for_rows(values):
    message = chunk_message(Chunk(0.0, 0.1, ("a", "b"), np.zeros((1, 2)), 1, 0))
    message.values = array("f", values)
    assert chunk_from_message(message).values.shape != (1, 2)


@pytest.mark.parametrize(("sec", "nanosec"), [(2**31 - 1, 2**32 - 1), (5, 10**9), (-1, 0)])
def test_a_stamp_that_is_no_time_is_refused(sec, nanosec):
    message = ActionChunk(channels=["a", "b"], values=[0.0, 0.0, 1.0, 1.0], period=0.1)
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    with pytest.raises(ConversionError, match=f"{sec} s and {nanosec} ns is no time"):
        chunk_from_message(message)


@pytest.mark.parametrize(("frozen", "good"), [(2, True), (3, False), (2**32 - 1, False)])
def test_no_more_rows_are_frozen_than_there_are(frozen, good):
    message = ActionChunk(channels=["a", "b"], values=[0.0, 0.0, 1.0, 1.0], period=0.1, frozen_rows=frozen)
    if good:
        assert chunk_from_message(message).frozen_rows == frozen
    else:
        with pytest.raises(ConversionError, match=f"frozen_rows is {frozen}, and there are 2 rows"):
            chunk_from_message(message)


def test_a_chunk_without_channels_has_no_rows_to_freeze():
    message = ActionChunk(channels=[], values=[0.0, 1.0], period=0.1, frozen_rows=1)
    with pytest.raises(ConversionError, match="frozen_rows is 1, and there are 0 rows"):
        chunk_from_message(message)


FINGERS = """
hand:
  kind: gripper
  channels: [grip]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: TYPE, joints: [finger, finger_r]}
"""


@pytest.mark.parametrize("kind", ["float64_multi_array", "joint_state", "joint_trajectory"])
def test_of_a_gripper_with_two_fingers_the_first_counts(small_robot, kind):
    """finger_r follows by 2 x + 0.01."""
    group = small_robot(FINGERS.replace("TYPE", kind)).group("hand")
    values = [0.03, 0.07]
    message = {
        "float64_multi_array": lambda: Float64MultiArray(data=array("d", values)),
        "joint_state": lambda: JointState(name=["finger_r", "finger"], position=array("d", values[::-1])),
        "joint_trajectory": lambda: JointTrajectory(
            joint_names=["finger_r", "finger"],
            points=[JointTrajectoryPoint(positions=array("d", p)) for p in (values[::-1], [0.0, 0.0])],
        ),
    }[kind]()
    assert channel_values(group, message, group.command) == pytest.approx([0.75])
    if kind == "float64_multi_array":
        with pytest.raises(ConversionError, match="1 values for the 2 channels of hand"):
            channel_values(group, Float64MultiArray(data=array("d", [0.03])), group.command)


def test_a_joint_state_of_nothing_is_refused_and_velocities_need_a_name_each():
    with pytest.raises(ConversionError, match="0 names and 0 positions"):
        joint_state_values(JointState())
    odd = JointState(name=["a", "b"], position=array("d", [1.0, 2.0]), velocity=array("d", [3.0]))
    assert joint_state_values(odd) == ({"a": 1.0, "b": 2.0}, {})


def test_a_twist_without_any_frame_is_the_bases():
    assert odometry_values(odometry("", header="")) == pytest.approx((0.0, 0.3, 0.2))
