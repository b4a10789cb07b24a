"""The groups of a robot YAML: channels, command and teleop topics, grippers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pi0_ros.robot.limits import limits_of, reach_of
from pi0_ros.robot.measurement import axis_of
from pi0_ros.robot.spec import ENDLESS, Axis, Channel, GripperMap, Group, Kind
from pi0_ros.robot.urdf import Joint
from pi0_ros.robot.wiring import Wiring
from pi0_ros.robot.yaml_nodes import Section, YamlNode

STROKE_ROOM = 0.02  # share of its range by which a gripper's end may be beyond: files are rounded
LONGEST_LATENCY = 0.5  # [s]; a group that is later than this follows no plan
SHARED_TYPES = ("joint_state", "joint_trajectory")
KEYS = (
    "kind",
    "channels",
    "command",
    "limits",
    "teleop",
    "joint",
    "joints",
    "axes",
    "continuous",
    "measured",
    "command_latency",
)


def read_group(name: str, at: YamlNode, joints: Mapping[str, Joint]) -> Group:
    """One entry of `groups`; `joints` are the URDF's movable ones. Raises RobotError with file, line and key."""
    keys = at.section(*KEYS)
    kind = Kind(keys.need("kind").choice("position", "velocity", "gripper"))
    names = keys.need("channels").texts()
    gripper = _gripper(keys, kind, names, joints)
    driven, axes = _driven(keys, kind, names, joints), _axes(keys, kind, names)
    _refuse_mimics(keys, kind, names, joints)
    wiring = Wiring(keys.need("channels"), kind, names, axes, gripper, joints)
    command, teleop = wiring.command(keys.need("command")), wiring.teleop(keys.get("teleop"))
    limits = limits_of(keys, kind, names, gripper, joints, driven)
    reach = reach_of(keys.need("limits"), driven, joints) if driven else [(-ENDLESS, ENDLESS)] * len(names)
    endless = _continuous(keys, kind, names, joints)
    channels = tuple(
        Channel(n, kind, name, _unit(kind, n, joints, axis, joint), bound, n in endless, axis, joint, ends)
        for n, bound, axis, joint, ends in zip(names, limits, axes, driven or ("",) * len(names), reach, strict=True)
    )
    measured, late = _measured(keys, kind), keys.get("command_latency")
    latency = late.number(-1e-12, LONGEST_LATENCY) if late is not None else 0.0
    return Group(name, kind, channels, command, teleop, gripper, measured, latency)


def _unit(kind: Kind, name: str, joints: Mapping[str, Joint], axis: Axis | None, driven: str) -> str:
    if kind is Kind.GRIPPER:
        return ""
    joint = joints.get(driven or name)
    length = joint is not None and joint.type == "prismatic"
    if kind is Kind.VELOCITY:
        return "m/s" if axis in (Axis.VX, Axis.VY) or length else "rad/s"
    return "m" if length else "rad"


def _gripper(keys: Section, kind: Kind, names: tuple[str, ...], joints: Mapping[str, Joint]) -> GripperMap | None:
    at = keys.get("joint")
    if kind is not Kind.GRIPPER:
        if at is not None:
            raise at.error("only a group of kind gripper has a joint")
        return None
    if len(names) != 1:
        raise keys.need("channels").error("a gripper group has one channel; make one group for each gripper")
    entry = keys.need("joint").section("name", "closed", "open", "measured")
    measured = entry.get("measured")
    mapping = GripperMap(
        entry.need("name").text(),
        entry.need("closed").number(),
        entry.need("open").number(),
        measured.truth() if measured else True,
    )
    if mapping.closed == mapping.open:
        raise keys.need("joint").error("closed and open are the same value")
    _refuse_beyond(entry, mapping, joints.get(mapping.joint))
    return mapping


