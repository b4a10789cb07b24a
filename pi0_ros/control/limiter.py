"""The last function before the wire: no command leaves that breaks a limit relative to the one before.

Every group carries the state (value, rate, rate of rate) of its *command*; the reference is the previous command and
never the measurement, which lags and would throttle the motion (ros2_control, joint_limits). Each step asks ruckig
(Berscheid and Kroeger, "Jerk-limited Real-time Trajectory Generation with Arbitrary Target States", 2021) for the
fastest way to the goal within the group's limits, all channels arriving together so that the path is kept.

The braking distance is respected by induction: a state is emitted only if it can be stopped inside the position
limits; where a candidate cannot, the group takes the first step of the stop that the state before is known to have.
A velocity channel goes the same way one derivative higher: its value is a velocity, its rate an acceleration.
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

from pi0_ros.control.limits import INSIDE, TIE, Bounds, bounds_of, stop_reach
from pi0_ros.control.reachable import Reachable
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]

MAX_LEAD = 0.25  # [s] how far ahead a group that fell behind aims to meet its plan again


class Motion(NamedTuple):
    """State of a group's command: value, rate, rate of rate, one entry a channel."""

    x: tuple[float, ...]
    v: tuple[float, ...]
    a: tuple[float, ...]

    @property
    def still(self) -> bool:
        """Nothing moves and nothing is about to."""
        return not any(self.v) and not any(self.a)


def shaped(x: float, v: float, a: float, low: float, high: float, limits: tuple[float, float, float]) -> list[float]:
    """The goal nearest to (x, v, a) that is inside the limits and can be stopped inside `low` .. `high`."""
    speed, acceleration, jerk = limits
    if x < low or x > high:
        return [min(max(x, low), high), 0.0, 0.0]
    v = min(max(v, -speed * INSIDE), speed * INSIDE)
    room = math.sqrt(max(2.0 * jerk * (speed * INSIDE - abs(v)), 0.0))
    most = min(acceleration * INSIDE, room)
    a = min(max(a, -most), most)
    up, down = stop_reach(v, a, acceleration, jerk), stop_reach(-v, -a, acceleration, jerk)
    if x + up > high or x - down < low:
        return [x, 0.0, 0.0]
    return [x, v, a]


Asked = tuple[list[list[float]], float]
"""A goal (values, rates, rates of rate) and the share of the velocity limits with which to go there."""


class Way(NamedTuple):
    """A way that is being followed: what it was planned for, where it leads, how much of it is done [s]."""

    asked: Asked
    aim: list[list[float]]
    trajectory: Trajectory
    spent: float
    clipped: bool
    """`aim` is not all that was asked for."""


class Move(NamedTuple):
    """One period towards a goal at a scale: the motion it leads to, None where only braking is left."""

    asked: Asked
    motion: Motion | None
    lead: float
    way: Way | None
    limited: bool


