"""The record of a run: events for people, totals, and the black box."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from pi0_ros.control.blackbox import BlackBox
from pi0_ros.control.events import INTERVAL, Event, EventLog
from pi0_ros.control.step import Counters

EVENT_SIZE = 128  # [bytes] an event counts for in the black box


class Now(NamedTuple):
    """One moment on both clocks [s]: `steady` paces and watches, `ros` stamps data and places plans."""

    steady: float
    ros: float


class Journal:
    """Records what happens; decides nothing."""

    def __init__(self, blackbox: BlackBox) -> None:
        self.blackbox, self.counters = blackbox, Counters()
        self._log = EventLog()

    def note(self, now: Now, level: str, name: str, text: str, throttle: float = INTERVAL) -> None:
        """Note an event, unless one of that name was noted within the last `throttle` [s]."""
        self._log.add(now.steady, now.ros, level, name, text, throttle)

    def count(self, **more: int) -> None:
        """Add to the totals of `Counters`."""
        self.counters = replace(self.counters, **{n: getattr(self.counters, n) + k for n, k in more.items()})

    def record(self, now: Now, kind: str, data: object, size: int) -> None:
        """Put `data` of `size` [bytes] into the black box."""
        self.blackbox.add(now.steady, now.ros, kind, data, size)

    def take(self, now: Now) -> tuple[Event, ...]:
        """The events since the last call; the black box gets them too."""
        events = self._log.take()
        for event in events:
            self.record(now, "event", event, EVENT_SIZE + 4 * len(event.text))
        return events
