"""A thread that works at a fixed rate: absolute deadlines on the steady clock, overruns skipped and counted."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """How well the loop keeps its time, over the last minute: lateness and own work in seconds."""

    late_p50: float = 0.0
    late_p99: float = 0.0
    late_max: float = 0.0
    work_p50: float = 0.0
    work_p99: float = 0.0
    overruns: int = 0
    ticks: int = 0


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Pacer:
    """Deadlines of a fixed rate. Pure: given the time, says when to work next and how many periods were lost."""

    def __init__(self, period: float, start: float) -> None:
        """`period` and `start` [s] on the steady clock."""
        self.period = period
        self.deadline = start
        self.skipped = 0

    def next(self, now: float) -> float:
        """The next deadline after work done at `now`: at most half a period late is done at once, later is skipped."""
        self.deadline += self.period
        late = now - self.deadline
        if late > self.period / 2:
            lost = int(late / self.period + 0.5)
            self.skipped += lost
            self.deadline += lost * self.period
        return self.deadline


class Loop:
    """Calls `work(deadline, late)` every period in its own thread; an exception goes to `failed` and the loop goes on."""

    def __init__(
        self, period: float, work: Callable[[float, float], None], failed: Callable[[str], None], name: str = "control"
    ) -> None:
        self._period, self._work, self._failed, self._name = period, work, failed, name
        self._ending = False
        self._thread: threading.Thread | None = None
        self._late: deque[float] = deque(maxlen=int(60.0 / period))
        self._spent: deque[float] = deque(maxlen=int(60.0 / period))
        self.overruns = 0
        self.ticks = 0

    def start(self, priority: int = 0, cpu: int = -1) -> list[str]:
        """Start. `priority` > 0 asks for SCHED_FIFO, `cpu` >= 0 pins. Returns what the system refused."""
        self._ending = False
        refused: list[str] = []
        ready = threading.Event()

        def main() -> None:
            refused.extend(_schedule(priority, cpu))
            ready.set()
            self._run()

        self._thread = threading.Thread(target=main, name=self._name, daemon=True)
        self._thread.start()
        ready.wait()
        return refused

    def stop(self) -> None:
        """End after the work in progress."""
        self._ending = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)
        self._thread = None

    @property
    def running(self) -> bool:
        """Whether the thread is alive and not asked to end."""
        return self._thread is not None and not self._ending

    def timing(self) -> Timing:
        """How well it kept time."""
        late, spent = list(self._late), list(self._spent)
        return Timing(
            _percentile(late, 0.5),
            _percentile(late, 0.99),
            max(late, default=0.0),
            _percentile(spent, 0.5),
            _percentile(spent, 0.99),
            self.overruns,
            self.ticks,
        )

    def _run(self) -> None:
        pacer = Pacer(self._period, time.monotonic())
        while not self._ending:
            began = time.monotonic()
            late = began - pacer.deadline
            try:
                self._work(pacer.deadline, late)
            except Exception:  # noqa: BLE001 - the loop outlives whatever happens in it
                self._failed(traceback.format_exc())
            ended = time.monotonic()
            self._late.append(late)
            self._spent.append(ended - began)
            self.ticks += 1
            wait = pacer.next(ended) - time.monotonic()
            self.overruns = pacer.skipped
            if wait > 0.0:
                time.sleep(wait)


def give_way(niceness: int = 3) -> None:
    """Let the calling thread, and those it starts, wait for the threads that move the robot."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + niceness)


def _schedule(priority: int, cpu: int) -> list[str]:
    """Real-time priority and pinning for the calling thread alone; what is refused, as sentences."""
    refused = []
    # 0 means the calling thread. The other threads of the process stay ordinary: they may be busy for long, and a
    # real-time thread that is busy for long takes the machine with it.
    if priority > 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except (OSError, AttributeError) as error:
            refused.append(
                f"real-time priority {priority} was refused ({error}); allow it with an rtprio line in"
                " /etc/security/limits.conf, or set realtime_priority to 0"
            )
    if cpu >= 0:
        try:
            os.sched_setaffinity(0, {cpu})
        except (OSError, AttributeError) as error:
            refused.append(f"pinning to CPU {cpu} was refused ({error})")
    return refused
