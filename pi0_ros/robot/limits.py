"""How far and how fast every channel may move: the key `limits` of a group, and the URDF's own.

The narrower of the two counts. `override: true` lets the YAML's count, with a warning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pi0_ros.robot.joint_names import near_first
from pi0_ros.robot.spec import ENDLESS, GripperMap, Limits, Origin
from pi0_ros.robot.urdf import UNBOUNDED, Joint, Urdf
from pi0_ros.robot.yaml_keys import LIMITS, key_names
from pi0_ros.robot.yaml_nodes import Section, YamlNode

JERK_OVER_ACCELERATION = 10.0  # [1/s] for a group without jerk: full acceleration is reached in 0.1 s
GRIPPER_RAMP = 10.0  # [1/s] acceleration over velocity of a gripper without limits
ROUNDING = 1e-3  # [rad, m or share] by which a YAML may be wider than the URDF because somebody rounded
FULL_TURN = 6.5  # [rad] a bound beyond this and beyond the URDF's is in degrees
LONG_WAY = 3.0  # [m] a bound beyond this and beyond the URDF's is in millimetres
MOST = {"rad": 13.0, "m": 10.0}  # [rad, m] a bound beyond this is in degrees or millimetres, whoever says it
FASTEST = {"rad": 40.0, "m": 10.0}  # [rad/s, m/s] the same of a speed
TIMES_FASTER = 10.0  # a speed this many times the URDF's is in another unit
VELOCITY_KEYS = ("velocity", "acceleration", "jerk")
POSITION_KEYS = key_names(LIMITS)

Bounded = tuple[list[Limits], list[Origin]]


@dataclass(frozen=True)
class _GivenLimits:
    """What a group's `limits` say: values by channel (None: as the URDF), and where they stand."""

    at: YamlNode
    urdf: Urdf
    from_urdf: bool
    override: bool
    warnings: list[str]

    @property
    def place(self) -> str:
        """The YAML's file and line, for people."""
        return f"{self.at.file.name}:{self.at.line}"

    def warn(self, at: YamlNode, message: str) -> None:
        """Note what a person should know though it is no error."""
        self.warnings.append(f"{at.where}: {message}")


@dataclass(frozen=True)
class _Range:
    """Where a joint may be, and where that comes from."""

    lower: float
    upper: float
    origin: str
    margin: float


def position_limits(keys: Section, joints: list[Joint], urdf: Urdf, warnings: list[str]) -> Bounded:
    """The limits of a group of joints, in their order, and where they come from.

    `keys` is the group, `warnings` gets what a person should know. Raises RobotError with file, line and key.
    """
    at = _needed(keys)
    entries = at.section(*POSITION_KEYS)
    given = _given(at, entries, urdf, warnings)
    ranges, speeds = _ranges(given, entries, joints), _speeds(given, entries, joints)
    ramps = _ramps(entries, [joint.name for joint in joints])
    limits, origins = [], []
    for reach, (velocity, velocity_from), acceleration, jerk in zip(ranges, speeds, *ramps, strict=True):
        limits.append(Limits(reach.lower, reach.upper, velocity, acceleration, jerk))
        origins.append(Origin(reach.origin, velocity_from, reach.margin, given.place))
    return limits, origins


def velocity_limits(keys: Section, names: tuple[str, ...]) -> Bounded:
    """The limits of a base's velocities. Raises RobotError with file, line and key."""
    at = _needed(keys)
    entries = at.section(*VELOCITY_KEYS)
    velocity = _numbers(entries.need("velocity"), names)
    origin = Origin("", f"{at.file.name}:{at.line}", 0.0, f"{at.file.name}:{at.line}")
    ramps = zip(velocity, *_ramps(entries, list(names)), strict=True)
    return [Limits(-v, v, v, a, j) for v, a, j in ramps], [origin] * len(names)


def driven_limits(
    keys: Section, names: tuple[str, ...], joints: list[Joint], urdf: Urdf, warnings: list[str]
) -> tuple[list[Limits], list[Origin], list[tuple[float, float]]]:
    """The limits of velocities that move joints, and the positions between which those joints are kept.

    `names` are the channels, `joints` what they move, in the same order. Raises RobotError with file, line and key.
    """
    at = _needed(keys)
    entries = at.section(*POSITION_KEYS)
    given = _given(at, entries, urdf, warnings)
    speeds, ranges = _speeds(given, entries, joints, names), _ranges(given, entries, joints, names)
    ramps = _ramps(entries, list(names))
    limits = [Limits(-v, v, v, a, j) for (v, _), a, j in zip(speeds, *ramps, strict=True)]
    origins = [
        Origin(reach.origin, velocity_from, reach.margin, given.place)
        for reach, (_, velocity_from) in zip(ranges, speeds, strict=True)
    ]
    return limits, origins, [(reach.lower, reach.upper) for reach in ranges]


