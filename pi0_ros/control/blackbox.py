"""The last seconds of everything, in bounded memory; the ROS layer writes them to disk when something breaks."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Record(NamedTuple):
    """One thing that was seen or done. `kind` is state, chunk, command, event, picture, ...; `size` its bytes."""

    steady: float
    ros: float
    kind: str
    data: object
    size: int = 0


class BlackBox:
    """A ring of the newest records: at most `seconds` old, at most `records` many, at most `budget` bytes."""

    def __init__(self, seconds: float = 30.0, records: int = 50_000, budget: int = 64 << 20) -> None:
        self._seconds, self._records, self._budget = seconds, records, budget
        self._ring: deque[Record] = deque()
        self._bytes = 0

    def add(self, steady: float, ros: float, kind: str, data: object, size: int = 0) -> None:
        """Keep one record; the oldest make room."""
        self._ring.append(Record(steady, ros, kind, data, size))
        self._bytes += size
        ring = self._ring
        while ring and (
            steady - ring[0].steady > self._seconds or len(ring) > self._records or self._bytes > self._budget
        ):
            self._bytes -= ring.popleft().size

    def snapshot(self) -> tuple[Record, ...]:
        """What is kept, oldest first. The ring goes on filling."""
        return tuple(self._ring)

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def size(self) -> int:
        """Bytes the kept records declared."""
        return self._bytes
