"""What a robot sees of its commands: how regular they come, and whether one breaks a promise of `control.audit`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pi0_ros.control.audit import GroupAudit
from pi0_ros.robot.quantile import quantiles
from pi0_ros.robot.spec import Group, Robot


class GroupMonitor:
    """Commands of one group, and when they came."""

    def __init__(self, group: Group, period: float) -> None:
        self._audit, self._period = GroupAudit(group, period), period
        self.times: list[float] = []
        self.violations = 0
        self.missed = 0

    def see(self, at: float, values: Sequence[float]) -> str:
        """A command arrived at `at` [s]; which limit it breaks, "" for none."""
        periods = max(1, round((at - self.times[-1]) / self._period)) if self.times else 1
        self.missed += periods - 1
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

    def see(self, group: str, at: float, values: Sequence[float]) -> str:
        """A command for `group` arrived at `at` [s]; which limit it breaks, "" for none."""
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
