"""How much memory a Parquet file takes, known before it is read.

A few bytes can stand for gigabytes: runs of one value, and texts that rows only point to. Sizes come from the file's own table of
contents; texts that many rows may share are read as the file has them, once each, and written out only if that is little.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pi0_ros.data.parquet_footer import BYTE_ARRAY, FIXED_BYTES, column_sizes

MAX_VALUES = 1 << 28
"""Numbers of one file: at most 2 GiB of float64."""
MAX_TEXT = 1 << 30
"""Bytes of the texts or pictures of one column of a file."""


def check_table(file: Path, columns: Sequence[str]) -> list[str]:
    """Columns of text to be read by `plain_table`. Raises ValueError if the wanted columns are too large."""
    rows, found = column_sizes(file)
    if rows > MAX_VALUES:
        raise ValueError(f"{rows} rows; at most {MAX_VALUES} are read")
    values: dict[str, int] = {}
    size: dict[str, int] = {}
    texts = set()
    for column in found:
        if any(column.path == name or column.path.startswith(f"{name}.") for name in columns):
            values[column.path] = values.get(column.path, 0) + column.values
            size[column.path] = size.get(column.path, 0) + column.bytes
            if column.type in (BYTE_ARRAY, FIXED_BYTES):
                texts.add(column.path)
    for path, count in values.items():
        if count > MAX_VALUES or size[path] > 8 * MAX_TEXT:
            raise ValueError(f"{path} has {count} values in {size[path]} bytes, more than is read")
    return sorted(path for path in texts if values[path] * size[path] > MAX_TEXT)


def plain_table(table: pa.Table) -> pa.Table:
    """The table with its texts written out. Raises ValueError if they are more than `MAX_TEXT` bytes."""
    for k, name in enumerate(table.column_names):
        column = table.column(k)
        kind = _plain_type(column.type)
        if kind == column.type:
            continue
        whole = sum(_text_bytes(chunk) for chunk in column.chunks)
        if whole > MAX_TEXT:
            raise ValueError(f"{name} holds {whole} bytes of text, more than the {MAX_TEXT} that are read")
        table = table.set_column(k, name, column.cast(kind))
    return table


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _plain_type(kind.value_type), kind.value_field.nullable))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _plain_type(f.type), f.nullable) for f in kind])
    return kind


def _text_bytes(values: pa.Array) -> int:
    """Bytes of the texts that all rows of an array point to."""
    if pa.types.is_dictionary(values.type):
        lengths = pc.binary_length(values.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(values.indices)).as_py() or 0)
    if pa.types.is_list(values.type):
        return _text_bytes(values.flatten())
    if pa.types.is_struct(values.type):
        return sum(_text_bytes(part) for part in values.flatten())
    return 0
