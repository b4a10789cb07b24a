"""A robot YAML and its URDF, read strictly into a `Robot`.

The schema is docs/interface.md, "Robot YAML". Everything wrong is a `RobotError` with file, line and key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.located import Located, Section, read_yaml
from pi0_ros.robot.resources import resolve, share
from pi0_ros.robot.spec import (
    Camera,
    Channel,
    CommandTopic,
    GripperMap,
    Group,
    Kind,
    Limits,
    Robot,
    StateSource,
    Takeover,
    TeleopTopic,
)
from pi0_ros.robot.urdf import Joint, read_joints

COMMAND_TYPES = ("float64_multi_array", "joint_trajectory", "joint_state", "twist", "twist_stamped")
TELEOP_TYPES = ("joint_state", "float64_multi_array", "twist", "twist_stamped")
TWIST_TYPES = ("twist", "twist_stamped")
TWIST_AXES = ("vx", "vy", "wz")
JERK_OVER_ACCELERATION = 10.0  # [1/s] where a group names no jerk: full acceleration is reached in 0.1 s
GRIPPER_RAMP = 10.0  # [1/s] acceleration over velocity of a gripper without limits


def load_robot(name_or_file: str | Path) -> Robot:
    """The robot of that name under config/robots, or of that file.

    Raises RobotError, naming file, line and key, or the robots there are.
    """
    file = _find(str(name_or_file))
    root = read_yaml(file).section("robot", "urdf", "control_rate", "cameras", "state", "groups", "takeover")
    urdf = resolve(root.need("urdf").text(), file.parent)
    if not urdf.is_file():
        raise root.need("urdf").error(f"there is no file {urdf}")
    joints = read_joints(urdf)
    groups = tuple(_group(name, at, joints) for name, at in root.need("groups").items())
    if not groups:
        raise root.need("groups").error("needs at least one group")
    _refuse_shared_names(root.need("groups"), groups)
    rate = root.get("control_rate")
    return Robot(
        name=root.need("robot").text(),
        file=file,
        urdf=urdf,
        control_rate=rate.number(0.0, 200.0) if rate else 50.0,
        cameras=tuple(_camera(name, at) for name, at in root.need("cameras").items()),
        state=_state(root.need("state"), groups),
        groups=groups,
        takeover=_takeover(root.get("takeover")),
    )


def robot_names() -> tuple[str, ...]:
    """The robots that come with the package."""
    return tuple(sorted(file.stem for file in share("config", "robots").glob("*.yaml")))


def _find(name: str) -> Path:
    file = Path(name) if name.endswith((".yaml", ".yml")) else share("config", "robots", f"{name}.yaml")
    if not file.is_file():
        raise RobotError(f"{name}: no such robot; give the path of a YAML, or one of {', '.join(robot_names())}")
    return file.resolve()


def _camera(name: str, at: Located) -> Camera:
    keys = at.section("topic", "type", "max_age", "required")
    required = keys.get("required")
    return Camera(
        name=name,
        topic=_topic(keys.need("topic")),
        type=keys.need("type").choice("image", "compressed_image"),
        max_age=keys.need("max_age").number(0.0),
        required=required.truth() if required else True,
    )


def _state(at: Located, groups: tuple[Group, ...]) -> tuple[StateSource, ...]:
    sources = tuple(_state_source(entry) for entry in at.entries())
    measured = any(group.kind is not Kind.VELOCITY for group in groups)
    if measured and not any(source.type == "joint_state" for source in sources):
        raise at.error("needs at least one source of type joint_state")
    topics = [source.topic for source in sources]
    for entry, topic in zip(at.entries(), topics, strict=True):
        if topics.count(topic) > 1:
            raise entry.error(f"topic {topic} is read twice")
    return sources


def _state_source(at: Located) -> StateSource:
    keys = at.section("topic", "type", "max_age", "prefix")
    prefix = keys.get("prefix")
    return StateSource(
        topic=_topic(keys.need("topic")),
        type=keys.need("type").choice("joint_state", "odometry"),
        max_age=keys.need("max_age").number(0.0),
        prefix=prefix.text() if prefix else "",
    )


def _takeover(at: Located | None) -> Takeover:
    if at is None:
        return Takeover()
    keys = at.section("deadman", "leader_motion")
    motion, deadman = keys.get("leader_motion"), keys.get("deadman")
    amount = motion.number(0.0) if motion else 0.0
    if deadman is None:
        return Takeover(leader_motion=amount)
    button = deadman.section("topic", "button")
    return Takeover(_topic(button.need("topic")), int(button.need("button").number(-1.0)), amount)


def _group(name: str, at: Located, joints: Mapping[str, Joint]) -> Group:
    keys = at.section("kind", "channels", "command", "limits", "teleop", "joint")
    kind = Kind(keys.need("kind").choice("position", "velocity", "gripper"))
    names = keys.need("channels").texts()
    gripper = _gripper(keys, kind, names)
    command = _command(keys.need("command"), names)
    _refuse_bad_twist(keys, kind, names, command.type)
    limits = _limits(keys, kind, names, gripper, joints)
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


def _command(at: Located, names: tuple[str, ...]) -> CommandTopic:
    keys = at.section("topic", "type", "joints", "frame")
    frame = keys.get("frame")
    return CommandTopic(
        topic=_topic(keys.need("topic")),
        type=keys.need("type").choice(*COMMAND_TYPES),
        joints=_renamed(keys.get("joints"), names),
        frame=frame.text() if frame else "",
    )


def _teleop(at: Located | None, names: tuple[str, ...]) -> TeleopTopic | None:
    if at is None:
        return None
    keys = at.section("topic", "type", "max_age", "joints")
    kind = keys.need("type").choice(*TELEOP_TYPES)
    return TeleopTopic(
        _topic(keys.need("topic")), kind, keys.need("max_age").number(0.0), _renamed(keys.get("joints"), names)
    )


def _renamed(at: Located | None, names: tuple[str, ...]) -> tuple[str, ...]:
    if at is None:
        return names
    renamed = at.texts()
    if len(renamed) != len(names):
        raise at.error(f"needs {len(names)} names, one a channel ({', '.join(names)}), and has {len(renamed)}")
    return renamed


def _topic(at: Located) -> str:
    topic = at.text()
    if any(c.isspace() for c in topic) or topic.endswith("/"):
        raise at.error(f"{topic!r} is not a topic name")
    return topic


def _refuse_bad_twist(keys: Section, kind: Kind, names: tuple[str, ...], command: str) -> None:
    twist = command in TWIST_TYPES
    if twist and kind is not Kind.VELOCITY:
        raise keys.need("command").error(f"{command} carries velocities; the group's kind is {kind.value}")
    odd = [name for name in names if twist and not name.endswith(TWIST_AXES)]
    if odd:
        raise keys.need("channels").error(f"channels of a twist end in vx, vy or wz; {odd[0]} does not")


def _limits(
    keys: Section, kind: Kind, names: tuple[str, ...], gripper: GripperMap | None, joints: Mapping[str, Joint]
) -> list[Limits]:
    at = keys.get("limits")
    if kind is Kind.GRIPPER and gripper is not None:
        return [_gripper_limits(at, keys.at, gripper, joints)]
    if at is None:
        raise keys.at.error("key limits is missing; a group without limits is not moved")
    if kind is Kind.VELOCITY:
        return _velocity_limits(at, names)
    _refuse_unknown_joints(keys, joints)
    return _position_limits(at, names, joints)


def _refuse_unknown_joints(keys: Section, joints: Mapping[str, Joint]) -> None:
    if "source" not in keys.need("limits").section("source", "position", "velocity", "acceleration", "jerk", "margin"):
        return
    for entry in keys.need("channels").entries():
        if entry.text() not in joints:
            there = ", ".join(sorted(joints))
            raise entry.error(f"{entry.text()} is not a movable joint of the URDF, which has {there}")


def _gripper_limits(at: Located | None, group: Located, gripper: GripperMap, joints: Mapping[str, Joint]) -> Limits:
    """Limits in channel units: by default the joint's own speed over its stroke."""
    entry = at.section("velocity", "acceleration", "jerk").entries if at else {}
    if "velocity" in entry:
        velocity = entry["velocity"].number(0.0)
    elif gripper.joint in joints:
        velocity = joints[gripper.joint].velocity / abs(gripper.open - gripper.closed)
    else:
        raise group.error(f"joint {gripper.joint} is not in the URDF; name it right or give limits.velocity")
    ramp = entry["acceleration"].number(0.0) if "acceleration" in entry else velocity * GRIPPER_RAMP
    jerk = entry["jerk"].number(0.0) if "jerk" in entry else ramp * JERK_OVER_ACCELERATION
    return Limits(0.0, 1.0, velocity, ramp, jerk)


