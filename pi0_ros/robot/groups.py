"""The groups of a robot YAML: channels, command and teleop topics, grippers."""

from __future__ import annotations

from collections.abc import Mapping

from pi0_ros.robot import yaml_keys
from pi0_ros.robot.joint_names import named_joint
from pi0_ros.robot.limits import driven_limits, gripper_limits, position_limits, velocity_limits
from pi0_ros.robot.measurement import axis_of
from pi0_ros.robot.spec import ENDLESS, Axis, Channel, GripperMap, Group, Kind, Limits, Origin
from pi0_ros.robot.topics import same_topic
from pi0_ros.robot.urdf import Joint, Urdf
from pi0_ros.robot.wiring import Wiring
from pi0_ros.robot.yaml_nodes import Section, YamlNode

STROKE_ROOM = 0.02  # share of its range by which a gripper's end may be beyond: files are rounded
LONGEST_LATENCY = 0.5  # [s]; a group that is later than this follows no plan
SHARED_TYPES = ("joint_state", "joint_trajectory")


def read_group(name: str, at: YamlNode, urdf: Urdf, warnings: list[str]) -> Group:
    """One entry of `groups`; `warnings` gets what is no error. Raises RobotError with file, line and key."""
    keys = at.section(*yaml_keys.key_names(yaml_keys.GROUP))
    kind = Kind(keys.need("kind").choice("position", "velocity", "gripper"))
    names = keys.need("channels").texts()
    gripper = _gripper(keys, kind, names, urdf)
    driven, axes = _driven(keys, kind, names, urdf), _axes(keys, kind, names)
    wiring = Wiring(keys.need("channels"), kind, names, axes, gripper, urdf.joints)
    limits, origins, reach = _limits(keys, kind, names, gripper, driven, urdf, warnings)
    command, teleop = wiring.command(keys.need("command")), wiring.teleop(keys.get("teleop"))
    endless, moved = _continuous(keys, kind, names, urdf.joints), [j.name for j in driven] or [""] * len(names)
    channels = tuple(
        Channel(n, kind, name, _unit(kind, n, urdf.joints, axis, joint), bound, n in endless, axis, joint, ends, origin)
        for n, bound, axis, joint, ends, origin in zip(names, limits, axes, moved, reach, origins, strict=True)
    )
    measured, late = _measured(keys, kind), keys.get("command_latency")
    latency = late.number(-1e-12, LONGEST_LATENCY) if late is not None else 0.0
    return Group(name, kind, channels, command, teleop, gripper, measured, latency)


def _limits(
    keys: Section,
    kind: Kind,
    names: tuple[str, ...],
    gripper: GripperMap | None,
    driven: list[Joint],
    urdf: Urdf,
    warnings: list[str],
) -> tuple[list[Limits], list[Origin], list[tuple[float, float]]]:
    """Limits, their origins, and where the joints behind velocities may be."""
    if driven:
        return driven_limits(keys, names, driven, urdf, warnings)
    if gripper is not None:
        bounded = gripper_limits(keys, gripper, urdf.joints.get(gripper.joint), urdf, warnings)
    elif kind is Kind.VELOCITY:
        bounded = velocity_limits(keys, names)
    else:
        joints = [named_joint(at, at.text(), urdf) for at in keys.need("channels").entries()]
        bounded = position_limits(keys, joints, urdf, warnings)
    return *bounded, [(-ENDLESS, ENDLESS)] * len(names)


def _unit(kind: Kind, name: str, joints: Mapping[str, Joint], axis: Axis | None, driven: str) -> str:
    if kind is Kind.GRIPPER:
        return ""
    joint = joints.get(driven or name)
    length = joint is not None and joint.type == "prismatic"
    if kind is Kind.VELOCITY:
        return "m/s" if axis in (Axis.VX, Axis.VY) or length else "rad/s"
    return "m" if length else "rad"


def _gripper(keys: Section, kind: Kind, names: tuple[str, ...], urdf: Urdf) -> GripperMap | None:
    at = keys.get("joint")
    if kind is not Kind.GRIPPER:
        if at is not None:
            raise at.error("only a group of kind gripper has a joint")
        return None
    if len(names) != 1:
        raise keys.need("channels").error("a gripper group has one channel; make one group for each gripper")
    entry = keys.need("joint").section(*yaml_keys.key_names(yaml_keys.JOINT))
    measured = entry.get("measured")
    mapping = GripperMap(
        entry.need("name").text(),
        entry.need("closed").number(),
        entry.need("open").number(),
        measured.truth() if measured else True,
    )
    if mapping.closed == mapping.open:
        raise keys.need("joint").error("closed and open are the same value")
    if mapping.joint in urdf.types:
        named_joint(entry.need("name"), mapping.joint, urdf)
    _refuse_beyond(entry, mapping, urdf.joints.get(mapping.joint))
    return mapping


