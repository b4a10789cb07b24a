"""One activation of a node that asks a network, from its start to its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Activation:
    """What its thread still computes when it has ended is never published, however long that takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.over = False
        """Whether it has ended."""

    def end(self) -> None:
        """End it; waits until what is being published has been published."""
        with self._lock:
            self.over = True

    @contextmanager
    def publishing(self) -> Iterator[bool]:
        """Whether something may be published; the activation does not end meanwhile."""
        with self._lock:
            yield not self.over
