"""A thread that works at a fixed rate: absolute deadlines on the steady clock, overruns skipped and counted."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.timing import PeriodTimes

# The GIL switch interval [s]: short while the loop's thread sleeps, so that it gets the GIL when it wakes; long while it
# works, because a thread that takes the GIL meanwhile may lose its processor while holding it.
YIELDING, WORKING = 0.0001, 0.005
# How long before a deadline what is prepared for it begins [s], at most this share of a period.
AHEAD, AHEAD_SHARE = 0.003, 0.3
LOOK = 0.0025  # [s] between two looks at what may have come, while there is time
LOOK_TIME = 0.004  # [s] that handling what has come may take
LINUX = sys.platform == "linux"


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
    """Calls `work(deadline, late)` every period in its own thread; an exception goes to `failed` and the loop goes on.

    `prepare()` is called a little before each deadline: what takes now more, now less time is done there, so that what
    `work` sends goes out at the same moment of every period.
    `look()` is called after each work, and every `LOOK` seconds of the time that is left then. What it finds should take no
    longer than `LOOK_TIME`, so that the next `prepare` is not kept waiting.
    `first`: this loop goes before every other thread of the process (one loop of a process at most).
    """

    def __init__(
        self,
        period: float,
        work: Callable[[float, float], None],
        failed: Callable[[str], None],
        name: str = "control",
        first: bool = False,
        prepare: Callable[[], None] | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        self.period, self._work, self._failed, self._name, self._first = period, work, failed, name, first
        self._prepare, self._look = prepare, look
        self._ending = False
        self.thread: GuardedThread | None = None
        """The thread, from `start` to `stop`."""
        self.times = PeriodTimes(period)
        """How well it keeps time."""

    def start(self, priority: int = 0, cpu: int = -1) -> list[str]:
        """Start. `priority` > 0 asks for SCHED_FIFO, `cpu` >= 0 pins. Returns what the system refused."""
        self._ending = False
        refused: list[str] = []
        ready = threading.Event()

        def main() -> None:
            if not ready.is_set():
                refused.extend(_schedule(priority, cpu))
                ready.set()
            # Handing on the interpreter takes an ordinary thread until it gets a processor: not to be done often.
            self._run(YIELDING if priority and not refused else sys.getswitchinterval())

        self.thread = GuardedThread(self._name, main, self._failed, restart=0.0).start()
        ready.wait()
        return refused

    def stop(self) -> None:
        """End after the work in progress."""
        self._ending = True
        if self.thread is not None:
            self.thread.stop(2.0)
        self.thread = None

    @property
    def running(self) -> bool:
        """Whether the thread is alive and not asked to end."""
        return self.thread is not None and not self._ending

    def _run(self, yielding: float) -> None:
        pacer, usual = Pacer(self.period, time.monotonic()), sys.getswitchinterval()
        ahead = min(AHEAD, AHEAD_SHARE * self.period) if self._prepare is not None else 0.0
        while not self._ending:
            if self._prepare is not None:
                self.times.prepared(self._guard(self._prepare))
                self._sleep_until(pacer.deadline, yielding)
            late = time.monotonic() - pacer.deadline
            self.times.worked(late, self._guard(self._work, pacer.deadline, late))
            due = pacer.next(time.monotonic())
            self.times.overruns = pacer.skipped
            if self._look is not None:
                self._look_until(due - ahead - LOOK_TIME, self._look, yielding)
            self._sleep_until(due - ahead, yielding)
        if self._first:
            sys.setswitchinterval(usual)

    def _look_until(self, last: float, look: Callable[[], None], yielding: float) -> None:
        """Look now, every `LOOK` seconds, and at steady time `last` [s], if that is yet to come."""
        self._guard(look)
        while (now := time.monotonic()) < last and not self._ending:
            self._sleep_until(min(now + LOOK, last), yielding)
            self._guard(look)

    def _guard(self, work: Callable[..., None], *arguments: float) -> float:
        """Work; seconds that it took. An exception goes to `failed`."""
        began = time.monotonic()
        try:
            work(*arguments)
        except BaseException:  # noqa: BLE001 - the loop outlives whatever happens in it, a panic of Rust too
            self._failed(traceback.format_exc())
        return time.monotonic() - began

    def _sleep_until(self, moment: float, yielding: float) -> None:
        wait = moment - time.monotonic()
        if self._first:
            sys.setswitchinterval(yielding)
        if wait > 0.0:
            time.sleep(wait)
        if self._first:
            sys.setswitchinterval(WORKING)


_threads = threading.local()
"""`usual`: the niceness of a thread before it was changed here."""


def lower_priority(niceness: int = 3) -> None:
    """Let the calling thread, and those it starts, wait for the threads that move the robot.

    Called again in the same thread, as by a node that is activated again, it does not lower it further.
    """
    with contextlib.suppress(OSError, AttributeError):
        if not hasattr(_threads, "usual"):
            _threads.usual = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _threads.usual + niceness)


def raise_thread_priorities(priority: int) -> None:
    """Real-time `priority` for every thread of this process that is an ordinary one, and for those they start.

    A thread that is pushed off its processor while it holds the GIL, or a lock of the network layer, makes the
    real-time thread that needs it wait for as long. The system's own bound on real-time threads (95 % of a second)
    stays in force. Where it is refused nothing happens.
    """
    if LINUX:
        _reschedule(os.SCHED_OTHER, os.SCHED_FIFO, max(1, priority))


def restore_thread_priorities() -> None:
    """Every thread of this process is an ordinary one again."""
    if LINUX:
        _reschedule(os.SCHED_FIFO, os.SCHED_OTHER, 0)


def restore_own_priority() -> None:
    """The calling thread is an ordinary one again."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _reschedule(before: int, after: int, priority: int) -> None:
    for thread in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(OSError):  # it may have ended, or this may not be allowed
            if os.sched_getscheduler(thread) == before:
                os.sched_setscheduler(thread, after, os.sched_param(priority))


def _schedule(priority: int, cpu: int) -> list[str]:
    """Real-time priority and pinning for the calling thread alone; what is refused, as sentences."""
    refused = []
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
