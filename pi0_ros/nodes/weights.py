"""One copy of a policy's weights for all nodes of a process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from pi0_ros.policy import load_policy
from pi0_ros.robot import Robot


@dataclass
class Weights:
    """Loads a policy once and lets one thread at a time use it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    _loaded: dict[tuple[str, str, str], Any] = field(default_factory=dict)

    def get(self, checkpoint: str, robot: Robot, device: str, threads: int | None) -> Any:
        """The policy of a checkpoint for a robot; raises PolicyError where they do not fit."""
        key = (checkpoint, str(robot.file), device)
        with self.lock:
            if key not in self._loaded:
                self._loaded[key] = load_policy(checkpoint, robot, device=device, threads=threads)
            return self._loaded[key]

    def drop(self) -> None:
        """Forget what is loaded; the next `get` reads it again."""
        with self.lock:
            self._loaded.clear()
