"""The motion of one channel that comes nearest to a row of targets within its limits: a small convex problem in the jerks.

Unknown are the jerks u of N pieces of `step` [s]. Position, velocity and acceleration are linear in them from the known
state at the join, so that

    min  sum_k w_k (x_k - target_k)^2 + (T / step)^6 step^6 sum_k u_k^2
    with -V_k' <= v_k <= V_k, |a_k| <= A, |u_k| <= J, low <= x_k <= high, and rest at the end

is convex. Most of the time no limit is met; then the answer is one product with a matrix that is made once. Else DAQP, a dual
active-set solver (Arnstrom, Bemporad, Axehill, IEEE Trans. Automatic Control, 2022), finds the exact one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import daqp  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SMOOTHING = 0.043  # [s]; noise faster than this is left out, motion slower than this is followed
REST = (1, 2)  # velocity and acceleration are zero at the end
EQUAL = 5  # DAQP's mark for an equation
SLACK = 1e-7  # relative, when the answer is checked


class ChannelLimits(NamedTuple):
    """Bounds of one channel over the N knots: velocity up and down [N], acceleration, jerk, lowest and highest value [N]."""

    velocity: Array
    backward: Array
    acceleration: float
    jerk: float
    low: Array
    high: Array


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
    free, forced, power = np.zeros((3, count, 3)), np.zeros((3, count, count)), np.eye(3)
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


def keeps(states: Array, y: Array, limits: ChannelLimits, step: float, slack: float = 0.0) -> bool:
    """Whether one channel's `states` [3, N] and `y` [N] are inside its limits, up to a share `slack` of each."""
    x, v, a = states
    more = 1.0 + slack
    room = 0.1 * slack
    return bool(
        (v <= limits.velocity * more).all()
        and (v >= -limits.backward * more - 1e-9).all()
        and np.abs(a).max() <= limits.acceleration * more
        and np.abs(y).max() <= limits.jerk * step**3 * more
        and (x <= limits.high + room).all()
        and (x >= limits.low - room).all()
    )


def within_limits(problem: Problem, target: Array, state: Array, limits: ChannelLimits, step: float) -> Array | None:
    """y [N] of the best motion on `target` [N] from `state` [3] within `limits`; None where there is none."""
    count = len(target)
    moved = problem.free @ state
    linear = problem.targets @ target + problem.start @ state
    jerk = np.full(count, limits.jerk * step**3)
    speed, back = limits.velocity * step, limits.backward * step
    turn = np.full(count, limits.acceleration * step * step)
    ends = -np.array([moved[i, -1] * step**i for i in REST])
    v, a = moved[1] * step, moved[2] * step * step
    upper = np.concatenate([jerk, speed - v, turn - a, limits.high - moved[0], ends])
    lower = np.concatenate([-jerk, -back - v, -turn - a, limits.low - moved[0], ends])
    sense = np.zeros(len(upper), dtype=np.int32)
    sense[-len(ends) :] = EQUAL
    y, _, flag, _ = daqp.solve(
        problem.hessian.copy(), linear, problem.table.copy(), upper, lower, sense, primal_tol=1e-10
    )
    found = np.asarray(y, dtype=np.float64)
    good = flag > 0 and bool(np.isfinite(found).all())
    return found if good else None