def gripper_limits(keys: Section, gripper: GripperMap, joint: Joint | None, urdf: Urdf, warnings: list[str]) -> Bounded:
    """Limits in channel units (1 is the whole stroke): by default the joint's own speed over its stroke.

    `joint` is None for a joint that the URDF does not have. Raises RobotError with file, line and key.
    """
    at = keys.get("limits")
    entries = at.section(*VELOCITY_KEYS, "override") if at else None
    speed_at, override = (entries.get("velocity"), entries.get("override")) if entries else (None, None)
    given = _GivenLimits(at or keys.at, urdf, True, override.truth() if override else False, warnings)
    stroke = abs(gripper.open - gripper.closed)
    own = _own_speed(joint, stroke)
    if speed_at is not None:
        velocity, origin = _narrower_speed(given, speed_at, speed_at.number(0.0), own, "strokes/s")
    elif joint is None:
        raise keys.at.error(f"joint {gripper.joint} is not in the URDF; name it right or give limits.velocity")
    elif not math.isfinite(own):
        why = "the URDF's is in another unit than closed and open" if joint.has_speed else _found_speed(joint)
        raise keys.at.error(
            f"joint {joint.name} has no velocity limit in the URDF; give limits.velocity (1.0: the whole stroke in one "
            f"second{why and '; '}{why})"
        )
    else:
        velocity, origin = own, urdf.file.name
    ramp_at, jerk_at = (entries.get("acceleration"), entries.get("jerk")) if entries else (None, None)
    ramp = ramp_at.number(0.0) if ramp_at else velocity * GRIPPER_RAMP
    jerk = jerk_at.number(0.0) if jerk_at else ramp * JERK_OVER_ACCELERATION
    return [Limits(0.0, 1.0, velocity, ramp, jerk)], [Origin("closed .. open", origin, 0.0, given.place)]


def _own_speed(joint: Joint | None, stroke: float) -> float:
    """The joint's speed in strokes a second; NaN if the URDF has none, or if the stroke is in another unit."""
    if joint is None or not joint.has_speed:
        return math.nan
    other_unit = joint.bounded and stroke > TIMES_FASTER * (joint.upper - joint.lower)
    return math.nan if other_unit else joint.velocity / stroke


def _needed(keys: Section) -> YamlNode:
    at = keys.get("limits")
    if at is None:
        raise keys.at.error("key limits is missing; a group without limits is not moved")
    return at


def _by_joint(at: YamlNode | None, names: list[str]) -> dict[str, YamlNode]:
    """What is given for which joint: a list in channel order (null: nothing), a mapping, or one number for all."""
    if at is None:
        return {}
    if at.is_mapping:
        found = dict(at.items())
        for name, entry in found.items():
            if name not in names:
                raise entry.error(f"{name} is no channel of this group, which has {near_first(name, names)}")
    elif at.is_list:
        entries = at.entries()
        if len(entries) != len(names):
            raise at.error(f"needs {len(names)} entries, one a channel ({', '.join(names)}), and has {len(entries)}")
        found = dict(zip(names, entries, strict=True))
    else:
        found = {name: at for name in names}
    return {name: entry for name, entry in found.items() if not entry.is_null}


def _numbers(at: YamlNode, names: tuple[str, ...] | list[str], above: float = 0.0) -> list[float]:
    """One number a channel: a list, a mapping by name, or one number for all."""
    if not at.is_mapping:
        return at.numbers(len(names), above)
    found = _by_joint(at, list(names))
    missing = [name for name in names if name not in found]
    if missing:
        raise at.error(f"{missing[0]} is missing; needs one number a channel")
    return [found[name].number(above) for name in names]


def _ramps(entries: Section, names: list[str]) -> tuple[list[float], list[float]]:
    """Acceleration and jerk of every channel."""
    ramp, jerk = _numbers(entries.need("acceleration"), names), entries.get("jerk")
    return ramp, _numbers(jerk, names) if jerk else [a * JERK_OVER_ACCELERATION for a in ramp]


def _margins(at: YamlNode | None, names: list[str]) -> list[float]:
    return _numbers(at, names, above=-1e-12) if at else [0.0] * len(names)


def _given(at: YamlNode, entries: Section, urdf: Urdf, warnings: list[str]) -> _GivenLimits:
    source, override = entries.get("source"), entries.get("override")
    if source is not None:
        source.choice("urdf")
    return _GivenLimits(at, urdf, source is not None, override.truth() if override else False, warnings)


