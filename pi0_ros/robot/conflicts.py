"""Conflicts between parts of a robot YAML: a joint that two channels measure, a topic that is written and read."""

from __future__ import annotations

from pi0_ros.robot.spec import Camera, Channel, Group, Kind, StateSource
from pi0_ros.robot.topics import same_topic
from pi0_ros.robot.yaml_nodes import Section


def refuse_conflicts(
    root: Section, groups: tuple[Group, ...], state: tuple[StateSource, ...], cameras: tuple[Camera, ...]
) -> None:
    """Raises RobotError with file, line and key for a conflict between groups, or between groups and sources."""
    _refuse_joints_measured_twice(root, groups)
    _refuse_topics_written_and_read(root, groups, state, cameras)


def _refuse_joints_measured_twice(root: Section, groups: tuple[Group, ...]) -> None:
    owner: dict[str, tuple[str, str]] = {}
    for (_, at), group in zip(root.need("groups").items(), groups, strict=True):
        entries = dict(at.items())
        for k, channel in enumerate(group.channels):
            joint = _joint(group, channel)
            if joint in owner:
                other, where = owner[joint]
                key = "joint" if group.gripper else "joints" if channel.joint else "channels"
                here = entries[key] if group.gripper else entries[key].entries()[k]
                raise here.error(f"joint {joint} is already measured by channel {other} of group {where}")
            if joint:
                owner[joint] = channel.name, group.name


def _joint(group: Group, channel: Channel) -> str:
    if group.gripper is not None:
        return group.gripper.joint
    return channel.name if group.kind is Kind.POSITION else channel.joint


def _refuse_topics_written_and_read(
    root: Section, groups: tuple[Group, ...], state: tuple[StateSource, ...], cameras: tuple[Camera, ...]
) -> None:
    """Commands on a topic that is read as a state source would count as measurements."""
    read = {same_topic(s.topic): "measured state" for s in state}
    read |= {same_topic(c.topic): f"pictures of camera {c.name}" for c in cameras}
    read |= {same_topic(g.teleop.topic): f"teleoperation of group {g.name}" for g in groups if g.teleop is not None}
    for (_, at), group in zip(root.need("groups").items(), groups, strict=True):
        what = read.get(same_topic(group.command.topic))
        if what is not None:
            command = dict(at.items())["command"]
            raise command.error(
                f"topic {group.command.topic} is also read as {what}; commands need a topic of their own"
            )
