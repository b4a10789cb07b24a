"""Threads that cannot die silently: whatever their work raises is counted, logged and reported, and the work begins again.

Every thread of the package is one of these. Nothing here imports ROS.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable

from pi0_ros.robot.quoting import escape

RESTART = 0.2
"""Seconds from a failure until the work begins again."""
RECOVERED = 5.0
"""Seconds of work without a failure after which the thread counts as well again."""
LOG_PERIOD = 5.0


class GuardedThread:
    """A daemon thread that runs `work` until it returns, and begins again if it raises, be it no `Exception`.

    Rust libraries (tokenizers, safetensors) panic with a BaseException, which `except Exception` lets through.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        log: Callable[[str], None],
        restart: float = RESTART,
        died: Callable[[str], None] | None = None,
    ) -> None:
        """`work` must return soon after whatever tells it to end; `restart` [s] is waited after a failure.

        log: gets the traceback, at most every 5 s. died: where the work cannot begin again, it is not: this is called, from the
        thread, with the reason.
        """
        self.name, self._work, self._log, self._restart, self._died = name, work, log, restart, died
        self._stopping = threading.Event()
        self._failed_at, self._logged_at, self._reason = -RECOVERED, -LOG_PERIOD, ""
        self.failures = 0
        """How often the work raised."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> GuardedThread:
        """Begin; returns this thread."""
        self._thread.start()
        return self

    def stop(self, timeout: float) -> bool:
        """Wait up to `timeout` [s] for the work to return, and begin it no more; whether it has returned.

        The caller has told the work to end before.
        """
        self._stopping.set()
        if self._thread.ident is None:  # never started
            return True
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether it is at work."""
        return self._thread.is_alive()

    def problem(self) -> str:
        """What is wrong with the thread, as a sentence; "" if it works and has not failed lately."""
        if self.failures and time.monotonic() - self._failed_at < RECOVERED:
            return f"the thread {self.name} failed {self.failures} times and was begun again: {self._reason}"
        if not self.alive and not self._stopping.is_set() and self._thread.ident is not None:
            return f"the thread {self.name} has ended though nobody asked it to"
        return ""

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._work()
                return
            except BaseException as error:  # noqa: BLE001 - that is what it is for
                self._note(error)
            if self._died is not None:
                self._died(self._reason)
                return
            self._stopping.wait(self._restart)

    def _note(self, error: BaseException) -> None:
        now = time.monotonic()
        self.failures += 1
        self._failed_at, self._reason = now, escape(f"{type(error).__name__}: {error}")
        if now - self._logged_at >= LOG_PERIOD:
            self._logged_at = now
            trace = "".join(traceback.format_exception(error))
            then = "is begun again" if self._died is None else "ends"
            with contextlib.suppress(Exception):  # a log that cannot be written must not end the thread
                self._log(f"the thread {self.name} failed and {then}:\n{trace}")
