"""A progress line every few seconds."""

from __future__ import annotations

import sys
from typing import TextIO

EVERY = 5.0  # seconds


class Ticker:
    """Prints step, loss, rate, speed and time left at most every few seconds. Times are arguments."""

    def __init__(self, steps: int, out: TextIO | None = None, every: float = EVERY) -> None:
        self.steps, self.every, self._out = steps, every, out or sys.stderr
        self._last: tuple[float, int] | None = None

    def tick(self, now: float, step: int, loss: float, rate: float, progress: float) -> None:
        """After step number `step` at time `now` [s]; `progress` 0..1 of the whole run."""
        if self._last is None:
            self._last = (now, step)
            self._say(step, loss, rate, "")
        elif now - self._last[0] >= self.every:
            speed = (step - self._last[1]) / (now - self._last[0])
            self._last = (now, step)
            left = (self.steps - step) / speed if speed > 0 else 0.0
            self._say(step, loss, rate, f", {speed:.3g} steps/s, {clock(left)} left" if progress < 1.0 else "")

    def _say(self, step: int, loss: float, rate: float, more: str) -> None:
        print(f"step {step}/{self.steps} loss {loss:.4g} rate {rate:.3g}{more}", file=self._out, flush=True)


def clock(seconds: float) -> str:
    """Seconds for people: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
