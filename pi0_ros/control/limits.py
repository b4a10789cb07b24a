"""Limits of a group's motion and how far a stop within them reaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pi0_ros.robot.spec import Group, Kind

TIE = 1e-9


@dataclass(frozen=True)
class Bounds:
    """Limits of a group's motion, one entry a channel; for velocity channels of the velocity's own motion."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]


def bounds_of(group: Group, period: float) -> Bounds:
    """Bounds of a group [robot units]; a velocity channel's third derivative is free within one `period` [s]."""
    limits = [c.limits for c in group.channels]
    lower, upper = tuple(m.lower for m in limits), tuple(m.upper for m in limits)
    acceleration, jerk = tuple(m.acceleration for m in limits), tuple(m.jerk for m in limits)
    if group.kind is Kind.VELOCITY:
        return Bounds(lower, upper, acceleration, jerk, tuple(4.0 * j / period for j in jerk))
    return Bounds(lower, upper, tuple(m.velocity for m in limits), acceleration, jerk)


def stop_reach(v: float, a: float, acceleration: float, jerk: float) -> float:
    """At least how far upwards a stop from velocity `v` and acceleration `a` reaches; an upper bound, cheap to take.

    First the acceleration goes to zero at full jerk, then the velocity does: v/2 (v/A + A/J), which bounds the
    triangular case too because (v/A + A/J) / 2 >= sqrt(v/J).
    """
    distance, peak = 0.0, v
    if a > 0.0:
        distance = max(v, 0.0) * a / jerk + a * a * a / (3.0 * jerk * jerk)
        peak = v + a * a / (2.0 * jerk)
    if peak > 0.0:
        distance += 0.5 * peak * (peak / acceleration + acceleration / jerk)
    return distance


def stop_time(groups: Iterable[Group], period: float) -> float:
    """Seconds within which every group is at rest from any state within its limits, at a control period of `period` [s].

    From velocity V: V/A + A/J for each channel (to full deceleration and back at jerk J, at deceleration A between); twice
    that, because the channels of a group slow down together, each by its share.
    """
    longest = 0.0
    for group in groups:
        bounds = bounds_of(group, period)
        if group.kind is Kind.VELOCITY:  # its velocity is what is limited as a position is elsewhere
            speeds = tuple(max(-low, high) for low, high in zip(bounds.lower, bounds.upper, strict=True))
            times = [s / a + a / j for s, a, j in zip(speeds, bounds.velocity, bounds.acceleration, strict=True)]
        else:
            times = [v / a + a / j for v, a, j in zip(bounds.velocity, bounds.acceleration, bounds.jerk, strict=True)]
        longest = max(longest, *times)
    return 2.0 * longest
