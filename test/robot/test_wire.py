"""Channel values as drivers and devices say them, and back; every number is distinct so that no two can be exchanged."""

from dataclasses import replace

import pytest

from pi0_ros.robot import load_robot
from pi0_ros.robot.spec import CommandTopic, TeleopTopic
from pi0_ros.robot.wire import (
    finger_rates,
    fingers,
    first_finger,
    from_wire,
    in_channel_order,
    in_wire_order,
    rates_to_wire,
    to_wire,
    wire_range,
)


@pytest.fixture(params=["opens upwards", "opens downwards"])
def hand(request):
    """A gripper whose joint is 0.01 closed and 0.05 open, or the other way round; on its topic it is 2 and 10."""
    group = load_robot("aloha").group("left_gripper")
    closed, opened = (0.01, 0.05) if request.param == "opens upwards" else (0.05, 0.01)
    grip = replace(group.gripper, closed=closed, open=opened)
    return replace(group, gripper=grip, command=replace(group.command, range=None))


def test_a_gripper_is_said_between_its_ends_and_its_rate_has_the_sign_of_its_motion(hand):
    closed, opened = hand.gripper.closed, hand.gripper.open
    assert to_wire(hand, [0.25]) == pytest.approx([closed + 0.25 * (opened - closed)])
    assert rates_to_wire(hand, [2.0]) == pytest.approx([2.0 * (opened - closed)])
    assert rates_to_wire(hand, [-2.0])[0] * (opened - closed) < 0.0
    assert from_wire(hand, [closed + 0.3 * (opened - closed)]) == pytest.approx([0.3])


def test_a_range_of_the_topic_counts_before_the_joints_and_each_topic_has_its_own(hand):
    commanded = replace(hand, command=replace(hand.command, range=(2.0, 10.0)))
    device = TeleopTopic("glove", "float64_multi_array", 0.2, ("g",), range=(100.0, 0.0))
    assert to_wire(commanded, [0.25]) == [4.0] and rates_to_wire(commanded, [0.5]) == [4.0]
    assert to_wire(commanded, [0.25], device) == [75.0] and rates_to_wire(commanded, [0.5], device) == [-50.0]
    assert from_wire(commanded, [4.0]) == [0.25] and from_wire(commanded, [75.0], device) == [0.25]
    assert wire_range(commanded, device) == (100.0, 0.0)


def test_what_is_no_gripper_is_said_as_it_is():
    arm = load_robot("aloha").group("left_arm")
    assert to_wire(arm, [0.1, -0.2, 3]) == [0.1, -0.2, 3.0] and from_wire(arm, [0.1, -0.2]) == [0.1, -0.2]
    assert rates_to_wire(arm, [0.5, -0.4]) == [0.5, -0.4] and wire_range(arm, arm.command) == (0.0, 1.0)


def test_a_gripper_with_fingers_says_its_one_value_for_each_and_is_read_by_the_first():
    command = CommandTopic("hand", "joint_state", joints=("f1", "f2"), followers=((-2.0, 0.3), (4.0, -0.1)))
    assert fingers(command, [0.5]) == pytest.approx([-0.7, 1.9])
    assert finger_rates(command, [0.5]) == pytest.approx([-1.0, 2.0])
    assert first_finger(command, [-0.7, 1.9]) == pytest.approx([0.5])
    plain = CommandTopic("arm", "joint_state", joints=("a", "b"))
    assert (
        fingers(plain, (0.1, 0.2)) == finger_rates(plain, (0.1, 0.2)) == first_finger(plain, (0.1, 0.2)) == [0.1, 0.2]
    )
    device = TeleopTopic("glove", "joint_state", 0.2, ("g",))
    assert first_finger(device, (0.4,)) == [0.4]


def test_an_array_has_the_order_of_its_topic_and_comes_back():
    wire = CommandTopic("arm", "float64_multi_array", joints=("c", "a", "b"), order=(2, 0, 1))
    assert in_wire_order(wire, [1.0, 2.0, 3.0]) == [3.0, 1.0, 2.0]
    assert in_channel_order(wire, [3.0, 1.0, 2.0]) == [1.0, 2.0, 3.0]
    plain = replace(wire, order=())
    assert in_wire_order(plain, (1.0, 2.0)) == in_channel_order(plain, (1.0, 2.0)) == [1.0, 2.0]
