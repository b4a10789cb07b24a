"""Who makes plans, how long that takes, and so how early they are asked for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from pi0_ros.control.motion_plan import MotionPlan

REMEMBERED = 32  # plans whose making is remembered
SLOWEST = 0.9  # share of them that are made in the time that is counted on
FIRST = 0.005  # [s] that the first plan is expected to take


class Pending(Protocol):
    """A plan that is being made, like `concurrent.futures.Future`."""

    def done(self) -> bool:
        """Whether the result is there."""

    def result(self) -> MotionPlan | None:
        """The plan, None if there is none."""


class Planner(Protocol):
    """Makes plans, here or beside the control loop."""

    def submit(self, make: Callable[[], MotionPlan | None]) -> Pending:
        """Have a plan made; one that was asked for before and is not begun need not be."""

    def periods(self) -> int:
        """How many periods after the next command a plan that is asked for now can begin."""


class FinishedPlan(NamedTuple):
    """A plan that was made at once."""

    plan: MotionPlan | None

    def done(self) -> bool:
        """True: it was made at once."""
        return True

    def result(self) -> MotionPlan | None:
        """The plan."""
        return self.plan


class AtOnce:
    """Makes plans here and now: tests, harness and replay, whose clock stands meanwhile."""

    def submit(self, make: Callable[[], MotionPlan | None]) -> Pending:
        """The plan."""
        return FinishedPlan(make())

    def periods(self) -> int:
        """0: a plan that is made at once begins with the next command."""
        return 0


class MakingTimes:
    """How long the newest plans took to make [s]."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, seconds: float) -> None:
        """Note one, from the request to the result."""
        self._newest.append(seconds)

    def periods(self, spare: float, period: float) -> int:
        """How many periods of `period` [s] after a command that is due in `spare` [s] a plan asked for now will be ready."""
        ordered = sorted(self._newest)
        typical = ordered[min(int(SLOWEST * len(ordered)), len(ordered) - 1)] if ordered else FIRST
        return max(0, math.ceil((typical - spare) / period))
