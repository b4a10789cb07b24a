import itertools
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
from pi0_ros.robot.wire import to_wire
from pi0_ros.ros.clock import seconds, time_parts
from pi0_ros.ros.commands import (
    COMMAND_TYPES,
    CommandTemplate,
    GroupCommand,
    groups_by_topic,
    shared_message,
    stopping_distance,
)
from pi0_ros.ros.conversions import channel_values, twist_axes

MOBILE, ALOHA = load_robot("mobile_bimanual"), load_robot("aloha")
BASE, GRIPPER = MOBILE.group("base"), MOBILE.group("left_gripper")
SIX = np.linspace(0.1, 0.6, 6)
NUMBER = st.floats(-10.0, 10.0)


def sent(group, values, rates=None):
    rates = [0.0] * len(values) if rates is None else list(rates)
    return shared_message((group,), (GroupCommand(time_parts(12.5), list(values), rates, 0.02),))


@pytest.mark.parametrize("group", [g.name for g in MOBILE.groups])
def test_every_command_of_the_mobile_robot_comes_back_as_it_was(group):
    group = MOBILE.group(group)
    values = [0.25 + 0.01 * k for k in range(len(group.channels))]
    np.testing.assert_allclose(channel_values(group, sent(group, values), group.command), values)


@pytest.mark.parametrize("group", [g.name for g in ALOHA.groups])
def test_every_command_of_aloha_comes_back_as_it_was(group):
    group = ALOHA.group(group)
    values = [0.25 + 0.01 * k for k in range(len(group.channels))]
    np.testing.assert_allclose(channel_values(group, sent(group, values), group.command), values)


def test_a_gripper_is_commanded_by_the_value_of_its_joint():
    assert list(sent(GRIPPER, [0.0]).data) == [0.0]
    assert list(sent(GRIPPER, [1.0]).data) == pytest.approx([0.04])
    assert to_wire(ALOHA.group("left_gripper"), [1.0]) == pytest.approx([0.058])


def test_a_twist_names_its_frame_and_axes():
    message = sent(BASE, [0.1, 0.2, 0.3])
    assert isinstance(message, TwistStamped) and message.header.frame_id == "base_link"
    assert (message.twist.linear.x, message.twist.linear.y, message.twist.angular.z) == (0.1, 0.2, 0.3)
    assert seconds(message.header.stamp) == 12.5
    assert twist_axes(BASE) == ("vx", "vy", "wz")


def test_a_trajectory_goes_on_for_a_period_and_then_to_a_stop_in_case_nothing_more_comes():
    group = ALOHA.group("left_arm")
    rates = np.array([1.0, -0.5, 0.0, 0.0, 0.0, 0.0])
    message = sent(group, SIX, rates)
    assert isinstance(message, JointTrajectory) and message.joint_names == list(group.command.joints)
    first, second, last = message.points
    assert seconds(first.time_from_start) == pytest.approx(0.02)
    assert seconds(second.time_from_start) == pytest.approx(0.04)
    stop = 1.0 / group.channels[0].limits.acceleration
    assert seconds(last.time_from_start) == pytest.approx(0.04 + stop)
    np.testing.assert_allclose(first.positions, SIX)
    np.testing.assert_allclose(np.array(second.positions) - SIX, rates * 0.02)
    np.testing.assert_allclose([first.velocities, second.velocities], [rates, rates])
    np.testing.assert_allclose(np.array(last.positions) - SIX, rates * (0.02 + stop / 2))
    assert not np.any(last.velocities)


def test_at_two_hundred_hertz_a_trajectory_may_be_late_by_twenty_milliseconds_all_the_same():
    group = ALOHA.group("left_arm")
    motion = GroupCommand((0, 0), SIX, [0.5] * 6, 0.005)
    times = [seconds(p.time_from_start) for p in shared_message((group,), (motion,)).points]
    assert times[:2] == pytest.approx([0.005, 0.025])


def test_a_trajectory_near_a_limit_stays_inside_and_stands_still_there():
    """0.01 below the limit at 1 rad/s: 0.02 s later it would be beyond it, and the stop further out."""
    group = ALOHA.group("left_arm")
    limit = group.channels[1].limits.upper
    values, rates = np.array(SIX), np.array([0.0, 1.0, -0.2, 0.0, 0.0, 0.0])
    values[1] = limit - 0.01
    first, second, last = sent(group, values, rates).points
    assert [p.positions[1] for p in (first, second, last)] == pytest.approx([limit - 0.01, limit, limit])
    assert (first.velocities[1], second.velocities[1], last.velocities[1]) == (1.0, 0.0, 0.0)
    low = group.channels[2].limits.lower
    values[2] = low + 0.001
    assert sent(group, values, rates).points[-1].positions[2] == pytest.approx(low)