def _refuse_beyond(entry: Section, mapping: GripperMap, joint: Joint | None) -> None:
    """A gripper's ends are those of its joint, in the joint's unit; what the driver takes stands under `command`."""
    if joint is None or not mapping.measured or not joint.bounded:
        return
    room = STROKE_ROOM * (joint.upper - joint.lower)
    for key, value in (("closed", mapping.closed), ("open", mapping.open)):
        if not joint.lower - room <= value <= joint.upper + room:
            raise entry.need(key).error(
                f"{value:g} is beyond the URDF's {joint.lower:g} .. {joint.upper:g} of joint {joint.name}; closed and "
                "open are that joint's values: other values of the driver belong under command: "
                "{closed, open} and state: scale"
            )


def _driven(keys: Section, kind: Kind, names: tuple[str, ...], urdf: Urdf) -> list[Joint]:
    """The joints that a velocity group moves, none for a base."""
    at = keys.get("joints")
    if at is None:
        return []
    if kind is not Kind.VELOCITY:
        raise at.error("only a group of kind velocity has joints, those that its velocities move")
    found = at.texts()
    if len(found) != len(names):
        raise at.error(f"needs {len(names)} joints, one a channel ({', '.join(names)}), and has {len(found)}")
    return [named_joint(entry, name, urdf) for entry, name in zip(at.entries(), found, strict=True)]


def _axes(keys: Section, kind: Kind, names: tuple[str, ...]) -> tuple[Axis | None, ...]:
    """Which base velocity each channel is: as `axes` says, else by its name; None for what is no base velocity."""
    at = keys.get("axes")
    if kind is not Kind.VELOCITY or (at is None and "joints" in keys):
        if at is not None:
            raise at.error("only a group of kind velocity has axes")
        return (None,) * len(names)
    if at is None:
        found = tuple(axis_of(name) for name in names)
        at = keys.need("channels")
    elif "joints" in keys:
        raise at.error("a group has axes (a base) or joints (an arm), not both")
    else:
        entries = at.entries()
        if len(entries) != len(names):
            raise at.error(f"needs {len(names)} axes, one a channel ({', '.join(names)}), and has {len(entries)}")
        found = tuple(Axis(entry.choice(*Axis)) for entry in entries)
    twice = next((axis for axis in found if axis is not None and found.count(axis) > 1), None)
    if twice is not None:
        raise at.error(f"two channels are {twice}; a base has one of each")
    return found


def _continuous(keys: Section, kind: Kind, names: tuple[str, ...], joints: Mapping[str, Joint]) -> frozenset[str]:
    """The channels whose joints turn for ever: those that the URDF calls continuous, and those that the YAML names."""
    at = keys.get("continuous")
    if kind is not Kind.POSITION:
        if at is not None:
            raise at.error("only a group of kind position has continuous joints")
        return frozenset()
    found = {name for name in names if joints[name].type == "continuous"}
    for entry in at.entries() if at is not None else ():
        if entry.text() not in names:
            raise entry.error(f"{entry.text()} is no channel of this group, which has {', '.join(names)}")
        if joints[entry.text()].type == "prismatic":
            raise entry.error(f"{entry.text()} is prismatic in the URDF; only a joint that turns can be continuous")
        found.add(entry.text())
    return frozenset(found)


def _measured(keys: Section, kind: Kind) -> bool:
    at = keys.get("measured")
    if at is None:
        return True
    if kind is not Kind.VELOCITY:
        raise at.error("only velocities can do without a measurement here; for a gripper, write it under joint")
    return at.truth()


def refuse_shared_names(at: YamlNode, groups: tuple[Group, ...]) -> None:
    """One owner for every channel and command topic; groups whose messages carry names may share a topic."""
    channels: dict[str, str] = {}
    topics: dict[str, Group] = {}
    for (_, here), group in zip(at.items(), groups, strict=True):
        for channel in group.channels:
            if channel.name in channels:
                raise here.error(f"channel {channel.name} is already in group {channels[channel.name]}")
            channels[channel.name] = group.name
        owner = topics.setdefault(same_topic(group.command.topic), group)
        if owner is not group:
            _refuse_sharing(here, owner, group)


def _refuse_sharing(here: YamlNode, owner: Group, group: Group) -> None:
    """Messages that carry names can carry those of several groups; others are one group's alone."""
    topic, kind = group.command.topic, group.command.type
    if owner.command.type != kind or kind not in SHARED_TYPES:
        raise here.error(
            f"command topic {topic} is already owned by group {owner.name}; only groups whose types are all joint_state, "
            "or all joint_trajectory, share a topic"
        )
    if (owner.kind is Kind.VELOCITY) != (group.kind is Kind.VELOCITY):
        raise here.error(f"command topic {topic} carries the positions of {owner.name} or the velocities, not both")
    twice = set(owner.command.joints) & set(group.command.joints)
    if twice:
        raise here.error(f"command topic {topic} already carries {min(twice)} of group {owner.name}")
