"""Whether the robot follows its commands: how far it is behind them, and whether it moves at all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.watchdogs import Since
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]


def lags_of(robot: Robot, settings: ExecutorSettings) -> list[float]:
    """Seconds by which each channel may follow its command later."""
    return [settings.tracking_lag + g.command_latency for g in robot.groups for _ in g.channels]


class Tracking:
    """Distance between command and measurement, beyond what the motion explains."""

    def __init__(self, robot: Robot, settings: ExecutorSettings) -> None:
        self._robot, self._settings = robot, settings
        self._lags = lags_of(robot, settings)
        # Lists, not arrays: of so few numbers a loop costs less than a handful of array operations with cold caches.
        self._tracked = [i for i, c in enumerate(robot.channels) if c.kind is Kind.POSITION]
        units = [robot.channels[i].unit for i in self._tracked]
        self._allowed = [settings.tracking_error_m if unit == "m" else settings.tracking_error for unit in units]
        self._off = Since()
        self.error = 0.0
        """Of the worst channel [rad or m]."""

    def restart(self) -> None:
        """Somebody else drives."""
        self._off, self.error = Since(), 0.0

    def lost(self, steady: float, commanded: Array, measured: Sequence[float]) -> str:
        """One period on: which channel has been off its command for too long, as a sentence; "" if none has.

        `commanded` [3, D] and `measured` [D] in the robot's channel order.
        """
        x, v = commanded[:2].tolist()
        errors = [abs(x[i] - measured[i]) - self._lags[i] * abs(v[i]) for i in self._tracked]
        self.error = max(errors, default=0.0)
        excess = [e / m for e, m in zip(errors, self._allowed, strict=True)]
        worst = max(excess, default=0.0)
        self._off = self._off.update(steady, worst > 1.0)
        if not self._off.lasts(steady, self._settings.tracking_time):
            return ""
        k = excess.index(worst)
        return self._sentence(k, errors[k])

    def forgive(self) -> None:
        """Forget the errors so far: the robot is now held where it is."""
        self._off = Since()

    def _sentence(self, k: int, error: float) -> str:
        channel, allowed = self._robot.channels[self._tracked[k]], self._allowed[k]
        key = "tracking_error_m" if channel.unit == "m" else "tracking_error"
        return (
            f"TRACKING: {channel.name} is {error:.2f} {channel.unit} from its command, more than {key} "
            f"{allowed:g} {channel.unit} beyond a lag of tracking_lag {self._settings.tracking_lag:g} s; holding where the robot is"
        )


class Standstill:
    """Measurements that stand still although motion is commanded: a blocked robot, or a driver that repeats itself."""

    def __init__(self, robot: Robot, settings: ExecutorSettings, period: float) -> None:
        self._names, self._settings, self._period = robot.channel_names, settings, period
        self._position = np.array([c.kind is Kind.POSITION for c in robot.channels])
        self._joints = [i for i, c in enumerate(robot.channels) if c.joint]
        self._travel = [0.0] * len(self._joints)
        self._from = np.full(len(robot.channels), math.nan)

    def begin(self, command: Array) -> None:
        """Measure motion from this `command` [D] on."""
        self._from = command

    def blocked(self, command: Array, standing: bool, trusted: bool) -> str:
        """One period on: the joint that was commanded to move and did not, as a sentence; "" if there is none.

        `standing`: no measurement has changed for `state_frozen`. `trusted`: the measurements have been followed before.
        """
        travelled = self._travelled(command, standing)
        if not standing:
            self._from = command
            return ""
        ways = np.abs(command - self._from) * self._position
        moved = max(travelled, float(np.max(ways)))
        if not trusted or moved <= self._settings.frozen_motion:
            return ""
        name = self._names[int(np.argmax(ways))] if moved > travelled else "a joint"
        return (
            f"TRACKING: {name} was told to move {moved:.2f} and no joint state has changed for "
            f"{self._settings.state_frozen:g} s (measurements are frozen); is the robot enabled, or its driver stuck?"
        )

    def _travelled(self, command: Array, standing: bool) -> float:
        """How far [rad or m] joints that velocities move were commanded to go meanwhile."""
        for k, i in enumerate(self._joints):
            self._travel[k] = self._travel[k] + abs(float(command[i])) * self._period if standing else 0.0
        return max(self._travel, default=0.0)
