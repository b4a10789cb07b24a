"""The ROS clock beside the steady one: after it was set, earlier stamps are invalid. Pure: times are passed in."""

from __future__ import annotations

from pi0_ros.control.watchdogs import ClockFault, ClockWatch

CLOCK_JUMP = 0.5
"""Seconds that the ROS clock moves by itself to count as set."""


class ClockMonitor:
    """Whether the ROS clock was set, how often, and whether it stands still."""

    def __init__(self) -> None:
        self._watch = ClockWatch()
        self._events: list[str] = []
        self.stopped = ""
        """A sentence if the clock stands still, else ""."""
        self.restarts = 0
        """How often the clock was set."""

    def update(self, steady: float, ros: float) -> bool:
        """Note both clocks [s]; whether the ROS clock was set since the last call."""
        if self._watch.steady is not None and steady < self._watch.steady:
            return False  # read later than one that came after it
        fault, set_back = self._watch.fault(steady, ros, CLOCK_JUMP), self._watch.set_back(ros)
        self._watch = self._watch.update(steady, ros)
        self.stopped = fault[1] if fault is not None and fault[0] is ClockFault.STOPPED else ""
        if fault is not None and fault[0] is ClockFault.JUMPED:
            self._restart(steady, ros, fault[1])
            return True
        if set_back:
            self._restart(steady, ros, "the ROS clock was set back a little")
        return set_back

    def _restart(self, steady: float, ros: float, reason: str) -> None:
        self.restarts += 1
        self._watch = ClockWatch().update(steady, ros)
        self._events.append(f"{reason}; observations start anew")

    def events(self) -> list[str]:
        """Sentences about the clock being set, since the last call."""
        events, self._events = self._events, []
        return events