class GroupLimiter:
    """Moves one group's command towards goals, one period a step."""

    def __init__(self, bounds: Bounds, period: float, recovery: float = math.inf, steps: bool = False) -> None:
        """`steps`: goals jump by their nature (grippers), so that being late for one is no limit at work."""
        self.bounds, self._dt, self._recovery, self.steps = bounds, period, recovery, steps
        self.motion = Motion(bounds.lower, bounds.lower, bounds.lower)
        self.lead = period
        count = len(bounds.lower)
        self._ruckig, self._halt = Ruckig(count, period), Trajectory(count)
        self._ways = (Trajectory(count), Trajectory(count))  # one that is followed, one for the next
        self._way: Way | None = None
        self._foreseen: Move | None = None
        self._goal, self._stop = InputParameter(count), InputParameter(count)
        for parameters in (self._goal, self._stop):
            parameters.max_acceleration, parameters.max_jerk = list(bounds.acceleration), list(bounds.jerk)
        self._stop.control_interface = ControlInterface.Velocity
        self._stop.max_velocity = list(bounds.velocity)
        self._stop.target_velocity = self._stop.target_acceleration = [0.0] * count
        self._reach = [
            stop_reach(v, a, a, j) for v, a, j in zip(bounds.velocity, bounds.acceleration, bounds.jerk, strict=True)
        ]

    @property
    def own_way(self) -> bool:
        """Whether it goes towards its goals in its own time, because they jump or it has fallen behind its plan."""
        return self.steps or self.lead > self._dt

    def reset(self, x: Sequence[float]) -> None:
        """Start from `x` at rest."""
        zeros = (0.0,) * len(self.bounds.lower)
        self.follow(Motion(tuple(x), zeros, zeros))

    def follow(self, motion: Motion) -> None:
        """Be in `motion`, to which a plan has led within the limits."""
        self.motion, self.lead, self._way, self._foreseen = motion, self._dt, None, None

    def step(self, goal: Array, scale: float = 1.0) -> bool:
        """One period towards `goal` [3, D] at time now + lead, at `scale` of the velocity limits.

        Returns whether a limit changed the command: the goal was out of reach in time or out of bounds.
        """
        asked, move = (goal.tolist(), scale), self._foreseen
        if move is None or move.asked != asked:
            move = self._move(asked)
        if move.motion is None:
            self.brake()
        else:
            self.motion, self.lead, self._way, self._foreseen = move.motion, move.lead, move.way, None
        return move.limited

    def foresee(self, goal: Array, scale: float) -> None:
        """Find out what `step(goal, scale)` will do, should it come next; what it does is the same without."""
        self._foreseen = self._move((goal.tolist(), scale))

    def brake(self) -> bool:
        """One period of the stop: everything to rest together, or each as fast as it can where there is no room.

        Returns whether there was anything to stop.
        """
        now = self.motion
        self.follow(now)
        if now.still:
            return False
        together = self._plan_stop(now, Synchronization.Phase) and self._inside(now)
        if together or self._plan_stop(now, Synchronization.No):
            self.motion = self._sample(self._halt, self._dt)
        else:  # never seen; standing still is then the one answer that needs no solver
            self.reset(now.x)
        return True

    def _move(self, asked: Asked) -> Move:
        wanted, now, way = asked[0], self.motion, self._way
        if now.still and wanted[0] == list(now.x) and not any(wanted[1]) and not any(wanted[2]):
            return Move(asked, now, self.lead, way, False)
        if way is None or way.asked != asked:
            speed = self._speeds(now, asked[1])
            target = self._shape(now, wanted, speed)
            clipped = target[0] != wanted[0] or target[1] != wanted[1]
            if self.lead <= self._dt and self._coasts(now, target):
                return self._checked(asked, _motion(target), self._dt, None, clipped)
            if way is not None and _same(way.aim, target):
                way = way._replace(asked=asked, clipped=clipped)
            else:
                trajectory = self._plan_way(now, target, speed)
                if trajectory is None:
                    return Move(asked, None, MAX_LEAD, None, True)
                way = Way(asked, target, trajectory, 0.0, clipped)
        left, spent = float(way.trajectory.duration) - way.spent, way.spent + self._dt
        if left <= self._dt * (1.0 + 1e-6):
            return self._checked(asked, _motion(way.aim), left, None, way.clipped)
        return self._checked(asked, self._sample(way.trajectory, spent), left, way._replace(spent=spent), way.clipped)

    def _checked(self, asked: Asked, after: Motion, left: float, way: Way | None, clipped: bool) -> Move:
        """The move to `after`, `left` [s] of its way being left now; only where the group can be stopped from there."""
        if not self._stoppable(self.motion, after):
            return Move(asked, None, self.lead, None, True)
        late = left > self.lead * (1.0 + 1e-6)
        lead = min(left, MAX_LEAD) if late else max(self._dt, self.lead - self._dt)
        return Move(asked, after, lead, way, clipped or (late and not self.steps))

    def _speeds(self, now: Motion, scale: float) -> list[float]:
        bounds = self.bounds
        return [
            v * scale if low <= x <= high else min(v * scale, self._recovery)
            for x, v, low, high in zip(now.x, bounds.velocity, bounds.lower, bounds.upper, strict=True)
        ]

    def _shape(self, now: Motion, wanted: list[list[float]], speed: list[float]) -> list[list[float]]:
        """The goal inside the limits; the same object where it was inside already, which is nearly always."""
        bounds, target = self.bounds, wanted
        for i, (x, v, a, fast) in enumerate(zip(*wanted, speed, strict=True)):
            low, high, most, jerk = bounds.lower[i], bounds.upper[i], bounds.acceleration[i], bounds.jerk[i]
            easy = abs(v) + a * a / (2.0 * jerk) <= fast * INSIDE and abs(a) <= most * INSIDE
            if easy and low + self._reach[i] < x < high - self._reach[i]:
                continue
            column = shaped(x, v, a, low, high, (fast, most, jerk))
            if column != [x, v, a]:
                target = [list(row) for row in wanted] if target is wanted else target
                target[0][i], target[1][i], target[2][i] = column
        return target

    def _coasts(self, now: Motion, target: list[list[float]]) -> bool:
        """Whether one constant jerk within the limit leads to `target` in one period: the command is on its plan."""
        dt, bounds = self._dt, self.bounds
        for x, v, a, x1, v1, a1, most in zip(now.x, now.v, now.a, *target, bounds.jerk, strict=True):
            jerk = (a1 - a) / dt
            if abs(jerk) > most or abs(v + (a + 0.5 * jerk * dt) * dt - v1) > TIE * most * dt * dt:
                return False
            if abs(x + (v + (a / 2.0 + jerk * dt / 6.0) * dt) * dt - x1) > TIE * most * dt * dt * dt:
                return False
        return True

    def _plan_way(self, now: Motion, target: list[list[float]], speed: list[float]) -> Trajectory | None:
        goal, followed = self._goal, self._way
        spare = self._ways[1] if followed is not None and followed.trajectory is self._ways[0] else self._ways[0]
        goal.current_position, goal.current_velocity, goal.current_acceleration = now.x, now.v, now.a
        goal.target_position, goal.target_velocity, goal.target_acceleration = target
        goal.max_velocity = speed
        for goal.synchronization, goal.minimum_duration in (
            (Synchronization.Phase, self.lead),
            (Synchronization.Phase, None),
            (Synchronization.No, None),
        ):
            if self._solve(goal, spare):
                return spare
        return None

    def _plan_stop(self, now: Motion, way: Synchronization) -> bool:
        stop = self._stop
        stop.current_position, stop.current_velocity, stop.current_acceleration = now.x, now.v, now.a
        stop.synchronization = way
        return self._solve(stop, self._halt)

    def _solve(self, parameters: InputParameter, trajectory: Trajectory) -> bool:
        """Whether ruckig found a trajectory; it raises where its synchronisation finds no solution."""
        try:
            return self._ruckig.calculate(parameters, trajectory) in (Result.Working, Result.Finished)
        except RuckigError:
            return False

    def _inside(self, now: Motion) -> bool:
        """Whether the planned stop stays inside the limits, or moves inward only where `now` is outside."""
        return all(
            bound.min >= min(low, x) - TIE and bound.max <= max(high, x) + TIE
            for bound, x, low, high in zip(
                self._halt.position_extrema, now.x, self.bounds.lower, self.bounds.upper, strict=True
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


def _motion(rows: list[list[float]]) -> Motion:
    return Motion(*(tuple(row) for row in rows))


def _same(aim: list[list[float]], target: list[list[float]]) -> bool:
    """Whether two goals are one but for rounding."""
    return all(
        abs(p - q) <= TIE for row, other in zip(aim, target, strict=True) for p, q in zip(row, other, strict=True)
    )


class Limiter:
    """All groups of a robot: one command in, one command out."""

    def __init__(self, robot: Robot, period: float, recovery: float) -> None:
        self.groups = [
            GroupLimiter(
                bounds_of(g, period),
                period,
                math.inf if g.kind is Kind.VELOCITY else recovery,
                g.kind is Kind.GRIPPER,
            )
            for g in robot.groups
        ]
        ends = np.cumsum([len(g.channels) for g in robot.groups]).tolist()
        self.slices = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        self._reachable = Reachable([g.bounds for g in self.groups], period)
        self._on_plan = [False] * len(self.groups)  # where these groups are stands in `state` alone
        self.state: Array = self._gathered()
        """Value, rate, rate of rate [3, D] of the command; never written into, only replaced."""

    def reset(self, values: Array) -> None:
        """Start from `values` [D] at rest."""
        for group, part in zip(self.groups, self.slices, strict=True):
            group.reset(values[part].tolist())
        self._on_plan = [False] * len(self.groups)
        self.state = self._gathered()

    def step(self, goal: Array, moves: Sequence[bool], scales: Sequence[float]) -> int | None:
        """One period: the groups that move towards their parts of `goal` [3, D], the others to a stop; how many of them
        a limit changed. `scales`: shares of the groups' velocity limits.

        A number that is not finite anywhere refuses the whole command: None, and nothing has moved.
        """
        if not math.isfinite(goal.sum()):
            return None
        now, after = self.state, goal.copy()
        asked = [move and not group.own_way for group, move in zip(self.groups, moves, strict=True)]
        free, changed = self._reachable(now, goal, scales, asked), 0
        for i, (group, part, move) in enumerate(zip(self.groups, self.slices, moves, strict=True)):
            if free[i]:
                self._on_plan[i] = True
                continue
            if self._on_plan[i]:
                self._on_plan[i] = False
                group.follow(_motion(now[:, part].tolist()))
            if move:
                changed += group.step(goal[:, part], scales[i])
            else:
                group.brake()
            after[:, part] = group.motion
        self.state = after
        return changed

    def foresee(self, goal: Array, scales: Sequence[float]) -> None:
        """Let the groups whose goals are known ahead (they jump, or are met later) find out what `step` will do."""
        for i, (group, part) in enumerate(zip(self.groups, self.slices, strict=True)):
            if group.own_way and not self._on_plan[i]:
                group.foresee(goal[:, part], scales[i])

    @property
    def still(self) -> bool:
        """Every group is at rest."""
        return not self.state[1:].any()

    def _gathered(self) -> Array:
        return np.concatenate([np.array(group.motion) for group in self.groups], axis=1)
