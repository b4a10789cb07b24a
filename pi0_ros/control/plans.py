"""From accepted chunks to the plan that is followed: strategy, path, join, plan. Times are ROS seconds."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pi0_ros.control.chatter import SteadyGrips
from pi0_ros.control.chunk import Cause, Chunk, Verdict, in_robot_order
from pi0_ros.control.following import Following
from pi0_ros.control.joining import Join, Joining
from pi0_ros.control.plan_channels import plan_channels
from pi0_ros.control.plan_maker import PlanMaker, Scales, Start
from pi0_ros.control.plan_making import Planner
from pi0_ros.control.progress import Progress
from pi0_ros.control.row_path import ROS_ROUNDING, RowPath
from pi0_ros.control.running_plan import AcceptedChunk, Running
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.splice import WAIT_BELOW
from pi0_ros.control.strategy import Strategies
from pi0_ros.robot.spec import Robot

Array = npt.NDArray[np.float64]


class Plans:
    """Turns chunks into plans; `following` executes them."""

    def __init__(self, robot: Robot, settings: ExecutorSettings, period: float, planner: Planner) -> None:
        """`period` [s] between two commands; `planner` makes plans, in another thread if time matters."""
        self._robot, self._channels = robot, plan_channels(robot)
        self._ensemble = settings.strategy == "ensemble"
        self.progress, self.grips = Progress(), SteadyGrips(robot, period)
        self.strategies = Strategies(settings)
        self.maker = PlanMaker(robot, settings, period, planner)
        self._joining = Joining(self._channels, settings, period, self.maker.grid.step, self.progress)
        self.following = Following(self._channels, period, self.maker, self.progress)
        self.clamped = ""
        """Which channel of the newest chunk was clamped, "" for none."""

    def forget(self) -> None:
        """Drop every plan; the next delay is a cold start."""
        self.following.forget()
        self._joining.forget()
        self.strategies.forget()
        self.maker.forget()
        self.progress.clear()
        self.grips.forget()
        self.clamped = ""

    def offer(self, ros: float, now: float, chunk: Chunk, commanded: Array, measured: Array, scales: Scales) -> Verdict:
        """Have a plan made of a checked chunk. `now`: the plan clock at the last command, which was `commanded` [3, D].

        Refused if nothing is left of it, it starts too far from the robot (`measured` [D]), or the robot is too slow.
        """
        coming, running, old = self.following.coming, self.following.running, self.following.driving
        if coming is not None and (running is None or coming.chunk is not running.chunk):
            text = f"the plan of chunk {coming.chunk.sequence} is about to begin; chunks come faster than periods"
            return Verdict(False, text, Cause.DELAY)
        values = in_robot_order(chunk, self._robot)
        rows = np.clip(values, self._channels.lower, self._channels.upper)
        self.clamped = self._clamped(rows, values)
        executed = self.progress.since(chunk.start)
        strategy, refusal = self.strategies.decide(ros, chunk, old is not None, executed)
        if refusal:
            return Verdict(False, refusal, Cause.DELAY)
        start = self.maker.start(running, ros if math.isnan(now) else now, commanded)
        path = self._joining.path("ensemble" if self._ensemble else strategy, chunk, rows, start.state[1])
        if old is not None:
            joined = self._joining.to_running(path, old, start.join, start.time, strategy)
        else:
            begin, refusal = self._joining.first_near(path, ros, measured)
            if refusal:
                return Verdict(False, refusal, Cause.FAR_START)
            joined = self._from_rest(path, begin, start)
        if text := _too_little(joined, path, strategy):
            return Verdict(False, text, Cause.DELAY)
        known = (chunk.sequence, chunk.epoch, chunk.source, chunk.start, chunk.period, chunk.subtask)
        accepted = AcceptedChunk(*known, strategy, tuple((rows != values).any(axis=1).tolist()))
        made, refusal = self.maker.submit(accepted, joined, start, scales)
        if made is None:
            return Verdict(False, refusal, Cause.TOO_FAST)
        self._joining.remember()
        self.following.coming = made
        return Verdict(True, strategy)

    def _from_rest(self, path: RowPath, begin: float, start: Start) -> Join:
        begin = min(begin, start.time) if start.time < path.start else begin
        return self._joining.from_rest(path, begin, start.time, start.state[0])

    def _clamped(self, rows: Array, values: Array) -> str:
        """Which channel was clamped most, "" for none; a gripper asked to close beyond closed is no news."""
        over = np.max(np.abs(rows - values), axis=0) * self._channels.smooth
        worst = int(np.argmax(over))
        return f"{self._channels.names[worst]} was planned beyond its limits and clamped" if over[worst] > 0.0 else ""

    def rest(self, ros: float) -> Chunk | None:
        """What is left of the running path from now on, on its rows' period, stamped `ros`; None if nothing is."""
        running = self.following.driving
        return _rest(running, ros, self._channels.names) if running is not None and math.isfinite(ros) else None


def _too_little(joined: Join, path: RowPath, strategy: str) -> str:
    """Why what is left of a path is not worth following, "" if it is."""
    left, span = path.end - joined.begin, path.end - path.start
    if left <= 0.0:
        return f"it ended {-left:.2f} s ago: the robot has executed all of it meanwhile"
    if strategy == "wait" and left < (1.0 - WAIT_BELOW) * span:
        return f"wait: {left:.2f} s of {span:.2f} s would be left; the next one is begun at rest"
    return ""


def _rest(running: Running, ros: float, names: tuple[str, ...]) -> Chunk:
    path, chunk = running.plan.path, running.chunk
    times = np.arange(running.path_time, path.end + ROS_ROUNDING, chunk.period)
    known = (chunk.sequence, chunk.epoch, chunk.source, 0, chunk.subtask)
    return Chunk(ros, chunk.period, names, path.at(times), *known)
