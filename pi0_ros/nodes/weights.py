"""One copy of a policy's weights for all nodes of a process, and one thread that uses it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, TypeVar

from pi0_ros.policy import load_policy
from pi0_ros.robot import Robot
from pi0_ros.ros.loop import give_way

Result = TypeVar("Result")


class Weights:
    """Loads a policy once and runs it in a thread of its own, one question at a time.

    The libraries under torch count their threads per calling thread: where another one loads than infers, `threads`
    is forgotten, and on a busy machine the surplus threads wait for each other fifty times as long as they work.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "network", initializer=give_way)
        self._loaded: dict[tuple[str, str, str], Any] = {}

    def run(self, work: Callable[..., Result], *args: object, **kwargs: object) -> Result:
        """The result of `work(...)`, done in the network's thread; its exception is raised here."""
        return self._worker.submit(work, *args, **kwargs).result()

    def get(self, values: SimpleNamespace, robot: Robot) -> Any:
        """The policy that a node's `MODEL_PARAMETERS` ask for. Raises PolicyError, CheckpointError."""
        key = (values.checkpoint, str(robot.file), values.device)
        if key not in self._loaded:
            adapter, threads = values.adapter or None, values.threads or None
            self._loaded[key] = self.run(load_policy, key[0], robot, device=key[2], threads=threads, adapter=adapter)
        return self._loaded[key]

    def drop(self) -> None:
        """Forget what is loaded; the next `get` reads it again."""
        self._loaded.clear()
