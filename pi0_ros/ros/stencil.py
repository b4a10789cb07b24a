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


class Stencil:
    """The serialized form of `build(numbers)`, whatever the numbers are; the bytes can be published as they are."""

    def __init__(self, build: Callable[[Sequence[Number]], Any], example: Sequence[Number]) -> None:
        """`example`: numbers of the right count and types, in the order in which the message has them.

        Raises ValueError where a number is not in the message exactly once, or in another order.
        """
        marks = [_WHOLE + k if isinstance(n, int) else _real(_REAL + k) for k, n in enumerate(example)]
        whole = bytes(serialize_message(build(marks)))
        order = "<" if whole[1] & LITTLE else ">"
        self._parts: list[Any] = []
        self._slots: list[int] = []
        form, done = order, 0
        for mark in marks:
            code = "I" if isinstance(mark, int) else "d"
            sought = struct.pack(order + code, mark)
            at = whole.find(sought, done)
            if at < 0 or whole.count(sought) != 1:
                raise ValueError(f"number {len(self._slots)} is not once, in its order, in the bytes of {build(marks)}")
            form += f"{at - done}s{code}"
            self._slots.append(len(self._parts) + 1)
            self._parts += [whole[done:at], mark]
            done = at + len(sought)
        self._parts.append(whole[done:])
        self._struct = struct.Struct(f"{form}{len(whole) - done}s")

    def __call__(self, numbers: Sequence[Number]) -> bytes:
        """The bytes of the message with these numbers."""
        parts = self._parts
        for slot, number in zip(self._slots, numbers, strict=True):
            parts[slot] = number
        return self._struct.pack(*parts)


def _real(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
