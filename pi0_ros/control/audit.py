"""Whether a run of commands kept every promise; what tests, benchmarks and replays judge by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pi0_ros.control.limits import Bounds, bounds_of
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]
ROUNDING = 1e-6  # relative; what is left of a limit after three differences in double precision


def violations(robot: Robot, values: Array, period: float) -> list[str]:
    """Every broken promise in the commands [N, D] sent one `period` [s] apart, as sentences; empty where none is.

    Finite, inside the position limits, and first, second and third difference within velocity, acceleration and jerk.
    Where the run starts outside the position limits it may only come inward.
    """
    if not bool(np.isfinite(values).all()):
        return ["a command is not finite"]
    found: list[str] = []
    start = 0
    for group in robot.groups:
        bounds, part = bounds_of(group, period), values[:, start : start + len(group.channels)]
        start += len(group.channels)
        found += [f"{group.name}: {text}" for text in _broken(bounds, part, period, group.kind is not Kind.VELOCITY)]
    return found


def _broken(bounds: Bounds, values: Array, period: float, third: bool) -> list[str]:
    low, high = np.minimum(bounds.lower, values[0]), np.maximum(bounds.upper, values[0])
    found = []
    if bool((values < low - 1e-8).any() or (values > high + 1e-8).any()):
        found.append(f"position up to {float(max((low - values).max(), (values - high).max())):.3g} beyond its limit")
    names = ("velocity", "acceleration", "jerk") if third else ("velocity", "acceleration")
    change = values
    for order, name in enumerate(names, start=1):
        change = np.diff(change, axis=0)
        limit = np.array(getattr(bounds, name)) * period**order
        slack = limit * ROUNDING + 2.0**order * 1e-12
        if len(change) and bool((np.abs(change) > limit + slack).any()):
            found.append(f"{name} {float((np.abs(change) / limit).max()):.3g} times its limit")
    return found
