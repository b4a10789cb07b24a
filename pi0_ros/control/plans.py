"""From accepted chunks to the plan that is followed: strategy, join, hand-over, seam. Times are ROS seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pi0_ros.control.chunk import Cause, Chunk, Verdict, in_robot_order
from pi0_ros.control.delay import DelayEstimator
from pi0_ros.control.limiter import goes_own_way
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
from pi0_ros.control.plan_making import AtOnce, Pending, Planner
from pi0_ros.control.progress import Progress
from pi0_ros.control.row_path import ROS_ROUNDING, RowPath, make_path
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.splice import WAIT_BELOW, Choice, blended, choose, closed, ensemble_rows, row_times
from pi0_ros.control.step import Seam
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]
Scales = Callable[[Array], Array]

QUICK_JOIN = 0.2  # [s] in which a gap closes where rows are not to be blended
SLOW_JOIN = 1.0  # [s] most that a gap to a standing robot takes to close
SAME_PLACE = 0.02  # [rad, m] within which a row is as near to the robot as the nearest
DRIFT = 1.5  # periods by which a plan may be off its clock before it is made again
PLAYBACK = 0.5  # how much better a playback must explain a chunk than a policy that looks at the robot
SLOWED = 1.05  # a path that takes this much longer than its rows is said to be slowed


@dataclass(frozen=True)
class Accepted:
    """What is remembered of a chunk besides its rows."""

    sequence: int
    epoch: int
    source: str
    observed: float
    period: float
    subtask: str
    strategy: str
    clamped: tuple[bool, ...]  # which rows were beyond a limit


@dataclass(frozen=True)
class Coming:
    """A plan on its way: where in the running one it begins, and when at the earliest."""

    chunk: Accepted
    behind: float
    request: PlanRequest
    work: Pending
    join: int  # index in the running plan of the state it starts from; -1 at a standstill
    ready_at: float
    late: int = 0  # how often it was asked for again because it was not ready in time


@dataclass
class Running:
    """A plan that is followed. `index`: the command that was sent last, -1 for the state before the first."""

    chunk: Accepted
    plan: MotionPlan
    behind: float
    index: int = -1

    @property
    def path_time(self) -> float:
        """Where on the path the last command is."""
        if self.index < 0:
            return float(self.plan.request.times.times[0])
        return float(self.plan.path_times[min(self.index, len(self.plan.path_times) - 1)])

    @property
    def left(self) -> float:
        """Path seconds that are left."""
        return max(0.0, self.plan.path.end - self.path_time)

    @property
    def limited(self) -> bool:
        """Whether a limit changed the last command."""
        row = int((self.path_time - self.plan.path.start) / self.plan.path.period)
        clamped = self.chunk.clamped[min(max(row, 0), len(self.chunk.clamped) - 1)]
        return self.index >= 0 and (clamped or bool(self.plan.limited[self.index]))

    @property
    def over(self) -> bool:
        """The path has ended; what may still follow is its stop."""
        return self.path_time >= self.plan.path.end - ROS_ROUNDING or self.index >= len(self.plan.states) - 1


class Plans:
    """The running plan, the one that comes next, and what they disagreed about."""

    running: Running | None
    coming: Coming | None
    _history: deque[RowPath]

    def __init__(self, robot: Robot, settings: ExecutorSettings, period: float, planner: Planner | None = None) -> None:
        """`period` [s] between two commands; `planner` makes plans, in another thread where time matters."""
        self._robot, self._settings, self._period = robot, settings, period
        self._planner = planner or AtOnce()
        self.delays = DelayEstimator()
        kinds, limits = [c.kind for c in robot.channels], [c.limits for c in robot.channels]
        self._kinds = tuple(kinds)
        self._lower, self._upper = np.array([m.lower for m in limits]), np.array([m.upper for m in limits])
        self._velocity = np.array([m.velocity for m in limits])
        driven = [k is Kind.VELOCITY for k in kinds]
        self._rate_limit = np.array([m.acceleration if d else m.velocity for m, d in zip(limits, driven, strict=True)])
        self._brake = np.array([0.5 * m.acceleration for m in limits])
        self._position = np.array([k is Kind.POSITION for k in kinds])
        self._smooth = np.array([float(k is not Kind.GRIPPER) for k in kinds])
        self._bound = np.array([float(not goes_own_way(g)) for g in robot.groups for _ in g.channels])
        self._grid = make_grid([planning_bounds(g, period) for g in robot.groups if g.kind is not Kind.GRIPPER], period)
        self._limits = plan_limits(robot, period, settings.recovery_velocity)
        solve_once(self._grid)
        self.forget()

    def forget(self) -> None:
        """Drop every plan; the next delay is a cold start."""
        self.running = self.coming = None
        self._history = deque(maxlen=self._settings.ensemble_depth)
        self._choice, self.seam, self.splice_delay = Choice(), Seam(), 0.0
        self.progress = Progress()
        self.clamped = self.slowed = self.waits = self.unfound = ""
        self._gap = np.zeros(len(self._kinds))
        self.delays.cold_start()

    # What is followed ------------------------------------------------------------------------------------------------

    @property
    def driving(self) -> Running | None:
        """What is followed now, None where nothing is or its path has ended."""
        running = self.running  # read once: previews ask from another thread
        return running if running is not None and not running.over else None

    @property
    def waiting(self) -> bool:
        """No plan has come yet."""
        return self.running is None and self.coming is None

    @property
    def dry(self) -> bool:
        """Whether the path has run out and no other has come."""
        return self.running is not None and self.running.over and self.coming is None

    @property
    def rate(self) -> float:
        """Path seconds per second now: 1 as the rows say, less where they ask for more than the limits allow."""
        running = self.driving
        return float(running.plan.rates[max(running.index, 0)]) if running is not None else 0.0

    def advance(self, ros: float, time: float, state: Array, scales: Scales) -> tuple[Array | None, bool]:
        """One period on: the next command [3, D] of the plan, None where there is none, and whether the first of all.

        `time`: the plan clock at this period. `state` [3, D] of the last command. `scales`: shares of the velocity limits.
        """
        before = self.running
        self._take_over(ros, time, state)
        running = self.running
        if running is None or running.index >= len(running.plan.states) - 1:
            return None, False
        last = running.path_time
        running.index += 1
        self.progress.add(time, max(0.0, min(running.path_time, running.plan.path.end) - last))
        self._renew(time, scales)
        return running.plan.states[running.index], before is None

    def _take_over(self, ros: float, time: float, state: Array) -> None:
        """Make the coming plan the running one where it is its time, it is ready, and it starts where the robot is."""
        coming, running = self.coming, self.running
        if coming is None or time < coming.ready_at - 0.5 * self._period:
            return
        if coming.join >= 0 and running is not None and running.index < coming.join:
            return
        if not coming.work.done():
            return
        plan = coming.work.result()
        self.coming = None
        if plan is None:
            self.unfound = f"chunk {coming.chunk.sequence}: no motion within the robot's limits follows it"
        if plan is None or not self._meets(plan, state):
            if plan is not None:
                self._again(coming, time, state)
            return
        if running is not None and running.chunk.sequence != coming.chunk.sequence:
            self._judge_seam(running, plan)
        if running is None or running.chunk is not coming.chunk:
            self.splice_delay = ros - coming.chunk.observed
        self.running = Running(coming.chunk, plan, coming.behind)

    def _meets(self, plan: MotionPlan, state: Array) -> bool:
        """Whether a plan starts where the command is, in the groups that are bound to it."""
        return float(np.max(np.abs(plan.request.state - state) * self._bound)) < 1e-9

    def _again(self, late: Coming, time: float, state: Array) -> None:
        """Ask anew for a plan that was not ready in time, from where the robot is now."""
        last = time - self._period  # the newest command was sent a period ago
        join, begin, start = self._start(last, state, self._planner.periods() + late.late + 1)
        lost = max(0.0, start[1] - late.request.time)
        moved = self.progress.since(late.request.time) if self.running is not None else 0.0
        self._submit_plan(
            late.chunk,
            late.request.path,
            late.request.times.times[0] + moved,
            late.behind + lost - moved,
            begin,
            start,
            late.request.scales,
            join,
        )
        if self.coming is not None:
            self.coming = replace(self.coming, late=late.late + 1)

    def _renew(self, time: float, scales: Scales) -> None:
        """Make the running path's plan anew where its end is near or its clock is off."""
        running = self.running
        if running is None or self.coming is not None or running.over:
            return
        plan, index = running.plan, running.index
        left = len(plan.states) - index - self._grid.tail * self._grid.parts
        short = plan.path.end > plan.path_times[-1] - self._grid.tail * self._grid.step and left < (
            (self._grid.count - self._grid.tail) * self._grid.parts // 2
        )
        drift = time - (plan.request.time + (index + 1) * self._period)
        if not short and abs(drift) < DRIFT * self._period:
            return
        join = min(index + 1, len(plan.states) - 1)
        begin = float(plan.path_times[join])
        at = time + (join - index) * self._period
        behind = self._behind(running, join) + (drift if abs(drift) >= DRIFT * self._period else 0.0)
        start = (plan.states[join], at)
        self._submit_plan(running.chunk, plan.path, begin, behind, at + self._period, start, scales, join)

    def _behind(self, running: Running, index: int) -> float:
        """Seconds by which the path is late at a command."""
        plan = running.plan
        done = float(plan.path_times[index]) - float(plan.request.times.times[0])
        return running.behind + (index + 1) * self._period - done

    # What comes next ---------------------------------------------------------------------------------------------------

    def offer(self, ros: float, now: float, chunk: Chunk, commanded: Array, measured: Array, scales: Scales) -> Verdict:
        """Have a plan made of a checked chunk. `now`: the plan clock at the last command, which was `commanded` [3, D].

        Refused where nothing is left of it, it starts too far from the robot (`measured` [D]), or the robot is too slow.
        """
        if self.coming is not None and (self.running is None or self.coming.chunk is not self.running.chunk):
            text = f"the plan of chunk {self.coming.chunk.sequence} is about to begin; chunks come faster than periods"
            return Verdict(False, text, Cause.DELAY)
        values = in_robot_order(chunk, self._robot)
        rows = np.clip(values, self._lower, self._upper)
        self.clamped = self._clamped(rows, values)
        now = ros if math.isnan(now) else now
        old = self.driving
        strategy, refusal = self._strategy(ros, chunk, old)
        if refusal:
            return Verdict(False, refusal, Cause.DELAY)
        join, ready_at, start = self._start(now, commanded, self._planner.periods())
        path = self._path(chunk, self._mix(strategy, chunk, rows))
        if old is not None:
            path, begin, behind = self._joined(path, old, join, start[1], strategy)
        else:
            begin, refusal = self._begin(path, ros, measured)
            begin = min(begin, start[1]) if start[1] < path.start else begin
            if refusal:
                return Verdict(False, refusal, Cause.FAR_START)
            path, behind = self._from_rest(path, begin, start[0]), 0.0
        left, span = path.end - begin, path.end - path.start
        if left <= 0.0:
            return Verdict(
                False, f"it ended {-left:.2f} s ago: the robot has executed all of it meanwhile", Cause.DELAY
            )
        if strategy == "wait" and left < (1.0 - WAIT_BELOW) * span:
            text = f"wait: {left:.2f} s of {span:.2f} s would be left; the next one is begun at rest"
            return Verdict(False, text, Cause.DELAY)
        clamped = tuple((rows != values).any(axis=1).tolist())
        known = (chunk.sequence, chunk.epoch, chunk.source, chunk.start, chunk.period, chunk.subtask)
        accepted = Accepted(*known, strategy, clamped)
        refusal = self._submit_plan(accepted, path, begin, behind, ready_at, start, scales, join)
        return Verdict(not refusal, refusal or strategy, Cause.TOO_FAST if refusal else Cause.NONE)

    def _start(self, now: float, commanded: Array, lead: int) -> tuple[int, float, tuple[Array, float]]:
        """Where a plan can begin that takes `lead` periods longer to make than to the next command.

        Index in the running plan, time of its first command, the state before that with its time. `now`: the plan clock at the last command.
        """
        running = self.running
        if running is None or running.index >= len(running.plan.states) - 1:
            return -1, now + (lead + 1) * self._period, (commanded, now + lead * self._period)
        join = min(running.index + lead, len(running.plan.states) - 1)
        ahead = (join - running.index) * self._period
        state = running.plan.states[join] if join >= 0 else running.plan.request.state
        return join, now + ahead + self._period, (state, now + ahead)

    def _submit_plan(
        self,
        chunk: Accepted,
        path: RowPath,
        begin: float,
        behind: float,
        ready_at: float,
        start: tuple[Array, float],
        scales: Scales | Array,
        join: int,
    ) -> str:
        """Measure the path, refuse one that is too fast, and have the plan made; returns the refusal, "" for none."""
        state, time = start
        grid = self._grid
        knots: Array = time + grid.step * np.arange(1, grid.count + 1, dtype=np.float64)
        shares = scales if isinstance(scales, np.ndarray) else scales(knots)
        request, asked = ask(path, begin, behind, state, time, 1.0, shares, grid, self._limits)
        factor = request.times.factor
        if factor > self._settings.slow_down:
            return f"too fast for the robot: {self._demand(asked)}; it would have to be slowed {factor:.1f} times"
        self.slowed = f"slowed {factor:.2f} times: {self._demand(asked)}" if factor > SLOWED else ""
        limits = self._limits
        work = self._planner.submit(lambda: solve(request, grid, limits))
        self.coming = Coming(chunk, behind, request, work, join, ready_at)
        return ""

    def _demand(self, asked: PathDemand) -> str:
        name = self._robot.channel_names[asked.channel]
        return f"{name} would need {asked.excess:.1f} times its {asked.quantity} limit"

    def _clamped(self, rows: Array, values: Array) -> str:
        """Which channel was clamped most, "" for none; a gripper asked to close beyond closed is no news."""
        over = np.max(np.abs(rows - values), axis=0) * self._smooth
        worst = int(np.argmax(over))
        if not over[worst] > 0.0:
            return ""
        return f"{self._robot.channel_names[worst]} was planned beyond its limits and clamped"

    def _strategy(self, ros: float, chunk: Chunk, old: Running | None) -> tuple[str, str]:
        """The strategy for this chunk, and why it cannot be used at all, "" where it can."""
        wanted, delay, span = self._settings.strategy, ros - chunk.start, chunk.end - chunk.start
        self._choice = choose(self._choice, delay, self.delays.p95, span, chunk.frozen_rows * chunk.period)
        if wanted == "auto" and self._choice.strategy == "wait":
            self.say_wait(max(delay, self.delays.p95), span)
        if wanted == "wait" and (old is not None or self.progress.since(chunk.start) > 0.0):
            return "wait", "wait: its observation was taken while the robot was still executing the chunk before"
        if wanted == "wait" or (wanted == "auto" and self._choice.strategy == "wait"):
            return "wait", ""
        if old is None:
            return "replace", ""
        if wanted == "rtc" and not chunk.frozen_rows:
            return "blend", ""
        return (self._choice.strategy if wanted == "auto" else wanted), ""

    def say_wait(self, delay: float, span: float) -> None:
        """Note that the policy is too slow for anything but standing meanwhile: `delay` [s] for a chunk of `span` [s]."""
        self.waits = f"strategy wait: a chunk of {span:.2f} s arrives after {delay:.2f} s; the robot stands while the policy thinks"

    def _joined(
        self, path: RowPath, old: Running, join: int, time: float, strategy: str
    ) -> tuple[RowPath, float, float]:
        """The path joined to the running one at ROS `time`; where on it that is, and how late that is."""
        index = max(join, 0)
        past = float(old.plan.path_times[index]) if join >= 0 else old.path_time
        executed = self._executed(old, join, path.start, time)
        begin, behind = path.start + executed, 0.0
        if abs(past - begin) > 0.5 * self._period and self._plays_back(path, old.plan.path, past - begin):
            begin, behind = past, time - past
        shift = past - begin
        self._history = deque(
            (replace(p, start=p.start - shift) for p in self._history), maxlen=self._settings.ensemble_depth
        )
        apart = path.rows_at(np.array([begin])) - old.plan.path.at(np.array([past]))
        self._gap = np.abs(apart[0]) * self._smooth
        window = self._settings.blend_time if strategy in ("blend", "rtc") else QUICK_JOIN
        return blended(path, old.plan.path, begin, shift, window, self._grid.step), begin, behind

    def _executed(self, old: Running, join: int, since: float, time: float) -> float:
        """Path seconds that will have been executed at ROS `time` since `since`; less than 0 where that is yet to come."""
        coming = 0.0
        if join >= 0:
            coming = float(old.plan.path_times[join]) - old.path_time
        now = time - max(join - old.index, 0) * self._period
        if since > now:
            return time - since
        return self.progress.since(since) + coming

    def _plays_back(self, path: RowPath, old: RowPath, shift: float) -> bool:
        """Whether the rows go on where the old ones are due, and not where the robot was, `shift` [s] of path away."""
        last = min(path.end, old.end - max(shift, 0.0))
        times = np.linspace(path.start, max(last, path.start), 9)
        rows, size = path.rows_at(times), 1.0 / self._velocity * self._position
        looks = float(np.abs((old.rows_at(times + shift) - rows) * size).mean())
        plays = float(np.abs((old.rows_at(times) - rows) * size).mean())
        return plays < PLAYBACK * looks

    def _begin(self, path: RowPath, ros: float, measured: Array) -> tuple[float, str]:
        """Plan time at which a standing robot begins, and how that is too far from it, "" where it is not.

        What has been executed since the observation is skipped, and no more: the first row near the robot, mostly row 0.
        """
        first = path.start + max(0.0, self.progress.since(path.start))
        last = min(max(ros, first), path.end)
        step = path.period / 4.0
        times: Array = first + step * np.arange(int((last - first + ROS_ROUNDING) / step) + 1, dtype=np.float64)
        gaps = np.abs(path.rows_at(times) - measured) * self._position
        worst = gaps.max(axis=1)
        near = int(np.argmax(worst <= worst.min() + SAME_PLACE))
        if worst[near] > self._settings.start_gap:
            channel = self._robot.channel_names[int(np.argmax(gaps[near]))]
            return float(times[near]), f"{channel} would start {worst[near]:.2f} from the robot"
        return float(times[near]), ""

    def _from_rest(self, path: RowPath, begin: float, state: Array) -> RowPath:
        """The path, moved to the command at `begin`; the gap closes at no more than a share of the velocity limits."""
        gap = np.where(self._position, state[0] - path.rows_at(np.array([begin]))[0], 0.0)
        share = float(np.max(np.abs(gap) / self._velocity, initial=0.0))
        if share == 0.0:
            return path
        window = float(np.clip(1.875 * share / self._settings.engage_scale, QUICK_JOIN, SLOW_JOIN))
        return closed(path, begin, gap, window, self._grid.step)

    def _mix(self, strategy: str, chunk: Chunk, rows: Array) -> Array:
        """The rows [H, D] as the strategy wants them."""
        settings = self._settings
        if settings.strategy != "ensemble":
            return rows
        earlier = tuple(self._history)
        self._history.append(self._path(chunk, rows))
        times = row_times(chunk.start, chunk.period, len(rows))
        return ensemble_rows(rows, times, earlier, settings.ensemble_decay, self._smooth) if earlier else rows

    def _path(self, chunk: Chunk, rows: Array) -> RowPath:
        """Path through `rows` [H, D] at the times of the chunk's."""
        return make_path(chunk.start, chunk.period, rows, self._kinds, self._velocity, self._brake)

    # What is told -----------------------------------------------------------------------------------------------------

    def _judge_seam(self, old: Running, new: MotionPlan) -> None:
        """Compare the new plan's first command with the one that the old plan would have sent, in `seam`."""
        index = min(old.index + 1, len(old.plan.states) - 1)
        expected, after = old.plan.states[index], new.states[0]
        jump = np.abs(after - expected) * self._smooth
        worst = (jump[0], jump[1], jump[1] / self._rate_limit, self._gap)
        self.seam = Seam(*(float(np.max(m)) for m in worst))

    def rest(self, ros: float) -> Chunk | None:
        """What is left of the running path from now on, on its rows' period, stamped `ros`; None where nothing is."""
        running = self.driving
        if running is None or not math.isfinite(ros):
            return None
        path, chunk = running.plan.path, running.chunk
        times = np.arange(running.path_time, path.end + ROS_ROUNDING, chunk.period)
        values = path.at(times)
        return Chunk(
            ros,
            chunk.period,
            self._robot.channel_names,
            values,
            chunk.sequence,
            chunk.epoch,
            chunk.source,
            0,
            chunk.subtask,
        )
