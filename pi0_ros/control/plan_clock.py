"""The clock that plans are evaluated on: it follows the ROS clock smoothly."""

from __future__ import annotations

import math
from typing import NamedTuple

NEAR = 0.75  # [periods] within which the plan clock follows smoothly
TIME_GAIN, RATE_GAIN, SLOWER = 0.05, 0.001, 0.02
SLOWEST, FASTEST = 0.1, 1.5


class PlanClock(NamedTuple):
    """ROS time on which plans are evaluated: a clock of its own that follows the one that is read.

    A loop wakes up a little early or late, and `/clock` moves in steps; evaluated at the moment of waking, a smooth
    plan would come out rough. So time and `rate` (1, or less if a simulation is slower than real time) are corrected
    slowly towards the clock that is read: a phase-locked loop of second order, damping 0.8, settled after about 150 periods.
    """

    time: float = math.nan
    rate: float = 1.0

    def coming(self, period: float) -> float:
        """Its expected value one `period` [s] later."""
        return self.time + self.rate * period

    def advance(self, ros: float, period: float) -> PlanClock:
        """Advance by one `period` [s]: smoothly if `ros` [s] is near, else jump to `ros`."""
        ahead = (ros - self.coming(period)) / period
        if not abs(ahead) < NEAR:
            # A ROS clock that falls behind repeatedly is slow; one that is ahead means that the loop paused.
            return PlanClock(ros, max(self.rate - SLOWER, SLOWEST) if ahead < 0.0 else self.rate)
        rate = min(max(self.rate + RATE_GAIN * ahead, SLOWEST), FASTEST)
        return PlanClock(self.time + (self.rate + TIME_GAIN * ahead) * period, rate)
