"""Commands as the drivers' messages: which numbers they carry, as a message to look at and as the bytes that are sent."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from pi0_ros.robot.spec import Group
from pi0_ros.ros.clock import duration_parts
from pi0_ros.ros.conversions import to_driver, twist_axes
from pi0_ros.ros.stencil import Number, Stencil


class GroupCommand(NamedTuple):
    """One group's part of a command: values and rates in robot units, time until the next command [s].

    `stamp`: ROS time in whole seconds and nanoseconds.
    """

    stamp: tuple[int, int]
    values: Sequence[float]
    rates: Sequence[float]
    period: float


@dataclass(frozen=True)
class CommandType:
    """A robot YAML type: the message class, the numbers of a command in the message's order, the message they make."""

    message: type
    numbers: Callable[[Group, GroupCommand], list[Number]]
    build: Callable[[Group, Sequence[Number]], object]


def command_message(group: Group, motion: GroupCommand) -> object:
    """The driver's message for a group."""
    kind = COMMAND_TYPES[group.command.type]
    return kind.build(group, kind.numbers(group, motion))


class CommandStencil:
    """`command_message` of one group, serialized, at a small part of its cost."""

    def __init__(self, group: Group) -> None:
        kind, rest = COMMAND_TYPES[group.command.type], (0.0,) * len(group.channels)
        self._group, self._numbers = group, kind.numbers
        self._stencil = Stencil(
            lambda numbers: kind.build(group, numbers), kind.numbers(group, GroupCommand((0, 0), rest, rest, 0.0))
        )

    def __call__(self, motion: GroupCommand) -> bytes:
        """The message's bytes."""
        return self._stencil(self._numbers(self._group, motion))


def _driver_rates(group: Group, rates: Sequence[float]) -> list[float]:
    if group.gripper is None:
        return list(rates)
    return [r * (group.gripper.open - group.gripper.closed) for r in rates]


# --- twists -----------------------------------------------------------------------------------------------------


def _twist_numbers(group: Group, motion: GroupCommand) -> list[Number]:
    return list(motion.values)


def _twist(group: Group, numbers: Sequence[Number]) -> Twist:
    twist = Twist()
    for axis, value in zip(twist_axes(group), numbers, strict=True):
        if axis == "wz":
            twist.angular.z = value
        else:
            setattr(twist.linear, axis[1], value)
    return twist


def _stamped_numbers(group: Group, motion: GroupCommand) -> list[Number]:
    return [*motion.stamp, *motion.values]


def _twist_stamped(group: Group, numbers: Sequence[Number]) -> TwistStamped:
    message = TwistStamped(twist=_twist(group, numbers[2:]))
    _stamp(message, numbers)
    message.header.frame_id = group.command.frame
    return message


# --- joints -----------------------------------------------------------------------------------------------------


def _array_numbers(group: Group, motion: GroupCommand) -> list[Number]:
    return to_driver(group, motion.values)


def _array(group: Group, numbers: Sequence[Number]) -> Float64MultiArray:
    return Float64MultiArray(data=array("d", numbers))


def _joint_numbers(group: Group, motion: GroupCommand) -> list[Number]:
    return [*motion.stamp, *to_driver(group, motion.values), *_driver_rates(group, motion.rates)]


def _joint_state(group: Group, numbers: Sequence[Number]) -> JointState:
    message, count = JointState(name=list(group.command.joints)), len(group.channels)
    _stamp(message, numbers)
    message.position, message.velocity = array("d", numbers[2 : 2 + count]), array("d", numbers[2 + count :])
    return message


# --- trajectories -----------------------------------------------------------------------------------------------


def stopping_distance(rate: float, acceleration: float) -> tuple[float, float]:
    """Distance and time to come to rest from `rate` at constant deceleration (v^2/2a and v/a)."""
    return rate * abs(rate) / (2.0 * acceleration), abs(rate) / acceleration


def _rest(group: Group, motion: GroupCommand) -> tuple[list[float], float]:
    """Where the group comes to rest, all channels together, and how long that takes [s]."""
    stops = [stopping_distance(r, c.limits.acceleration) for r, c in zip(motion.rates, group.channels, strict=True)]
    longest = max((duration for _, duration in stops), default=0.0)
    ends = [v + r * longest / 2.0 for v, r in zip(motion.values, motion.rates, strict=True)]
    inside = [min(max(e, c.limits.lower), c.limits.upper) for e, c in zip(ends, group.channels, strict=True)]
    return inside, longest


def _trajectory_numbers(group: Group, motion: GroupCommand) -> list[Number]:
    """The command one period ahead, then the stop that follows should no further message arrive."""
    ends, duration = _rest(group, motion)
    ahead = [*to_driver(group, motion.values), *_driver_rates(group, motion.rates), *duration_parts(motion.period)]
    rest = [*to_driver(group, ends), *duration_parts(motion.period + max(duration, motion.period))]
    return [*motion.stamp, *ahead, *rest]


def _trajectory(group: Group, numbers: Sequence[Number]) -> JointTrajectory:
    message, count = JointTrajectory(joint_names=list(group.command.joints)), len(group.channels)
    _stamp(message, numbers)
    ahead, rest = numbers[2 : 4 + 2 * count], numbers[4 + 2 * count :]
    still = array("d", [0.0] * count)
    message.points = [
        _point(array("d", ahead[:count]), array("d", ahead[count:-2]), ahead[-2:]),
        _point(array("d", rest[:count]), still, rest[-2:]),
    ]
    return message


def _point(positions: array[float], velocities: array[float], after: Sequence[Number]) -> JointTrajectoryPoint:
    point = JointTrajectoryPoint(positions=positions, velocities=velocities)
    point.time_from_start.sec, point.time_from_start.nanosec = after
    return point


def _stamp(message: JointState | JointTrajectory | TwistStamped, numbers: Sequence[Number]) -> None:
    message.header.stamp.sec, message.header.stamp.nanosec = numbers[:2]


COMMAND_TYPES: Mapping[str, CommandType] = {
    "float64_multi_array": CommandType(Float64MultiArray, _array_numbers, _array),
    "joint_trajectory": CommandType(JointTrajectory, _trajectory_numbers, _trajectory),
    "joint_state": CommandType(JointState, _joint_numbers, _joint_state),
    "twist": CommandType(Twist, _twist_numbers, _twist),
    "twist_stamped": CommandType(TwistStamped, _stamped_numbers, _twist_stamped),
}
"""Robot YAML type of a command."""
