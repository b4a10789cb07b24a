"""What a robot sees of its commands: how regular they come, and whether one breaks a limit. Pure; times are passed in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pi0_ros.robot.spec import Group, Kind, Robot

TOLERANCE = 1e-3
"""Share by which a step may exceed its limit: commands are read back from messages, and periods are rounded."""

Vector = NDArray[np.float64]


def summary(values: Sequence[float], *shares: float) -> list[float]:
    """Quantiles of values, zeros where there are none."""
    return [float(q) for q in np.quantile(values, shares)] if len(values) else [0.0] * len(shares)


class GroupWitness:
    """Commands of one group, judged one after the other against the one before."""

    def __init__(self, group: Group, period: float) -> None:
        limits = [c.limits for c in group.channels]
        self._lower, self._upper = (np.array([getattr(m, n) for m in limits]) for n in ("lower", "upper"))
        driven = group.kind is Kind.VELOCITY
        # The value of a velocity channel is a velocity, so what bounds its step is an acceleration.
        self._rate = np.array([m.acceleration if driven else m.velocity for m in limits])
        self._period = period
        self._last: Vector | None = None
        self.times: list[float] = []
        self.violations = 0
        self.missed = 0
        self.largest_step = 0.0

    def see(self, at: float, values: Sequence[float]) -> bool:
        """A command arrived at `at` [s]; False where it breaks a position limit or is too far from the one before."""
        now = np.asarray(values, np.float64)
        periods = 1
        if self.times:
            periods = max(1, round((at - self.times[-1]) / self._period))
            self.missed += periods - 1
        good = self._inside(now) and self._near(now, periods)
        self.violations += not good
        self.times.append(at)
        self._last = now
        return good

    def _inside(self, now: Vector) -> bool:
        slack = TOLERANCE * (self._upper - self._lower)
        return bool(np.all(np.isfinite(now)) and np.all((now >= self._lower - slack) & (now <= self._upper + slack)))

    def _near(self, now: Vector, periods: int) -> bool:
        if self._last is None:
            return True
        share = np.abs(now - self._last) / (self._rate * self._period * periods)
        self.largest_step = max(self.largest_step, float(np.max(share)))
        return bool(np.all(share <= 1.0 + TOLERANCE))

    def restart(self) -> None:
        """Begin to count anew; the last command stays what the next one is compared with."""
        self.times, self.violations, self.missed, self.largest_step = self.times[-1:], 0, 0, 0.0


class Witness:
    """All groups of a robot."""

    def __init__(self, robot: Robot) -> None:
        self.period = 1.0 / robot.control_rate
        self.groups = {g.name: GroupWitness(g, self.period) for g in robot.groups}

    def see(self, group: str, at: float, values: Sequence[float]) -> bool:
        """A command for `group` arrived at `at` [s]; False where it breaks a limit."""
        return self.groups[group].see(at, values)

    def restart(self) -> None:
        """Begin to count anew."""
        for group in self.groups.values():
            group.restart()

    def control(self) -> dict[str, object]:
        """The `control` part of the demo report."""
        gaps = [np.diff(g.times) for g in self.groups.values() if len(g.times) > 1]
        error = np.abs(np.concatenate(gaps) - self.period) * 1e3 if gaps else np.zeros(0)
        slowest = min(self.groups.values(), key=lambda g: len(g.times))
        span = slowest.times[-1] - slowest.times[0] if len(slowest.times) > 1 else 0.0
        p50, p99, most = summary(error, 0.5, 0.99, 1.0)
        return {
            "rate_hz": round((len(slowest.times) - 1) / span, 3) if span else 0.0,
            "period_error_ms": {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(most, 3)},
            "missed": max(g.missed for g in self.groups.values()),
            "commands": len(slowest.times),
        }

    @property
    def violations(self) -> int:
        """Commands that broke a limit."""
        return sum(g.violations for g in self.groups.values())
