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

from pi0_ros.robot.spec import Group, Kind
from pi0_ros.robot.wire import finger_rates, fingers, in_wire_order, rates_to_wire, to_wire
from pi0_ros.ros.clock import duration_parts
from pi0_ros.ros.conversions import twist_axes
from pi0_ros.ros.message_template import MessageTemplate, Number


class GroupCommand(NamedTuple):
    """One group's part of a command: values and rates in robot units, time until the next command [s].

    `stamp`: ROS time in whole seconds and nanoseconds.
    """

    stamp: tuple[int, int]
    values: Sequence[float]
    rates: Sequence[float]
    period: float


Groups = tuple[Group, ...]
Motions = tuple[GroupCommand, ...]


@dataclass(frozen=True)
class CommandType:
    """A robot YAML type: the message class, the numbers of a command in the message's order, the message they make.

    Both take all groups that share the topic: one, or several whose messages carry names.
    """

    message: type
    numbers: Callable[[Groups, Motions], list[Number]]
    build: Callable[[Groups, Sequence[Number]], object]


def shared_message(groups: Groups, motions: Motions) -> object:
    """The driver's one message for the groups of a topic."""
    kind = COMMAND_TYPES[groups[0].command.type]
    return kind.build(groups, kind.numbers(groups, motions))


class CommandTemplate:
    """`shared_message` of the groups of one topic, serialized, at a small part of its cost."""

    def __init__(self, *groups: Group) -> None:
        kind = COMMAND_TYPES[groups[0].command.type]
        self._groups, self._numbers = groups, kind.numbers
        rest = [(0.0,) * len(g.channels) for g in groups]
        example = tuple(GroupCommand((0, 0), r, r, 0.0) for r in rest)
        self._template = MessageTemplate(lambda numbers: kind.build(groups, numbers), kind.numbers(groups, example))

    def __call__(self, *motions: GroupCommand) -> bytes:
        """The message's bytes; one motion for each group."""
        return self._template(self._numbers(self._groups, motions))


def groups_by_topic(groups: Sequence[Group]) -> list[tuple[Group, ...]]:
    """The groups that are commanded by one message each, in the order of their first ones."""
    shared: dict[str, list[Group]] = {}
    for group in groups:
        shared.setdefault(group.command.topic, []).append(group)
    return [tuple(found) for found in shared.values()]


# --- twists -----------------------------------------------------------------------------------------------------

_IN_THE_MESSAGE = ("vx", "vy", "wz")


def _twist_numbers(groups: Groups, motions: Motions) -> list[Number]:
    """The velocities in the order in which a twist has them."""
    value = dict(zip(twist_axes(groups[0]), motions[0].values, strict=True))
    return [value[axis] for axis in _IN_THE_MESSAGE if axis in value]


def _twist(groups: Groups, numbers: Sequence[Number]) -> Twist:
    twist, axes = Twist(), twist_axes(groups[0])
    for axis, value in zip((a for a in _IN_THE_MESSAGE if a in axes), numbers, strict=True):
        if axis == "wz":
            twist.angular.z = value
        else:
            setattr(twist.linear, axis[1], value)
    return twist


def _stamped_numbers(groups: Groups, motions: Motions) -> list[Number]:
    return [*motions[0].stamp, *_twist_numbers(groups, motions)]


def _twist_stamped(groups: Groups, numbers: Sequence[Number]) -> TwistStamped:
    message = TwistStamped(twist=_twist(groups, numbers[2:]))
    _stamp(message, numbers)
    message.header.frame_id = groups[0].command.frame
    return message


# --- joints -----------------------------------------------------------------------------------------------------


def _positions(group: Group, values: Sequence[float]) -> list[float]:
    """Channel values as the driver's, one for each name on the topic."""
    return fingers(group.command, to_wire(group, values))


def _rates(group: Group, rates: Sequence[float]) -> list[float]:
    return finger_rates(group.command, rates_to_wire(group, rates))


def _names(groups: Groups) -> list[str]:
    return [name for group in groups for name in group.command.joints]


def _array_numbers(groups: Groups, motions: Motions) -> list[Number]:
    group = groups[0]
    return in_wire_order(group.command, _positions(group, motions[0].values))


def _array(groups: Groups, numbers: Sequence[Number]) -> Float64MultiArray:
    return Float64MultiArray(data=array("d", numbers))