def _refuse_beyond(entry: Section, mapping: GripperMap, joint: Joint | None) -> None:
    """A gripper's ends are those of its joint, in the joint's unit; what the driver takes stands under `command`."""
    if joint is None or not mapping.measured or not (math.isfinite(joint.lower) and joint.lower < joint.upper):
        return
    room = STROKE_ROOM * (joint.upper - joint.lower)
    for key, value in (("closed", mapping.closed), ("open", mapping.open)):
        if not joint.lower - room <= value <= joint.upper + room:
            raise entry.need(key).error(
                f"{value:g} is beyond the URDF's {joint.lower:g} .. {joint.upper:g} of joint {joint.name}; closed and "
                "open are that joint's values: what the driver takes or reports instead stands under command: "
                "{closed, open} and state: scale"
            )


def _driven(keys: Section, kind: Kind, names: tuple[str, ...], joints: Mapping[str, Joint]) -> tuple[str, ...]:
    """The joints that a velocity group moves, () for a base."""
    at = keys.get("joints")
    if at is None:
        return ()
    if kind is not Kind.VELOCITY:
        raise at.error("only a group of kind velocity has joints, those that its velocities move")
    found = at.texts()
    if len(found) != len(names):
        raise at.error(f"needs {len(names)} joints, one a channel ({', '.join(names)}), and has {len(found)}")
    for entry, name in zip(at.entries(), found, strict=True):
        if name not in joints:
            raise entry.error(f"{name} is not a movable joint of the URDF, which has {', '.join(sorted(joints))}")
    return found


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
    found = {name for name in names if name in joints and joints[name].type == "continuous"}
    for entry in at.entries() if at is not None else ():
        if entry.text() not in names:
            raise entry.error(f"{entry.text()} is no channel of this group, which has {', '.join(names)}")
        if entry.text() in joints and joints[entry.text()].type == "prismatic":
            raise entry.error(f"{entry.text()} is prismatic in the URDF; only a joint that turns can be continuous")
        found.add(entry.text())
    return frozenset(found)


def _measured(keys: Section, kind: Kind) -> bool:
    at = keys.get("measured")
    if at is None:
        return True
    if kind is not Kind.VELOCITY:
        raise at.error("only velocities can do without a measurement here; of a gripper, it stands under joint")
    return at.truth()


def _refuse_mimics(keys: Section, kind: Kind, names: tuple[str, ...], joints: Mapping[str, Joint]) -> None:
    if kind is not Kind.POSITION:
        return
    for entry, name in zip(keys.need("channels").entries(), names, strict=True):
        mimic = joints[name].mimic if name in joints else None
        if mimic is not None:
            raise entry.error(f"{name} mimics {mimic.joint} in the URDF; command {mimic.joint} alone")


def refuse_shared_names(at: YamlNode, groups: tuple[Group, ...]) -> None:
    """One owner for every channel, joint and command topic; groups that speak by name may share a topic."""
    channels: dict[str, str] = {}
    measured: dict[str, str] = {}
    topics: dict[str, Group] = {}
    for (_, here), group in zip(at.items(), groups, strict=True):
        for channel in group.channels:
            if channel.name in channels:
                raise here.error(f"channel {channel.name} is already in group {channels[channel.name]}")
            channels[channel.name] = group.name
            if group.kind is not Kind.VELOCITY:
                joint = group.gripper.joint if group.gripper is not None else channel.name
                if joint in measured:
                    raise here.error(f"joint {joint} is already that of channel {measured[joint]}")
                measured[joint] = channel.name
        owner = topics.setdefault(group.command.topic, group)
        if owner is not group:
            _refuse_sharing(here, owner, group)


def _refuse_sharing(here: YamlNode, owner: Group, group: Group) -> None:
    """Messages that carry names can carry those of several groups; others are one group's alone."""
    topic, kinds = group.command.topic, (owner.command.type, group.command.type)
    if kinds[0] != kinds[1] or kinds[0] not in SHARED_TYPES:
        raise here.error(
            f"command topic {topic} is already owned by group {owner.name}; only groups whose types are all joint_state, "
            "or all joint_trajectory, share a topic"
        )
    if (owner.kind is Kind.VELOCITY) != (group.kind is Kind.VELOCITY):
        raise here.error(f"command topic {topic} carries the positions of {owner.name} or the velocities, not both")
    twice = set(owner.command.joints) & set(group.command.joints)
    if twice:
        raise here.error(f"command topic {topic} already carries {min(twice)} of group {owner.name}")
