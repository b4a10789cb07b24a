"""The motion of one channel that comes nearest to a row of targets within its limits: a small convex problem in the jerks.

Unknown are the jerks u of N pieces of `step` [s]. Position, velocity and acceleration are linear in them from the known
state at the join, so that

    min  sum_k w_k (x_k - target_k)^2 + (T / step)^6 step^6 sum_k u_k^2
    with -V_k' <= v_k <= V_k, |a_k| <= A, |u_k| <= J, low <= x_k <= high, and rest at the end

is convex. Most of the time no limit is met; then the answer is one product with a matrix that is made once. Else DAQP, a dual
active-set solver (Arnstrom, Bemporad, Axehill, IEEE Trans. Automatic Control, 2022), finds the exact one.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import NamedTuple

import daqp  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SMOOTHING = 0.043  # [s]; noise faster than this is left out, motion slower than this is followed
REST = (1, 2)  # velocity and acceleration are zero at the end
EQUAL = 5  # DAQP's mark for an equation


class ChannelLimits(NamedTuple):
    """Bounds of C channels over N knots: velocity up and down [N, C], acceleration and jerk [C], lowest and highest value [N, C]."""

    velocity: Array
    backward: Array
    acceleration: Array
    jerk: Array
    low: Array
    high: Array

    def channel(self, i: int) -> ChannelLimits:
        """The bounds of channel `i` alone, as a column of one."""
        return ChannelLimits(*(np.ascontiguousarray(bound[..., i : i + 1]) for bound in self))


class Problem(NamedTuple):
    """What does not depend on the targets. Unknown are y = u * step^3, so that all numbers are of one size."""

    free: Array  # [3, N, 3] states at the knots without any jerk, from the state at the join
    forced: Array  # [3, N, N] states at the knots per y
    hessian: Array  # [N, N]
    targets: Array  # [N, N] linear term of the cost per target
    start: Array  # [N, 3] the same per state at the join
    answer: Array  # [N, N + 3] y of the problem without limits, from targets and state
    table: Array  # rows of the constraints: v, a, x at each knot and what is at rest


def _chain(count: int, step: float) -> tuple[Array, Array]:
    flow = np.array([[1.0, step, step * step / 2.0], [0.0, 1.0, step], [0.0, 0.0, 1.0]])
    push = np.array([1.0 / 6.0, 0.5 / step, 1.0 / step**2])  # of y = u step^3
    free, forced, power = np.empty((3, count, 3)), np.zeros((3, count, count)), np.eye(3)
    column = push
    effects = [push]
    for k in range(count):
        power = flow @ power
        free[:, k] = power
        column = flow @ column
        effects.append(column)
    for lag in range(count):
        rows = np.arange(lag, count)
        forced[:, rows, rows - lag] = effects[lag][:, None]
    return free, forced


@lru_cache(maxsize=16)
def make_problem(count: int, step: float, weighted: int, smoothing: float = SMOOTHING) -> Problem:
    """The problem of `count` knots of which the first `weighted` have targets."""
    free, forced = _chain(count, step)
    weight = np.zeros(count)
    weight[:weighted] = 1.0
    hessian = forced[0].T @ (weight[:, None] * forced[0]) + (smoothing / step) ** 6 * np.eye(count)
    targets = -forced[0].T * weight
    start = forced[0].T @ (weight[:, None] * free[0])
    ends = np.stack([forced[i, -1] * step**i for i in REST])
    size = count + len(REST)
    system = np.zeros((size, size))
    system[:count, :count], system[:count, count:], system[count:, :count] = hessian, ends.T, ends
    right = np.zeros((size, count + 3))
    right[:count, :count], right[:count, count:] = -targets, -start
    right[count:, count:] = -np.stack([free[i, -1] * step**i for i in REST])
    answer: Array = np.linalg.solve(system, right)[:count].astype(np.float64)
    table = np.concatenate([forced[1] * step, forced[2] * step * step, forced[0], ends])
    return Problem(free, forced, hessian, targets, start, answer, np.ascontiguousarray(table))


def without_limits(problem: Problem, targets: Array, state: Array) -> Array:
    """y [N, D] of the best motions on `targets` [N, D] from `state` [3, D], were there no limits."""
    answer: Array = problem.answer @ np.concatenate([targets, state])
    return answer


def states_of(problem: Problem, y: Array, state: Array) -> Array:
    """Value, velocity, acceleration [3, N, D] at the knots."""
    moved: Array = problem.free @ state + problem.forced @ y
    return moved


def keeps(states: Array, y: Array, limits: ChannelLimits, step: float, slack: float = 0.0) -> npt.NDArray[np.bool_]:
    """Which channels' `states` [3, N, C] and `y` [N, C] are inside their limits, up to a share `slack` of each [C]."""
    x, v, a = states
    more = 1.0 + slack
    room = 0.1 * slack
    inside = (
        (v <= limits.velocity * more)
        & (v >= -limits.backward * more - 1e-9)
        & (np.abs(a) <= limits.acceleration * more)
        & (np.abs(y) <= limits.jerk * (step**3 * more))
        & (x <= limits.high + room)
        & (x >= limits.low - room)
    )
    satisfied: npt.NDArray[np.bool_] = inside.all(axis=0)
    return satisfied


