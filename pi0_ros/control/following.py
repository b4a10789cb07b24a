"""The plan that is executed, and the one that takes over from it. ROS seconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pi0_ros.control.joining import Join
from pi0_ros.control.motion_plan import MotionPlan
from pi0_ros.control.plan_channels import PlanChannels
from pi0_ros.control.plan_maker import Coming, PlanMaker, Scales, Start
from pi0_ros.control.progress import Progress
from pi0_ros.control.running_plan import Running
from pi0_ros.control.step import Seam

Array = npt.NDArray[np.float64]

DRIFT = 1.5  # periods by which a plan may be off its clock before it is made again


class Following:
    """Sends one state of the running plan per period, hands over to the coming one, and has plans renewed."""

    def __init__(self, channels: PlanChannels, period: float, maker: PlanMaker, progress: Progress) -> None:
        self._channels, self._period, self._maker, self._progress = channels, period, maker, progress
        self.running: Running | None = None
        self.coming: Coming | None = None
        self.seam, self.splice_delay, self.unfound = Seam(), 0.0, ""
        """What the newest plan and the one before disagreed about, how long after its observation [s] it began, and why
        the newest chunk has no plan at all."""

    def forget(self) -> None:
        """Drop every plan."""
        self.running = self.coming = None
        self.seam, self.splice_delay, self.unfound = Seam(), 0.0, ""

    @property
    def driving(self) -> Running | None:
        """What is followed now, None if nothing is or its path has ended."""
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
        """Path seconds per second now: 1 as the rows say, less if they ask for more than the limits allow."""
        running = self.driving
        return float(running.plan.rates[max(running.index, 0)]) if running is not None else 0.0

    def advance(self, ros: float, time: float, state: Array, scales: Scales) -> tuple[Array | None, bool]:
        """One period on: the next command [3, D] of the plan, None if there is none, and whether the first of all.

        `time`: the plan clock at this period. `state` [3, D] of the last command. `scales`: shares of the velocity limits.
        """
        before = self.running
        self._take_over(ros, time, state)
        running = self.running
        if running is None or running.ended:
            return None, False
        last = running.path_time
        running.index += 1
        self._progress.add(time, max(0.0, min(running.path_time, running.plan.path.end) - last))
        self._renew(time, scales)
        return running.plan.states[running.index], before is None

    def _take_over(self, ros: float, time: float, state: Array) -> None:
        """Make the coming plan the running one if it is its time, it is ready, and it starts where the robot is."""
        coming, running = self.coming, self.running
        if coming is None or time < coming.start.first - 0.5 * self._period:
            return
        if running is not None and running.index < coming.start.join:
            return
        if not coming.work.done():
            if running is not None and not running.ended:  # who stands waits: the plan begins where it stands
                self._again(coming, time, state)
            return
        plan = coming.work.result()
        self.coming = None
        if plan is None:
            self.unfound = f"chunk {coming.chunk.sequence}: no motion within the robot's limits follows it"
            return
        if not self._meets(plan, state):
            self._again(coming, time, state)
            return
        if running is not None and running.chunk.sequence != coming.chunk.sequence:
            self.seam = self._seam(running, plan, coming.joined.gap)
        if running is None or running.chunk is not coming.chunk:
            self.splice_delay = ros - coming.chunk.observed
        self.running = Running(coming.chunk, plan, coming.joined.behind)

    def _meets(self, plan: MotionPlan, state: Array) -> bool:
        """Whether a plan starts where the command is, in the groups that are bound to it."""
        return float(np.max(np.abs(plan.request.state - state) * self._channels.bound)) < 1e-9

    def _again(self, late: Coming, time: float, state: Array) -> None:
        """Ask anew for a plan that is not ready in time: it begins with the next command, or as much later as it takes."""
        last = time - self._period  # the newest command was sent a period ago
        start = self._maker.start(self.running, last, state, 1 + late.late)
        path, begin, behind, gap = late.joined
        lost = max(0.0, start.time - late.start.time)
        moved = self._moved(late.start.time, start.join)
        joined = Join(path, begin + moved, behind + lost - moved, gap)
        self.coming = self._maker.renew(late.chunk, joined, start, late.shares, late.late + 1)

    def _moved(self, since: float, join: int) -> float:
        """Path seconds executed `since`, and those until the running plan's command `join`, -1 for none."""
        running = self.running
        return self._progress.since(since) + running.path_until(join) if running is not None else 0.0

    def _renew(self, time: float, scales: Scales) -> None:
        """Make the running path's plan anew if its end is near or its clock is off."""
        running, grid = self.running, self._maker.grid
        if running is None or self.coming is not None or running.over:
            return
        plan, index = running.plan, running.index
        left = len(plan.states) - index - grid.tail * grid.parts
        short = plan.path.end > plan.path_times[-1] - grid.tail * grid.step and left < (
            (grid.count - grid.tail) * grid.parts // 2
        )
        drift = time - (plan.request.time + (index + 1) * self._period)
        if not short and abs(drift) < DRIFT * self._period:
            return
        join = min(index + 1, len(plan.states) - 1)
        at = time + (join - index) * self._period
        behind = running.behind_at(join, self._period) + (drift if abs(drift) >= DRIFT * self._period else 0.0)
        joined = Join(plan.path, float(plan.path_times[join]), behind, np.zeros(len(self._channels.names)))
        start = Start(join, plan.states[join], at, at + self._period)
        self.coming = self._maker.renew(running.chunk, joined, start, scales)

    def _seam(self, old: Running, new: MotionPlan, gap: Array) -> Seam:
        """The new plan's first command against the one that the old plan would have sent."""
        index = min(old.index + 1, len(old.plan.states) - 1)
        expected, after = old.plan.states[index], new.states[0]
        jump = np.abs(after - expected) * self._channels.smooth
        worst = (jump[0], jump[1], jump[1] / self._channels.rate_limit, gap)
        return Seam(*(float(np.max(m)) for m in worst))
