"""A plan that can be followed: the command of every control period, made once for a path and a state to start from.

Every plan ends at rest (a velocity at a constant one) and every state on it keeps every limit, so what is left of a plan is a
stop that keeps them too:
a plan that is followed exactly never needs to be corrected, and the next one starts from a state that is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from pi0_ros.control.least_squares import (
    SMOOTHING,
    ChannelLimits,
    Problem,
    keeps,
    make_problem,
    states_of,
    within_limits,
    without_limits,
)
from pi0_ros.control.limits import Bounds, bounds_of, stop_reach
from pi0_ros.control.path_clock import (
    BESIDE,
    CATCH_UP,
    PathDemand,
    PathLimits,
    PathTimes,
    demand,
    path_times,
    smoother,
    starting_rate,
)
from pi0_ros.control.row_path import RowPath
from pi0_ros.robot.spec import Group, Kind, Robot

Array = npt.NDArray[np.float64]

KNOT = 0.02  # [s] about what one piece of constant jerk lasts
LOOK_AHEAD = 0.8  # [s] of path in a plan, at least; what lies further is planned in time
MARGIN = 0.995  # share of the limits that a plan uses
FASTER = 1.1  # times the speed of its targets that a motion may reach to be on them again
REJOIN = 0.05  # share of the velocity limit that is always allowed for that
AGAINST = 0.002  # share of the velocity limit with which a motion may go the way that its targets never go
OVERSHOOT = 1e-4  # [rad, m] by which a motion may leave the range of its targets
INSIDE_BY = 1e-7  # [rad, m] by which a motion stays inside the position limits, for what the solver tolerates
LEFT_PATH = 5e-3  # [rad, m] by which a motion is off its targets when limits count as having changed it
SETTLED = 1e-7  # share of a limit below which a motion is at rest


LONGEST_STOP = 2.0  # [s] a plan is never so fast that a stop would take longer


def planning_bounds(group: Group, period: float) -> Bounds:
    """Bounds of a group's plans: its limits, and no speed from which a stop takes longer than `LONGEST_STOP`.

    Some URDFs give every joint 100 rad/s. At 3 rad/s^2 that is never reached, and knots made for a stop from it are
    seconds apart.
    """
    bounds = bounds_of(group, period)
    if group.kind is Kind.VELOCITY:
        return bounds
    speeds = [
        min(v, a * max(LONGEST_STOP - a / j, 0.5 * LONGEST_STOP))
        for v, a, j in zip(bounds.velocity, bounds.acceleration, bounds.jerk, strict=True)
    ]
    return replace(bounds, velocity=tuple(speeds))


@dataclass(frozen=True)
class Grid:
    """Knots of a robot's plans: `count` of them `step` [s] apart, each `parts` control periods, the last `tail` for a stop."""

    count: int
    step: float
    parts: int
    tail: int


def make_grid(bounds: Sequence[Bounds], period: float) -> Grid:
    """Knots that are enough for the longest stop and for `LOOK_AHEAD` before it."""
    stops = [
        v / a + a / j for b in bounds for v, a, j in zip(b.velocity, b.acceleration, b.jerk, strict=True) if v and a
    ]
    longest = max(stops, default=0.5)
    parts = max(1, round(max(KNOT, longest / 30.0) / period))
    step = parts * period
    tail = math.ceil(longest / step) + 2
    return Grid(tail + max(math.ceil(LOOK_AHEAD / step), tail), step, parts, tail)


@dataclass(frozen=True)
class PlanLimits:
    """Limits of all channels [D] in the order of the action vector, those of grippers infinite."""

    kinds: tuple[Kind, ...]
    bounds: Bounds
    path: PathLimits
    value: Array  # [D] limit of a velocity channel's value, infinite for a position
    recovery: float