def _ranges(given: _GivenLimits, entries: Section, joints: list[Joint], names: tuple[str, ...] = ()) -> list[_Range]:
    """Where each joint may be; entries are given by `names` (of channels), or else by the joints' own."""
    keys = list(names) or [joint.name for joint in joints]
    positions = _by_joint(entries.get("position"), [joint.name for joint in joints])
    margins = _margins(entries.get("margin"), keys)
    return [_range(given, j, positions.get(j.name), margin) for j, margin in zip(joints, margins, strict=True)]


def _range(given: _GivenLimits, joint: Joint, at: YamlNode | None, margin: float) -> _Range:
    low, high, origin = _bounds(given, joint, at)
    if low <= -ENDLESS and high >= ENDLESS:
        return _Range(low, high, origin, 0.0)
    lower, upper = low + margin, high - margin
    if not lower < upper:
        raise given.at.error(f"{joint.name}: nothing is left of {low:g} .. {high:g} after the margin {margin:g}")
    if not joint.soft or given.override:
        return _Range(lower, upper, origin, margin)
    inner = max(lower, joint.soft_lower), min(upper, joint.soft_upper)
    if not inner[0] < inner[1]:
        soft = f"{joint.soft_lower:g} .. {joint.soft_upper:g}"
        raise given.at.error(f"{joint.name}: nothing of {lower:g} .. {upper:g} is inside the URDF's soft limits {soft}")
    if inner != (lower, upper):
        origin = f"{given.urdf.file.name} soft limits"
    return _Range(*inner, origin, margin)


def _bounds(given: _GivenLimits, joint: Joint, at: YamlNode | None) -> tuple[float, float, str]:
    """Hard position bounds of a joint, and where they come from; without ends if it turns for ever."""
    file = given.urdf.file.name
    if at is None:
        return _urdf_bounds(given, joint)
    low, high = _pair(at)
    beyond = joint.bounded and (low < joint.lower - ROUNDING or high > joint.upper + ROUNDING)
    own = f"the URDF's {joint.lower:g} .. {joint.upper:g} {_unit(joint)}"
    guess = _other_unit(joint, low, high)
    far = max(-low, high) > MOST[_unit(joint)]
    if guess and not given.override and (beyond or far or not joint.bounded):
        says = f"is outside of {own}" if beyond else f"is more than joint {joint.name} can mean"
        raise at.error(f"{low:g} .. {high:g} {says}: {guess}? Write {_unit(joint)}, or override: true if it is right")
    if not joint.bounded:
        return low, high, given.place
    narrow = max(low, joint.lower), min(high, joint.upper)
    if not beyond:
        return *narrow, given.place
    if given.override:
        given.warn(at, f"{low:g} .. {high:g} counts instead of {own} (override: true)")
        return low, high, f"{given.place} (override)"
    if not narrow[0] < narrow[1]:
        raise at.error(f"{low:g} .. {high:g} is outside of {own}")
    given.warn(at, f"{low:g} .. {high:g} is wider than {own}, and the narrower counts; override: true changes that")
    return *narrow, f"{file}, {given.place}"


def _urdf_bounds(given: _GivenLimits, joint: Joint) -> tuple[float, float, str]:
    if not given.from_urdf:
        raise given.at.error("key position is missing; give it, or source: urdf")
    if joint.type == "continuous":
        if joint.hint:
            given.warn(
                given.at,
                f"joint {joint.name} is continuous in the URDF, so its <limit> {joint.hint} does not count; "
                f"if a cable ends its turns, give position: {{{joint.name}: [lower, upper]}}",
            )
        return -ENDLESS, ENDLESS, "continuous"
    if not joint.bounded:
        raise given.at.error(_no_bounds(joint))
    far, unit = max(-joint.lower, joint.upper), _unit(joint)
    if far > MOST[unit]:
        _distrust(given, joint, f"{joint.lower:g} .. {joint.upper:g} {unit}", "position", "[lower, upper]")
    return joint.lower, joint.upper, given.urdf.file.name


def _pair(at: YamlNode) -> tuple[float, float]:
    if not at.is_list:
        raise at.error("must be a pair [lower, upper]")
    entries = at.entries()
    if len(entries) != 2:
        raise at.error(f"must be a pair [lower, upper], and has {len(entries)} entries")
    low, high = (entry.number() for entry in entries)
    if not low < high:
        raise at.error(f"lower {low:g} must be below upper {high:g}")
    return low, high


