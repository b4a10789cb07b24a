"""Whether the commands of a robot have come to rest."""

from __future__ import annotations

import threading

from pi0_ros.control import Command

REST_SPEED = 1e-4  # [rad/s, m/s] below this in every channel ...
REST_TICKS = 3  # ... for this many periods the robot is at rest


class RestWatch:
    """The control thread updates it, another one waits."""

    def __init__(self) -> None:
        self._resting, self._rested = threading.Event(), 0

    def restart(self) -> None:
        """Count from now on."""
        self._rested = 0
        self._resting.clear()

    def update(self, command: Command | None) -> None:
        """Take the command of a period; without any, nothing moves."""
        if command is None:
            self._resting.set()
            return
        moving = bool((abs(command.velocities) > REST_SPEED).any())
        self._rested = 0 if moving else self._rested + 1
        if self._rested >= REST_TICKS:
            self._resting.set()

    def wait(self, timeout: float) -> bool:
        """Wait for rest; False after `timeout` [s]."""
        return self._resting.wait(timeout)
