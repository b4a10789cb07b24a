"""TFRecord files of tf.train.Example, without TensorFlow.

A record (tensorflow/core/lib/io/record_writer.h) is its length as uint64, the masked CRC-32C of that, the bytes, and their
masked CRC-32C, little-endian. An Example (tensorflow/core/example/example.proto, feature.proto) is a protobuf message: field 1
holds features, a map (field 1) of names to lists: of bytes (field 1), float32 (2) or int64 (3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError

LONGEST = 4 << 30  # [bytes] of a record: an episode of an hour of pictures
MASK = 0xA282EAD8

Value = list[bytes] | NDArray[np.float32] | NDArray[np.int64]


def read_examples(file: Path) -> Iterator[dict[str, Value]]:
    """The Examples of a file in order. Raises DataError if a record is damaged, naming which one."""
    for number, record in enumerate(read_records(file)):
        try:
            yield parse_example(memoryview(record))
        except (ValueError, IndexError, struct.error, UnicodeDecodeError) as problem:
            raise DataError(f"{file}: record {number} is no tf.train.Example ({problem})") from problem


def read_records(file: Path) -> Iterator[bytes]:
    """The records of a TFRecord file. Raises DataError if one is damaged or cut off."""
    from google_crc32c import value as crc32c

    def masked(data: bytes) -> int:
        crc = int(crc32c(data))
        return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF

    with file.open("rb") as opened:
        number = 0
        while head := opened.read(12):
            size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else -1
            if size < 0 or size > LONGEST or struct.unpack("<I", head[8:])[0] != masked(head[:8]):
                raise DataError(f"{file}: record {number} is damaged, or this is no TFRecord file; copy it again")
            data, tail = opened.read(size), opened.read(4)
            if len(data) < size or len(tail) < 4 or struct.unpack("<I", tail)[0] != masked(data):
                raise DataError(f"{file}: record {number} is cut off or damaged; copy the file again")
            yield data
            number += 1


def parse_example(data: memoryview) -> dict[str, Value]:
    """The features of a serialized tf.train.Example."""
    found: dict[str, Value] = {}
    for field, features in _fields(data):
        for inner, entry in _fields(features) if field == 1 else ():
            if inner == 1:
                name, value = "", memoryview(b"")
                for part, content in _fields(entry):
                    if part == 1:
                        name = bytes(content).decode()
                    elif part == 2:
                        value = content
                found[name] = _list(value)
    return found


def _list(feature: memoryview) -> Value:
    """The one list that a Feature holds."""
    for kind, content in _fields(feature):
        if kind == 1:
            return [bytes(item) for number, item in _fields(content) if number == 1]
        if kind == 2:
            return np.frombuffer(b"".join(bytes(item) for _, item in _fields(content)), "<f4")
        if kind == 3:
            return np.array([n for _, item in _fields(content) for n in _varints(item)], np.int64)
    return []


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Field number and content of a protobuf message; a varint's content is its own bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(data, at)
            end = at + size
        elif kind == 0:
            end = _varint(data, at)[1]
        elif kind in (1, 5):
            end = at + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if end > len(data):
            raise ValueError("it is cut off")
        yield tag >> 3, data[at:end]
        at = end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value - (1 << 64) if value >> 63 else value