def plan_limits(robot: Robot, period: float, recovery: float) -> PlanLimits:
    """Limits of a robot's plans, for a control `period` [s]; `recovery` [rad/s, m/s]: speed of a way back inside."""
    parts = [planning_bounds(group, period) for group in robot.groups]
    whole = Bounds(*(tuple(x for b in parts for x in getattr(b, f.name)) for f in fields(Bounds)))
    kinds = tuple(c.kind for c in robot.channels)
    limits = [c.limits for c in robot.channels]
    grips, driven = np.array([k is Kind.GRIPPER for k in kinds]), np.array([k is Kind.VELOCITY for k in kinds])
    free = np.where(grips, np.inf, 1.0)
    path = PathLimits(
        np.where(driven, [m.velocity for m in limits], whole.velocity) * free,
        np.array([m.acceleration for m in limits]) * free,
        np.array([m.jerk for m in limits]) * free,
        driven,
    )
    return PlanLimits(kinds, whole, path, np.where(driven, path.speed, np.inf), recovery)


@dataclass(frozen=True)
class PlanRequest:
    """Everything a plan is made of. `state` [3, D] is the command one period before the plan's first one.

    `time`: ROS time of that state. `times` say where on `path` each knot is. `scales` [N]: shares of the velocity limits.
    """

    path: RowPath
    state: Array
    time: float
    times: PathTimes
    scales: Array


@dataclass(frozen=True)
class MotionPlan:
    """Commands [P, 3, D] of P control periods, at rest at the end; `path_times` [P] say where on `path` each is.

    Gripper columns hold what the rows ask for; how they get there is the limiter's.
    """

    request: PlanRequest
    states: Array
    path_times: Array
    rates: Array
    limited: npt.NDArray[np.bool_]  # [P] whether a limit made the path slower or left it

    @property
    def path(self) -> RowPath:
        """What is followed."""
        return self.request.path


def ask(
    path: RowPath,
    begin: float,
    behind: float,
    state: Array,
    time: float,
    clock: float,
    scales: Array,
    grid: Grid,
    limits: PlanLimits,
) -> tuple[PlanRequest, PathDemand]:
    """The request for a plan on `path` from plan time `begin` on, `behind` [s] late; and what the path asks for."""
    demanded = demand(path, begin, _samples(grid), grid.step, SMOOTHING, limits.path)
    rate = starting_rate(demanded.velocity[0], state, limits.path)
    times = path_times(demanded, begin, behind, rate, clock, scales)
    return PlanRequest(path, state, time, times, scales), demanded


def _samples(grid: Grid) -> int:
    """How many steps of path a plan may need."""
    return math.ceil(grid.count * CATCH_UP) + 1


def solve(request: PlanRequest, grid: Grid, limits: PlanLimits) -> MotionPlan | None:
    """The plan, None if no motion keeps every limit. Pure; takes milliseconds, so not for the control thread."""
    at, rates = request.times.times[1:], request.times.rates
    targets = request.path.at(at)
    driven, grips = limits.path.driven, np.array([k is Kind.GRIPPER for k in limits.kinds])
    targets[:, driven] *= np.minimum(rates, 1.0)[:, None]
    ended = request.path.end <= float(at[grid.count - grid.tail - 1])
    weighted = grid.count if ended else grid.count - grid.tail
    y = np.zeros((grid.count, len(limits.kinds)))
    short = np.zeros(grid.count, dtype=np.bool_)
    columns = np.flatnonzero(~grips)
    problem = make_problem(grid.count, grid.step, weighted)
    wanted, start = np.ascontiguousarray(targets[:, columns]), request.state[:, columns]
    best = without_limits(problem, wanted, start)
    states = states_of(problem, best, start)
    bounds = _channel_limits(columns, wanted[:weighted], start, request.scales, grid.step, limits)
    for i in np.flatnonzero(~keeps(states, best, bounds, grid.step)).tolist():
        target, begin = wanted[:, i : i + 1], start[:, i : i + 1]
        found = _nearest(problem, target, begin, bounds.channel(i), grid.step, int(columns[i]), limits)
        if found is None:
            return None
        best[:, i] = found[:, 0]
        off = np.abs(_one(problem, found, begin)[0] - target)[:, 0]
        short[:weighted] |= off[:weighted] > LEFT_PATH
    y[:, columns] = best
    return _sampled(request, y, short, grid, limits)


