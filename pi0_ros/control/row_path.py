"""What the rows of a chunk ask for, as a function of plan time: one value per channel at any moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pi0_ros.robot.spec import Kind

Array = npt.NDArray[np.float64]

CURVATURE_SHARE = (
    1.0 / 6.0
)  # a parabola through rows leaves them by 1/8 of their second difference; a spline by a bit more

TURN_SHARE = 1.0 / 3.0  # a parabola turns by 1/4 of the rows' step beside it at most; as much more as above

ROS_ROUNDING = 1e-6  # [s] within which two ROS times are one: as numbers they are a quarter of a microsecond apart
END = 0.06  # [s] of rows that say how fast a chunk ends
STOP = 0.15  # [s] that a stop takes at least, if rows of as long tell motion from noise, so as not to begin before the last row
SLOWING = 0.075  # [s] of it in which it slows down; before that it goes on
CREEP = 0.005  # share of the velocity limit below which a robot that moves as its rows say ends at rest
AT_REST = 0.05  # share of the velocity limit below which it ends at rest


@lru_cache(maxsize=32)
def _natural_inverse(rows: int) -> Array:
    """Inverse of the tridiagonal (1 4 1) matrix of a natural uniform cubic spline's inner knots."""
    inner = rows - 2
    inverse: Array = np.linalg.inv(4.0 * np.eye(inner) + np.eye(inner, k=1) + np.eye(inner, k=-1)).astype(np.float64)
    inverse.setflags(write=False)
    return inverse


def _second_derivatives(values: Array) -> Array:
    """Second derivatives [H, D] per row period squared of the natural cubic spline (Press et al., Numerical Recipes, 3.3)."""
    curvature = np.zeros_like(values)
    if len(values) > 2:
        right = 6.0 * (values[2:] - 2.0 * values[1:-1] + values[:-2])
        curvature[1:-1] = _natural_inverse(len(values)) @ right if len(values) <= 512 else right / 6.0
    return curvature


def _overshoot(values: Array) -> tuple[Array, Array]:
    """How far below and above its two rows the curve between them may go [H-1, D].

    Only if two steps on either side say that it turns there, and as far as both neighbouring second differences
    say (a minmod limiter): a step between rows at rest gives none, nor does a slope that ends on rows at rest, and noise
    seldom does.
    """
    step, bend = np.diff(values, axis=0), np.zeros_like(values)
    bend[1:-1] = np.diff(step, axis=0)
    turn = np.zeros_like(step)  # [H-1, D] signed: above 0 if the curve has its top between two rows
    turn[1:-1] = np.where(step[:-2] * step[2:] < 0.0, np.sign(step[:-2]), 0.0)
    turn[2:-1] *= step[:-3] * step[1:-2] > 0.0
    turn[1:-2] *= step[3:] * step[2:-1] > 0.0
    size = np.minimum(np.abs(bend[:-1]), np.abs(bend[1:])) * (np.sign(bend[:-1]) == np.sign(bend[1:])) * CURVATURE_SHARE
    size[1:-1] = np.minimum(size[1:-1], np.minimum(np.abs(step[:-2]), np.abs(step[2:])) * TURN_SHARE)
    return np.where(turn < 0.0, size, 0.0), np.where(turn > 0.0, size, 0.0)


