"""How the control periods follow one another on both clocks."""

from __future__ import annotations

import math

from pi0_ros.control.journal import Now
from pi0_ros.control.plan_clock import PlanClock
from pi0_ros.control.watchdogs import ClockFault, ClockWatch

MAX_MISSED_PERIODS = 1_000_000  # a pause longer than this is counted as this many


class Pace:
    """When the last period was, what the ROS clock does, and where on its plans the robot is."""

    def __init__(self, period: float, jump: float) -> None:
        """`period` [s] between commands; `jump` [s]: a ROS clock that is off by this has jumped or stands still."""
        self.period, self._jump = period, jump
        self._watch, self.plan_clock = ClockWatch(), PlanClock()
        self._last = -math.inf

    @property
    def ros(self) -> float:
        """ROS time of the last period [s]."""
        return self._watch.ros

    @property
    def plan_time(self) -> float:
        """ROS time on which plans are evaluated in this period [s]; NaN before the first."""
        return self.plan_clock.time

    def too_soon(self, now: Now) -> bool:
        """Whether a period at this time is refused: less than half a period after the last, or a time that is not finite."""
        return not (math.isfinite(now.steady) and math.isfinite(now.ros)) or now.steady - self._last < 0.5 * self.period

    def missed(self, steady: float) -> int:
        """A period begins: how many were missed before it."""
        last, self._last = self._last, steady
        if not math.isfinite(last):
            return 0
        return max(0, round(min((steady - last) / self.period, MAX_MISSED_PERIODS)) - 1)

    def fault(self, now: Now) -> tuple[ClockFault, str] | None:
        """What is wrong with the ROS clock and the sentence for it, None if it runs."""
        return self._watch.fault(now.steady, now.ros, self._jump)

    def set_back(self, ros: float) -> bool:
        """Whether the ROS clock was set back by a little."""
        return self._watch.set_back(ros)

    def advance(self, now: Now) -> None:
        """Advance both clocks by one period."""
        self._watch = self._watch.update(now.steady, now.ros)
        self.plan_clock = self.plan_clock.advance(now.ros, self.period)

    def restart(self) -> None:
        """The ROS clock was set: forget what was known of it."""
        self._watch, self.plan_clock = ClockWatch(), PlanClock()
