"""How long a policy takes, and when it should therefore be asked again."""

from __future__ import annotations

from collections import deque


class DelayEstimator:
    """Percentile of the newest observation-to-command delays [s].

    The first delay after a start is left out: compilation and discovery would pollute the estimate.
    """

    def __init__(self, depth: int = 32) -> None:
        self._delays: deque[float] = deque(maxlen=depth)
        self._cold = True
        self._p95 = 0.0

    def cold_start(self) -> None:
        """The next delay is not typical."""
        self._cold = True

    def add(self, delay: float) -> None:
        """Count one measured delay [s]."""
        if self._cold:
            self._cold = False
            return
        self._delays.append(delay)
        ordered = sorted(self._delays)
        place = 0.95 * (len(ordered) - 1)
        low = ordered[int(place)]
        self._p95 = low + (ordered[min(int(place) + 1, len(ordered) - 1)] - low) * (place - int(place))

    @property
    def p95(self) -> float:
        """95th percentile [s], 0 while nothing has been measured."""
        return self._p95


def ask_in(plan_left: float, delay: float, margin: float) -> float:
    """Seconds until the next observation should be taken so that its chunk arrives before the plan runs out."""
    return max(0.0, plan_left - delay - margin)
