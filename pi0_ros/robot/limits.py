"""How far and how fast every channel may move: the key `limits` of a group, and the URDF's own."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pi0_ros.robot.spec import GripperMap, Kind, Limits
from pi0_ros.robot.urdf import Joint
from pi0_ros.robot.yaml_nodes import Section, YamlNode

JERK_OVER_ACCELERATION = 10.0  # [1/s] for a group without jerk: full acceleration is reached in 0.1 s
GRIPPER_RAMP = 10.0  # [1/s] acceleration over velocity of a gripper without limits


def limits_of(
    keys: Section, kind: Kind, names: tuple[str, ...], gripper: GripperMap | None, joints: Mapping[str, Joint]
) -> list[Limits]:
    """The limits of a group's channels, in their order. Raises RobotError with file, line and key."""
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


def _gripper_limits(at: YamlNode | None, group: YamlNode, gripper: GripperMap, joints: Mapping[str, Joint]) -> Limits:
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


def _velocity_limits(at: YamlNode, names: tuple[str, ...]) -> list[Limits]:
    keys, count = at.section("velocity", "acceleration", "jerk"), len(names)
    velocity = keys.need("velocity").numbers(count, above=0.0)
    ramp, jerk = _ramps(keys, count)
    return [Limits(-v, v, v, a, j) for v, a, j in zip(velocity, ramp, jerk, strict=True)]


def _ramps(keys: Section, count: int) -> tuple[list[float], list[float]]:
    ramp, jerk = keys.need("acceleration").numbers(count, above=0.0), keys.get("jerk")
    return ramp, jerk.numbers(count, above=0.0) if jerk else [a * JERK_OVER_ACCELERATION for a in ramp]


def _position_limits(at: YamlNode, names: tuple[str, ...], joints: Mapping[str, Joint]) -> list[Limits]:
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
