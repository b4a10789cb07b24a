"""A plan as a function of time: value, rate and rate of rate of every channel at any moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.robot.spec import Kind

Array = npt.NDArray[np.float64]
SAME = 1e-3  # [periods] within which two moments are one


@lru_cache(maxsize=32)
def _natural_inverse(rows: int) -> Array:
    """Inverse of the tridiagonal (1 4 1) matrix of a natural uniform cubic spline's inner knots."""
    inner = rows - 2
    inverse: Array = np.linalg.inv(4.0 * np.eye(inner) + np.eye(inner, k=1) + np.eye(inner, k=-1)).astype(np.float64)
    inverse.setflags(write=False)
    return inverse


def _second_derivatives(values: Array, period: float) -> Array:
    """M [H, D] of the natural cubic spline through uniform rows (Press et al., Numerical Recipes, 3.3)."""
    curvature = np.zeros_like(values)
    if len(values) > 2:
        right = 6.0 / period**2 * (values[2:] - 2.0 * values[1:-1] + values[:-2])
        curvature[1:-1] = _natural_inverse(len(values)) @ right
    return curvature


def _coefficients(values: Array, period: float, kinds: tuple[Kind, ...]) -> Array:
    """Cubic coefficients [H-1, 4, D] over local time [s]: C2 cubic positions, linear velocities, held grippers."""
    table = np.zeros((len(values) - 1, 4, values.shape[1]))
    table[:, 0] = values[:-1]
    slope = np.diff(values, axis=0) / period
    bend = _second_derivatives(values, period)
    cubic = np.array([k is Kind.POSITION for k in kinds])
    table[:, 1] = slope - np.where(cubic, period / 6.0 * (2.0 * bend[:-1] + bend[1:]), 0.0)
    table[:, 2] = np.where(cubic, bend[:-1] / 2.0, 0.0)
    table[:, 3] = np.where(cubic, np.diff(bend, axis=0) / (6.0 * period), 0.0)
    table[:, 1:, [k is Kind.GRIPPER for k in kinds]] = 0.0
    return table


def cubic_basis(s: float) -> Array:
    """Rows for value, rate and rate of rate of 1, s, s^2, s^3."""
    return np.array(((1.0, s, s * s, s * s * s), (0.0, 1.0, 2.0 * s, 3.0 * s * s), (0.0, 0.0, 2.0, 6.0 * s)))


def quintic_basis(s: float) -> Array:
    """Rows for value, rate and rate of rate of 1, s, .., s^5."""
    s2, s3, s4 = s * s, s * s * s, s * s * s * s
    return np.array(
        (
            (1.0, s, s2, s3, s4, s4 * s),
            (0.0, 1.0, 2.0 * s, 3.0 * s2, 4.0 * s3, 5.0 * s4),
            (0.0, 0.0, 2.0, 6.0 * s, 12.0 * s2, 20.0 * s3),
        )
    )


@dataclass(frozen=True)
class Spline:
    """Rows joined smoothly between `start` and `end` [ROS s]; outside it the nearest end is held, at rest."""

    start: float
    period: float
    table: Array  # [H-1, 4, D]
    last: Array  # [D]

    @property
    def end(self) -> float:
        """ROS time of the last row."""
        return self.start + len(self.table) * self.period

    def at(self, time: float) -> Array:
        """Value, rate, rate of rate [3, D] at ROS time `time` [s]."""
        offset = time - self.start
        if not 0.0 <= offset < len(self.table) * self.period:
            return self._held(offset)
        row = min(int(offset / self.period), len(self.table) - 1)
        result: Array = cubic_basis(offset - row * self.period) @ self.table[row]
        return result

    def _held(self, offset: float) -> Array:
        result = np.zeros((3, self.table.shape[2]))
        if 0.0 <= offset <= len(self.table) * self.period * (1.0 + 1e-12):
            result[:] = cubic_basis(self.period) @ self.table[-1]
        result[0] = self.table[0, 0] if offset < 0.0 else self.last
        return result


def make_spline(start: float, period: float, values: Array, kinds: tuple[Kind, ...]) -> Spline:
    """Spline through `values` [H, D], row k at start + k * period; a single row lasts one period."""
    rows = values if len(values) > 1 else np.repeat(values, 2, axis=0)
    return Spline(start, period, _coefficients(rows, period, kinds), rows[-1].copy())


@dataclass(frozen=True)
class Residual:
    """A gap [3, D] at `start` that dies away smoothly, with rate and rate of rate, in a time [s] of each channel."""

    start: float
    durations: Array  # [D]
    shortest: float
    longest: float
    table: Array  # [6, D] over local time

    def at(self, time: float) -> Array | None:
        """What is left of the gap [3, D] at ROS time `time`; None once it is gone."""
        s = time - self.start
        if s >= self.longest:
            return None
        result: Array = quintic_basis(max(s, 0.0)) @ self.table
        return result if s < self.shortest else result * (self.durations > s)


def make_residual(start: float, durations: Array, gap: Array) -> Residual:
    """Quintics from `gap` [3, D] at `start` to nothing, with nothing of rates left, after `durations` [D] [s]."""
    t = durations
    x, v, a = gap
    table = np.empty((6, gap.shape[1]))
    table[0], table[1], table[2] = x, v, a / 2.0
    table[3] = -(20.0 * x + 12.0 * t * v + 3.0 * t * t * a) / (2.0 * t**3)
    table[4] = (30.0 * x + 16.0 * t * v + 3.0 * t * t * a) / (2.0 * t**4)
    table[5] = -(12.0 * x + 6.0 * t * v + t * t * a) / (2.0 * t**5)
    return Residual(start, durations, float(durations.min()), float(durations.max()), table)


@dataclass(frozen=True)
class Timeline:
    """The plan being executed: a spline, and what is left of the gap where it was joined."""

    spline: Spline
    sequence: int
    epoch: int
    source: str
    observed: float  # ROS time of the observation behind it
    subtask: str = ""
    strategy: str = "replace"
    residual: Residual | None = None

    @property
    def end(self) -> float:
        """ROS time at which the plan runs out."""
        return self.spline.end

    def at(self, time: float) -> Array:
        """Value, rate, rate of rate [3, D] at ROS time `time` [s]; late rows are skipped because only time counts."""
        result = self.spline.at(time)
        left = self.residual.at(time) if self.residual is not None else None
        return result if left is None else result + left


class Meeting(NamedTuple):
    """Where a group that has fallen behind its plan meets it again."""

    plan: Timeline | None = None
    moment: float = math.nan
    goal: Array = np.empty((3, 0))

    def kept(self, plan: Timeline, moment: float, period: float) -> Meeting:
        """The meeting at `moment` [ROS s]: this one where it was to be then, but for what the plan clock is drawn to and
        fro, so that the way to it need not be planned anew each `period` [s]."""
        if plan is self.plan and abs(moment - self.moment) <= SAME * period:
            return self
        return Meeting(plan, moment, plan.at(moment))
