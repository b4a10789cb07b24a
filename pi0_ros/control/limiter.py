"""A jerk-limited filter for what has no plan (hold, stop, teleoperation, grippers), and the last check of a command before it is sent.

Every group carries the state (value, velocity, acceleration) of its *command*; the reference is the previous command and
never the measurement, which lags and would throttle the motion (ros2_control, joint_limits). A group on a plan takes the
plan's states, which keep every limit and end at rest. Every other step asks ruckig (Berscheid and Kroeger, "Jerk-limited
Real-time Trajectory Generation with Arbitrary Target States", 2021) for the fastest way to the goal *in the goal's own
frame*: there the goal stands still, so the way to a goal that moves needs no run-up and does not overshoot.

The braking distance is respected by induction: a state is emitted only if it can be stopped inside the position
limits; where a candidate cannot, the group takes the first step of the stop that the state before is known to have.
A velocity channel goes the same way one derivative higher: its value is a velocity, its velocity an acceleration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ruckig import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    ControlInterface,
    InputParameter,
    Result,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from pi0_ros.control.limits import TIE, Bounds, bounds_of, stop_reach
from pi0_ros.robot.spec import Group, Kind, Robot

Array = npt.NDArray[np.float64]


MOVING_GOAL = 0.9  # share of the speed limit with which a goal may move, so that it can be reached


class Motion(NamedTuple):
    """State of a group's command: value, velocity, acceleration, one entry per channel."""

    x: tuple[float, ...]
    v: tuple[float, ...]
    a: tuple[float, ...]

    @property
    def still(self) -> bool:
        """Nothing moves and nothing is about to."""
        return not any(self.v) and not any(self.a)


def at_rest(x: Sequence[float]) -> Motion:
    """The state of a group that stands at `x`."""
    zeros = (0.0,) * len(x)
    return Motion(tuple(x), zeros, zeros)


def reachable_goal(
    x: float, v: float, low: float, high: float, limits: tuple[float, float, float]
) -> tuple[float, float]:
    """The goal nearest to value `x`, velocity `v` that is inside the limits and can be stopped inside `low` .. `high`."""
    speed, acceleration, jerk = limits
    if x < low or x > high:
        return min(max(x, low), high), 0.0
    v = min(max(v, -speed * MOVING_GOAL), speed * MOVING_GOAL)
    if x + stop_reach(v, 0.0, acceleration, jerk) > high or x - stop_reach(-v, 0.0, acceleration, jerk) < low:
        return x, 0.0
    return x, v


class RuckigProblem:
    """A problem of `count` channels for ruckig: its input (`given`) and the trajectory that it `found`. Made once, reused every period."""

    def __init__(self, count: int, period: float) -> None:
        self._ruckig, self.given, self.found = Ruckig(count, period), InputParameter(count), Trajectory(count)

    def solve(self) -> bool:
        """Whether ruckig found a trajectory; it raises if its synchronisation finds no solution."""
        try:
            return self._ruckig.calculate(self.given, self.found) in (Result.Working, Result.Finished)
        except (RuckigError, ValueError):  # ValueError: a result that its binding does not know
            return False


