"""What the commands of an executor and the measurements beside them say, for /diagnostics: how rough, and how late followed."""

from __future__ import annotations

import threading

from pi0_ros.control.jerk import JerkMeter
from pi0_ros.control.lag_watch import LagWatch, lag_sentences
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.control_thread import Period


class MotionReport:
    """`see` belongs to the reporting thread, the rest to one other."""

    def __init__(self, robot: Robot, period: float) -> None:
        """`period` [s] between two commands."""
        self._robot, self._jerk, self._lag = robot, JerkMeter(robot, period), LagWatch(robot, period)
        self._lags: dict[str, float] = {}
        self._lock = threading.Lock()

    def see(self, period: Period) -> None:
        """Take a period in which a command was sent."""
        command, step = period.command, period.step
        if command is None or step is None:
            return
        with self._lock:
            self._jerk.see(command.velocities)
            self._lag.see(command.stamp, command.values, step.measured)

    def values(self) -> dict[str, float]:
        """Jerk since the last call, and the lag of each group as far as it is known."""
        with self._lock:
            rms, worst = self._jerk.take()
            self._lags = self._lag.lags()
        return {"jerk_rms": rms, "jerk_max": worst} | {f"{name} lag_ms": lag * 1e3 for name, lag in self._lags.items()}

    @property
    def sentences(self) -> tuple[str, ...]:
        """Warnings about the lags that `values` returned last."""
        return lag_sentences(self._robot, self._lags)
