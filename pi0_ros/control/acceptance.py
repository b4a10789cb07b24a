"""Whether what a policy or a person asks for is plausible: within the limits, and within reach. Pure.

A wrong unit, another robot's action order or a network gone astray shows as rows far outside the limits, a plan that starts
elsewhere, or jumps inside it. Clamped and followed at full speed, each would drive the robot to an end stop.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.control.chunk import ACCEPTED, Cause, Verdict
from pi0_ros.control.engage import engage_scale
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.robot.spec import Channel, Kind, Robot

Array = npt.NDArray[np.float64]

LOOSE = 10.0  # a base's speed and a gripper's opening are limited as they go: their margin is this many times wider
JOYSTICK = 100.0  # a person's velocities come in units of their own and are clamped: only nonsense is refused
MOMENTS = 1024  # kept of the past, however long it is


class Moment(NamedTuple):
    """What was commanded and measured [D each] at ROS time `time` [s]."""

    time: float
    commanded: Array
    measured: Array


class History:
    """Where the robot was during the last `length` [s]: a chunk answers an observation of then."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._moments: deque[Moment] = deque(maxlen=MOMENTS)

    def add(self, time: float, commanded: Array, measured: Sequence[float]) -> None:
        """Remember one control period."""
        if not self._moments or time - self._moments[-1].time >= self._length / MOMENTS:
            self._moments.append(Moment(time, commanded, np.array(measured)))

    def clear(self) -> None:
        """Forget: the clock was set, or the robot was somewhere else."""
        self._moments.clear()

    def at(self, time: float) -> Moment | None:
        """The last moment at or before `time` [ROS s], the oldest if all are later, None if there is none."""
        for moment in reversed(self._moments):
            if moment.time <= time:
                return moment
        return self._moments[0] if self._moments else None


@dataclass(frozen=True)
class Reach:
    """What is judged by, for one robot; all arrays [D] in action order. `position`: channels whose jumps are judged."""

    names: tuple[str, ...]
    lower: Array
    upper: Array
    lowest: Array
    highest: Array
    gap: Array
    speed: Array
    position: npt.NDArray[np.bool_]


def reach_of(robot: Robot, settings: ExecutorSettings) -> Reach:
    """The limits of plausibility that `settings` give a robot."""
    limits = [c.limits for c in robot.channels]
    lower, upper = np.array([m.lower for m in limits]), np.array([m.upper for m in limits])
    margins = np.array([limit_margin(c, settings) for c in robot.channels])
    speeds = np.array([m.velocity for m in limits])
    return Reach(
        names=robot.channel_names,
        lower=lower,
        upper=upper,
        lowest=lower - margins,
        highest=upper + margins,
        gap=settings.start_gap + settings.reach_time * speeds,
        speed=settings.reach_speed * speeds,
        position=np.array([c.kind is Kind.POSITION for c in robot.channels]),
    )


def limit_margin(channel: Channel, settings: ExecutorSettings) -> float:
    """How far beyond its limits a value may be asked for and is clamped; further out it is refused."""
    span = channel.limits.upper - channel.limits.lower
    wider = 1.0 if channel.kind is Kind.POSITION else LOOSE
    return settings.limit_margin * wider * span if math.isfinite(span) else math.inf


def beyond_limits(robot: Robot, values: Array, lower: Array, upper: Array) -> str:
    """Which positions [D] are beyond their limits [D] at the start, as a sentence; "" if none is."""
    far = [
        f"{c.name} is at {v:.4g}, beyond its limit {low if v < low else high:.4g}"
        for c, v, low, high in zip(robot.channels, values, lower, upper, strict=True)
        if c.kind is Kind.POSITION and not low <= v <= high
    ]
    return f"{'; '.join(far)}: it is held there, and moves inward only" if far else ""


def accept_rows(rows: Array, times: Array, reach: Reach, references: Sequence[tuple[float, Array]]) -> Verdict:
    """Judge a plan's `rows` [H, D] at ROS `times` [H] s.

    `references`: times and values [D] of where the robot was, or was to be, at the first row. The plan has to start within
    `reach.gap` of what lies between them; from there, and from every row, each later one has to be within the gap plus
    `reach.speed` for the time between. Refused is the whole plan: its rows belong together.
    """
    return _within_limits(rows, reach) or _within_reach(rows, times, reach, references) or ACCEPTED


def _within_limits(rows: Array, reach: Reach) -> Verdict | None:
    beyond = np.maximum(reach.lowest - rows, rows - reach.highest)
    if not bool((beyond > 0.0).any()):
        return None
    row, column = (int(i) for i in np.argwhere(beyond > 0.0)[0])
    value = rows[row, column]
    limit = reach.lower[column] if value < reach.lower[column] else reach.upper[column]
    return Verdict(
        False,
        f"{reach.names[column]} is {value:.4g} in row {row}, far beyond its limit {limit:.4g};"
        " are units, order and statistics those of this robot?",
        Cause.BEYOND_LIMIT,
    )


