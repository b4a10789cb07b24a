"""The thread beside the control loop in which plans are made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pi0_ros.control.motion_plan import MotionPlan
from pi0_ros.control.plan_making import MakingTimes


class PlanThread:
    """A `Planner`. `due`: steady time [s] of the command that comes next."""

    def __init__(self, period: float) -> None:
        """`period` [s] between two commands."""
        self._period, self._times, self.due = period, MakingTimes(), math.inf
        self._pool = ThreadPoolExecutor(1, "plan")
        # Now, and not from the control loop: a thread inherits the priority of the one that starts it.
        self._newest: Future[MotionPlan | None] = self._pool.submit(lambda: None)
        self._newest.result()

    def submit(self, make: Callable[[], MotionPlan | None]) -> Future[MotionPlan | None]:
        """Have a plan made; one that was asked for before and is not begun is not made any more."""
        submitted = time.monotonic()

        def work() -> MotionPlan | None:
            plan = make()
            self._times.add(time.monotonic() - submitted)
            return plan

        self._newest.cancel()
        self._newest = self._pool.submit(work)
        return self._newest

    def periods(self) -> int:
        """How many periods after the next command a plan that is asked for now can begin."""
        return self._times.periods(self.due - time.monotonic(), self._period)

    def stop(self) -> None:
        """End; what is not begun is not made."""
        self._pool.shutdown(wait=False, cancel_futures=True)
