"""An empty observation, with which a policy is tried before anything moves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pi0_ros.policy.plan import Observation
from pi0_ros.robot.spec import Robot

SIDE = 224


def empty_scene(robot: Robot, cameras: Iterable[str]) -> Observation:
    """Black pictures, every channel in the middle of its limits (0 if it has none), at time 0."""
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    middle = {c.name: float(np.nan_to_num((c.limits.lower + c.limits.upper) / 2.0)) for c in robot.channels}
    return Observation(0.0, dict.fromkeys(cameras, black), middle, "rehearsal")
