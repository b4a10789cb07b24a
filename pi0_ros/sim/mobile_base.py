"""The simulated mobile base: a driver that slews its velocity, and the odometry it reports."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from pi0_ros.robot.spec import Channel
from pi0_ros.sim.world import BASE_JOINTS, World


class MobileBase:
    """The base of a robot, of the velocity `channels` (vx, vy, wz in base_link); `tick` [s]: how often it is driven."""

    def __init__(self, world: World, channels: Sequence[Channel], tick: float) -> None:
        self._world, self.channels = world, tuple(c.name for c in channels)
        self._servos = [world.actuator[j] for j in BASE_JOINTS]
        self._step = np.array([c.limits.acceleration for c in channels]) * tick
        self._velocity, self._wanted = np.zeros(3), np.zeros(3)
        self._origin = (0.0, 0.0, 0.0)

    def reset(self, data: mujoco.MjData, place: Sequence[float]) -> None:
        """Stand still at `place` (x, y, yaw in the world), the origin of the odometry."""
        x, y, yaw = place
        self._origin = (x, y, yaw)
        self._velocity, self._wanted = np.zeros(3), np.zeros(3)
        for joint, value in zip(BASE_JOINTS, place, strict=True):
            data.qpos[self._world.qpos[joint]] = value

    def command(self, channel: str, velocity: float) -> None:
        """Take the velocity of one channel, m/s or rad/s."""
        self._wanted[self.channels.index(channel)] = velocity

    def drive(self, data: mujoco.MjData, silent: bool) -> None:
        """Slew the velocity towards the command, or to zero if the commands are `silent`."""
        change = (0.0 if silent else self._wanted) - self._velocity
        self._velocity = self._velocity + np.clip(change, -self._step, self._step)
        yaw = float(data.qpos[self._world.qpos["base_yaw"]])
        vx, vy = rotated(self._velocity[0], self._velocity[1], yaw)
        data.ctrl[self._servos] = (vx, vy, self._velocity[2])

    def odometry(self, data: mujoco.MjData) -> tuple[float, float, float, float, float, float]:
        """(x, y, yaw, vx, vy, wz): pose in the odom frame, which is where the base stood at reset; twist in base_link."""
        x, y, yaw = data.qpos[[self._world.qpos[j] for j in BASE_JOINTS]]
        vx, vy, wz = data.qvel[[self._world.dof[j] for j in BASE_JOINTS]]
        ox, oy, turned = self._origin
        px, py = rotated(x - ox, y - oy, -turned)
        forward, left = rotated(vx, vy, -yaw)
        return float(px), float(py), float(yaw - turned), float(forward), float(left), float(wz)


def rotated(x: float, y: float, angle: float) -> tuple[float, float]:
    """A vector turned by `angle` [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return c * x - s * y, s * x + c * y
