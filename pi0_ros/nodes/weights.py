"""One copy of a policy's weights for all nodes of a process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pi0_ros.policy import load_policy
from pi0_ros.robot import Robot


@dataclass
class Weights:
    """Loads a policy once and lets one thread at a time use it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    _loaded: dict[tuple[str, str, str], Any] = field(default_factory=dict)

    def get(self, values: SimpleNamespace, robot: Robot) -> Any:
        """The policy that a node's `MODEL_PARAMETERS` ask for. Raises PolicyError, CheckpointError."""
        key = (values.checkpoint, str(robot.file), values.device)
        with self.lock:
            if key not in self._loaded:
                adapter, threads = values.adapter or None, values.threads or None
                self._loaded[key] = load_policy(key[0], robot, device=key[2], threads=threads, adapter=adapter)
            return self._loaded[key]

    def drop(self) -> None:
        """Forget what is loaded; the next `get` reads it again."""
        with self.lock:
            self._loaded.clear()
