"""How late the machine itself wakes a real-time process that does nothing: nobody on it keeps time better than that."""

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


class Floor:
    """One such process for each processor, while the block lasts; afterwards `late` has every lateness [s]."""

    def __init__(self, period: float) -> None:
        """`period` [s] between two wakings."""
        self._period = period
        self.late = np.zeros(0)

    def __enter__(self) -> Self:
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench._floor", str(cpu), str(self._period)], stdout=subprocess.PIPE, text=True
            )
            for cpu in sorted(os.sched_getaffinity(0))
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        self.late = np.concatenate(
            [json.loads(process.communicate(timeout=30.0)[0] or "[]") for process in self._processes]
        )


def watch(cpu: int, period: float) -> list[float]:
    """Wake every `period` [s] on one processor until SIGTERM or the parent is gone; how late each waking was [s]."""
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
        deadline += period
        time.sleep(max(0.0, deadline - time.monotonic()))
        late.append(time.monotonic() - deadline)
    return late[:-1]  # the signal has cut the last sleep short


if __name__ == "__main__":
    print(json.dumps(watch(int(sys.argv[1]), float(sys.argv[2]))))
