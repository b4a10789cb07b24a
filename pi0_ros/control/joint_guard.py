"""Joints that are moved by velocities: braked before their position limits.

A position command cannot leave its limits; a velocity can lead anywhere. What is asked for is therefore bounded by what can
still be stopped inside the joint's reach, from where the joint was measured.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from pi0_ros.control.sensing import Measurements
from pi0_ros.robot.spec import Robot

Array = npt.NDArray[np.float64]
BRAKING = 0.7  # share of the acceleration limit that braking before an end counts on


def stoppable_speed(distance: float, acceleration: float, jerk: float, period: float) -> float:
    """The speed from which a joint comes to rest within `distance`, decided once a `period` [s]; 0 beyond the end.

    From v the way is v (period + A / J) + v^2 / 2A: constant deceleration A, its ramp from acceleration A, and what goes by
    before it begins.
    """
    if distance <= 0.0:
        return 0.0
    braking = BRAKING * acceleration
    late = period + acceleration / jerk
    return braking * (math.sqrt(late * late + 2.0 * distance / braking) - late)


class JointGuard:
    """The joints of a robot that velocities move. Without any, nothing is done."""

    def __init__(self, robot: Robot, period: float, delay: float) -> None:
        """`period` [s] between commands; `delay` [s]: how much later than commanded a joint moves."""
        self._period = period
        self._sent: deque[Array] = deque(maxlen=math.ceil(delay / period) + 2)
        self._joints = [(i, c) for i, c in enumerate(robot.channels) if c.joint]

    def bounded(self, goal: Array, command: Array, measured: Measurements) -> Array:
        """The goal [3, D] with velocities from which each joint can still be stopped inside its reach.

        `command` [D] is the newest one. What was commanded lately is not yet measured: a joint is taken to be further on
        by that, where it leads towards the end.
        """
        if not self._joints:
            return goal
        self._sent.append(command)
        bounded = goal
        for i, channel in self._joints:
            wanted, limits = float(goal[0, i]), channel.limits
            towards = math.copysign(1.0, wanted)
            end = channel.reach[1] if wanted > 0.0 else channel.reach[0]
            coming = max(0.0, towards * sum(float(sent[i]) for sent in self._sent) * self._period)
            distance = towards * (end - measured.joint(channel.joint)) - coming
            fastest = stoppable_speed(distance, limits.acceleration, limits.jerk, self._period)
            if abs(wanted) > fastest:
                bounded = goal.copy() if bounded is goal else bounded
                slowing = BRAKING * limits.acceleration if fastest > 0.0 else 0.0
                bounded[:, i] = towards * fastest, -towards * slowing, 0.0
        return bounded