@lru_cache(maxsize=32)
def kinds_of(kinds: tuple[Kind, ...]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which channels [D] are grippers, and which velocities."""
    return np.array([k is Kind.GRIPPER for k in kinds]), np.array([k is Kind.VELOCITY for k in kinds])


@dataclass(frozen=True)
class Joint:
    """The first moments of a path that continues an earlier one: `values` [n, D] from `start` on, `period` apart."""

    start: float
    period: float
    values: Array

    @property
    def end(self) -> float:
        """Plan time [s] of the last value."""
        return self.start + (len(self.values) - 1) * self.period

    def at(self, times: Array) -> Array:
        """Values [n, D] at plan times [n], linear between those that are kept."""
        place = np.clip((times - self.start) / self.period, 0.0, len(self.values) - 1.0)
        low = np.minimum(place.astype(int), len(self.values) - 2)
        share = (place - low)[:, None]
        between: Array = self.values[low] * (1.0 - share) + self.values[low + 1] * share
        return between


@dataclass(frozen=True)
class RowPath:
    """Row k at plan time start + k * period: smooth positions, linear velocities, held grippers.

    Before row 0 the first row is held; after the last row a motion that has not ended comes to rest. Velocities are 0 there.
    """

    start: float
    period: float
    rows: Array  # [H, D]
    bend: Array  # [H, D] second derivatives per period squared, 0 if a channel is linear
    below: Array  # [H-1, D]
    above: Array  # [H-1, D]
    kinds: tuple[Kind, ...]
    coast: Array  # [D] velocity with which the last row is passed
    brake: Array  # [D] deceleration after it
    carry: Array  # [D] seconds after it before that begins
    joint: Joint | None = None

    @property
    def end(self) -> float:
        """Plan time of the last row; a single row lasts one period."""
        return self.start + (len(self.rows) - 1) * self.period

    def at(self, times: Array) -> Array:
        """Values [n, D] at plan times [n]."""
        result = self.rows_at(times)
        if self.joint is not None:
            early = times < self.joint.end
            if bool(early.any()):
                joined = self.joint.at(times[early])
                begun = (times[early] >= self.start - ROS_ROUNDING)[:, None]
                result[early] = np.where(begun & kinds_of(self.kinds)[0], result[early], joined)
        return result

    def rows_at(self, times: Array) -> Array:
        """Values [n, D] of the rows alone, without what is left of the path before."""
        last = len(self.rows) - 1
        place = (times - self.start) / self.period
        rounding = ROS_ROUNDING / self.period
        low = np.clip(np.floor(place + rounding), 0, last - 1).astype(int)
        s = np.clip(place - low, 0.0, 1.0)[:, None]
        a, b = self.rows[low], self.rows[low + 1]
        linear = a * (1.0 - s) + b * s
        r = 1.0 - s
        curve = linear + ((r**3 - r) * self.bend[low] + (s**3 - s) * self.bend[low + 1]) / 6.0
        result: Array = np.clip(curve, np.minimum(a, b) - self.below[low], np.maximum(a, b) + self.above[low])
        after = np.maximum(times - self.end, 0.0)[:, None]
        if bool(after.any()):
            slowing = np.clip(after - self.carry, 0.0, np.abs(self.coast) / self.brake)
            result += self.coast * np.minimum(after, self.carry)
            result += (self.coast - 0.5 * np.sign(self.coast) * self.brake * slowing) * slowing
        held, driven = kinds_of(self.kinds)
        if held.any():
            result[:, held] = np.where(s >= 1.0 - rounding, b[:, held], a[:, held])
        if driven.any():
            outside = (place < -rounding) | (place > last + rounding)
            result[np.ix_(outside, driven)] = 0.0
        return result


def make_path(
    start: float,
    period: float,
    values: Array,
    kinds: tuple[Kind, ...],
    velocity: Array,
    brake: Array,
    moving: Array | None = None,
) -> RowPath:
    """Path through `values` [H, D], row k at start + k * period; a single row lasts one period.

    `velocity` [D]: limits, of which a small share counts as rest at the end; `brake` [D]: decelerations from there, less where
    the stop would take less than `STOP`. `moving` [D]: velocities of the robot where the path begins. Rows of less than `STOP`
    cannot tell motion from noise; where the robot moves as they say, they mean motion.
    """
    rows = values if len(values) > 1 else np.repeat(values, 2, axis=0)
    smooth = np.array([float(k is Kind.POSITION) for k in kinds])
    below, above = _overshoot(rows * smooth)
    back = min(len(rows) - 1, max(1, round(END / period)))
    last = (rows[-1] - rows[-1 - back]) / (back * period)
    ahead = min(max(2 * back, math.ceil(STOP / period - 1e-9)), len(rows) - 1)
    before = (rows[-1 - back] - rows[-1 - ahead]) / max((ahead - back) * period, period)
    steady = np.sign(last) == np.sign(before)  # a jump of the last row is no motion that goes on
    slope = np.where(steady, np.sign(last) * np.minimum(np.abs(last), np.abs(before)), 0.0) * smooth
    coast = np.where(np.abs(slope) > AT_REST * velocity, np.clip(slope, -velocity, velocity), 0.0)
    sure = (coast != 0.0) & (ahead * period >= STOP - 1e-9)
    if moving is not None and (len(rows) - 1) * period < STOP:
        agreed = np.sign(last) * np.minimum(np.abs(last), np.abs(moving)) * (np.sign(last) == np.sign(moving)) * smooth
        carried = np.abs(agreed) > CREEP * velocity
        coast, sure = np.where(carried, np.clip(agreed, -velocity, velocity), coast), sure | carried
    gentle = np.where(sure, np.minimum(brake, np.abs(coast) / SLOWING), brake)
    carry = np.where(sure, np.maximum(0.5 * STOP - 0.5 * np.abs(coast) / gentle, 0.0), 0.0)
    return RowPath(start, period, rows, _second_derivatives(rows * smooth), below, above, kinds, coast, gentle, carry)
