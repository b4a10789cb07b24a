"""What measured numbers mean: the one mapping from what drivers report to a robot's channels, used wherever state is read.

A driver's joint state goes two steps. `SourceMap` gives it the robot's joint names, rad and m. `readings_of` says which
joint or odometry axis is which channel, with the line from joint value to channel value (grippers). Angles of joints that
turn for ever are put on the turn nearest to a reference with `nearest_turn`: angles that differ by whole turns are one place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pi0_ros.robot.spec import Axis, Channel, Group, Kind, Robot, StateSource

Array = npt.NDArray[np.float64]
TURN = 2.0 * math.pi
FAST = 10.0  # [rad/s or m/s] for a joint whose greatest speed is not known
STROKES = 1.0  # a gripper measured this many strokes beyond its ends is not measured in the unit that was said
_AXIS = re.compile(r"(?:^|[^a-zA-Z0-9])(vx|vy|wz)$")


def axis_of(name: str) -> Axis | None:
    """Which base velocity a channel name means: vx, vy or wz, alone or after a separator (base_vx, base.vx); else None."""
    found = _AXIS.search(name)
    return Axis(found.group(1)) if found else None


def nearest_turn(angle: float, reference: float) -> float:
    """The angle [rad] that is the same place as `angle` and nearest to `reference`; `angle` if either is not finite."""
    turns = (reference - angle) / TURN
    return angle + TURN * round(turns) if math.isfinite(turns) else angle


def unwrap_rows(rows: Array, reference: Array, continuous: npt.NDArray[np.bool_]) -> Array:
    """Rows [..., H, D] without jumps by whole turns in the `continuous` [D] channels, the first one nearest to `reference`
    [..., D].

    Every row is put on the turn nearest to the row before it, so that a plan that says (-pi, pi] goes on over pi. As
    JointTrajectoryController's `angle_wraparound`, which does it for the first point.
    """
    turns = np.round(np.diff(rows, axis=-2, prepend=reference[..., None, :]) / TURN)
    return rows - TURN * np.cumsum(np.where(np.isfinite(turns), turns, 0.0) * continuous, axis=-2)


def base_velocity(
    linear: tuple[float, float, float], angular: tuple[float, float, float], x: float, y: float, z: float, w: float
) -> tuple[float, float, float]:
    """Forward, left [m/s] and turning [rad/s] velocity of a twist that is given in the world frame.

    `x`, `y`, `z`, `w`: the base's orientation in that frame, of any length above 0; the twist is turned by its inverse.
    """
    size = math.sqrt(x * x + y * y + z * z + w * w) or 1.0
    axis, angle = (-x / size, -y / size, -z / size), w / size
    forward = _turned(linear, axis, angle)
    return forward[0], forward[1], _turned(angular, axis, angle)[2]


def _turned(v: tuple[float, float, float], u: tuple[float, float, float], w: float) -> tuple[float, float, float]:
    """A vector turned by the unit quaternion (u, w): v + 2w (u x v) + 2 u x (u x v)."""
    t = tuple(2.0 * c for c in _cross(u, v))
    s = _cross(u, t)
    return v[0] + w * t[0] + s[0], v[1] + w * t[1] + s[1], v[2] + w * t[2] + s[2]


def _cross(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


class SourceMap:
    """A state source's joints in the robot's words: names, rad, m and their rates."""

    def __init__(self, source: StateSource) -> None:
        self.source = source
        self._names, self._scale, self._offset = dict(source.joints), dict(source.scale), dict(source.offset)
        self._plain = not (source.joints or source.scale or source.offset or source.prefix)
        self._known: dict[str, tuple[str, float, float]] = {}

    def positions(self, reported: Mapping[str, float]) -> Mapping[str, float]:
        """Joint positions by the robot's joint names, from positions by the driver's."""
        if self._plain:
            return reported
        made = {}
        for name, value in reported.items():
            joint, scale, offset = self._line(name)
            made[joint] = value * scale + offset
        return made

    def rates(self, reported: Mapping[str, float]) -> Mapping[str, float]:
        """Joint velocities by the robot's joint names."""
        if self._plain:
            return reported
        lines = [(*self._line(name)[:2], value) for name, value in reported.items()]
        return {joint: value * scale for joint, scale, value in lines}

    def reported(self, joint: str) -> str:
        """What the driver calls a joint of the robot."""
        for theirs, ours in self._names.items():
            if ours == joint:
                return theirs
        return joint.removeprefix(self.source.prefix)

    def reported_value(self, joint: str, position: float, rate: float) -> tuple[float, float]:
        """What the driver says for a joint's position and velocity: the inverse of `positions` and `rates`."""
        _, scale, offset = self._line(self.reported(joint))
        return (position - offset) / scale, rate / scale

    def _line(self, name: str) -> tuple[str, float, float]:
        line = self._known.get(name)
        if line is None:
            joint = self._names.get(name, self.source.prefix + name)
            scale = self._scale.get(joint, self._scale.get("", 1.0))
            line = self._known[name] = (joint, scale, self._offset.get(joint, self._offset.get("", 0.0)))
        return line


