"""Two processes that stay and train whatever they are given, as torchrun starts them; they need not be started for each run."""

from __future__ import annotations

import os
import socket
import traceback
from typing import Any, Self

import torch.multiprocessing as mp


class Pair:
    """Runs a `Plan` in two processes, as often as wanted."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        context = mp.get_context("spawn")
        ends = [context.Pipe() for _ in range(2)]
        self._pipes = [near for near, _ in ends]
        self._processes = [
            context.Process(target=serve, args=(number, port, far), daemon=True) for number, (_, far) in enumerate(ends)
        ]

    def __enter__(self) -> Self:
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        for process in self._processes:
            process.start()
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
        return self

    def run(self, plan: Any) -> None:
        """Train, to the end. Raises AssertionError with what a process raised."""
        for pipe in self._pipes:
            pipe.send(plan)
        said = [pipe.recv() for pipe in self._pipes]
        assert said == ["", ""], "\n".join(said)

    def __exit__(self, *error: object) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(60)
            if process.is_alive():
                process.kill()


def serve(number: int, port: int, pipe: Any) -> None:
    """One of the two: run plans until None comes."""
    from pi0_ros.train.processes import process_group
    from pi0_ros.train.session import run

    os.environ.update(
        RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    with process_group("cpu"):
        while (plan := pipe.recv()) is not None:
            try:
                run(plan)
                pipe.send("")
            except BaseException:
                pipe.send(traceback.format_exc())
                raise
