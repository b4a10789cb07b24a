from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Quaternion, Twist
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from pi0_ros.control import Chunk
from pi0_ros.robot import load_robot
from pi0_ros.ros.clock import duration_message, seconds, time_message
from pi0_ros.ros.conversions import (
    ConversionError,
    channel_values,
    chunk_from_message,
    chunk_message,
    joint_state_values,
)
from pi0_ros.ros.rotations import orientation_of_yaw, yaw_of
from pi0_ros.ros.subscribe import prefixed

MOBILE, ALOHA = load_robot("mobile_bimanual"), load_robot("aloha")
ARM, BASE = MOBILE.group("left_arm"), MOBILE.group("base")
SIX = np.linspace(0.1, 0.6, 6)


@pytest.mark.parametrize("at", [0.0, 1.5, 1_795_272_800.123456])
def test_stamps_and_durations_survive(at):
    assert seconds(time_message(at)) == pytest.approx(at, abs=1e-6)
    assert seconds(duration_message(0.02)) == pytest.approx(0.02)


@pytest.mark.parametrize("yaw", [-3.0, -0.5, 0.0, 1.0, 3.1])
def test_a_heading_survives_as_a_quaternion_of_length_one(yaw):
    made = orientation_of_yaw(yaw)
    assert yaw_of(made) == pytest.approx(yaw)
    assert np.hypot(made.z, made.w) == pytest.approx(1.0) and made.x == made.y == 0.0


def test_a_quarter_turn_is_what_ros_says_it_is():
    assert yaw_of(Quaternion(z=np.sqrt(0.5), w=np.sqrt(0.5))) == pytest.approx(np.pi / 2)


def test_joints_are_matched_by_name_whatever_their_order():
    names = [c.name for c in ARM.channels]
    message = JointState(name=[*names[::-1], "other"], position=array("d", [*SIX[::-1], 9.0]))
    np.testing.assert_allclose(channel_values(ARM, message, names), SIX)


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
        channel_values(ARM, message, [c.name for c in ARM.channels])


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"]])
def test_a_broken_joint_state_is_refused(names):
    with pytest.raises(ConversionError):
        joint_state_values(JointState(name=names, position=array("d", [1.0, 2.0])))


def test_a_joint_state_without_velocities_is_fine():
    assert joint_state_values(JointState(name=["a"], position=array("d", [1.0]))) == ({"a": 1.0}, {})


def test_a_prefix_keeps_two_arms_apart():
    assert prefixed("left_", {"waist": 1.0}) == {"left_waist": 1.0}


def test_a_plain_twist_is_read_too():
    message = Twist()
    message.linear.x = 0.4
    assert channel_values(BASE, message, ()) == [0.4, 0.0, 0.0]


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