def _channel_limits(
    columns: npt.NDArray[np.intp], target: Array, start: Array, scales: Array, step: float, limits: PlanLimits
) -> ChannelLimits:
    """What channels `columns` [C] may do on `target` [N, C] from `start` [3, C]: never past their range, save to stop."""
    b = limits.bounds
    most, turn, jerk, lower, upper = (
        np.array(getattr(b, n))[columns] for n in ("velocity", "acceleration", "jerk", "lower", "upper")
    )
    x, v, a = start
    low = np.maximum(np.minimum(lower + INSIDE_BY, x), np.minimum(target.min(axis=0), x) - OVERSHOOT)
    high = np.minimum(np.maximum(upper - INSIDE_BY, x), np.maximum(target.max(axis=0), x) + OVERSHOOT)
    count, turned, share = len(scales), a * a / (2.0 * jerk * MARGIN), scales[:, None]
    fastest = _fastest(target, x, step, columns, limits)
    moving = np.abs(v) + turned
    velocity = np.maximum(np.minimum(fastest, share * most) * MARGIN, _stopping(moving, turn * MARGIN, step, count))
    velocity = np.minimum(velocity, np.maximum(most * MARGIN, moving))
    rising, falling = (
        np.minimum(velocity, np.maximum(_stopping(s * v + turned, turn * MARGIN, step, count), AGAINST * most))
        for s in (1.0, -1.0)
    )
    steps, left = np.diff(target, axis=0), target[-1] - x
    up = (left > OVERSHOOT) | (steps > OVERSHOOT).any(axis=0)
    down = (left < -OVERSHOOT) | (steps < -OVERSHOOT).any(axis=0)
    driven = limits.path.driven[columns]
    ahead = np.where(driven, most * MARGIN, np.where(up, velocity, rising))
    back = np.where(driven, most * MARGIN, np.where(down, velocity, falling))
    # A velocity is bounded by a share of its limit, and may always come back to zero.
    highs = np.where(driven, np.minimum(np.maximum(high, 0.0), np.maximum(share * upper, x)), high)
    lows = np.where(driven, np.maximum(np.minimum(low, 0.0), np.minimum(-share * upper, x)), low)
    return ChannelLimits(ahead, back, turn * MARGIN, jerk * MARGIN, lows, highs)


def _fastest(target: Array, x: Array, step: float, columns: npt.NDArray[np.intp], limits: PlanLimits) -> Array:
    """The speed [C] at which channels may follow `target` [N, C] from `x` [C]."""
    b = limits.bounds
    most, lower, upper = (np.array(getattr(b, n))[columns] for n in ("velocity", "lower", "upper"))
    rows = np.abs(np.diff(target, axis=0)).max(axis=0, initial=0.0) / step
    fastest: Array = np.minimum(most, np.maximum(FASTER * rows, REJOIN * most))
    outside = (x < lower) | (x > upper)
    return np.where(outside, np.minimum(most, limits.recovery), fastest)


def _stopping(moving: Array, turn: Array, step: float, count: int) -> Array:
    """The speed [count, C] that channels which are already too fast may still have: a gentle way down."""
    now = moving * (1.0 + SETTLED)
    allowed: Array = now - np.outer(np.arange(-5.0, count - 5.0), 0.5 * turn * step)
    return np.minimum(allowed, now)


