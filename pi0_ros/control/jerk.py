"""How rough the commands are: the jerk of the position channels, from one report to the next."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]


class JerkMeter:
    """Differences of commanded velocities; keeps a sum, a maximum and the last two of them."""

    def __init__(self, robot: Robot, period: float) -> None:
        """`period` [s] between two commands."""
        self._columns = np.array([i for i, c in enumerate(robot.channels) if c.kind is Kind.POSITION], dtype=np.intp)
        self._period = period
        self._velocity: Array | None = None
        self._acceleration: Array | None = None
        self._squares, self._count, self._worst = 0.0, 0, 0.0

    def see(self, velocities: Array) -> None:
        """Take the velocities [D] of one command (rad/s or m/s on position channels)."""
        now = velocities[self._columns]
        if self._velocity is not None and len(now):
            acceleration: Array = (now - self._velocity) / self._period
            if self._acceleration is not None:
                jerk = np.abs(acceleration - self._acceleration) / self._period
                self._squares += float(jerk @ jerk) / len(jerk)
                self._count += 1
                self._worst = max(self._worst, float(jerk.max()))
            self._acceleration = acceleration
        self._velocity = now

    def take(self) -> tuple[float, float]:
        """Root mean square over channels and commands, and the worst, since the last call [rad/s^3 or m/s^3]."""
        rms, worst = math.sqrt(self._squares / self._count) if self._count else 0.0, self._worst
        self._squares, self._count, self._worst = 0.0, 0, 0.0
        return rms, worst
