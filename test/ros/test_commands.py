from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import TwistStamped
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message
from trajectory_msgs.msg import JointTrajectory

from pi0_ros.robot import load_robot
from pi0_ros.ros.clock import seconds, time_parts
from pi0_ros.ros.commands import COMMAND_TYPES, CommandStencil, GroupCommand, command_message, stopping_distance
from pi0_ros.ros.conversions import channel_values, to_driver, twist_axes

MOBILE, ALOHA = load_robot("mobile_bimanual"), load_robot("aloha")
BASE, GRIPPER = MOBILE.group("base"), MOBILE.group("left_gripper")
SIX = np.linspace(0.1, 0.6, 6)
NUMBER = st.floats(-10.0, 10.0)


def sent(group, values, rates=None):
    rates = [0.0] * len(values) if rates is None else list(rates)
    return command_message(group, GroupCommand(time_parts(12.5), list(values), rates, 0.02))


@pytest.mark.parametrize("group", [g.name for g in MOBILE.groups])
def test_every_command_of_the_mobile_robot_comes_back_as_it_was(group):
    group = MOBILE.group(group)
    values = [0.25 + 0.01 * k for k in range(len(group.channels))]
    np.testing.assert_allclose(channel_values(group, sent(group, values), group.command.joints), values)


@pytest.mark.parametrize("group", [g.name for g in ALOHA.groups])
def test_every_command_of_aloha_comes_back_as_it_was(group):
    group = ALOHA.group(group)
    values = [0.25 + 0.01 * k for k in range(len(group.channels))]
    np.testing.assert_allclose(channel_values(group, sent(group, values), group.command.joints), values)


def test_a_gripper_is_commanded_by_the_value_of_its_joint():
    assert list(sent(GRIPPER, [0.0]).data) == [0.0]
    assert list(sent(GRIPPER, [1.0]).data) == pytest.approx([0.04])
    assert to_driver(ALOHA.group("left_gripper"), [1.0]) == pytest.approx([0.058])


def test_a_twist_names_its_frame_and_axes():
    message = sent(BASE, [0.1, 0.2, 0.3])
    assert isinstance(message, TwistStamped) and message.header.frame_id == "base_link"
    assert (message.twist.linear.x, message.twist.linear.y, message.twist.angular.z) == (0.1, 0.2, 0.3)
    assert seconds(message.header.stamp) == 12.5
    assert twist_axes(BASE) == ("vx", "vy", "wz")


def test_a_trajectory_goes_on_to_a_stop_in_case_nothing_more_comes():
    group = ALOHA.group("left_arm")
    rates = np.array([1.0, -0.5, 0.0, 0.0, 0.0, 0.0])
    message = sent(group, SIX, rates)
    assert isinstance(message, JointTrajectory) and message.joint_names == list(group.command.joints)
    first, last = message.points
    assert seconds(first.time_from_start) == pytest.approx(0.02)
    stop = 1.0 / group.channels[0].limits.acceleration
    assert seconds(last.time_from_start) == pytest.approx(0.02 + stop)
    np.testing.assert_allclose(first.positions, SIX)
    np.testing.assert_allclose(first.velocities, rates)
    np.testing.assert_allclose(np.array(last.positions) - SIX, rates * stop / 2)
    assert not np.any(last.velocities)


def test_the_stopping_distance_is_that_of_constant_deceleration():
    assert stopping_distance(2.0, 4.0) == (0.5, 0.5)
    assert stopping_distance(-2.0, 4.0) == (-0.5, 0.5)


@pytest.mark.parametrize("kind", COMMAND_TYPES)
@given(st.data())
def test_the_bytes_of_a_stencil_are_those_of_the_message(kind, data):
    group = spoken_as(MOBILE.group("base" if kind.startswith("twist") else "left_arm"), kind)
    stencil = CommandStencil(group)
    for _ in range(3):  # one after another: nothing may be left of the one before
        values, rates = (data.draw(st.lists(NUMBER, min_size=n, max_size=n)) for n in [len(group.channels)] * 2)
        motion = GroupCommand(
            time_parts(data.draw(st.floats(0.0, 2e9))), values, rates, data.draw(st.floats(0.005, 1.0))
        )
        assert deserialize_message(stencil(motion), COMMAND_TYPES[kind].message) == command_message(group, motion)


@pytest.mark.parametrize("group", [*MOBILE.groups, *ALOHA.groups], ids=lambda g: g.name)
def test_every_group_that_ships_has_a_stencil(group):
    values = [0.3] * len(group.channels)
    motion = GroupCommand(time_parts(1_795_272_800.25), values, values, 0.02)
    message = command_message(group, motion)
    assert deserialize_message(CommandStencil(group)(motion), type(message)) == message


def spoken_as(group, kind):
    """The group of a robot whose driver wants another type."""
    joints = tuple(f"joint {c.name}" for c in group.channels)
    return replace(group, command=replace(group.command, type=kind, joints=joints))
