"""ROS messages as bytes: the few types of a black box, written without ROS.

Plain CDR, little-endian (OMG DDS-XTypes 1.3, 7.4.1): four bytes of encapsulation, then every number at a multiple of its size,
counted from behind those. A table of numbers is copied as it lies in memory: as Python's numbers it would hold the GIL, and
with it the control thread, for as long as it is large.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

LAST_SECOND = 2.0**31 - 1.0  # [s] that a stamp can hold
FLOAT32 = float(np.finfo(np.float32).max)
UINT32, UINT64 = 2**32 - 1, 2**64 - 1


class Cdr:
    """Bytes of one message, field after field."""

    def __init__(self) -> None:
        self._bytes = bytearray(b"\0\1\0\0")

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def pack(self, kind: str, value: float) -> Cdr:
        """A number of `struct`'s kind: B, i, I, Q, f or d."""
        self._align(struct.calcsize(kind))
        self._bytes += struct.pack(f"<{kind}", value)
        return self

    def text(self, text: str) -> Cdr:
        """A string; what UTF-8 cannot hold becomes a question mark."""
        data = text.encode("utf-8", "replace").replace(b"\0", b"?")
        self.pack("I", len(data) + 1)
        self._bytes += data + b"\0"
        return self

    def texts(self, texts: Sequence[str]) -> Cdr:
        """A list of strings."""
        self.pack("I", len(texts))
        for text in texts:
            self.text(text)
        return self

    def numbers(self, values: ArrayLike, kind: str) -> Cdr:
        """A list of numbers of NumPy's kind "<f4" or "<f8"; what float32 cannot hold becomes its largest."""
        array = np.asarray(values, np.float64).ravel()
        if kind == "<f4":
            array = np.clip(array, -FLOAT32, FLOAT32)
        self.pack("I", len(array))
        return self.fixed(array, kind)

    def fixed(self, values: ArrayLike, kind: str) -> Cdr:
        """Numbers of an array whose length the type fixes."""
        array = np.asarray(values).astype(kind)
        if array.size:
            self._align(array.itemsize)
            self._bytes += array.tobytes()
        return self

    def blob(self, data: bytes) -> Cdr:
        """A list of bytes."""
        self.pack("I", len(data))
        self._bytes += data
        return self

    def time(self, seconds: float) -> Cdr:
        """A stamp; the nearest that there is if `seconds` is none."""
        inside = min(max(seconds, 0.0), LAST_SECOND) if math.isfinite(seconds) else 0.0
        whole = int(inside)
        return self.pack("i", whole).pack("I", min(int((inside - whole) * 1e9), 999_999_999))

    def header(self, stamp: float, frame: str = "") -> Cdr:
        """A std_msgs/Header."""
        return self.time(stamp).text(frame)

    def _align(self, size: int) -> None:
        self._bytes += bytes(-(len(self._bytes) - 4) % size)


def within(value: int, most: int) -> int:
    """The nearest whole number that an unsigned field holds."""
    return min(max(int(value), 0), most)


def joint_state(stamp: float, names: Sequence[str], positions: Iterable[float], frame: str = "") -> bytes:
    """A sensor_msgs/JointState with positions alone."""
    out = Cdr().header(stamp, frame).texts(names).numbers([float(v) for v in positions], "<f8")
    return bytes(out.pack("I", 0).pack("I", 0))


def odometry(stamp: float, twist: tuple[float, float, float]) -> bytes:
    """A nav_msgs/Odometry of which only the twist is known (forward, left [m/s], turning [rad/s])."""
    out = Cdr().header(stamp, "odom").text("base_link")
    out.fixed((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, *[0.0] * 36), "<f8")
    return bytes(out.fixed((twist[0], twist[1], 0.0, 0.0, 0.0, twist[2], *[0.0] * 36), "<f8"))


def compressed_image(stamp: float, camera: str, jpeg: bytes) -> bytes:
    """A sensor_msgs/CompressedImage."""
    return bytes(Cdr().header(stamp, camera).text("jpeg").blob(jpeg))


def log_line(stamp: float, level: int, name: str, text: str) -> bytes:
    """An rcl_interfaces/Log."""
    return bytes(Cdr().time(stamp).pack("B", level).text(name).text(text).text("").text("").pack("I", 0))
