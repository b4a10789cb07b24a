"""What varies between recorded episodes beside the layout: light, the cameras' colours and noise, and calibration.

All of it is small, as between two days with one robot: what a policy has to live with, not another world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.changes import CameraShift, WorldChange


@dataclass(frozen=True)
class Ranges:
    """Ends of the ranges, around nothing, from which conditions are drawn evenly."""

    light: float = 0.3  # share of the usual light
    gain: float = 0.06  # of a camera's red, green, blue
    noise: float = 0.025  # largest standard deviation of a pixel's noise, of 1 for white
    shift: float = 0.005  # m, of a camera along each axis
    turn: float = 0.015  # rad, of a camera about each axis: 0.9 degrees
    joint: float = 0.004  # rad, between a joint's encoder and the truth

    def scaled(self, share: float) -> Ranges:
        """All of them `share` times as wide."""
        return Ranges(*(share * getattr(self, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Conditions:
    """Of one episode. world: light, cameras, calibration. gains: [camera, 3], noise: standard deviation, of pictures."""

    world: WorldChange
    gains: dict[str, tuple[float, ...]]
    noise: float

    def note(self) -> dict[str, object]:
        """The numbers for a dataset's log."""
        world = self.world
        return {
            "light": round(world.light, 4),
            "noise": round(self.noise, 5),
            "gains": {camera: [round(v, 4) for v in gains] for camera, gains in self.gains.items()},
            "cameras": {
                n: {axis: round(v, 5) for axis, v in vars(shift).items()} for n, shift in world.cameras.items()
            },
            "joints": {channel: round(v, 5) for channel, v in world.joints.items()},
        }


class Eyes:
    """The cameras of one episode: what they make of rendered pictures."""

    def __init__(self, conditions: Conditions, size: int, rng: np.random.Generator) -> None:
        """size: width and height of the pictures. Each picture gets another window of one field of noise."""
        self._gains, self._size, self._rng = conditions.gains, size, rng
        field = rng.standard_normal((2 * size, 2 * size, 3), np.float32)
        self._noise = np.float32(255.0 * conditions.noise) * field

    def see(self, camera: str, picture: np.ndarray) -> np.ndarray:
        """A picture with the gains and the noise of that camera, uint8 [S, S, 3]."""
        row, column = self._window()
        noise = self._noise[row : row + self._size, column : column + self._size]
        pixels = picture * np.array(self._gains[camera], np.float32) + noise
        return np.asarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))

    def blink(self) -> None:
        """Leave out one picture: the next ones are as if it had been seen."""
        self._window()

    def _window(self) -> tuple[int, int]:
        row, column = self._rng.integers(self._size, size=2)
        return int(row), int(column)


def draw_conditions(
    rng: np.random.Generator, robot: Robot, cameras: Sequence[str], ranges: Ranges | None = None
) -> Conditions:
    """Conditions of an episode with these cameras; the wheels and grippers of the robot are as they are."""
    r = ranges or Ranges()
    shifts = {name: CameraShift(*_around(rng, r.shift, 3), *_around(rng, r.turn, 3)) for name in cameras}
    arms = [channel.name for channel in robot.channels if channel.group.endswith("_arm")]
    joints = dict(zip(arms, _around(rng, r.joint, len(arms)), strict=True))
    gains = {name: tuple(1.0 + v for v in _around(rng, r.gain, 3)) for name in cameras}
    world = WorldChange(shifts, 1.0 + _around(rng, r.light, 1)[0], joints)
    return Conditions(world, gains, float(rng.uniform(0.0, r.noise)))


def _around(rng: np.random.Generator, end: float, count: int) -> list[float]:
    return [float(v) for v in rng.uniform(-end, end, count)]
