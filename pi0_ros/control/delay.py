"""How long a policy takes."""

from __future__ import annotations

from collections import deque

from pi0_ros.robot.quantile import quantiles

CURRENT = 20.0  # [s] an older delay says nothing about the next one


class DelayEstimator:
    """95th percentile of the current observation-to-command delays [s].

    Left out are the first delay after a start (compilation and discovery), what is older than `CURRENT`, and, the percentile
    being one that was measured, the largest: a single hiccup is no estimate.
    """

    def __init__(self, depth: int = 32) -> None:
        self._delays: deque[tuple[float, float]] = deque(maxlen=depth)
        self._cold = True
        self._p95 = 0.0

    def cold_start(self) -> None:
        """The next delay is not typical."""
        self._cold = True

    def add(self, steady: float, delay: float) -> None:
        """Count one delay [s], measured at `steady` [s]."""
        if self._cold:
            self._cold = False
            return
        self._delays.append((steady, delay))
        while steady - self._delays[0][0] > CURRENT:
            self._delays.popleft()
        ordered = sorted(each for _, each in self._delays)
        (self._p95,) = quantiles(ordered[:-1] or ordered, 0.95)

    @property
    def p95(self) -> float:
        """95th percentile [s], 0 while nothing has been measured."""
        return self._p95
