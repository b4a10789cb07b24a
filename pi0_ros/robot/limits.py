"""How far and how fast every channel may move: the key `limits` of a group, and the URDF's own."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pi0_ros.robot.spec import ENDLESS, GripperMap, Kind, Limits
from pi0_ros.robot.urdf import Joint
from pi0_ros.robot.yaml_nodes import Section, YamlNode

JERK_OVER_ACCELERATION = 10.0  # [1/s] for a group without jerk: full acceleration is reached in 0.1 s
VELOCITY_KEYS = ("velocity", "acceleration", "jerk")
DRIVEN_KEYS = ("source", "position", "margin")  # of velocities that move joints
GRIPPER_RAMP = 10.0  # [1/s] acceleration over velocity of a gripper without limits


def limits_of(
    keys: Section,
    kind: Kind,
    names: tuple[str, ...],
    gripper: GripperMap | None,
    joints: Mapping[str, Joint],
    driven: tuple[str, ...] = (),
) -> list[Limits]:
    """The limits of a group's channels, in their order. `driven`: the joints that its velocities move.

    Raises RobotError with file, line and key.
    """
    at = keys.get("limits")
    if kind is Kind.GRIPPER and gripper is not None:
        return [_gripper_limits(at, keys.at, gripper, joints)]
    if at is None:
        raise keys.at.error("key limits is missing; a group without limits is not moved")
    if kind is Kind.VELOCITY:
        return _velocity_limits(at, names, joints, driven)
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
        if not 0.0 < velocity < math.inf:
            raise group.error(f"joint {gripper.joint} has no velocity limit in the URDF; give limits.velocity")
    else:
        raise group.error(f"joint {gripper.joint} is not in the URDF; name it right or give limits.velocity")
    ramp = entry["acceleration"].number(0.0) if "acceleration" in entry else velocity * GRIPPER_RAMP
    jerk = entry["jerk"].number(0.0) if "jerk" in entry else ramp * JERK_OVER_ACCELERATION
    return Limits(0.0, 1.0, velocity, ramp, jerk)


def _velocity_limits(
    at: YamlNode, names: tuple[str, ...], joints: Mapping[str, Joint], driven: tuple[str, ...]
) -> list[Limits]:
    keys, count = at.section(*VELOCITY_KEYS, *(DRIVEN_KEYS if driven else ())), len(names)
    if driven and "velocity" not in keys:
        velocity = _speeds(keys, driven, joints, from_urdf="source" in keys)
    else:
        velocity = keys.need("velocity").numbers(count, above=0.0)
    ramp, jerk = _ramps(keys, count)
    return [Limits(-v, v, v, a, j) for v, a, j in zip(velocity, ramp, jerk, strict=True)]


def reach_of(at: YamlNode, driven: tuple[str, ...], joints: Mapping[str, Joint]) -> list[tuple[float, float]]:
    """The positions between which joints that are moved by velocities are kept: the bounds less the margin.

    `at`: the key `limits` of their group. Raises RobotError with file, line and key.
    """
    keys = at.section(*VELOCITY_KEYS, *DRIVEN_KEYS)
    margin_at = keys.get("margin")
    margin = margin_at.number(-1e-12) if margin_at else 0.0
    return [_inside(at, name, *pair, margin) for name, pair in zip(driven, _bounds(keys, driven, joints), strict=True)]


def _inside(at: YamlNode, name: str, low: float, high: float, margin: float) -> tuple[float, float]:
    if low <= -ENDLESS and high >= ENDLESS:
        return low, high
    if not low + margin < high - margin:
        raise at.error(f"{name}: nothing is left of {low:g} .. {high:g} after the margin {margin:g}")
    return low + margin, high - margin


def _ramps(keys: Section, count: int) -> tuple[list[float], list[float]]:
    ramp, jerk = keys.need("acceleration").numbers(count, above=0.0), keys.get("jerk")
    return ramp, jerk.numbers(count, above=0.0) if jerk else [a * JERK_OVER_ACCELERATION for a in ramp]


def _position_limits(at: YamlNode, names: tuple[str, ...], joints: Mapping[str, Joint]) -> list[Limits]:
    keys = at.section("source", "position", "velocity", "acceleration", "jerk", "margin")
    source, margin_at = keys.get("source"), keys.get("margin")
    if source is not None:
        source.choice("urdf")
    margin = margin_at.number(-1e-12) if margin_at else 0.0
    bounds = _bounds(keys, names, joints)
    speeds = _speeds(keys, names, joints, from_urdf=source is not None)
    limits = []
    for name, (low, high), v, a, j in zip(names, bounds, speeds, *_ramps(keys, len(names)), strict=True):
        limits.append(Limits(*_inside(at, name, low, high, margin), v, a, j))
    return limits


def _bounds(keys: Section, names: tuple[str, ...], joints: Mapping[str, Joint]) -> list[tuple[float, float]]:
    """Position bounds: of the YAML where it gives them, else of the URDF; none for a joint that turns for ever."""
    given = _given_bounds(keys, names)
    return [given.get(name) or _urdf_bounds(keys, name, joints) for name in names]


def _given_bounds(keys: Section, names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """The pairs under `position`: one a channel in their order, or by name; `null` leaves a joint to the URDF."""
    at = keys.get("position")
    if at is None:
        return {}
    if at.is_mapping:
        entries = dict(at.items())
        for name, entry in entries.items():
            if name not in names:
                raise entry.error(f"{name} is no joint of this group, which has {', '.join(names)}")
    else:
        pairs = at.entries()
        if len(pairs) != len(names):
            raise at.error(f"needs {len(names)} pairs [lower, upper], one a channel, and has {len(pairs)}")
        entries = dict(zip(names, pairs, strict=True))
    found = {}
    for name, entry in entries.items():
        if entry.is_null:
            continue
        low, high = entry.numbers(2)
        found[name] = (low, high)
    return found


def _urdf_bounds(keys: Section, name: str, joints: Mapping[str, Joint]) -> tuple[float, float]:
    joint = _urdf_joint(keys, name, joints, "source" in keys, "position")
    return (joint.lower, joint.upper) if math.isfinite(joint.lower) else (-ENDLESS, ENDLESS)


def _speeds(keys: Section, names: tuple[str, ...], joints: Mapping[str, Joint], from_urdf: bool) -> list[float]:
    at = keys.get("velocity")
    if at is not None:
        return at.numbers(len(names), above=0.0)
    found = [_urdf_joint(keys, name, joints, from_urdf, "velocity") for name in names]
    for joint in found:
        if not 0.0 < joint.velocity < math.inf:
            raise keys.at.error(f"joint {joint.name} has no velocity limit in the URDF; give limits.velocity")
    return [joint.velocity for joint in found]


def _urdf_joint(keys: Section, name: str, joints: Mapping[str, Joint], from_urdf: bool, key: str) -> Joint:
    if not from_urdf:
        raise keys.at.error(f"key {key} is missing; give it, or source: urdf")
    return joints[name]