@dataclass(frozen=True)
class Reading:
    """Where one measured number of a robot comes from, and what it means.

    A reading without `joint` and `axis` is measured by nobody. `value = offset + scale * joint value`. `rate`: it is the
    joint's velocity. `needed`: without it nothing is moved; `commanded`: the last command stands for it. Values outside
    `lower` .. `upper` are not believed to be of the unit that was said. It changes at most at `speed` a second.
    """

    name: str
    joint: str = ""
    axis: Axis | None = None
    rate: bool = False
    offset: float = 0.0
    scale: float = 1.0
    continuous: bool = False
    needed: bool = True
    commanded: bool = False
    lower: float = -math.inf
    upper: float = math.inf
    speed: float = FAST

    @property
    def measured(self) -> bool:
        """Whether somebody reports it."""
        return bool(self.joint) or self.axis is not None

    def value(self, reported: float) -> float:
        """The channel's value for a joint value."""
        return self.offset + self.scale * reported


def readings_of(robot: Robot) -> tuple[Reading, ...]:
    """One reading for each channel, in the order of the action vector, then one for each of `robot.state_joints`."""
    odometry = any(s.type == "odometry" for s in robot.state)
    channels = [_reading(g, c, odometry) for g in robot.groups for c in g.channels]
    speeds = {c.joint: c.limits.velocity for c in robot.channels if c.joint}
    return (*channels, *(Reading(joint, joint, speed=speeds.get(joint, FAST)) for joint in robot.state_joints))


def observable(robot: Robot) -> tuple[Reading, ...]:
    """What a policy may measure: `readings_of`, and the joints behind grippers under their own names, in rad or m."""
    found = readings_of(robot)
    names = {reading.name for reading in found}
    fingers = [g.gripper.joint for g in robot.groups if g.gripper is not None and g.gripper.measured]
    return (*found, *(Reading(joint, joint, needed=False) for joint in fingers if joint not in names))


def _reading(group: Group, channel: Channel, odometry: bool) -> Reading:
    limits, grip = channel.limits, group.gripper
    if channel.kind is Kind.VELOCITY:
        axis = channel.axis if odometry and group.measured else None
        joint = channel.joint if group.measured else ""
        needed, commanded = axis is not None, not group.measured
        return Reading(
            channel.name, joint, axis, rate=True, needed=needed, commanded=commanded, speed=limits.acceleration
        )
    if grip is not None:
        scale = 1.0 / (grip.open - grip.closed)
        if not grip.measured:
            return Reading(channel.name, needed=False, commanded=True)
        return Reading(
            channel.name,
            grip.joint,
            offset=-grip.closed * scale,
            scale=scale,
            lower=-STROKES,
            upper=1.0 + STROKES,
            speed=limits.velocity,
        )
    return Reading(
        channel.name,
        channel.name,
        continuous=channel.continuous,
        lower=limits.lower,
        upper=limits.upper,
        speed=limits.velocity,
    )


def joint_value(group: Group, value: float) -> float:
    """The joint value [rad or m] behind a channel's value: the inverse of `Reading.value`."""
    if group.gripper is None:
        return value
    return group.gripper.closed + value * (group.gripper.open - group.gripper.closed)


def unit_guess(value: float, lower: float, upper: float, unit: str) -> str:
    """What unit a joint value outside `lower` .. `upper` ("rad" or "m") may be in, as a question; "" if none fits.

    Degrees and millimetres where the converted value is inside; ticks where it is a whole number of a 12-bit encoder.
    """
    if unit == "rad" and lower <= math.radians(value) <= upper:
        return "degrees? Then give scale: 0.0174533"
    if unit == "m" and lower <= value / 1000.0 <= upper:
        return "millimetres? Then give scale: 0.001"
    if unit == "rad" and float(value).is_integer() and 0.0 <= value < 4096.0:
        return "ticks of an encoder? Then give scale and offset"
    return ""
