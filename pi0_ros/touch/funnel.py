"""A fingertip's velocity towards a place over a thing: how far it still is, and how high it should be, become a velocity."""

from __future__ import annotations

import math


def velocity_to(
    step: tuple[float, float], climb: float, speed: float, gain: float, slack: float, share: float = 1.0
) -> tuple[float, float, float]:
    """Velocity [m/s] along a horizontal step [m] and a climb [m].

    The horizontal speed is proportional to the step (`gain` [1/s]), at most `speed` [m/s], times `share`, and less the further
    the tip is below its height: zero `slack` [m] (and a centimetre) below it.
    """
    distance = math.hypot(*step)
    along = min(speed, gain * distance) * share * bounded(1.0 - (climb - 0.01) / slack, 0.0, 1.0)
    factor = along / max(distance, 1e-9)
    return step[0] * factor, step[1] * factor, bounded(4.0 * climb, -speed, speed)


def bounded(x: float, lower: float, upper: float) -> float:
    """x, or the end of the range that it is beyond."""
    return float(min(max(x, lower), upper))


def smooth(x: float) -> float:
    """Smoothstep: 0 below 0, 1 above 1."""
    x = bounded(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)
