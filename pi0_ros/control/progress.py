"""How much of its plans a robot has executed, and since when: what a new chunk may skip."""

from __future__ import annotations

import math
from collections import deque

REMEMBERED = 4096  # control periods


class Progress:
    """Path seconds executed so far, at each control period; standing adds nothing."""

    def __init__(self) -> None:
        self.total = 0.0
        self._seen: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def clear(self) -> None:
        """Nothing has been executed."""
        self.total = 0.0
        self._seen.clear()

    def add(self, time: float, seconds: float) -> None:
        """At ROS `time` [s] another `seconds` of path have been executed."""
        self.total += seconds
        self._seen.append((time, self.total))

    def since(self, time: float) -> float:
        """Path seconds executed from ROS `time` [s] on; all there is if `time` is before the first period."""
        later, after = math.inf, self.total
        for seen, total in reversed(self._seen):
            if seen <= time:
                share = (time - seen) / (later - seen)
                return self.total - total - share * (after - total)
            later, after = seen, total
        return self.total
