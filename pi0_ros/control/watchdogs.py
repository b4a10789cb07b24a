"""What is noticed when something goes quiet, stands still or drifts away. All ages are on the steady clock [s]."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

CLOCK_JITTER = 0.005
"""Seconds by which a reading of the ROS clock may be late: a clock that runs comes further than this in half a second."""
SET_BACK_READINGS = 3
"""Readings behind the furthest one, one after the other, that are no jitter any more."""


def silent(last: float | None, now: float, limit: float) -> bool:
    """Whether nothing has been heard for more than `limit` [s]; never heard counts as silent."""
    return last is None or now - last > limit


@dataclass(frozen=True)
class Estop:
    """An emergency stop button with a heartbeat: silence counts as pressed once it has been heard."""

    received: float | None = None
    pressed: bool = False

    def hear(self, now: float, pressed: bool) -> Estop:
        """The button said something at `now`."""
        return Estop(now, pressed)

    def active(self, now: float, heartbeat: float) -> str:
        """Why the robot must be stopped, "" where it need not be."""
        if self.received is None:
            return ""
        if self.pressed:
            return "e-stop pressed"
        return f"e-stop silent for more than {heartbeat:g} s" if silent(self.received, now, heartbeat) else ""


class Since(NamedTuple):
    """How long a condition has held without a break."""

    start: float | None = None

    def update(self, now: float, holds: bool) -> Since:
        """The next value."""
        if holds == (self.start is not None):
            return self
        return Since(now) if holds else Since()

    def lasts(self, now: float, limit: float) -> bool:
        """Whether it has held for more than `limit` [s]."""
        return self.start is not None and now - self.start > limit


class ClockFault(Enum):
    """What is wrong with the ROS clock."""

    JUMPED = "jumped"
    STOPPED = "stopped"


class ClockWatch(NamedTuple):
    """The ROS clock seen from the steady clock: standing still is as bad as jumping.

    What is read of a clock jitters by as much as the reading is late, whether the clock runs or not. So a clock runs if it
    comes further than ever before by more than the jitter, not if two readings differ.
    """

    steady: float | None = None
    ros: float = 0.0
    furthest: float = 0.0  # where the ROS clock was seen when it last came further
    since: float = 0.0  # steady time at which that was
    behind: int = 0  # readings, one after the other, that were behind that

    def update(self, steady: float, ros: float) -> ClockWatch:
        """The next value after one period."""
        if self.steady is None or ros > self.furthest + CLOCK_JITTER:
            return ClockWatch(steady, ros, ros, steady)
        return ClockWatch(steady, ros, self.furthest, self.since, self.behind + 1 if self._is_behind(ros) else 0)

    def set_back(self, ros: float) -> bool:
        """Whether the clock was set back by a little: several readings are behind, of which `ros` is the last."""
        return self._is_behind(ros) and self.behind == SET_BACK_READINGS - 1

    def _is_behind(self, ros: float) -> bool:
        return self.steady is not None and ros < self.furthest - CLOCK_JITTER

    def fault(self, steady: float, ros: float, limit: float) -> tuple[ClockFault, str] | None:
        """What the ROS clock did since the last period, None where it ran: it may be slower, not jump by `limit` [s]."""
        if self.steady is None:
            return None
        step = ros - self.ros
        if step < -limit:
            return ClockFault.JUMPED, f"the ROS clock jumped back by {-step:.2f} s"
        if step - (steady - self.steady) > limit:
            return ClockFault.JUMPED, f"the ROS clock jumped ahead by {step - (steady - self.steady):.2f} s"
        if ros <= self.furthest + CLOCK_JITTER and steady - self.since > limit:
            return ClockFault.STOPPED, f"the ROS clock has stood still for {steady - self.since:.2f} s"
        return None
