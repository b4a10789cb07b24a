"""Commands on the robot's side: how regularly they come, and whether one breaks a promise of `control.audit`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pi0_ros.control.audit import GroupAudit
from pi0_ros.robot.quantile import quantiles
from pi0_ros.robot.spec import Group, Robot

SILENCE = 0.5
"""Seconds without a command after which they begin anew where the robot is (docs/safety.md, promise 8)."""


class GroupMonitor:
    """Commands of one group, and when they came."""

    def __init__(self, group: Group, period: float) -> None:
        self._audit, self._period, self._sequence = GroupAudit(group, period), period, 0
        self.times: list[float] = []
        self.violations = 0
        self.missed = 0

    def see(self, at: float, values: Sequence[float], sequence: int = 0) -> str:
        """A command arrived at `at` [s], the publisher's `sequence`-th, 0 if that is not known; which limit it breaks, ""
        for none.

        It is judged by what was sent: a command counts for one period, whenever it arrives, and one that was lost for another.
        """
        gap = at - self.times[-1] if self.times else 0.0
        periods = max(1, round(gap / self._period))
        self.missed += periods - 1
        if 0 < self._sequence < sequence and gap < SILENCE:
            periods = sequence - self._sequence
        self._sequence = sequence
        broken = self._audit.judge(values, periods)
        self.violations += bool(broken)
        self.times.append(at)
        return broken

    def restart(self) -> None:
        """Begin to count anew; the last command stays what the next one is compared with."""
        self.times, self.violations, self.missed = self.times[-1:], 0, 0


class CommandMonitor:
    """All groups of a robot."""

    def __init__(self, robot: Robot) -> None:
        self.period = 1.0 / robot.control_rate
        self.groups = {g.name: GroupMonitor(g, self.period) for g in robot.groups}

    def see(self, group: str, at: float, values: Sequence[float], sequence: int = 0) -> str:
        """A command for `group` arrived at `at` [s] (`GroupMonitor.see`); which limit it breaks, "" for none."""
        return self.groups[group].see(at, values, sequence)

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
        p50, p99, most = quantiles(error, 0.5, 0.99, 1.0)
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
