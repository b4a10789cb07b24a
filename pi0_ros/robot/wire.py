"""A group's channel values as its driver or a person's device sends them, and back: gripper ranges, order, fingers.

The one mapping for every message type; the messages themselves are made and read in `pi0_ros.ros`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pi0_ros.robot.spec import CommandTopic, Group, TeleopTopic

Wire = CommandTopic | TeleopTopic


def wire_range(group: Group, wire: Wire) -> tuple[float, float]:
    """What a group's 0 and 1 are on a topic: a gripper's ends there, 0 and 1 for any other group."""
    if group.gripper is None:
        return 0.0, 1.0
    return wire.range or (group.gripper.closed, group.gripper.open)


def ends_hint(group: Group, wire: Wire) -> str:
    """What a gripper's topic takes for closed and open, for a sentence about a value that is neither; "" for other groups."""
    if group.gripper is None:
        return ""
    closed, opened = wire_range(group, wire)
    whose = "its own" if wire.range else f"those of joint {group.gripper.joint}"
    return f"; {wire.topic} takes {closed:g} for closed and {opened:g} for open ({whose}; keys closed and open)"


def to_wire(group: Group, values: Sequence[float], wire: Wire | None = None) -> list[float]:
    """Channel values as the topic wants them, in channel order; `wire` is the group's command unless given."""
    if group.gripper is None:
        return [float(v) for v in values]
    closed, opened = wire_range(group, wire or group.command)
    return [closed + float(v) * (opened - closed) for v in values]


def rates_to_wire(group: Group, rates: Sequence[float], wire: Wire | None = None) -> list[float]:
    """Rates of channel values, likewise."""
    closed, opened = wire_range(group, wire or group.command)
    return [float(r) * (opened - closed) for r in rates]


def from_wire(group: Group, values: Sequence[float], wire: Wire | None = None) -> list[float]:
    """Values on a topic as channel values: the inverse of `to_wire`."""
    if group.gripper is None:
        return [float(v) for v in values]
    closed, opened = wire_range(group, wire or group.command)
    return [(float(v) - closed) / (opened - closed) for v in values]


def fingers(command: CommandTopic, values: Sequence[float]) -> list[float]:
    """A command's values, one for each of its `joints`: a gripper with several fingers says its one value for each."""
    if not command.followers:
        return list(values)
    return [multiplier * values[0] + offset for multiplier, offset in command.followers]


def finger_rates(command: CommandTopic, rates: Sequence[float]) -> list[float]:
    """Rates, likewise."""
    if not command.followers:
        return list(rates)
    return [multiplier * rates[0] for multiplier, _ in command.followers]


def first_finger(command: Wire, values: Sequence[float]) -> list[float]:
    """The inverse of `fingers`, by the first of them."""
    followers = command.followers if isinstance(command, CommandTopic) else ()
    if not followers:
        return list(values)
    multiplier, offset = followers[0]
    return [(values[0] - offset) / multiplier]


def in_wire_order(wire: Wire, values: Sequence[float]) -> list[float]:
    """Channel values in the order of an array's numbers."""
    return [values[i] for i in wire.order] if wire.order else list(values)


def in_channel_order(wire: Wire, values: Sequence[float]) -> list[float]:
    """The inverse of `in_wire_order`."""
    if not wire.order:
        return list(values)
    found = [0.0] * len(values)
    for place, value in zip(wire.order, values, strict=True):
        found[place] = value
    return found