def accepted(message, clock):
    """Whether joint_trajectory_controller of Jazzy takes a message at `clock` [s] (validate_trajectory_msg)."""
    stamp, times = seconds(message.header.stamp), [seconds(p.time_from_start) for p in message.points]
    if any(message.points[-1].velocities) or any(b <= a for a, b in itertools.pairwise(times)):
        return False
    return stamp == 0.0 or stamp + times[-1] >= clock


@pytest.mark.parametrize("offset", [-5.0, 0.0, 0.06, 3600.0])
def test_a_controller_whose_clock_is_off_takes_a_trajectory_all_the_same(offset):
    for rates in ([0.0] * 6, [1.0, -0.5, 0.2, 0.0, 0.0, 0.0]):
        assert accepted(sent(ALOHA.group("left_arm"), SIX, rates), 12.5 + offset)


def test_who_wants_a_stamp_gets_one_and_needs_clocks_that_agree():
    group = ALOHA.group("left_arm")
    stamped = replace(group, command=replace(group.command, stamped=True))
    message = sent(stamped, SIX, [0.0] * 6)
    assert seconds(message.header.stamp) == 12.5
    assert accepted(message, 12.53) and not accepted(message, 12.57)


def test_the_stopping_distance_is_that_of_constant_deceleration():
    assert stopping_distance(2.0, 4.0) == (0.5, 0.5)
    assert stopping_distance(-2.0, 4.0) == (-0.5, 0.5)


@pytest.mark.parametrize("kind", COMMAND_TYPES)
@given(st.data())
def test_the_bytes_of_a_template_are_those_of_the_message(kind, data):
    group = spoken_as(MOBILE.group("base" if kind.startswith("twist") else "left_arm"), kind)
    template = CommandTemplate(group)
    for _ in range(3):  # one after another: nothing may be left of the one before
        values, rates = (data.draw(st.lists(NUMBER, min_size=n, max_size=n)) for n in [len(group.channels)] * 2)
        motion = GroupCommand(
            time_parts(data.draw(st.floats(0.0, 2e9))), values, rates, data.draw(st.floats(0.005, 1.0))
        )
        assert deserialize_message(template(motion), COMMAND_TYPES[kind].message) == shared_message((group,), (motion,))


@pytest.mark.parametrize("group", [*MOBILE.groups, *ALOHA.groups], ids=lambda g: g.name)
def test_every_group_that_ships_has_a_template(group):
    values = [0.3] * len(group.channels)
    motion = GroupCommand(time_parts(1_795_272_800.25), values, values, 0.02)
    message = shared_message((group,), (motion,))
    assert deserialize_message(CommandTemplate(group)(motion), type(message)) == message


def spoken_as(group, kind):
    """The group of a robot whose driver wants another type."""
    joints = tuple(f"joint {c.name}" for c in group.channels)
    return replace(group, command=replace(group.command, type=kind, joints=joints))


BASE_OF = """
base:
  kind: velocity
  channels: [{channels}]
  {axes}
  command: {{topic: cmd_vel, type: {kind}}}
  limits: {{velocity: 1.0, acceleration: 1.0}}
"""
ARM_AND_HAND = """
arm:
  kind: position
  channels: [j1, j2]
  command: {{topic: joint_command, type: {kind}, joints: [a, b]}}
  limits: {{source: urdf, acceleration: 5.0}}
hand:
  kind: gripper
  channels: [gripper]
  joint: {{name: finger, closed: 0.0, open: 0.04}}
  command: {{topic: joint_command, type: {kind}, joints: [c, finger_r], closed: 850, open: 0}}
"""