def _no_bounds(joint: Joint) -> str:
    way_out = (
        f"give limits.position: {{{joint.name}: [lower, upper]}} in {_unit(joint)}; joints not named keep the URDF's"
    )
    if joint.problem:
        return f"joint {joint.name} of the URDF: {joint.problem}; correct it, or {way_out}"
    if joint.lower == joint.upper:
        return f"joint {joint.name} goes from {joint.lower:g} to {joint.upper:g} in the URDF; {way_out}"
    return f"joint {joint.name} has no position limits in the URDF; {way_out}"


def _other_unit(joint: Joint, low: float, high: float) -> str:
    """The unit in which these bounds were probably written, "" if it may be the right one."""
    far = max(-low, high)
    if joint.type == "prismatic":
        return "millimetres" if far > LONG_WAY else ""
    return "degrees" if far > (FULL_TURN if joint.bounded else 10.0 * FULL_TURN) else ""


def _unit(joint: Joint) -> str:
    return "m" if joint.type == "prismatic" else "rad"


def _speeds(
    given: _GivenLimits, entries: Section, joints: list[Joint], names: tuple[str, ...] = ()
) -> list[tuple[float, str]]:
    """The greatest speed of each joint, and where it comes from."""
    channels = list(names) or [joint.name for joint in joints]
    speeds = _by_joint(entries.get("velocity"), channels)
    return [_speed(given, joint, speeds.get(name)) for joint, name in zip(joints, channels, strict=True)]


def _speed(given: _GivenLimits, joint: Joint, at: YamlNode | None) -> tuple[float, str]:
    own = joint.velocity if joint.has_speed else math.nan
    if at is not None:
        speed, origin = _narrower_speed(given, at, at.number(0.0), own, f"{_unit(joint)}/s")
        if speed > FASTEST[_unit(joint)] and not given.override:
            guess = "degrees" if _unit(joint) == "rad" else "millimetres"
            raise at.error(
                f"{speed:g} {_unit(joint)}/s: {guess}? Write {_unit(joint)}/s, or override: true if it is right"
            )
        return speed, origin
    if not given.from_urdf:
        raise given.at.error("key velocity is missing; give it, or source: urdf")
    if not math.isfinite(own):
        why = _found_speed(joint)
        raise given.at.error(
            f"joint {joint.name} has no velocity limit in the URDF; give limits.velocity ({{{joint.name}: {_unit(joint)}/s}}; "
            f"joints not named keep the URDF's{why and '; '}{why})"
        )
    if own > FASTEST[_unit(joint)]:
        _distrust(given, joint, f"{own:g} {_unit(joint)}/s", "velocity", f"{_unit(joint)}/s")
    return own, given.urdf.file.name


def _distrust(given: _GivenLimits, joint: Joint, says: str, key: str, value: str) -> None:
    """Refuse what a URDF says of a joint in another unit than rad and m; with `override: true` only warn."""
    guess = "millimetres" if joint.type == "prismatic" else "degrees"
    text = f"joint {joint.name} has {says} in {given.urdf.file.name}: {guess}?"
    if not given.override:
        raise given.at.error(f"{text} Give limits.{key}: {{{joint.name}: {value}}}, or override: true if it is right")
    given.warn(given.at, f"{text} It counts (override: true)")


def _narrower_speed(given: _GivenLimits, at: YamlNode, speed: float, own: float, unit: str) -> tuple[float, str]:
    """The YAML's speed or the URDF's `own` (NaN without one), whichever counts."""
    if speed >= UNBOUNDED:
        raise at.error(f"{speed:g} {unit} is no limit")
    if not speed > own * (1.0 + ROUNDING):
        return (speed if math.isnan(own) else min(speed, own)), given.place
    if given.override:
        given.warn(at, f"{speed:g} {unit} counts instead of the URDF's {own:g} (override: true)")
        return speed, f"{given.place} (override)"
    if speed > TIMES_FASTER * own:
        guess = "degrees? " if unit == "rad/s" else "millimetres? " if unit == "m/s" else ""
        raise at.error(
            f"{speed:g} {unit} is {speed / own:.0f} times the URDF's {own:g}: {guess}Write {unit}, "
            "or override: true if it is right"
        )
    given.warn(at, f"{speed:g} {unit} is faster than the URDF's {own:g}, which counts; override: true changes that")
    return own, given.urdf.file.name


def _found_speed(joint: Joint) -> str:
    """What the URDF says instead of a speed, "" if it says nothing."""
    if joint.problem:
        return joint.problem
    return "" if math.isnan(joint.velocity) else f"the URDF says {joint.velocity:g}"
