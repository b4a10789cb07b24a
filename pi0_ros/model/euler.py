"""The times of Euler steps from t = 1 to t = 0, and the guidance of real-time chunking in closed form: numbers alone.

Needs no torch: both the network of this process and a graph run elsewhere are integrated by these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


MAX_GUIDANCE = 10.0
"""Cap of the guidance weight (beta of arXiv 2506.07339)."""
Array = TypeVar("Array", "Tensor", NDArray[np.floating])


def time_grid(steps: int, rule: str) -> list[float]:
    """The times of `steps` Euler steps, as float32 rounds them.

    "accumulate" adds dt = -1/steps in float32 while t >= -dt/2 (openpi), "multiply" is 1 + i * dt (LeRobot).
    Raises: InputError for no step.
    """
    if steps < 1:
        raise InputError(f"sampling needs at least one step, got {steps}")
    dt = -1.0 / steps
    if rule == "multiply":
        return [float(np.float32(1.0 + i * dt)) for i in range(steps)]
    step, time, grid = np.float32(dt), np.float32(1.0), []
    while time >= -step / 2:
        grid.append(float(time))
        time = time + step
    return grid


def guidance_weight(t: float, cap: float) -> float:
    """min(cap, (1-tau)/tau * (tau^2 + (1-tau)^2) / (1-tau)^2) at tau = 1 - t (arXiv 2506.07339, eq. 2 and 4)."""
    tau = 1.0 - t
    if tau <= 0.0 or t <= 0.0:
        return cap
    return min(cap, t / tau * (tau**2 + t**2) / t**2)


def identity(x: Array, v: Array, t: float, previous: Array, weights: Array, strength: Array | float) -> Array:
    """LeRobot's guidance in closed form: v - strength * (previous - (x - t v)) * weights. All broadcast to [B, H, D]."""
    return v - strength * (previous - (x - t * v)) * weights