def _nearest(
    problem: Problem, target: Array, start: Array, bounds: ChannelLimits, step: float, column: int, limits: PlanLimits
) -> Array | None:
    """The best motion [N, 1] within one channel's `bounds`, with room for a stop if those leave none, else within its limits.

    None if there is none at all.
    """
    b, (x, v, a) = limits.bounds, start[:, 0].tolist()
    low, high = min(b.lower[column] + INSIDE_BY, x), max(b.upper[column] - INSIDE_BY, x)
    found = _kept(problem, target, start, bounds, step)
    if found is not None:
        return found
    up, down = (stop_reach(s * v, s * a, bounds.acceleration.item(), bounds.jerk.item()) for s in (1.0, -1.0))
    most = np.full_like(bounds.velocity, max(b.velocity[column] * MARGIN, float(bounds.velocity.max())))
    fast = np.maximum(bounds.velocity, bounds.backward)
    lows, highs = np.full_like(fast, low), np.full_like(fast, high)
    stopping = bounds._replace(
        velocity=fast,
        backward=fast,
        low=np.maximum(lows, np.minimum(bounds.low, x - down)),
        high=np.minimum(highs, np.maximum(bounds.high, x + up)),
    )
    found = _kept(problem, target, start, stopping, step)
    if found is not None:
        return found
    return _kept(problem, target, start, bounds._replace(velocity=most, backward=most, low=lows, high=highs), step)


def _kept(problem: Problem, target: Array, start: Array, bounds: ChannelLimits, step: float) -> Array | None:
    """The best motion [N, 1] within `bounds`, checked."""
    found = within_limits(problem, target, start, bounds, step)
    if found is None or not keeps(_one(problem, found, start), found, bounds, step, 1e-6).all():
        return None
    return found


def _one(problem: Problem, y: Array, start: Array) -> Array:
    states: Array = problem.free @ start + problem.forced @ y
    return states


def _sampled(
    request: PlanRequest, y: Array, short: npt.NDArray[np.bool_], grid: Grid, limits: PlanLimits
) -> MotionPlan:
    """The states of every control period, from the jerks between the knots."""
    parts, period = grid.parts, grid.step / grid.parts
    jerks = y / grid.step**3
    ends = states_of(make_problem(grid.count, grid.step, grid.count), y, request.state)
    x, v, a = np.concatenate([request.state[:, None], ends[:, :-1]], axis=1)  # at the beginning of each piece
    states = np.empty((grid.count, parts, 3, y.shape[1]))
    for part in range(1, parts):
        t = part * period
        states[:, part - 1, 0] = x + (v + (a / 2.0 + jerks * (t / 6.0)) * t) * t
        states[:, part - 1, 1] = v + (a + jerks * (t / 2.0)) * t
        states[:, part - 1, 2] = a + jerks * t
    states[:, -1] = ends.transpose(1, 0, 2)
    return _plan_of(request, states.reshape(grid.count * parts, 3, -1), short, grid, limits)


def _plan_of(
    request: PlanRequest, states: Array, short: npt.NDArray[np.bool_], grid: Grid, limits: PlanLimits
) -> MotionPlan:
    """The plan of `states` [P, 3, D], at rest at the end and with what the rows ask of the grippers."""
    parts = grid.parts
    rest = np.abs(states[:, 1:]) < SETTLED * np.array([limits.bounds.velocity, limits.bounds.acceleration])
    states[:, 1:][rest] = 0.0
    states[-1, 1:] = 0.0
    grips = np.array([k is Kind.GRIPPER for k in limits.kinds])
    knots = request.times.times
    at = np.interp(np.arange(1, len(states) + 1) / parts, np.arange(len(knots)), knots)
    if grips.any():
        states[:, 0, grips] = request.path.at(at)[:, grips]
        states[:, 1:, grips] = 0.0
    rates = np.repeat(request.times.rates, parts)
    limited = np.repeat(short, parts) | (rates < 0.98)
    return MotionPlan(request, states, at, rates, limited)


def solve_once(grid: Grid) -> None:
    """Make every matrix that plans need, so that the first plan takes no longer than the others."""
    smoother(_samples(grid) + 2 * BESIDE, grid.step, SMOOTHING)
    for weighted in (grid.count, grid.count - grid.tail):
        make_problem(grid.count, grid.step, weighted)
