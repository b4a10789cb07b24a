"""What was found in a robot YAML and its URDF, as a table for the vendor's page beside it, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pi0_ros.robot.message_types import MESSAGE_TYPES
from pi0_ros.robot.spec import ENDLESS, Channel, Group, Kind, Robot, StateSource

HEADER = (
    "channel",
    "joint",
    "position",
    "in degrees",
    "from",
    "speed",
    "from",
    "accel.",
    "jerk",
    "measured on",
    "max age",
)


@dataclass(frozen=True)
class ChannelRow:
    """One channel: units are `unit` for position (or velocity), `unit`/s, `unit`/s², `unit`/s³; times are seconds.

    `lower`, `upper` bound the command; None without ends. `measured_on` are topics, `max_age` their watchdog.
    """

    channel: str
    group: str
    kind: str
    joint: str
    unit: str
    lower: float | None
    upper: float | None
    position_from: str
    margin: float
    velocity: float
    velocity_from: str
    acceleration: float
    jerk: float
    measured_on: tuple[str, ...]
    max_age: float | None


def channel_rows(robot: Robot) -> tuple[ChannelRow, ...]:
    """One row for each channel, in the order of the action vector."""
    return tuple(_row(robot, group, channel) for group in robot.groups for channel in group.channels)


def _row(robot: Robot, group: Group, channel: Channel) -> ChannelRow:
    joint, limits, origin = robot.joint_of_channel.get(channel.name, channel.joint), channel.limits, channel.origin
    lower, upper = channel.reach if channel.joint else (limits.lower, limits.upper)
    sources = sources_of(robot, group, channel)
    return ChannelRow(
        channel=channel.name,
        group=group.name,
        kind=channel.kind.value,
        joint=joint,
        unit=channel.unit,
        lower=None if lower <= -ENDLESS else lower,
        upper=None if upper >= ENDLESS else upper,
        position_from=origin.position,
        margin=origin.margin,
        velocity=limits.velocity,
        velocity_from=origin.velocity,
        acceleration=limits.acceleration,
        jerk=limits.jerk,
        measured_on=tuple(s.topic for s in sources),
        max_age=max((s.max_age for s in sources), default=None),
    )


def sources_of(robot: Robot, group: Group, channel: Channel) -> tuple[StateSource, ...]:
    """The sources that may measure a channel: those that name its joint or have its prefix, else those without one."""
    if not group.measured or (group.gripper is not None and not group.gripper.measured):
        return ()
    joint = robot.joint_of_channel.get(channel.name, channel.joint)
    if not joint:
        return tuple(s for s in robot.state if s.type == "odometry")
    sources = [s for s in robot.state if s.type == "joint_state"]
    named = [s for s in sources if joint in dict(s.joints).values() or (s.prefix and joint.startswith(s.prefix))]
    return tuple(named or (s for s in sources if not s.prefix))


def report(robot: Robot) -> dict[str, Any]:
    """Everything that was found, of plain values: what `pi0 check --json` prints."""
    return {
        "robot": robot.name,
        "file": str(robot.file),
        "urdf": str(robot.urdf),
        "urdf_args": dict(robot.urdf_args),
        "control_rate": robot.control_rate,
        "channels": [asdict(row) for row in channel_rows(robot)],
        "groups": [_group(group) for group in robot.groups],
        "cameras": [
            {
                "camera": c.name,
                "topic": c.topic,
                "type": MESSAGE_TYPES[c.type],
                "max_age": c.max_age,
                "required": c.required,
            }
            for c in robot.cameras
        ],
        "state": [{"topic": s.topic, "type": MESSAGE_TYPES[s.type], "max_age": s.max_age} for s in robot.state],
        "warnings": list(robot.warnings),
    }


def _group(group: Group) -> dict[str, Any]:
    teleop = group.teleop
    listened = (
        {"topic": teleop.topic, "type": MESSAGE_TYPES[teleop.type], "max_age": teleop.max_age} if teleop else None
    )
    return {
        "group": group.name,
        "kind": group.kind.value,
        "command": {
            "topic": group.command.topic,
            "type": MESSAGE_TYPES[group.command.type],
            "joints": list(group.command.joints),
        },
        "teleop": listened,
    }


def report_lines(robot: Robot) -> list[str]:
    """The same as lines of text: one table for each group, then cameras, state and warnings."""
    lines = [
        f"robot    {robot.name} ({robot.file}), {len(robot.channels)} channels at {robot.control_rate:g} Hz",
        f"urdf     {robot.urdf}{_arguments(robot)}",
    ]
    for group in robot.groups:
        lines += ["", _group_line(group), *_group_table(robot, group)]
    lines += ["", "cameras" if robot.cameras else "cameras  none"]
    lines += table(
        (c.name, c.topic, MESSAGE_TYPES[c.type], f"{c.max_age:g} s", "required" if c.required else "may be missing")
        for c in robot.cameras
    )
    lines += ["", "state"]
    lines += table((s.topic, MESSAGE_TYPES[s.type], f"{s.max_age:g} s", *_prefix(s)) for s in robot.state)
    lines += [f"warning  {warning}" for warning in robot.warnings]
    return lines


def _arguments(robot: Robot) -> str:
    return "".join(f" {name}:={value}" for name, value in robot.urdf_args.items())


def _prefix(source: StateSource) -> tuple[str, ...]:
    return (f"prefix {source.prefix}",) if source.prefix else ("",)


def _group_line(group: Group) -> str:
    teleop = f", person on {group.teleop.topic} ({MESSAGE_TYPES[group.teleop.type]})" if group.teleop else ""
    return f"group    {group.name}: {group.kind.value}, commands on {group.command.topic} ({MESSAGE_TYPES[group.command.type]}){teleop}"


def _group_table(robot: Robot, group: Group) -> list[str]:
    rows = [row for row in channel_rows(robot) if row.group == group.name]
    return table([HEADER, *(_cells(group, row, robot.urdf.name) for row in rows)])


def _cells(group: Group, row: ChannelRow, urdf: str) -> tuple[str, ...]:
    position, degrees, speed_unit = _range(row), _degrees(row), "" if row.kind == "gripper" else f"{row.unit}/s"
    if row.kind == Kind.VELOCITY:
        speed_unit = row.unit
    if group.gripper is not None:
        position = f"{group.gripper.closed:g} .. {group.gripper.open:g}"
        speed_unit = "strokes/s"
    margin = f", margin {row.margin:g}" if row.margin else ""
    return (
        row.channel,
        row.joint or "-",
        position,
        degrees,
        f"{row.position_from.replace(urdf, 'urdf')}{margin}" or "-",
        f"{row.velocity:g} {speed_unit}",
        row.velocity_from.replace(urdf, "urdf"),
        f"{row.acceleration:g}",
        f"{row.jerk:g}",
        ", ".join(row.measured_on) or "nobody",
        "-" if row.max_age is None else f"{row.max_age:g} s",
    )


def _range(row: ChannelRow) -> str:
    if not row.joint:
        return "-"
    unit = "m" if row.unit in ("m", "m/s") else "rad"
    if row.lower is None or row.upper is None:
        return "turns for ever"
    return f"{row.lower:.4g} .. {row.upper:.4g} {unit}"


def _degrees(row: ChannelRow) -> str:
    if row.unit not in ("rad", "rad/s") or not row.joint or row.lower is None or row.upper is None:
        return "-"
    return f"{math.degrees(row.lower):.1f} .. {math.degrees(row.upper):.1f}"


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of text with every column as wide as its widest entry."""
    listed = [tuple(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*listed, strict=True)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in listed]
