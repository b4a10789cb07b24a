"""A message of fixed shape that is serialized once: afterwards only its numbers are written into the bytes.

Making a message's objects anew, checking and converting them takes several times as long as sending them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.serialization import serialize_message

Number = int | float
"""An int stands for the four bytes of seconds or nanoseconds, a float for eight."""

LITTLE = 1  # second byte of the representation header of CDR (DDS-XTypes 7.6.2.1.2): byte order
_WHOLE, _REAL = 0x0A0B0C01, 0x4009_21FB_5444_2D01  # four and eight bytes that no name or length looks like


class MessageTemplate:
    """The serialized form of `build(numbers)`, whatever the numbers are; the bytes can be published as they are."""

    def __init__(self, build: Callable[[Sequence[Number]], Any], example: Sequence[Number]) -> None:
        """`example`: numbers of the right count and types, in the order in which the message has them.

        Raises ValueError if a number is not in the message exactly once, or in another order.
        """
        marks = [_WHOLE + k if isinstance(n, int) else _real(_REAL + k) for k, n in enumerate(example)]
        whole = bytes(serialize_message(build(marks)))
        order = "<" if whole[1] & LITTLE else ">"
        parts: list[Any] = []
        runs: list[tuple[int, int]] = []  # where a row of numbers begins in `parts` and among the numbers
        form, done = order, 0
        for count, mark in enumerate(marks):
            code = "I" if isinstance(mark, int) else "d"
            sought = struct.pack(order + code, mark)
            at = whole.find(sought, done)
            if at < 0 or whole.count(sought) != 1:
                raise ValueError(f"number {count} is not once, in its order, in the bytes of {build(marks)}")
            if at > done:
                form += f"{at - done}s"
                parts.append(whole[done:at])
                runs.append((len(parts), count))
            form += code
            parts.append(mark)
            done = at + len(sought)
        ends = [*(first for _, first in runs[1:]), len(marks)]
        self._rows = [
            (slice(place, place + end - first), slice(first, end))
            for (place, first), end in zip(runs, ends, strict=True)
        ]
        self._parts, self._count = [*parts, whole[done:]], len(marks)
        self._struct = struct.Struct(f"{form}{len(whole) - done}s")

    def __call__(self, numbers: Sequence[Number]) -> bytes:
        """The bytes of the message with these numbers; ValueError if they are not as many as in the example."""
        if len(numbers) != self._count:
            raise ValueError(f"{len(numbers)} numbers for a message of {self._count}")
        parts = self._parts
        for place, row in self._rows:
            parts[place] = numbers[row]
        return self._struct.pack(*parts)


def _real(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