def _within_reach(rows: Array, times: Array, reach: Reach, references: Sequence[tuple[float, Array]]) -> Verdict | None:
    judged = np.flatnonzero(reach.position)
    if not len(judged):
        return None
    speed, gap = reach.speed[judged], reach.gap[judged]
    values, t = rows[:, judged], (times - times[0])[:, None] * speed
    up, down = values - t, values + t
    if references:
        then = np.array([value[judged] for _, value in references])
        slack = max(times[0] - min(time for time, _ in references), 0.0) * speed
        up = np.concatenate([(np.nanmax(then, axis=0) + slack)[None], up])
        down = np.concatenate([(np.nanmin(then, axis=0) - slack)[None], down])
    jumps = np.maximum(up - np.minimum.accumulate(up), np.maximum.accumulate(down) - down)
    if not bool((jumps > gap).any()):
        return None
    found, column = (int(i) for i in np.argwhere(jumps > gap)[0])
    row, name = found - bool(references), reach.names[judged[column]]
    if references and _far_from_start(
        row, values[:, column], up[0, column], down[0, column], t[:, column], gap[column]
    ):
        here = float(np.clip(values[row, column], down[0, column], up[0, column]))
        text = f"{name} is {values[row, column]:.4g} in row {row}, out of reach of a robot at {here:.4g}"
        return Verdict(False, text, Cause.FAR_START)
    fastest = reach.speed[judged[column]]
    text = f"{name} jumps to {values[row, column]:.4g} in row {row}, faster than {fastest:.3g} per s allows"
    return Verdict(False, text, Cause.TOO_FAST)


def _far_from_start(row: int, values: Array, highest: float, lowest: float, way: Array, gap: float) -> bool:
    """Whether a row is out of reach of where the robot was, not only of an earlier row."""
    return bool(values[row] - way[row] - highest > gap or lowest - values[row] - way[row] > gap)


class Lead:
    """How fast a person's input for one group may be followed. What begins, or begins again, is followed slowly for the engage
    time; a value that jumps is approached slowly until it is reached: refusing it would lock the person out."""

    def __init__(self, channels: Sequence[Channel], settings: ExecutorSettings) -> None:
        limits = [c.limits for c in channels]
        spans = [limit_margin(c, settings) * (1.0 if c.kind is Kind.POSITION else JOYSTICK / LOOSE) for c in channels]
        self._names = [c.name for c in channels]
        self._bounds = [(m.lower, m.upper, s) for m, s in zip(limits, spans, strict=True)]
        self._gap = [settings.start_gap + settings.reach_time * m.velocity for m in limits]
        self._speed = [settings.reach_speed * m.velocity for m in limits]
        self._jumps = bool(channels) and channels[0].kind is Kind.POSITION
        self._settings, self._begun = settings, -math.inf
        self.approaching = False
        """Whether the input has jumped and has yet to be reached, slowly."""

    def objection(self, values: Sequence[float]) -> str:
        """Why no person can mean these values, "" if one can."""
        for name, value, (lower, upper, margin) in zip(self._names, values, self._bounds, strict=True):
            if not lower - margin <= value <= upper + margin:
                return f"{name} is {value:.4g}, far beyond its limit {lower if value < lower else upper:.4g}"
        return ""

    def restart(self, steady: float) -> None:
        """At `steady` [s] somebody else drove, or the device was silent: the input is followed slowly at first."""
        self._begun, self.approaching = steady, False

    def scale(self, steady: float) -> float:
        """Share of the velocity limits with which the input is followed at `steady` [s]."""
        if self.approaching:
            return self._settings.engage_scale
        return engage_scale(self._settings, steady - self._begun) if self._jumps else 1.0

    def jumped(self, before: Sequence[float], after: Sequence[float], seconds: float) -> bool:
        """Note the next input, `seconds` after the last; whether nobody could move that fast."""
        pairs = zip(before, after, self._gap, self._speed, strict=True)
        jump = self._jumps and any(abs(a - b) > gap + speed * max(seconds, 0.0) for b, a, gap, speed in pairs)
        self.approaching = self.approaching or jump
        return jump

    def reached(self, goal: Sequence[float], commanded: Sequence[float]) -> None:
        """Note where the command is; near the goal the approach is over."""
        if self.approaching:
            self.approaching = any(abs(g - c) > gap for g, c, gap in zip(goal, commanded, self._gap, strict=True))
