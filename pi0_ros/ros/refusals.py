"""Messages that cannot be used: counted, logged once per second, and the last one kept for /diagnostics."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from pi0_ros.control import Event
from pi0_ros.robot.quoting import escape

COMPLAINTS = 1.0  # [s] between two events about messages of one topic


class Refusals:
    """Refused messages of all topics of a node."""

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self.count, self.last = 0, ""
        """How many, and the sentence about the last one."""

    def add(self, topic: str, error: Exception) -> None:
        """A message of `topic` cannot be used, because of `error`."""
        self.count += 1
        self.last = escape(f"{topic}: {error}")
        self._logger.warning(escape(f"message on {topic} refused: {error}"), throttle_duration_sec=1.0)

    def values(self) -> dict[str, object]:
        """What /diagnostics says of them, nothing without any."""
        return {"messages_refused": self.count, "last_refusal": self.last} if self.count else {}


class RefusalEvents:
    """Refused messages as events of the control loop, one per topic and second. Belongs to the control thread."""

    def __init__(self, steady: Callable[[], float]) -> None:
        """`steady()` is the time [s] of the steady clock."""
        self._steady = steady
        self._events: deque[Event] = deque(maxlen=256)
        self._latest: dict[str, float] = {}
        self.count, self.last = 0, ""
        """How many, and the sentence about the last one."""

    def add(self, topic: str, error: Exception) -> None:
        """A message of `topic` cannot be used, because of `error`."""
        self.count += 1
        self.last = escape(f"{topic}: {error}")
        steady = self._steady()
        if steady - self._latest.get(topic, -math.inf) >= COMPLAINTS:
            self._latest[topic] = steady
            self._events.append(Event(steady, 0.0, "warn", "message", escape(f"message on {topic} refused: {error}")))

    def take(self) -> tuple[Event, ...]:
        """The events since the last call."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def clear(self) -> None:
        """Forget all."""
        self.count, self.last = 0, ""
        self._events.clear()
        self._latest.clear()
