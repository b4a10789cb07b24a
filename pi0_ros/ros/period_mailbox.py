"""Hands the result of each period from the control thread to the reporter."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from pi0_ros.ros.control_thread import Period

STATE_PERIOD = 0.04  # [s] between two reports while nothing changes
UNREPORTED = 1024  # periods that wait to be reported


class PeriodMailbox:
    """`offer` is called by the control thread and waits for nobody, everything else by the thread that reports."""

    def __init__(self, period: float) -> None:
        """`period` [s] of the control loop."""
        self._period = period
        self._news, self._wake = deque[Period](maxlen=UNREPORTED), threading.Condition()
        self._seen: tuple[object, ...] = ()
        self._unreported = 0.0
        self._ending = False

    def offer(self, period: Period) -> None:
        """Take the snapshot of a period; wakes the reporter if there is news or it is time.

        Now, so that the reporting is done when the next period begins.
        """
        self._news.append(period)
        step = period.step
        seen = (period.fault, *((step.mode, step.reason, step.epoch, step.plan_sequence) if step else ()))
        self._unreported += self._period
        due = seen != self._seen or self._unreported > STATE_PERIOD - 0.5 * self._period
        if due and self._wake.acquire(False):
            self._seen, self._unreported = seen, 0.0
            self._wake.notify_all()
            self._wake.release()

    def wait(self) -> bool:
        """Wait until it is time to report; False at the end."""
        with self._wake:
            if not self._ending:
                self._wake.wait(2.0 * STATE_PERIOD)  # the control thread says when, as long as it runs
            return not self._ending

    def take(self) -> Iterator[Period]:
        """The periods since the last call, oldest first."""
        while self._news:
            yield self._news.popleft()

    def close(self) -> None:
        """End the waiting."""
        with self._wake:
            self._ending = True
            self._wake.notify_all()
