"""A simulated robot that is filmed while it works, so that a failure can be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pi0_ros.data.video import VideoWriter
from pi0_ros.robot import Robot
from pi0_ros.robot.replacing import replacing
from pi0_ros.sim.changes import WorldChange
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import Scene
from pi0_ros.sim.world import Furnish

FPS, SIZE = 10, 256


class FilmedRobot(SimRobot):
    """Keeps what its cameras see, side by side, FPS times a second, since the last `load`."""

    def __init__(
        self, robot: Robot, seed: int = 0, change: WorldChange | None = None, furnish: Furnish | None = None,
        cameras: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """cameras: of the robot, () for all. Raises SimError as `SimRobot` does."""
        self.cameras = tuple(cameras) or tuple(camera.name for camera in robot.cameras)
        self._pictures: list[np.ndarray] = []
        super().__init__(robot, seed, change, furnish)

    def load(self, scene: Scene) -> None:
        """Start anew, and forget the film."""
        super().load(scene)
        self._pictures = []

    def advance(self, seconds: float) -> None:
        """Let time pass; a picture is taken before, if one is due."""
        if self.time * FPS >= len(self._pictures):
            self._pictures.append(np.concatenate([self.render(camera, SIZE) for camera in self.cameras], axis=1))
        super().advance(seconds)

    def write(self, file: Path) -> None:
        """The film as an MP4. Raises OSError if it cannot be written."""
        with replacing(file) as new:
            writer = VideoWriter(new, FPS, (SIZE, SIZE * len(self.cameras), 3))
            for picture in self._pictures:
                writer.add(picture)
            writer.close()