def _joint_numbers(groups: Groups, motions: Motions) -> list[Number]:
    pairs = list(zip(groups, motions, strict=True))
    if groups[0].kind is Kind.VELOCITY:
        return [*motions[0].stamp, *(v for _, m in pairs for v in m.values)]
    positions = [v for g, m in pairs for v in _positions(g, m.values)]
    return [*motions[0].stamp, *positions, *(r for g, m in pairs for r in _rates(g, m.rates))]


def _joint_state(groups: Groups, numbers: Sequence[Number]) -> JointState:
    message = JointState(name=_names(groups))
    _stamp(message, numbers)
    count = len(message.name)
    if groups[0].kind is Kind.VELOCITY:
        message.velocity = array("d", numbers[2:])
        return message
    message.position, message.velocity = array("d", numbers[2 : 2 + count]), array("d", numbers[2 + count :])
    return message


LATE = 0.02  # [s] that a trajectory may be late, at least one period, before the arm begins to brake


# --- trajectories -----------------------------------------------------------------------------------------------


def stopping_distance(rate: float, acceleration: float) -> tuple[float, float]:
    """Distance and time to come to rest from `rate` at constant deceleration (v^2/2a and v/a)."""
    return rate * abs(rate) / (2.0 * acceleration), abs(rate) / acceleration


def _moved_on(group: Group, motion: GroupCommand, seconds: float) -> GroupCommand:
    """The command `seconds` later, at the same rates; a channel that is at its limit by then stands still."""
    limits = [c.limits for c in group.channels]
    reached = [v + r * seconds for v, r in zip(motion.values, motion.rates, strict=True)]
    inside = [min(max(x, m.lower), m.upper) for x, m in zip(reached, limits, strict=True)]
    rates = [r if x == y else 0.0 for r, x, y in zip(motion.rates, reached, inside, strict=True)]
    return motion._replace(values=inside, rates=rates)


def _rest(groups: Groups, motions: Motions) -> tuple[list[list[float]], float]:
    """Where the groups come to rest, all channels together, and how long that takes [s]."""
    pairs = list(zip(groups, motions, strict=True))
    longest = max(
        stopping_distance(r, c.limits.acceleration)[1]
        for g, m in pairs
        for r, c in zip(m.rates, g.channels, strict=True)
    )
    return [list(_moved_on(group, motion, longest / 2.0).values) for group, motion in pairs], longest


def _trajectory_numbers(groups: Groups, motions: Motions) -> list[Number]:
    """The command one period ahead, on at the same rates for a while, then the stop, should no further message arrive.

    joint_trajectory_controller (Jazzy) takes each message in place of the one before, begins it at once where the stamp is
    zero, and refuses one whose end, by its own clock, is past or moves. So the stamp is zero unless `stamp: now` is given,
    messages may be late by `LATE` before the arm brakes, and the last velocity is zero.
    """
    period = motions[0].period
    late = max(period, LATE)
    later = tuple(_moved_on(g, m, late) for g, m in zip(groups, motions, strict=True))
    ends, duration = _rest(groups, later)
    stamp = motions[0].stamp if groups[0].command.stamped else (0, 0)
    numbers: list[Number] = [*stamp]
    for moment, each in ((period, motions), (period + late, later)):
        pairs = list(zip(groups, each, strict=True))
        numbers += [v for g, m in pairs for v in _positions(g, m.values)]
        numbers += [r for g, m in pairs for r in _rates(g, m.rates)]
        numbers += duration_parts(moment)
    numbers += [v for g, end in zip(groups, ends, strict=True) for v in _positions(g, end)]
    return [*numbers, *duration_parts(period + late + max(duration, period))]


def _trajectory(groups: Groups, numbers: Sequence[Number]) -> JointTrajectory:
    message = JointTrajectory(joint_names=_names(groups))
    _stamp(message, numbers)
    count = len(message.joint_names)
    moving, still = 2 * count + 2, array("d", [0.0] * count)
    rest = numbers[2 + 2 * moving :]
    message.points = [
        _point(array("d", part[:count]), array("d", part[count:-2]), part[-2:])
        for part in (numbers[2 : 2 + moving], numbers[2 + moving : 2 + 2 * moving])
    ]
    message.points.append(_point(array("d", rest[:count]), still, rest[-2:]))
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
