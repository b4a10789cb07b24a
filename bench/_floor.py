"""The machine's scheduling latency, the lower bound: how late it wakes a real-time process that does nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Self

import numpy as np

PRIORITY = 60  # above the executor's
PERIOD = 0.01  # [s] between two wakings
STALL = 0.001  # [s] of lateness at which a machine is held to have stood still


class Floor:
    """One such process for each processor, while the block lasts."""

    def __init__(self) -> None:
        self.due, self.late = np.zeros((2, 0))
        """When each waking was due [s on the system's clock], and how late it was [s]."""

    def __enter__(self) -> Self:
        self._processes = [
            subprocess.Popen([sys.executable, "-m", "bench._floor", str(cpu)], stdout=subprocess.PIPE, text=True)
            for cpu in sorted(os.sched_getaffinity(0))
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        told = [json.loads(process.communicate(timeout=30.0)[0] or "[[], []]") for process in self._processes]
        self.due, self.late = np.concatenate([np.array(rows) for rows in told], axis=1)

    def stood_still(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Whether a processor stood still at any time between each `begin` [N] and `end` [N] [s on the system's clock]."""
        stalls = self.late > STALL
        due, awake = self.due[stalls], self.due[stalls] + self.late[stalls]
        met: np.ndarray = ((due <= end[:, None]) & (awake >= begin[:, None])).any(axis=1)
        return met


def watch(cpu: int) -> tuple[list[float], list[float]]:
    """Wake every `PERIOD` on one processor until SIGTERM or the parent is gone; when each waking was due, how late it was."""
    due: list[float] = []
    late: list[float] = []
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    os.sched_setaffinity(0, {cpu})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        print(f"bench: the machine's floor is an ordinary process's: {error}", file=sys.stderr)
    parent, deadline = os.getppid(), time.monotonic()
    while not ending and os.getppid() == parent:
        deadline += PERIOD
        time.sleep(max(0.0, deadline - time.monotonic()))
        late.append(time.monotonic() - deadline)
        due.append(time.time() - late[-1])
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # telling takes long, and nobody is to wait for it
    return due[:-1], late[:-1]  # the signal has cut the last sleep short


if __name__ == "__main__":
    print(json.dumps(watch(int(sys.argv[1]))))
