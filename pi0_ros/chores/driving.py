"""How the base gets before a table: what velocity it should have next, from where it stands now.

`drive_velocity` remembers nothing. A base that was pushed is simply somewhere else. It backs away from what it stands before, turns
and goes to a point some way before its goal, and goes in from there once it is in line with it. m, rad, s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pi0_ros.chores.plane import PlanarPose
from pi0_ros.touch.funnel import bounded, smooth

Twist = tuple[float, float, float]
"""vx, vy [m/s] and wz [rad/s] in the frame of the base."""
HALF_WIDTH = 0.95  # m to either side of a place: the base turns only if it is farther from the table there


@dataclass(frozen=True)
class DriveSettings:
    """How the base moves, within the limits of the shipped robot: 0.5 m/s, 1 rad/s, 1 m/s², 2 rad/s²."""

    speed: float = 0.40
    turn: float = 0.80
    gain: float = 1.6  # speed per metre, and turning per radian, still to go, 1/s
    braking: float = 0.40  # m/s² at which it comes to rest
    turn_braking: float = 0.80
    acceleration: float = 0.60
    turn_acceleration: float = 1.40
    back: float = 0.42  # before its place: there the base turns and gets in line
    clear: float = 0.34  # before another place: as far as this it only backs away
    near: float = 0.02  # askew by less than this it stands in its place
    far: float = 0.16  # askew by more than this it stays back
    lever: float = 0.5  # m: a radian askew counts as so many metres to the side


def drive_velocity(base: PlanarPose, goal: PlanarPose, others: Iterable[PlanarPose], settings: DriveSettings) -> Twist:
    """The twist towards a goal, a pose of the base before a table. others: the poses before all other tables."""
    s = settings
    off = goal.local(base)
    askew = math.hypot(off.y, s.lever * off.yaw)
    aim = -s.back * smooth((askew - s.near) / (s.far - s.near))
    way = (aim - off.x, -off.y)
    left = math.hypot(*way)
    speed = min(s.speed, s.gain * left, math.sqrt(2 * s.braking * left)) / max(left, 1e-9)
    velocity = goal.vector((speed * way[0], speed * way[1], 0.0))
    turn = _turning(off.yaw, s)
    for other in others:
        before = other.local(base)
        if abs(before.y) < HALF_WIDTH:
            free = smooth(-before.x / s.clear)
            velocity = free * velocity + (1.0 - free) * other.vector((-s.speed, 0.0, 0.0))
            turn *= free
    vx, vy, _ = base.local_vector(velocity)
    return float(vx), float(vy), turn


def _turning(error: float, s: DriveSettings) -> float:
    rate = min(s.turn, s.gain * abs(error), math.sqrt(2 * s.turn_braking * abs(error)))
    return -math.copysign(rate, error)


def slewed(now: Twist, wanted: Twist, period: float, settings: DriveSettings) -> Twist:
    """The twist one period later, as near to the wanted one as the accelerations allow."""
    s = settings
    steps = (s.acceleration * period, s.acceleration * period, s.turn_acceleration * period)
    x, y, w = (v + bounded(goal - v, -step, step) for v, goal, step in zip(now, wanted, steps, strict=True))
    return x, y, w
