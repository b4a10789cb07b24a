"""The groups of a robot YAML: channels, command and teleop topics, grippers."""

from __future__ import annotations

from collections.abc import Mapping

from pi0_ros.robot.limits import limits_of
from pi0_ros.robot.sources import read_topic
from pi0_ros.robot.spec import Channel, CommandTopic, GripperMap, Group, Kind, TeleopTopic
from pi0_ros.robot.urdf import Joint
from pi0_ros.robot.yaml_nodes import Section, YamlNode

COMMAND_TYPES = ("float64_multi_array", "joint_trajectory", "joint_state", "twist", "twist_stamped")
TELEOP_TYPES = ("joint_state", "float64_multi_array", "twist", "twist_stamped")
TWIST_TYPES = ("twist", "twist_stamped")
TWIST_AXES = ("vx", "vy", "wz")


def read_group(name: str, at: YamlNode, joints: Mapping[str, Joint]) -> Group:
    """One entry of `groups`; `joints` are the URDF's movable ones. Raises RobotError with file, line and key."""
    keys = at.section("kind", "channels", "command", "limits", "teleop", "joint")
    kind = Kind(keys.need("kind").choice("position", "velocity", "gripper"))
    names = keys.need("channels").texts()
    gripper = _gripper(keys, kind, names)
    command = _command(keys.need("command"), names)
    _refuse_bad_twist(keys, kind, names, command.type)
    limits = limits_of(keys, kind, names, gripper, joints)
    channels = tuple(
        Channel(n, kind, name, _unit(kind, n, joints), bound) for n, bound in zip(names, limits, strict=True)
    )
    return Group(name, kind, channels, command, _teleop(keys.get("teleop"), names), gripper)


def _unit(kind: Kind, name: str, joints: Mapping[str, Joint]) -> str:
    if kind is Kind.GRIPPER:
        return ""
    if kind is Kind.VELOCITY:
        return "rad/s" if name.endswith("wz") else "m/s"
    return "m" if name in joints and joints[name].type == "prismatic" else "rad"


def _gripper(keys: Section, kind: Kind, names: tuple[str, ...]) -> GripperMap | None:
    at = keys.get("joint")
    if kind is not Kind.GRIPPER:
        if at is not None:
            raise at.error("only a group of kind gripper has a joint")
        return None
    if len(names) != 1:
        raise keys.need("channels").error("a gripper group has one channel; make one group for each gripper")
    entry = keys.need("joint").section("name", "closed", "open")
    mapping = GripperMap(entry.need("name").text(), entry.need("closed").number(), entry.need("open").number())
    if mapping.closed == mapping.open:
        raise keys.need("joint").error("closed and open are the same value")
    return mapping


def _command(at: YamlNode, names: tuple[str, ...]) -> CommandTopic:
    keys = at.section("topic", "type", "joints", "frame")
    frame = keys.get("frame")
    return CommandTopic(
        topic=read_topic(keys.need("topic")),
        type=keys.need("type").choice(*COMMAND_TYPES),
        joints=_renamed(keys.get("joints"), names),
        frame=frame.text() if frame else "",
    )


def _teleop(at: YamlNode | None, names: tuple[str, ...]) -> TeleopTopic | None:
    if at is None:
        return None
    keys = at.section("topic", "type", "max_age", "joints")
    kind = keys.need("type").choice(*TELEOP_TYPES)
    return TeleopTopic(
        read_topic(keys.need("topic")), kind, keys.need("max_age").number(0.0), _renamed(keys.get("joints"), names)
    )


def _renamed(at: YamlNode | None, names: tuple[str, ...]) -> tuple[str, ...]:
    if at is None:
        return names
    renamed = at.texts()
    if len(renamed) != len(names):
        raise at.error(f"needs {len(names)} names, one a channel ({', '.join(names)}), and has {len(renamed)}")
    return renamed


def _refuse_bad_twist(keys: Section, kind: Kind, names: tuple[str, ...], command: str) -> None:
    twist = command in TWIST_TYPES
    if twist and kind is not Kind.VELOCITY:
        raise keys.need("command").error(f"{command} carries velocities; the group's kind is {kind.value}")
    odd = [name for name in names if twist and not name.endswith(TWIST_AXES)]
    if odd:
        raise keys.need("channels").error(f"channels of a twist end in vx, vy or wz; {odd[0]} does not")


def refuse_shared_names(at: YamlNode, groups: tuple[Group, ...]) -> None:
    """One owner for every channel and every command topic."""
    channels: dict[str, str] = {}
    topics: dict[str, str] = {}
    for (_, here), group in zip(at.items(), groups, strict=True):
        for channel in group.channels:
            if channel.name in channels:
                raise here.error(f"channel {channel.name} is already in group {channels[channel.name]}")
            channels[channel.name] = group.name
        if group.command.topic in topics:
            owner = topics[group.command.topic]
            raise here.error(f"command topic {group.command.topic} is already owned by group {owner}")
        topics[group.command.topic] = group.name
