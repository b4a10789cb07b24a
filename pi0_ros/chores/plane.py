"""Poses in the plane of the floor: of the base, and of the places before which it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PlanarPose:
    """x, y [m] and yaw [rad] in the world frame."""

    x: float
    y: float
    yaw: float

    def point(self, place: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """A point [3] of this frame in the world."""
        turned = self.vector(place)
        return turned + (self.x, self.y, 0.0)

    def vector(self, value: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """A direction [3] of this frame in the world."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([c * value[0] - s * value[1], s * value[0] + c * value[1], value[2]])

    def local_point(self, place: np.ndarray) -> np.ndarray:
        """A point [3] of the world in this frame."""
        return self.local_vector(np.asarray(place) - (self.x, self.y, 0.0))

    def local_vector(self, value: np.ndarray) -> np.ndarray:
        """A direction [3] of the world in this frame."""
        return PlanarPose(0.0, 0.0, -self.yaw).vector(value)

    def local(self, other: PlanarPose) -> PlanarPose:
        """Another pose of the world in this frame; its yaw is within -pi .. pi."""
        x, y, _ = self.local_point(np.array([other.x, other.y, 0.0]))
        return PlanarPose(float(x), float(y), math.remainder(other.yaw - self.yaw, math.tau))

    def moved(self, velocity: tuple[float, float, float], seconds: float) -> PlanarPose:
        """The pose after that time at a twist (vx, vy, wz) in this frame, straight in the direction of the middle of the time."""
        vx, vy, wz = (seconds * v for v in velocity)
        x, y, _ = PlanarPose(0.0, 0.0, self.yaw + wz / 2).vector((vx, vy, 0.0))
        return PlanarPose(self.x + float(x), self.y + float(y), self.yaw + wz)


WORLD = PlanarPose(0.0, 0.0, 0.0)
"""The frame of the world."""
