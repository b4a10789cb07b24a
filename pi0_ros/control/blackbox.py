"""The last seconds of inputs and commands, in bounded memory; the ROS layer writes them to disk after a fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from pi0_ros.control.chunk import Chunk

HEAD_VALUES, HEAD_NAMES, HEAD_TEXT = 8192, 256, 400
"""Of a refused chunk: numbers, channels, and characters of each text that are kept. An ordinary chunk is kept whole."""


def boxed_chunk(chunk: Chunk, accepted: bool) -> tuple[Chunk, int]:
    """What is kept of a chunk, and its bytes: all of one that was accepted, the head of one that was not.

    A neighbour that sends millions of numbers must not push out what was recorded before.
    """
    if not accepted:
        names = tuple(name[:HEAD_TEXT] for name in chunk.names[:HEAD_NAMES])
        rows, width = HEAD_VALUES // max(1, len(names)), len(names) or HEAD_VALUES
        values = chunk.values[:rows, :width] if chunk.values.ndim == 2 else chunk.values.ravel()[:HEAD_VALUES]
        chunk = replace(
            chunk, names=names, values=values, source=chunk.source[:HEAD_TEXT], subtask=chunk.subtask[:HEAD_TEXT]
        )
    texts = len(chunk.source) + len(chunk.subtask) + sum(map(len, chunk.names))
    return chunk, int(chunk.values.nbytes) + 4 * texts


def state_bytes(positions: Mapping[str, float]) -> int:
    """Bytes of a measurement in the box: its numbers and its names."""
    return 64 * len(positions) + 4 * sum(map(len, positions))


class Record(NamedTuple):
    """One thing that was seen or done. `kind` is state, chunk, command, event, picture, ...; `size` its bytes."""

    steady: float
    ros: float
    kind: str
    data: object
    size: int


class BlackBox:
    """A ring of the newest records: at most `seconds` old, at most `records` many, at most `budget` bytes."""

    def __init__(self, seconds: float = 30.0, records: int = 50_000, budget: int = 64 << 20) -> None:
        self._seconds, self._records, self._budget = seconds, records, budget
        self._ring: deque[Record] = deque()
        self._bytes = 0

    def add(self, steady: float, ros: float, kind: str, data: object, size: int) -> None:
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
