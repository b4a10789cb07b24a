"""Signals that end a process. Each one that can be caught makes the node safe first.

SIGKILL and a power cut leave no choice: what the robot does then is up to its driver's own timeout (docs/safety.md).
Nothing here imports ROS.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Ctrl-C, a supervisor, a terminal that was closed (or an ssh connection that was cut), Ctrl-backslash."""


def stop_numbers() -> tuple[signal.Signals, ...]:
    """The signals to answer by stopping: SIGHUP stays ignored if it is (`nohup`)."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(n for n in STOPPING if n is not signal.SIGHUP or not ignored)


def leave(code: int) -> NoReturn:
    """End the process here and now, everything having been made safe.

    The interpreter would first wait for the libraries under torch and DDS to take their threads apart, which on a busy
    machine lasts longer than a supervisor waits before it kills.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """A program that is started in this block has SIGINT blocked: one that comes while Python itself starts waits there.

    Python would answer it with a traceback of its own start-up. The program has to unblock it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_quietly_while_loading() -> None:
    """Until `Signals` takes over: a signal ends the process at once, with code 0 and without a traceback.

    One that came before, while a launcher kept it blocked, is answered now.
    """
    for number in stop_numbers():
        signal.signal(number, lambda *_: leave(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))


class Interrupted(BaseException):
    """A signal came while a node was being brought up; what has been brought up is made safe."""


class Signals:
    """The wish to end, as an event with a reason and an exit code. Make it in the main thread."""

    def __init__(self) -> None:
        self.reason = ""
        self.code = 0
        self.idle: Callable[[], bool] = lambda: True
        """Whether nothing is at work yet: a process that is still loading ends at once, not when it has loaded."""
        self.loading = False
        """Whether the main thread may be interrupted by `Interrupted`, because it is only loading."""
        self._asked = threading.Event()
        self._cause = ""
        for number in stop_numbers():
            signal.signal(number, self._received)

    def _received(self, number: int, _: FrameType | None) -> None:
        if self._asked.is_set():
            return  # the stop is under way; a second signal neither hastens it nor cuts it short
        self.reason = self._cause or signal.Signals(number).name
        self._asked.set()
        if self.idle():
            leave(0)
        if self.loading:
            raise Interrupted

    def raise_for(self, cause: str) -> None:
        """End the process as a SIGTERM would, wherever the main thread is, for a cause of one's own; from any thread."""
        self._cause = cause
        os.kill(os.getpid(), signal.SIGTERM)

    def wait(self) -> str:
        """Why the process is to end, once it is."""
        # With a timeout the main thread gets to run Python's signal handler on every platform.
        while not self._asked.wait(0.5):
            continue
        return self.reason

    def end(self, reason: str, code: int = 0) -> None:
        """End the process as if a signal had come, with an exit code; from any thread. The first reason stays."""
        if not self._asked.is_set():
            self.reason, self.code = reason, code
            self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether the process is asked to end."""
        return self._asked.is_set()
