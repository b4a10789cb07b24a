"""One thread puts in what arrived, another waits for it."""

from __future__ import annotations

import threading


class Arrivals:
    """Counts what arrived. `lock` guards what it is put into, and may be held while announcing."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._count = 0

    def announce(self) -> None:
        """Something arrived: let those who `wait` look again."""
        with self.lock:
            self._count += 1
            self.lock.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait for the next `announce`; False after `timeout` seconds."""
        with self.lock:
            count = self._count
            return self.lock.wait_for(lambda: self._count != count, timeout)
