"""Something that happened, for logs, diagnostics and the black box."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One line: when on both clocks [s], how bad ("info", "warn", "error"), a stable name, a sentence."""

    steady: float
    ros: float
    level: str
    name: str
    text: str


INTERVAL = 1.0  # [s] the log throttle of ros2_control and Nav2


class EventLog:
    """Events since the last `take`; the same name is not repeated for a while, though its text may change."""

    DEPTH = 64

    def __init__(self) -> None:
        self._fresh: list[Event] = []
        self._last: dict[str, float] = {}

    def add(self, steady: float, ros: float, level: str, name: str, text: str, throttle: float = INTERVAL) -> None:
        """Note an event, unless one of that name was noted within the last `throttle` [s]."""
        last = self._last.get(name)
        if last is not None and 0.0 <= steady - last < throttle:
            return
        self._last[name] = steady
        if len(self._fresh) < self.DEPTH:
            self._fresh.append(Event(steady, ros, level, name, text))

    def take(self) -> tuple[Event, ...]:
        """The events since the last call."""
        if not self._fresh:
            return ()
        fresh, self._fresh = tuple(self._fresh), []
        return fresh
