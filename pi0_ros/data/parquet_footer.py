"""What the footer of a Parquet file says of its columns: how many values, how many bytes.

Read here and not by pyarrow, whose `row_group(i).column(j)` ends the process for some damaged footers (an exception of C++ that
nobody catches, pyarrow 26.0). Format: Thrift's compact protocol; the fields' numbers are those of parquet.thrift.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC, MAX_FOOTER, MAX_DEPTH = b"PAR1", 64 << 20, 32
BYTE_ARRAY, FIXED_BYTES = 6, 7


@dataclass(frozen=True)
class ColumnSize:
    """One column of one row group: its path in the schema, physical type, values and uncompressed bytes."""

    path: str
    type: int
    values: int
    bytes: int


def column_sizes(file: Path) -> tuple[int, list[ColumnSize]]:
    """Rows of a file, and its columns, row group after row group. Raises ValueError for what is no Parquet file."""
    try:
        footer = _Thrift(_footer(file)).structure()
        columns = [column[3] for group in footer.get(4, []) for column in group[1]]
        return int(footer[3]), [_column(column) for column in columns]
    except (LookupError, TypeError, AttributeError, struct.error, UnicodeDecodeError) as problem:
        raise ValueError(f"its footer is damaged: {problem!r}") from None


def _footer(file: Path) -> bytes:
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        if size < 12:
            raise ValueError(f"{size} bytes are no Parquet file")
        stream.seek(-8, 2)
        length, magic = struct.unpack("<I4s", stream.read(8))
        if magic != MAGIC or length > min(size - 8, MAX_FOOTER):
            raise ValueError("it does not end as a Parquet file does; was it cut off?")
        stream.seek(-8 - length, 2)
        return stream.read(length)


def _column(fields: dict[int, Any]) -> ColumnSize:
    found = ColumnSize(".".join(part.decode() for part in fields[3]), int(fields[1]), int(fields[5]), int(fields[6]))
    if found.values < 0 or found.bytes < 0:
        raise ValueError(f"{found.path} has {found.values} values in {found.bytes} bytes")
    return found


class _Thrift:
    """Thrift's compact protocol: structures as {field number: value}."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._depth = data, 0, 0

    def structure(self) -> dict[int, Any]:
        """The structure that begins here."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError("its footer is nested too deep")
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            found[field] = self._value(head & 15)
        self._depth -= 1
        return found

    def _value(self, kind: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return struct.unpack("<d", self._take(8))[0]
        if kind == 8:
            return self._take(self._varint())
        if kind in (9, 10):
            return self._list()
        if kind == 12:
            return self.structure()
        raise ValueError(f"its footer has a field of the unknown type {kind}")

    def _list(self) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if count > len(self._data) - self._at:
            raise ValueError("its footer announces a list longer than itself")
        kind = head & 15
        # Truth values of a list take a byte each; those of a structure stand in the type.
        return [self._byte() == 1 if kind in (1, 2) else self._value(kind) for _ in range(count)]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise ValueError("its footer is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("its footer has a number that is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