@pytest.mark.parametrize("kind", ["twist", "twist_stamped"])
@pytest.mark.parametrize(
    ("channels", "axes", "values", "expected"),
    [
        ("base.wz, base.vx", "", [0.3, 0.4], (0.4, 0.0, 0.3)),
        ("base.vx, base.vy", "", [0.4, 0.3], (0.4, 0.3, 0.0)),
        ("base_wz, base_vy, base_vx", "", [0.1, 0.2, 0.4], (0.4, 0.2, 0.1)),
        ("x.vel, theta.vel", "axes: [vx, wz]", [0.4, 0.3], (0.4, 0.0, 0.3)),
    ],
)
def test_each_axis_of_a_base_goes_where_a_twist_has_it(small_robot, kind, channels, axes, values, expected):
    group = small_robot(BASE_OF.format(channels=channels, axes=axes, kind=kind)).group("base")
    message = sent(group, values)
    twist = message.twist if kind == "twist_stamped" else message
    assert (twist.linear.x, twist.linear.y, twist.angular.z) == expected
    assert channel_values(group, message, group.command) == values
    motion = GroupCommand(time_parts(12.5), values, [0.0] * len(values), 0.02)
    assert deserialize_message(CommandTemplate(group)(motion), type(message)) == message


def test_an_array_goes_out_in_the_order_that_its_controller_reads(small_robot):
    text = """
    arm:
      kind: position
      channels: [j1, j2, j3]
      command: {topic: arm/commands, type: float64_multi_array, joints: [j3, j1, j2]}
      limits: {source: urdf, acceleration: 5.0}
    """
    group = small_robot(text).group("arm")
    message = sent(group, [0.1, 0.2, 0.3])
    assert list(message.data) == [0.3, 0.1, 0.2]
    assert channel_values(group, message, group.command) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("kind", ["joint_state", "joint_trajectory"])
def test_groups_that_share_a_topic_go_out_as_one_message_with_all_names_and_fingers(small_robot, kind):
    (groups,) = groups_by_topic(small_robot(ARM_AND_HAND.format(kind=kind)).groups)
    stamp = time_parts(12.5)
    motions = (GroupCommand(stamp, [0.1, 0.2], [0.5, -0.2], 0.02), GroupCommand(stamp, [0.25], [1.0], 0.02))
    message = shared_message(groups, motions)
    point = message if kind == "joint_state" else message.points[0]
    names, at = ("name", "position") if kind == "joint_state" else ("joint_names", "positions")
    rates = point.velocity if kind == "joint_state" else point.velocities
    assert getattr(message, names) == ["a", "b", "c", "finger_r"]
    # 0.25 open is 637.5 of 850 closed .. 0 open; the second finger mimics with 2 x + 0.01
    assert list(getattr(point, at)) == pytest.approx([0.1, 0.2, 637.5, 1275.01])
    assert list(rates) == pytest.approx([0.5, -0.2, -850.0, -1700.0])
    assert deserialize_message(CommandTemplate(*groups)(*motions), type(message)) == message
    for group, motion in zip(groups, motions, strict=True):
        assert channel_values(group, message, group.command) == pytest.approx(list(motion.values))


def test_the_stop_of_a_shared_trajectory_lasts_as_long_as_its_slowest_group(small_robot):
    (groups,) = groups_by_topic(small_robot(ARM_AND_HAND.format(kind="joint_trajectory")).groups)
    motions = [
        GroupCommand(time_parts(1.0), [0.1, 0.2], [1.0, -0.5], 0.02),
        GroupCommand(time_parts(1.0), [0.5], [0.0], 0.02),
    ]
    last = shared_message(groups, tuple(motions)).points[-1]
    assert seconds(last.time_from_start) == pytest.approx(0.04 + 1.0 / 5.0)
    assert list(last.positions)[:2] == pytest.approx([0.12 + 0.1, 0.19 - 0.05])
    assert not any(last.velocities)


def test_velocities_of_an_arm_go_out_as_velocities(small_robot):
    text = """
    arm:
      kind: velocity
      channels: [j1_velocity, j2_velocity]
      joints: [j1, j2]
      command: {topic: arm/commands, type: joint_state, joints: [j1, j2]}
      limits: {source: urdf, acceleration: 5.0}
    """
    group = small_robot(text).group("arm")
    message = sent(group, [0.1, -0.2])
    assert (message.name, list(message.velocity), list(message.position)) == (["j1", "j2"], [0.1, -0.2], [])
    assert channel_values(group, message, group.command) == [0.1, -0.2]
    motion = GroupCommand(time_parts(12.5), [0.1, -0.2], [0.0, 0.0], 0.02)
    assert deserialize_message(CommandTemplate(group)(motion), type(message)) == message


def test_the_stop_of_a_trajectory_stays_inside_the_limits():
    group = ALOHA.group("left_arm")
    limits = group.channels[0].limits
    values = np.array([limits.upper - 0.001, *SIX[1:]])
    message = sent(group, values, [2.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert message.points[-1].positions[0] == pytest.approx(limits.upper)
