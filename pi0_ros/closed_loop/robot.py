"""What the harness needs of a robot and of a task. `sim` has both; anything else that has these methods will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pi0_ros.robot import Robot


class LoopRobot(Protocol):
    """A robot whose time passes only by `advance`."""

    robot: Robot

    @property
    def time(self) -> float:
        """Seconds since the start of the episode."""

    def joint_state(self) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
        """Joint names, positions and velocities, as its driver would publish them."""

    def odometry(self) -> tuple[float, float, float, float, float, float]:
        """x, y, yaw [m, m, rad] and vx, vy, wz in the base frame [m/s, m/s, rad/s]."""

    def measured(self) -> dict[str, float]:
        """Every channel in robot units."""

    def render(self, camera: str) -> NDArray[np.uint8]:
        """An RGB picture [H, W, 3] of a camera."""

    def set_command(self, names: Sequence[str], values: NDArray[np.float64]) -> None:
        """The command of a control period, by channel."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""

    def close(self) -> None:
        """Free its resources."""


Body = TypeVar("Body", bound=LoopRobot)
AnyBody_contra = TypeVar("AnyBody_contra", bound=LoopRobot, contravariant=True)


class Task(Protocol[AnyBody_contra]):
    """One kind of episode. `time_limit` is in simulated seconds; `name` is what the command line calls it."""

    name: str
    time_limit: float
    instruction: str

    def reset(self, sim: AnyBody_contra, seed: int) -> str:
        """Put the robot and what is around it into the start of a seed; the instruction."""

    def success(self, sim: AnyBody_contra) -> bool:
        """Has it been done?"""

    def failed(self, sim: AnyBody_contra) -> bool:
        """Can it not be done any more (wrong touch, time over)?"""

    def subtask(self, sim: AnyBody_contra) -> str:
        """What to do now, in low-level words, from the true state of the scene."""

    def progress(self, sim: AnyBody_contra) -> tuple[int, int]:
        """(steps done, steps in all)."""
