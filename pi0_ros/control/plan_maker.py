"""Has plans made: where they can begin, what their path asks of the robot, and which are refused. ROS seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.control.joining import Join
from pi0_ros.control.motion_plan import (
    MotionPlan,
    PlanRequest,
    ask,
    make_grid,
    plan_limits,
    planning_bounds,
    solve,
    solve_once,
)
from pi0_ros.control.path_clock import PathDemand
from pi0_ros.control.plan_making import Pending, Planner
from pi0_ros.control.running_plan import AcceptedChunk, Running
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]
Scales = Callable[[Array], Array]

SLOWED = 1.05  # a path that takes this much longer than its rows is said to be slowed


class Start(NamedTuple):
    """Where a plan begins: `state` [3, D] at `time`, the running plan's command `join` (-1: its start), first sent at `first`."""

    join: int
    state: Array
    time: float
    first: float


@dataclass(frozen=True)
class Coming:
    """A plan on its way: where on its path it begins, and from which state of the robot. `shares` [N] of the velocity limits."""

    chunk: AcceptedChunk
    joined: Join
    start: Start
    shares: Array
    work: Pending
    late: int = 0  # how often it was asked for again because it was not ready in time


class PlanMaker:
    """Asks a planner for plans."""

    def __init__(self, robot: Robot, settings: ExecutorSettings, period: float, planner: Planner) -> None:
        """`period` [s] between two commands; `planner` makes plans, in another thread if time matters."""
        self._names, self._slow_down = robot.channel_names, settings.slow_down
        self._period, self._planner = period, planner
        self.grid = make_grid([planning_bounds(g, period) for g in robot.groups if g.kind is not Kind.GRIPPER], period)
        self._limits = plan_limits(robot, period, settings.recovery_velocity)
        self.slowed = ""
        """How the newest path is slowed, "" where it is not."""
        solve_once(self.grid)

    def forget(self) -> None:
        """Nothing is slowed."""
        self.slowed = ""

    def start(self, running: Running | None, now: float, commanded: Array, again: int = 0) -> Start:
        """Where a plan can begin that is asked for now.

        `now`: the plan clock at the last command, which was `commanded` [3, D]. `again`: how often this plan was
        not ready; it is asked for in the moment of a command, so that its first is one later at least, and each time more.
        """
        lead = self._planner.periods()
        if again:
            lead = max(lead, 1) + again - 1
        if running is None or running.ended:
            time = now + lead * self._period
            return Start(-1, commanded, time, now + (lead + 1) * self._period)
        join = min(running.index + lead, len(running.plan.states) - 1)
        ahead = (join - running.index) * self._period
        state = running.plan.states[join] if join >= 0 else running.plan.request.state
        return Start(join, state, now + ahead, now + ahead + self._period)

    def submit(self, chunk: AcceptedChunk, joined: Join, start: Start, scales: Scales) -> tuple[Coming | None, str]:
        """Measure the path of a new chunk and have its plan made; None and the refusal if it is too fast for the robot."""
        shares = scales(self._knots(start))
        request, demanded = self._ask(joined, start, shares)
        factor = request.times.factor
        if factor > self._slow_down:
            return (
                None,
                f"too fast for the robot: {self._demand(demanded)}; it would have to be slowed {factor:.1f} times",
            )
        self.slowed = f"slowed {factor:.2f} times: {self._demand(demanded)}" if factor > SLOWED else ""
        work = self._planner.submit(lambda: solve(request, self.grid, self._limits))
        return Coming(chunk, joined, start, shares, work), ""

    def renew(self, chunk: AcceptedChunk, joined: Join, start: Start, scales: Scales | Array, late: int = 0) -> Coming:
        """Have the plan of a chunk made once more, from further on; there is none if that is too fast for the robot.

        Nobody waits for an answer, so the path is measured where plans are made: it takes a millisecond.
        """
        shares = scales if isinstance(scales, np.ndarray) else scales(self._knots(start))

        def make() -> MotionPlan | None:
            request, _ = self._ask(joined, start, shares)
            return solve(request, self.grid, self._limits) if request.times.factor <= self._slow_down else None

        return Coming(chunk, joined, start, shares, self._planner.submit(make), late)

    def _ask(self, joined: Join, start: Start, shares: Array) -> tuple[PlanRequest, PathDemand]:
        path, begin, behind, _ = joined
        return ask(path, begin, behind, start.state, start.time, 1.0, shares, self.grid, self._limits)

    def _knots(self, start: Start) -> Array:
        return start.time + self.grid.step * np.arange(1, self.grid.count + 1, dtype=np.float64)

    def _demand(self, demanded: PathDemand) -> str:
        return f"{self._names[demanded.channel]} would need {demanded.excess:.1f} times its {demanded.quantity} limit"
