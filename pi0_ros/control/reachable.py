"""Which groups reach their goals within one period, inside every limit: those on their plan, so nearly always all.

A period is cut into thirds of constant jerk; three jerks lead from one state (value, rate, rate of rate) to any other, and
which ones is a matter of three linear equations. Nearly all that has to be compared with a limit is then linear in the two
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
        # Rows: rate of rate three times, jerk three times, rate three times; positions before and after come behind them.
        after = np.eye(6, k=3)
        self._rows = np.concatenate([between[:, 2], after[2:3], jerks, between[:, 1], after[1:2]])
        self._middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
        fast = velocity * INSIDE
        self._most = np.stack([*[acceleration * INSIDE] * 3, *[jerk] * 3, fast, fast, fast, half, half])
        self._used = np.zeros_like(self._most)
        self._velocity, self._half_jerk = fast, 0.5 / jerk
        self._stop = (1.0 / jerk, 0.5 / acceleration, 0.5 * acceleration / jerk)
        self._scales: list[float] = []

    def __call__(self, now: Array, goal: Array, scales: Sequence[float]) -> list[bool]:
        """For each group, whether `goal` [3, D] may be had one period after `now` [3, D] and be stopped from.

        `scales`: share of the velocity limits of each group.
        """
        if scales != self._scales:
            self._scales = list(scales)
            self._most[6:9] = self._velocity * np.repeat(scales, self._counts)
        states, used = np.concatenate((now, goal)), self._used
        np.matmul(self._rows, states, out=used[:9])
        np.subtract(states[::3], self._middle, out=used[9:])
        np.abs(used, out=used)
        bend, peak = used[2], used[8]
        peak += bend * bend * self._half_jerk
        used[10] += self._stopping(bend, peak)
        free = (used <= self._most).all(axis=0)
        if free.all():
            return [True] * len(self._counts)
        free |= ~((now != goal).any(axis=0) | now[1:].any(axis=0))
        return list(np.logical_and.reduceat(free, self._starts).tolist())

    def _stopping(self, bend: Array, peak: Array) -> Array:
        """How far a stop leads at most, whatever the signs: a little more than `limits.stop_reach`.

        `bend`: size of the rate of rate, `peak`: of the rate once that has gone to zero.
        """
        per_jerk, per_acceleration, ramp = self._stop
        distance: Array = peak * (bend * per_jerk + peak * per_acceleration + ramp)
        return distance
