"""Which groups reach their goals within one period, inside every limit: those on their plan, so nearly always all.

A period is cut into thirds of constant jerk; three jerks lead from one state (value, rate, rate of rate) to any other, and
which ones is a matter of three linear equations. All that has to be compared with a limit is then linear in the two
states: one product of a small matrix for all channels, where planning each group's way takes a solver.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pi0_ros.control.limits import INSIDE, Bounds

Array = npt.NDArray[np.float64]


def thirds(period: float) -> tuple[Array, Array]:
    """Jerks of three thirds of a `period` [s] and states after one and two of them, from the states around it.

    Returns matrices [3, 6] and [2, 3, 6], to be multiplied with (value, rate, rate of rate before and after).
    """
    part = period / 3.0
    free = np.array([[1.0, part, part**2 / 2.0], [0.0, 1.0, part], [0.0, 0.0, 1.0]])
    push = np.array([part**3 / 6.0, part**2 / 2.0, part])
    before, after = np.eye(3, 6), np.eye(3, 6, 3)
    effect = np.stack([free @ free @ push, free @ push, push], axis=1)
    jerks: Array = np.linalg.solve(effect, after - free @ free @ free @ before)
    first = free @ before + np.outer(push, jerks[0])
    second = free @ first + np.outer(push, jerks[1])
    return jerks, np.stack([first, second])


class Reachable:
    """The question for one robot; all arrays have one column a channel."""

    def __init__(self, bounds: Sequence[Bounds], period: float) -> None:
        """`period` [s]."""
        velocity, acceleration, jerk, lower, upper = (
            np.array([number for b in bounds for number in getattr(b, name)])
            for name in ("velocity", "acceleration", "jerk", "lower", "upper")
        )
        self._counts = [len(b.lower) for b in bounds]
        self._starts = np.cumsum([0, *self._counts[:-1]])
        jerks, between = thirds(period)
        before, after = np.eye(6)[[0]], np.eye(6)[[5]]
        # Rows: value before, rate of rate three times, jerk three times; then the rate twice.
        self._rows = np.concatenate([before, between[:, 2], after, jerks, between[:, 1]])
        nothing, self._middle, self._half = np.zeros_like(lower), 0.5 * (lower + upper), 0.5 * (upper - lower)
        self._centre = np.stack([self._middle, *[nothing] * 6])
        self._most = np.stack([self._half, *[acceleration * INSIDE] * 3, *[jerk] * 3])
        self._velocity, self._half_jerk = velocity * INSIDE, 0.5 / jerk
        self._stop = (1.0 / jerk, 1.0 / (3.0 * jerk * jerk), 0.5 / acceleration, 0.5 * acceleration / jerk)
        self._scales: list[float] = []
        self._speed = self._velocity

    def __call__(self, now: Array, goal: Array, scales: Sequence[float]) -> list[bool]:
        """For each group, whether `goal` [3, D] may be had one period after `now` [3, D] and be stopped from.

        `scales`: share of the velocity limits of each group.
        """
        if scales != self._scales:
            self._scales, self._speed = list(scales), self._velocity * np.repeat(scales, self._counts)
        seen: Array = self._rows @ np.concatenate((now, goal))
        count = len(self._most)
        free = (np.abs(seen[:count] - self._centre) <= self._most).all(axis=0)
        free &= (np.abs(seen[count:]) <= self._speed).all(axis=0)
        rate, bend = np.abs(goal[1]), np.abs(goal[2])
        peak = rate + bend * bend * self._half_jerk
        free &= peak <= self._speed
        free &= np.abs(goal[0] - self._middle) + self._stopping(rate, bend, peak) <= self._half
        if free.all():
            return [True] * len(self._counts)
        free |= ~((now != goal).any(axis=0) | now[1:].any(axis=0))
        return list(np.logical_and.reduceat(free, self._starts).tolist())

    def _stopping(self, rate: Array, bend: Array, peak: Array) -> Array:
        """How far a stop leads at most in either direction: `limits.stop_reach` of all channels, signs left out."""
        per_jerk, cubic, per_acceleration, ramp = self._stop
        distance: Array = bend * (rate * per_jerk + bend * bend * cubic) + peak * (peak * per_acceleration + ramp)
        return distance