class Solver:
    """Solves problems of one shape for one channel after the other, in one thread.

    What depends on the shape alone (the factors of the Hessian, the constraints in their terms) is computed once, which is
    four fifths of the work.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._model = problem, daqp.Model()
        count, rows = len(problem.hessian), len(problem.table)
        self._size = count + rows
        self._sense = np.zeros(self._size, dtype=np.int32)
        self._sense[-len(REST) :] = EQUAL
        self._model.settings = {**self._model.settings, "primal_tol": 1e-10}
        self._given = (np.zeros(count), np.full(self._size, 1.0), np.full(self._size, -1.0))
        hessian, table = problem.hessian.copy(), problem.table.copy()
        linear, upper, lower = self._given
        self._model.setup(hessian, linear, table, upper, lower, self._sense)

    def solve(self, linear: Array, upper: Array, lower: Array) -> Array | None:
        """y [N] for a linear term [N] within bounds on y and on the rows of the table; None if there is none."""
        self._given = (linear, upper, lower)  # the solver looks at these while it works
        if self._model.update(f=linear, bupper=upper, blower=lower, sense=self._sense) < 0:
            return None
        y, _, flag, _ = self._model.solve()
        found: Array = np.array(y)
        return found if flag > 0 else None


class Solvers(threading.local):
    """The solvers of each thread: a solver keeps what it works on."""

    def __init__(self) -> None:
        self._made: list[tuple[Problem, Solver]] = []

    def of(self, problem: Problem) -> Solver:
        """This thread's solver for a problem."""
        for known, solver in self._made:
            if known is problem:
                return solver
        self._made = [*self._made[-15:], (problem, Solver(problem))]
        return self._made[-1][1]


_SOLVERS = Solvers()


def within_limits(problem: Problem, target: Array, state: Array, limits: ChannelLimits, step: float) -> Array | None:
    """y [N, 1] of the best motion on `target` [N, 1] from `state` [3, 1] within `limits` of one channel; None if there is none."""
    given = float(target.sum() + state.sum()) + sum(float(bound.sum()) for bound in limits)
    if not math.isfinite(given):
        return None
    count = len(target)
    moved = problem.free @ state
    linear = problem.targets @ target + problem.start @ state
    jerk, turn = (np.full((count, 1), b * step**n) for b, n in ((limits.jerk, 3), (limits.acceleration, 2)))
    speed, back = limits.velocity * step, limits.backward * step
    ends = np.array([-moved[i, -1] * step**i for i in REST])
    v, a = moved[1] * step, moved[2] * step * step
    upper = np.concatenate([jerk, speed - v, turn - a, limits.high - moved[0], ends])[:, 0]
    lower = np.concatenate([-jerk, -back - v, -turn - a, limits.low - moved[0], ends])[:, 0]
    found = _SOLVERS.of(problem).solve(linear[:, 0], upper, lower)
    return None if found is None else found[:, None]