def _velocity_limits(at: Located, names: tuple[str, ...]) -> list[Limits]:
    keys, count = at.section("velocity", "acceleration", "jerk"), len(names)
    velocity = keys.need("velocity").numbers(count, above=0.0)
    ramp, jerk = _ramps(keys, count)
    return [Limits(-v, v, v, a, j) for v, a, j in zip(velocity, ramp, jerk, strict=True)]


def _ramps(keys: Section, count: int) -> tuple[list[float], list[float]]:
    ramp, jerk = keys.need("acceleration").numbers(count, above=0.0), keys.get("jerk")
    return ramp, jerk.numbers(count, above=0.0) if jerk else [a * JERK_OVER_ACCELERATION for a in ramp]


def _position_limits(at: Located, names: tuple[str, ...], joints: Mapping[str, Joint]) -> list[Limits]:
    keys = at.section("source", "position", "velocity", "acceleration", "jerk", "margin")
    source, margin_at = keys.get("source"), keys.get("margin")
    if source is not None:
        source.choice("urdf")
    margin = margin_at.number(-1e-12) if margin_at else 0.0
    bounds = _bounds(keys, names, joints, from_urdf=source is not None)
    speeds = _speeds(keys, names, joints, from_urdf=source is not None)
    limits = []
    for name, (low, high), v, a, j in zip(names, bounds, speeds, *_ramps(keys, len(names)), strict=True):
        if not low + margin < high - margin:
            raise at.error(f"{name}: nothing is left of {low:g} .. {high:g} after the margin {margin:g}")
        limits.append(Limits(low + margin, high - margin, v, a, j))
    return limits


