"""Which groups reach their goals within one period, inside every limit: those on their plan, so nearly always all.

A period is cut into thirds of constant jerk; three jerks lead from one state (value, rate, rate of rate) to any other, and
which ones is a matter of three linear equations. Nearly all that has to be compared with a limit is then linear in the two
states: one product of a small matrix for all channels, where planning each group's way takes a solver. What is not linear,
room for a stop, has linear bounds, and mostly they are enough (`Roomy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

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


class Roomy:
    """A quick answer to `Reachable`'s question: yes for channels well inside every limit, no for those past a linear one.

    Each row is a share of a limit, so at most one in size. With c = A/2J the rate of a stop peaks below |v| + c |a|, and the
    stop is no longer than k times that, k = 3A/2J + V/2A; a sum of sizes is the largest of the sums with all signs.
    """

    def __init__(self, bounds: Bounds, period: float) -> None:
        """`bounds` of all channels, `period` [s]."""
        jerks, between = thirds(period)
        x, v, a = np.eye(6, 7, k=3)[:3]
        offset = np.eye(7)[6]
        jerks, first, second = (np.pad(rows, ((0, 0), (0, 1))) for rows in (jerks, *between))
        tables = []
        for low, high, speed, acceleration, jerk in zip(*vars(bounds).values(), strict=True):
            middle, half = 0.5 * (low + high), 0.5 * (high - low)
            before, after = np.eye(7)[0] - middle * offset, x - middle * offset
            bend = 0.5 * acceleration / jerk * a
            reach = 1.5 * acceleration / jerk + 0.5 * speed / acceleration
            stops = [after + reach * (p * v + q * bend) for p in (1.0, -1.0) for q in (1.0, -1.0)]
            turns = np.stack([first[2], second[2], a]) / (acceleration * INSIDE)
            rates = np.stack([first[1], second[1], v + bend, v - bend]) / (speed * INSIDE)
            tables.append(np.concatenate([jerks / jerk, turns, rates, np.stack([before, *stops]) / half]))
        self._table = np.stack(tables)  # [D, 15, 7]: eight rows that are the question itself, seven that are sufficient
        self._rates = self._table[:, 6:10].copy()
        self._states, self._shares = np.ones((7, len(tables))), np.empty((len(tables), 15, 1))

    def scale(self, scales: Array) -> None:
        """Take `scales` [D] of the velocity limits from now on."""
        self._table[:, 6:10] = self._rates / scales[:, None, None]

    def __call__(self, now: Array, goal: Array) -> npt.NDArray[np.bool_]:
        """Which channels may reach `goal` [3, D] from `now` [3, D] in one period, and which do if they may [D, 2]."""
        states, shares = self._states, self._shares
        states[:3], states[3:6] = now, goal
        np.matmul(self._table, states.T[:, :, None], out=shares)
        np.abs(shares, out=shares)
        inside: npt.NDArray[np.bool_] = np.maximum.reduceat(shares[:, :, 0], (0, 8), axis=1) <= 1.0
        return inside


class Reachable:
    """The question for one robot; all arrays have one column a channel."""

    def __init__(self, bounds: Sequence[Bounds], period: float) -> None:
        """`bounds` of each group, `period` [s]."""
        whole = Bounds(*(tuple(chain(*rows)) for rows in zip(*(vars(b).values() for b in bounds), strict=True)))
        lower, upper, velocity, acceleration, jerk = map(np.array, vars(whole).values())
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
        self._roomy = Roomy(whole, period)

    def __call__(self, now: Array, goal: Array, scales: Sequence[float], asked: Sequence[bool]) -> list[bool]:
        """For each group that is `asked` about, whether `goal` [3, D] may be had one period after `now` [3, D] and be
        stopped from; False for the others.

        `scales`: share of the velocity limits of each group.
        """
        if scales != self._scales:
            self._scales, each = list(scales), np.repeat(scales, self._counts)
            self._most[6:9] = self._velocity * each
            self._roomy.scale(each)
        quick = np.logical_and.reduceat(self._roomy(now, goal), self._starts).tolist()
        free = [may and does and wanted for (may, does), wanted in zip(quick, asked, strict=True)]
        if all(yes or not (may and wanted) for yes, (may, _), wanted in zip(free, quick, asked, strict=True)):
            return free
        groups = np.logical_and.reduceat(self._exactly(now, goal), self._starts).tolist()
        return [yes and wanted for yes, wanted in zip(groups, asked, strict=True)]

    def _exactly(self, now: Array, goal: Array) -> npt.NDArray[np.bool_]:
        """For each channel, whether its goal may be had."""
        states, used = np.concatenate((now, goal)), self._used
        np.matmul(self._rows, states, out=used[:9])
        np.subtract(states[::3], self._middle, out=used[9:])
        np.abs(used, out=used)
        bend, peak = used[2], used[8]
        peak += bend * bend * self._half_jerk
        used[10] += self._stopping(bend, peak)
        free = (used <= self._most).all(axis=0)
        waits = (now == goal).all(axis=0) & ~now[1:].any(axis=0)
        either: npt.NDArray[np.bool_] = free | waits
        return either

    def _stopping(self, bend: Array, peak: Array) -> Array:
        """How far a stop leads at most, whatever the signs: a little more than `limits.stop_reach`.

        `bend`: size of the rate of rate, `peak`: of the rate once that has gone to zero.
        """
        per_jerk, per_acceleration, ramp = self._stop
        distance: Array = peak * (bend * per_jerk + peak * per_acceleration + ramp)
        return distance
