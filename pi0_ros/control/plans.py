"""From accepted chunks to the plan that is being executed: strategy, splice, seam."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.control.chunk import Chunk, Verdict, in_robot_order
from pi0_ros.control.delay import DelayEstimator
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.splice import Choice, blend_rows, choose, ensemble_rows, join, row_times
from pi0_ros.control.step import Seam
from pi0_ros.control.timeline import Spline, Timeline, make_spline
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]
LOOK_BACK = 4  # moments per row at which the start of a late plan is looked for


class _Crossing(NamedTuple):
    """What a seam is judged by: the old plan, the new one, and the commands [3, D] around the splice at `time`."""

    old: Timeline
    new: Spline
    before: Array
    after: Array
    time: float
    period: float


class Plans:
    """The running plan, the one that comes next, and what they disagreed about. Times are ROS seconds."""

    running: Timeline | None
    next: Timeline | None
    _old: Timeline | None
    _history: deque[Spline]

    def __init__(self, robot: Robot, settings: ExecutorSettings) -> None:
        self._robot, self._settings = robot, settings
        self.delays = DelayEstimator()
        kinds, limits = [c.kind for c in robot.channels], [c.limits for c in robot.channels]
        self._kinds = tuple(kinds)
        self._lower, self._upper = np.array([m.lower for m in limits]), np.array([m.upper for m in limits])
        driven = [k is Kind.VELOCITY for k in kinds]
        self._rate = np.array([m.acceleration if d else m.velocity for m, d in zip(limits, driven, strict=True)])
        self._jerk = np.array([m.jerk for m in limits])
        self._position = np.array([k is Kind.POSITION for k in kinds])
        self._smooth = np.array([float(k is not Kind.GRIPPER) for k in kinds])
        self._joined = np.array([self._smooth, self._position, self._position])  # a velocity's rate may break off
        self.forget()

    def forget(self) -> None:
        """Drop every plan; the next delay is a cold start."""
        self.running = self.next = self._old = None
        self._crossing: _Crossing | None = None
        self._history = deque(maxlen=self._settings.ensemble_depth)
        self._choice, self.seam, self.splice_delay = Choice(), Seam(), 0.0
        self.clamped = ""
        self.delays.cold_start()

    def at(self, time: float) -> Timeline | None:
        """The running plan, None where there is none or it has run out at `time`."""
        running = self.running  # read once: previews ask from another thread
        return running if running is not None and time <= running.end else None

    @property
    def waiting(self) -> bool:
        """No plan has come yet."""
        return self.running is None and self.next is None

    def dry(self, time: float) -> bool:
        """Whether the plan has run out at `time` and no other has come."""
        return self.running is not None and self.next is None and time > self.running.end

    def offer(self, ros: float, now: float, chunk: Chunk, commanded: Array, measured: Array) -> Verdict:
        """Make a checked chunk the next plan, joined at plan time `now` to the running one or to the `commanded` state.

        `commanded` [3, D], `measured` [D]. Refused where the delay leaves too little of it, or where it would start
        too far from a robot that is not following a plan.
        """
        values = in_robot_order(chunk, self._robot)
        rows = np.clip(values, self._lower, self._upper)
        self.clamped = self._clamped(rows, values)
        old = self.at(now)
        strategy, refusal = self._strategy(ros, chunk, old)
        if refusal:
            return Verdict(False, refusal)
        spline = make_spline(chunk.start, chunk.period, self._mix(strategy, chunk, rows, old, now), self._kinds)
        if old is None:
            spline = self._started(spline, ros, measured)
            if refusal := self._gap(spline, ros, measured):
                return Verdict(False, refusal)
        plan = Timeline(spline, chunk.sequence, chunk.epoch, chunk.source, chunk.start, chunk.subtask, strategy)
        # From the plan that was followed, not from a command that lags behind it: catching up is the limiter's work.
        reference = commanded if old is None or math.isnan(now) else old.at(now)
        start = ros if math.isnan(now) else now
        self.next = replace(plan, residual=join(plan, start, reference, self._rate, self._jerk, self._joined))
        return Verdict(True, strategy)

    def _clamped(self, rows: Array, values: Array) -> str:
        """Which channel was clamped most, "" for none; a gripper asked to close beyond closed is no news."""
        over = np.max(np.abs(rows - values), axis=0) * self._smooth
        worst = int(np.argmax(over))
        if not over[worst] > 0.0:
            return ""
        return f"{self._robot.channel_names[worst]} was planned beyond its limits and clamped"

    def _strategy(self, ros: float, chunk: Chunk, old: Timeline | None) -> tuple[str, str]:
        """The strategy for this chunk, and why it cannot be used at all, "" where it can."""
        wanted, delay, span = self._settings.strategy, ros - chunk.start, chunk.end - chunk.start
        self._choice = choose(self._choice, delay, self.delays.p95, span, chunk.frozen_rows * chunk.period)
        if wanted == "auto" and self._choice.strategy == "hold":
            typical = f"{self.delays.p95:.2f} s lately, {delay:.2f} s this one"
            return "hold", f"hold: the delay ({typical}) leaves too little of {span:.2f} s"
        if old is None:
            return "replace", ""
        if wanted == "rtc" and not chunk.frozen_rows:
            return "blend", ""
        return (self._choice.strategy if wanted == "auto" else wanted), ""

    def _started(self, spline: Spline, ros: float, measured: Array) -> Spline:
        """A plan for a robot at rest, begun where it is still near the robot if at `ros` it no longer is.

        Rows that went by while a slow policy thought describe a motion that has not happened; skipped, they would leave
        a gap as large as that motion, and a policy slower than the gap is wide could never start.
        """
        time, step = ros, spline.period / LOOK_BACK
        while time > spline.start and self._distance(spline, time, measured)[1] > self._settings.start_gap:
            time -= step
        return replace(spline, start=spline.start + ros - time)

    def _distance(self, spline: Spline, time: float, measured: Array) -> tuple[int, float]:
        """The position channel in which the plan is furthest from the robot at `time`, and how far."""
        gaps = np.abs(spline.at(time)[0] - measured) * self._position
        worst = int(np.argmax(gaps))
        return worst, float(gaps[worst])

    def _gap(self, spline: Spline, ros: float, measured: Array) -> str:
        """How the plan starts too far from the robot, "" where it starts near it."""
        worst, gap = self._distance(spline, ros, measured)
        if gap <= self._settings.start_gap:
            return ""
        return f"{self._robot.channel_names[worst]} would start {gap:.2f} from the robot"

    def _mix(self, strategy: str, chunk: Chunk, rows: Array, old: Timeline | None, now: float) -> Array:
        """The rows [H, D] as the strategy wants them."""
        times, settings = row_times(chunk.start, chunk.period, len(rows)), self._settings
        if settings.strategy == "ensemble":
            earlier = tuple(self._history)
            self._history.append(make_spline(chunk.start, chunk.period, rows, self._kinds))
            return ensemble_rows(rows, times, earlier, settings.ensemble_decay, self._smooth) if earlier else rows
        if strategy in ("blend", "rtc") and old is not None:
            return blend_rows(rows, times, old, now, settings.blend_time, self._smooth)
        return rows

    def take_up(self, ros: float, time: float) -> bool:
        """Make the next plan the running one at plan time `time`; whether it is the first since `forget`."""
        plan, self.next = self.next, None
        if plan is None or plan.end <= time:
            return False
        first = self.running is None
        self._old, self.running = self.at(time), plan
        self.splice_delay = ros - plan.observed
        return first

    def crossed(self, before: Array, after: Array, time: float, period: float) -> None:
        """Keep the commands [3, D] before and after the first moment of a new plan, for `judge_seam`; `time` [ROS s]."""
        old, self._old = self._old, None
        if old is not None and self.running is not None:
            self._crossing = _Crossing(old, self.running.spline, before, after, time, period)

    def judge_seam(self) -> None:
        """Compare the first command of the newest plan with the one the old plan would have led to, in `seam`."""
        crossing, self._crossing = self._crossing, None
        if crossing is None:
            return
        old, new, before, after, time, period = crossing
        expected, last = old.at(min(time, old.end)), old.at(min(time - period, old.end))
        ahead = before - last  # a command that was catching up would have gone on doing so
        ahead[0] += period * (ahead[1] + 0.5 * period * ahead[2])
        ahead[1] += period * ahead[2]
        continued = expected + ahead
        jump = np.abs(after - continued) * self._smooth
        gap = np.abs(new.at(time)[0] - expected[0]) * self._smooth
        self.seam = Seam(*(float(np.max(m)) for m in (jump[0], jump[1], jump[1] / self._rate, gap)))

    def rest(self, ros: float) -> Chunk | None:
        """What is left of the running plan from `ros` on, on its own period; None where nothing is left."""
        plan = self.at(ros) if math.isfinite(ros) else None
        if plan is None:
            return None
        start, period = max(ros, plan.spline.start), plan.spline.period
        values = np.stack([plan.at(float(t))[0] for t in np.arange(start, plan.end + 1e-9, period)])
        names = self._robot.channel_names
        return Chunk(start, period, names, values, plan.sequence, plan.epoch, plan.source, 0, plan.subtask)
