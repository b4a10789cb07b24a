"""Brings the robot to rest without the control core, after the core itself raised. Pure: no clock, no ROS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pi0_ros.control.step import Command
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]


class FallbackStop:
    """Decelerates every channel from the last command at its own acceleration limit, then holds."""

    def __init__(self, robot: Robot) -> None:
        self._names = robot.channel_names
        self._deceleration = np.array([c.limits.acceleration for c in robot.channels])
        self._lower = np.array([c.limits.lower for c in robot.channels])
        self._upper = np.array([c.limits.upper for c in robot.channels])
        self._driven = np.array([c.kind is Kind.VELOCITY for c in robot.channels])

    def step(self, last: Command, stamp: float, period: float) -> Command:
        """The command one `period` [s] after `last`, for ROS time `stamp` [s]."""
        change = self._deceleration * period
        slower = np.sign(last.velocities) * np.maximum(np.abs(last.velocities) - change, 0.0)
        moved = np.clip(last.values + slower * period, self._lower, self._upper)
        ramped = np.sign(last.values) * np.maximum(np.abs(last.values) - change, 0.0)
        values = np.where(self._driven, ramped, moved)
        return Command(stamp, self._names, values, np.where(self._driven, ramped, slower))