class GroupLimiter:
    """Moves one group's command towards goals, one period a step."""

    def __init__(
        self,
        bounds: Bounds,
        period: float,
        recovery: float = math.inf,
        steps: bool = False,
        driven: bool = False,
        together: bool = True,
    ) -> None:
        """`steps`: goals jump by their nature (grippers), so that being late for one is no limit at work.
        `driven`: the values are velocities, so a share of the speed bounds the value and not the way to it.
        `together`: all channels keep to a straight line; else each is as fast as it can be."""
        self.bounds, self._dt, self._recovery, self.steps, self.driven = bounds, period, recovery, steps, driven
        self._together = together
        count = len(bounds.lower)
        self.motion = at_rest(bounds.lower)
        self._goal, self._stop, self._line = (
            RuckigProblem(count, period),
            RuckigProblem(count, period),
            RuckigProblem(1, period),
        )
        for given in (self._goal.given, self._stop.given):
            given.max_acceleration, given.max_jerk = list(bounds.acceleration), list(bounds.jerk)
        for given, zeros in ((self._goal.given, [0.0] * count), (self._line.given, [0.0])):
            given.target_position = given.target_velocity = given.target_acceleration = zeros
        self._goal.given.synchronization = Synchronization.No
        stop = self._stop.given
        stop.control_interface, stop.max_velocity = ControlInterface.Velocity, list(bounds.velocity)
        stop.target_velocity = stop.target_acceleration = [0.0] * count
        self._reach = [
            stop_reach(v, a, a, j) for v, a, j in zip(bounds.velocity, bounds.acceleration, bounds.jerk, strict=True)
        ]

    def reset(self, x: Sequence[float]) -> None:
        """Start from `x` at rest."""
        self.motion = at_rest(x)

    def step(self, goal: Array, scale: float = 1.0) -> bool:
        """One period towards `goal` [3, D] (value, velocity; its acceleration is not used), one period from now.

        `scale`: share of the velocity limits. Returns whether a limit changed the command: the goal was out of bounds or
        out of reach.
        """
        now, wanted = self.motion, goal.tolist()
        if now.still and wanted[0] == list(now.x) and not any(wanted[1]):
            return False
        speed = self._speeds(now, scale)
        target = self._target(wanted, speed, scale)
        after = self._towards(now, target, speed)
        if after is None or not self._stoppable(now, after[0]):
            self.brake()
            return True
        self.motion, late = after
        clipped = any(x != w for (x, _), w in zip(target, wanted[0], strict=True))
        return clipped or (late and not self.steps)

    def brake(self) -> bool:
        """One period of the stop: everything to rest together, or each as fast as it can if there is no room.

        Returns whether there was anything to stop.
        """
        now = self.motion
        if now.still:
            return False
        together = self._plan_stop(now, Synchronization.Phase) and self._inside(now)
        if together or self._plan_stop(now, Synchronization.No):
            self.motion = self._sample(self._stop.found, self._dt)
        else:  # never seen; standing still is then the one answer that needs no solver
            self.reset(now.x)
        return True

    def _speeds(self, now: Motion, scale: float) -> list[float]:
        bounds, share = self.bounds, 1.0 if self.driven else scale
        return [
            v * share if low <= x <= high else min(v * share, self._recovery)
            for x, v, low, high in zip(now.x, bounds.velocity, bounds.lower, bounds.upper, strict=True)
        ]

    def _target(self, wanted: list[list[float]], speed: list[float], scale: float) -> list[tuple[float, float]]:
        """Value and velocity of the goal of each channel, inside the limits."""
        bounds, share = self.bounds, scale if self.driven else 1.0
        return [
            reachable_goal(x, v, low * share, high * share, (fast, most, jerk))
            for x, v, low, high, fast, most, jerk in zip(
                wanted[0], wanted[1], bounds.lower, bounds.upper, speed, bounds.acceleration, bounds.jerk, strict=True
            )
        ]

    def _towards(
        self, now: Motion, target: list[tuple[float, float]], speed: list[float]
    ) -> tuple[Motion, bool] | None:
        """The state one period on, and whether the goal is further away than that; None if there is no way."""
        goal, dt = self._goal.given, self._dt
        gap = [x - (p - v * dt) for x, (p, v) in zip(now.x, target, strict=True)]
        relative = [r - v for r, (_, v) in zip(now.v, target, strict=True)]
        fastest = [s - v for s, (_, v) in zip(speed, target, strict=True)]
        slowest = [-s - v for s, (_, v) in zip(speed, target, strict=True)]
        way = self._straight(gap, relative, now.a, slowest, fastest)
        if way is None:
            goal.current_position, goal.current_velocity, goal.current_acceleration = gap, relative, now.a
            goal.max_velocity, goal.min_velocity = fastest, slowest
            if not self._goal.solve():
                return None
            ahead = self._sample(self._goal.found, dt)
            way = ahead, self._goal.found.duration
        ahead, duration = way
        if duration <= dt * (1.0 + 1e-6):
            zeros = (0.0,) * len(target)
            return Motion(tuple(x for x, _ in target), tuple(v for _, v in target), zeros), False
        x = tuple(r + p for r, (p, _) in zip(ahead.x, target, strict=True))
        return Motion(x, tuple(r + v for r, (_, v) in zip(ahead.v, target, strict=True)), ahead.a), True

    def _straight(
        self, gap: list[float], v: list[float], a: Sequence[float], slowest: list[float], fastest: list[float]
    ) -> tuple[Motion, float] | None:
        """One period of the straight way out of `gap`, and how long it takes; None if the motion is not on a line.

        All channels are one problem along the line, so that rounding cannot part them.
        """
        size = math.sqrt(sum(p * p for p in gap)) if self._together else 0.0
        if not size:
            return None
        unit, bounds = [p / size for p in gap], self.bounds
        along_v, along_a = (sum(u * m for u, m in zip(unit, motion, strict=True)) for motion in (v, a))
        for u, r, b, most, turn in zip(unit, v, a, bounds.velocity, bounds.acceleration, strict=True):
            if abs(r - along_v * u) > TIE * most or abs(b - along_a * u) > TIE * turn:
                return None
        line, moving = self._line.given, [(i, u) for i, u in enumerate(unit) if abs(u) > 1e-9]
        line.current_position, line.current_velocity, line.current_acceleration = [size], [along_v], [along_a]
        line.max_acceleration = [min(bounds.acceleration[i] / abs(u) for i, u in moving)]
        line.max_jerk = [min(bounds.jerk[i] / abs(u) for i, u in moving)]
        line.max_velocity = [min((fastest[i] if u > 0 else slowest[i]) / u for i, u in moving)]
        line.min_velocity = [max((slowest[i] if u > 0 else fastest[i]) / u for i, u in moving)]
        if not self._line.solve():
            return None
        found = self._line.found
        x1, v1, a1 = (rows[0] for rows in found.at_time(min(self._dt, found.duration)))
        if abs(a1) < TIE * line.max_acceleration[0]:
            a1 = 0.0  # at full speed, ruckig would first brake for what a rounding is too much
        ahead = Motion(*(tuple(m * u for u in unit) for m in (x1, v1, a1)))
        return ahead, found.duration

    def _plan_stop(self, now: Motion, way: Synchronization) -> bool:
        stop = self._stop.given
        stop.current_position, stop.current_velocity, stop.current_acceleration = now.x, now.v, now.a
        stop.synchronization = way
        return self._stop.solve()

    def _inside(self, now: Motion) -> bool:
        """Whether the planned stop stays inside the limits, or moves inward only if `now` is outside."""
        return all(
            bound.min >= min(low, x) - TIE and bound.max <= max(high, x) + TIE
            for bound, x, low, high in zip(
                self._stop.found.position_extrema, now.x, self.bounds.lower, self.bounds.upper, strict=True
            )
        )

    def _stoppable(self, before: Motion, after: Motion) -> bool:
        """Whether `after` keeps the speed limits and can be stopped inside the position limits."""
        bounds, far = self.bounds, True
        for i, (x, v, a) in enumerate(zip(after.x, after.v, after.a, strict=True)):
            jerk, last = bounds.jerk[i], before.x[i]
            low, high = min(bounds.lower[i], last), max(bounds.upper[i], last)
            if not low - TIE <= x <= high + TIE or not math.isfinite(v + a):
                return False
            if v * a > 0.0 and abs(v) + a * a / (2.0 * jerk) > bounds.velocity[i] * (1.0 + 1e-6):
                return abs(before.v[i]) > abs(v)
            if low + self._reach[i] < x < high - self._reach[i]:
                continue
            up = stop_reach(v, a, bounds.acceleration[i], jerk)
            down = stop_reach(-v, -a, bounds.acceleration[i], jerk)
            far = far and x + up <= high and x - down >= low
        return far or (self._plan_stop(after, Synchronization.No) and self._inside(before))

    def _sample(self, trajectory: Trajectory, time: float) -> Motion:
        """The state at `time` [s] of a trajectory; exactly at rest once it is."""
        x, v, a = trajectory.at_time(min(time, trajectory.duration))
        b = self.bounds
        v = [0.0 if abs(r) < TIE * m else r for r, m in zip(v, b.velocity, strict=True)]
        a = [0.0 if abs(r) < TIE * m else min(max(r, -m), m) for r, m in zip(a, b.acceleration, strict=True)]
        return Motion(tuple(x), tuple(v), tuple(a))


