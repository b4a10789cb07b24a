"""What the executor commanded lately, and who drove, by time. Pure: all times in seconds of the ROS clock, passed in."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REACH = 0.2
"""Seconds that a command counts for when none follows soon: the executor tells its command 25 times a second."""
BRIDGE = 1.0
"""Seconds between two commands that are known, up to which what was commanded between them is known too."""
KEPT = 512
"""Commands that are remembered: 10 s of a change in every period of 50 Hz."""


@dataclass(frozen=True)
class PastCommand:
    """The command by channel at a moment, and who drove then."""

    driver: str
    command: Mapping[str, float]


class CommandHistory:
    """Commands with their times, in order."""

    def __init__(self) -> None:
        self._stamps: deque[float] = deque(maxlen=KEPT)
        self._told: deque[PastCommand] = deque(maxlen=KEPT)

    def add(self, stamp: float, driver: str, channels: Sequence[str], command: Sequence[float]) -> None:
        """The executor's command of ROS time `stamp`. After a clock that was set back everything before is forgotten."""
        if self._stamps and stamp < self._stamps[-1]:
            self.clear()
        self._stamps.append(stamp)
        self._told.append(PastCommand(driver, dict(zip(channels, command, strict=True))))

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._told.clear()

    @property
    def reached(self) -> float:
        """The time of the newest command, minus infinity if there is none."""
        return self._stamps[-1] if self._stamps else -math.inf

    def at(self, moment: float) -> PastCommand | None:
        """The command at `moment`, linear between the two beside it, by who drove before it; None if none is near."""
        k = bisect_right(self._stamps, moment)
        if k == 0:
            near = bool(self._stamps) and self._stamps[0] - moment <= REACH
            return self._told[0] if near else None
        before, at = self._told[k - 1], self._stamps[k - 1]
        if k == len(self._stamps) or self._stamps[k] - at > BRIDGE:
            return before if moment - at <= REACH else None
        share = (moment - at) / (self._stamps[k] - at)  # the next one is later than the moment
        after = self._told[k].command
        command = {
            name: value + share * (after[name] - value)
            if math.isfinite(value) and math.isfinite(after.get(name, math.nan))
            else value
            for name, value in before.command.items()
        }
        return PastCommand(before.driver, command)
