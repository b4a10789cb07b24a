"""How well a loop keeps its time: lateness, work and preparation of its periods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pi0_ros.robot.quantile import quantiles

WINDOW = 60.0  # [s] that `Timing` is about


@dataclass(frozen=True)
class Timing:
    """How well the loop keeps its time, over the last minute: lateness, work and preparation in seconds.

    `work_p99_run`, `overruns` and `ticks` are about all the time since the start.
    """

    late_p50: float = 0.0
    late_p99: float = 0.0
    late_max: float = 0.0
    work_p50: float = 0.0
    work_p99: float = 0.0
    work_max: float = 0.0
    prepare_p50: float = 0.0
    prepare_p99: float = 0.0
    prepare_max: float = 0.0
    work_p99_run: float = 0.0
    overruns: int = 0
    ticks: int = 0


class Ring:
    """The newest numbers, in memory that is there from the start."""

    def __init__(self, size: int) -> None:
        self._values, self._count = np.zeros(size), 0

    def add(self, value: float) -> None:
        """Keep one more; the oldest makes room."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def summary(self) -> tuple[float, float, float]:
        """Median, 99th percentile and maximum, zeros if nothing was added."""
        p50, p99, most = quantiles(self._values[: min(self._count, len(self._values))], 0.5, 0.99, 1.0)
        return p50, p99, most


class Tally:
    """How often durations of which length were seen, however many there were: counts in steps of `STEP` seconds.

    Its quantiles are of counts, and so steps and not values; those of values are in `robot/quantile.py`."""

    STEP, LONGEST = 1e-5, 0.02

    def __init__(self) -> None:
        self._counts = [0] * (round(self.LONGEST / self.STEP) + 1)

    def add(self, seconds: float) -> None:
        """Count one; what is longer than `LONGEST` counts as that."""
        self._counts[min(int(seconds / self.STEP), len(self._counts) - 1)] += 1

    def quantile(self, share: float) -> float:
        """The shortest duration [s], rounded up to a step, that `share` of all do not exceed; 0 if there are none."""
        wanted, seen = share * sum(self._counts), 0
        for step, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return (step + 1) * self.STEP if seen else 0.0
        return 0.0


class PeriodTimes:
    """Records the times of every period of a loop."""

    def __init__(self, period: float) -> None:
        """`period` [s] of the loop."""
        self._all_spent = Tally()
        self._late, self._spent, self._prepared = (Ring(int(WINDOW / period)) for _ in range(3))
        self.overruns = 0
        """Periods that were lost."""
        self._ticks = 0

    def prepared(self, seconds: float) -> None:
        """A preparation took so long."""
        self._prepared.add(seconds)

    def worked(self, late: float, seconds: float) -> None:
        """A period began `late` [s], and its work took so many seconds."""
        self._spent.add(seconds)
        self._all_spent.add(seconds)
        self._late.add(late)
        self._ticks += 1

    def timing(self) -> Timing:
        """The summary of all of them."""
        late, spent, prepared = self._late.summary(), self._spent.summary(), self._prepared.summary()
        return Timing(*late, *spent, *prepared, self._all_spent.quantile(0.99), self.overruns, self._ticks)