def goes_own_way(group: Group) -> bool:
    """Whether a group aims at what a plan says and is not bound to it: its values jump (a gripper), or are bounded by what
    is measured (joints that velocities move)."""
    return group.kind is Kind.GRIPPER or any(channel.joint for channel in group.channels)


class Limiter:
    """All groups of a robot: one command in, one command out."""

    def __init__(self, robot: Robot, period: float, recovery: float) -> None:
        self.groups = [
            GroupLimiter(
                bounds_of(g, period),
                period,
                math.inf if g.kind is Kind.VELOCITY else recovery,
                g.kind is Kind.GRIPPER,
                g.kind is Kind.VELOCITY,
                not any(c.joint for c in g.channels),
            )
            for g in robot.groups
        ]
        ends = np.cumsum([len(g.channels) for g in robot.groups]).tolist()
        self.slices = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        self._own_way = [goes_own_way(g) for g in robot.groups]
        self._on_plan = False  # where the groups are stands in `state` alone
        self.state: Array = self._gathered()
        """Value, velocity, acceleration [3, D] of the command; never written into, only replaced."""

    def reset(self, values: Array) -> None:
        """Start from `values` [D] at rest."""
        for group, part in zip(self.groups, self.slices, strict=True):
            group.reset(values[part].tolist())
        self.state = self._gathered()

    def step(self, goal: Array, moves: Sequence[bool], scales: Sequence[float]) -> int | None:
        """One period: the groups that move towards their parts of `goal` [3, D], the others to a stop; how many of them
        a limit changed. `scales`: shares of the groups' velocity limits.

        A number that is not finite anywhere refuses the whole command: None, and nothing has moved.
        """
        if not math.isfinite(goal.sum()):
            return None
        self._leave_plan()
        after, changed = goal.copy(), 0
        for group, part, move, scale in zip(self.groups, self.slices, moves, scales, strict=True):
            if move:
                changed += group.step(goal[:, part], scale)
            else:
                group.brake()
            after[:, part] = group.motion
        self.state = after
        return changed

    def follow(self, states: Array, scales: Sequence[float]) -> None:
        """One period along a plan, to its `states` [3, D]; groups that go their own way only aim at what is there."""
        after = states.copy()
        for group, part, own, scale in zip(self.groups, self.slices, self._own_way, scales, strict=True):
            if own:
                group.step(states[:, part], scale)
                after[:, part] = group.motion
        self.state, self._on_plan = after, True

    def _leave_plan(self) -> None:
        """Tell the groups where a plan has led them."""
        if self._on_plan:
            self._on_plan = False
            for group, part, own in zip(self.groups, self.slices, self._own_way, strict=True):
                if not own:
                    group.motion = Motion(*(tuple(row) for row in self.state[:, part].tolist()))

    @property
    def still(self) -> bool:
        """Every group is at rest."""
        return not self.state[1:].any()

    def _gathered(self) -> Array:
        return np.concatenate([np.array(group.motion) for group in self.groups], axis=1)
