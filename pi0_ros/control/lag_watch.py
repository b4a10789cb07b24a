"""How much later than commanded a robot moves, estimated while it moves: reported only, never used for motion."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pi0_ros.robot.spec import Group, Kind, Robot

Array = npt.NDArray[np.float64]

SAMPLE = 0.02  # [s] at least between two samples that are compared
WINDOW = 4.0  # [s] of motion that are compared at a time
LONGEST = 0.5  # [s] no lag is looked for beyond this
LEAST_WAY = {"rad": 0.05, "m": 0.02}  # a channel has to be commanded to move this far within a window
SURE = 0.03  # [s] an estimate that is less certain says nothing
REMEMBERED, ENOUGH = 30, 5  # newest estimates of a group that count, and how many say something
LATE = 0.09  # [s] by which `command_latency` may be off before a person should know: servos and the age of measurements make 0.07


def lag_of(commanded: Array, measured: Array, period: float) -> float | None:
    """Seconds by which `measured` [N, C] follows `commanded` [N, C], one sample a `period` [s]; None if they do not tell.

    Compared are their shapes, each channel about its mean, so that a constant offset (sag) counts for nothing. A motion
    at constant velocity has no shape: it looks the same at every lag and tells nothing.
    """
    shifts = math.ceil(LONGEST / period)
    length = len(commanded) - shifts
    if length < 2 * shifts or not commanded.shape[1]:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(commanded, length, axis=0)[::-1]  # [shifts + 1, C, length]
    seen = measured[shifts:].T
    off = windows - windows.mean(axis=2, keepdims=True) - (seen - seen.mean(axis=1, keepdims=True))
    way = np.ptp(commanded, axis=0)
    errors: list[float] = ((off * off).mean(axis=2) / (way * way)).mean(axis=1).tolist()
    least = int(np.argmin(errors))
    if least == shifts:
        return None
    middle = max(least, 1)  # the parabola through three errors; at no lag the first three
    before, at, after = errors[middle - 1 : middle + 2]
    bend = before - 2.0 * at + after
    if bend <= 0.0 or math.sqrt(2.0 * max(errors[least], 0.0) / bend) * period > SURE:
        return None
    return max(0.0, (middle + 0.5 * (before - after) / bend) * period)


class LagWatch:
    """Watches the groups of joints that are commanded and measured. `see` and `lags` belong to one thread at a time."""

    def __init__(self, robot: Robot, period: float) -> None:
        """`period` [s] between two commands."""
        self._period, self._every = period, max(1, round(SAMPLE / period))
        self._groups = {g.name: _columns(robot, g) for g in robot.groups if g.kind is Kind.POSITION and g.measured}
        units = {c.name: c.unit for c in robot.channels}
        self._least = np.array([LEAST_WAY.get(units[name], math.inf) for name in robot.channel_names])
        self._samples: deque[tuple[Array, Array]] = deque(maxlen=round(WINDOW / (period * self._every)))
        self._found: dict[str, deque[float]] = {name: deque(maxlen=REMEMBERED) for name in self._groups}
        self._count, self._last = 0, math.nan

    def see(self, stamp: float, commanded: Array, measured: Array) -> None:
        """Take what was `commanded` [D] at ROS time `stamp` [s] and what had been `measured` [D] just before."""
        if not abs(stamp - self._last - self._period) < 0.5 * self._period:
            self._samples.clear()  # a period is missing, or the clock was set
        self._last, self._count = stamp, self._count + 1
        if self._count % self._every == 0:
            self._samples.append((commanded, measured))

    def lags(self) -> dict[str, float]:
        """Seconds by which each group follows its commands, as far as its motion has shown it.

        The age of a measurement when it is read is a part of it: up to the period of the joint states.
        """
        if len(self._samples) == self._samples.maxlen:
            commanded, measured = (np.array(part) for part in zip(*self._samples, strict=True))
            self._compare(commanded, measured)
            self._samples.clear()  # no sample counts twice
        newest = {name: sorted(found) for name, found in self._found.items() if len(found) >= ENOUGH}
        return {name: found[len(found) // 2] for name, found in newest.items()}

    def _compare(self, commanded: Array, measured: Array) -> None:
        moves = (np.ptp(commanded, axis=0) >= self._least) & np.isfinite(measured).all(axis=0)
        for name, columns in self._groups.items():
            those = columns[moves[columns]]
            lag = lag_of(commanded[:, those], measured[:, those], self._period * self._every)
            if lag is not None:
                self._found[name].append(lag)


def _columns(robot: Robot, group: Group) -> npt.NDArray[np.intp]:
    return np.array([robot.index[c.name] for c in group.channels], dtype=np.intp)


def lag_sentences(robot: Robot, lags: Mapping[str, float]) -> tuple[str, ...]:
    """What a person should know about the `lags` [s] of a robot's groups that `command_latency` does not say."""
    groups = {g.name: g for g in robot.groups}
    found = []
    for name, lag in lags.items():
        known = groups[name].command_latency
        if abs(lag - known) <= LATE:
            continue
        late = f"group {name} follows its commands {lag:.2f} s later"
        way = f"set command_latency: {lag:.2f} in its group of the robot YAML, or run pi0 robot measure-latency --group {name}"
        found.append(
            f"{late}, {f'not {known:.2f} s' if known else 'so the robot is that much behind its plans'}; {way}"
        )
    return tuple(found)
