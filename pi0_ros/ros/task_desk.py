"""What people publish for high_level: the task, whether it is new, and an operator's override."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TaskDesk:
    """Shared by the thread that hears tasks and the one that decides; `lock` is held while a decision is published."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.task, self.override = "", ""
        self._new = False

    def put_task(self, text: str) -> bool:
        """Somebody says the task, with the lock held; whether it is another one.

        Said again counts as new: another scene may lie on the table.
        """
        changed, self.task = text != self.task, text
        self.decide_anew()
        return changed

    def decide_anew(self) -> None:
        """As if the task had been said again, with the lock held."""
        self._new = True
        self.lock.notify_all()

    def put_override(self, text: str) -> None:
        """An operator says what to do; "" takes it back."""
        with self.lock:
            self.override = text

    def wake(self) -> None:
        """Let who waits look again."""
        with self.lock:
            self.lock.notify_all()

    def wait(self, timeout: float, over: Callable[[], bool]) -> tuple[str, bool]:
        """The task and whether it is new, once it is, or after `timeout` [s], or as soon as it is `over`."""
        with self.lock:
            self.lock.wait_for(lambda: over() or self._new, timeout)
            if over():
                return self.task, False
            new, self._new = self._new, False
            return self.task, new

    def stands(self, task: str) -> bool:
        """Whether `task` is still what is wanted of the network, with the lock held."""
        return task == self.task and not self.override