def _bounds(
    keys: Section, names: tuple[str, ...], joints: Mapping[str, Joint], from_urdf: bool
) -> list[tuple[float, float]]:
    at = keys.get("position")
    if at is None:
        found = [_urdf_joint(keys, name, joints, from_urdf, "position") for name in names]
        for joint in found:
            if not math.isfinite(joint.lower):
                raise keys.at.error(f"joint {joint.name} is continuous; give limits.position for this group")
        return [(joint.lower, joint.upper) for joint in found]
    pairs = at.entries()
    if len(pairs) != len(names):
        raise at.error(f"needs {len(names)} pairs [lower, upper], one a channel, and has {len(pairs)}")
    lower_upper = [pair.numbers(2) for pair in pairs]
    return [(low, high) for low, high in lower_upper]


def _speeds(keys: Section, names: tuple[str, ...], joints: Mapping[str, Joint], from_urdf: bool) -> list[float]:
    at = keys.get("velocity")
    if at is not None:
        return at.numbers(len(names), above=0.0)
    found = [_urdf_joint(keys, name, joints, from_urdf, "velocity") for name in names]
    for joint in found:
        if not joint.velocity > 0.0:
            raise keys.at.error(f"joint {joint.name} has no velocity limit in the URDF; give limits.velocity")
    return [joint.velocity for joint in found]


def _urdf_joint(keys: Section, name: str, joints: Mapping[str, Joint], from_urdf: bool, key: str) -> Joint:
    if not from_urdf:
        raise keys.at.error(f"key {key} is missing; give it, or source: urdf")
    return joints[name]


def _refuse_shared_names(at: Located, groups: tuple[Group, ...]) -> None:
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
