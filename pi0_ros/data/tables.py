"""Parquet and JSON files of a dataset: read with a clear message, replaced as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pi0_ros.data.errors import DataError
from pi0_ros.data.stored import Features
from pi0_ros.data.table_size import check_table, plain_table
from pi0_ros.robot.errors import UserError
from pi0_ros.robot.files import MAX_JSON, check_regular, parse_json, read_text
from pi0_ros.robot.replacing import replacing

MAX_LINES = 1 << 30
"""Bytes of a file with one JSON value a line."""
AGAIN = "copy or download the whole dataset folder again"


def write_json(file: Path, value: object) -> None:
    """Replace a JSON file."""
    with replacing(file) as new:
        new.write_text(json.dumps(value, indent=4, ensure_ascii=False), encoding="utf-8")


def read_json(file: Path) -> Any:
    """A JSON file's value. Raises DataError if it is missing or no JSON."""
    with _told(file):
        return parse_json(file, read_text(file, MAX_JSON))


def read_json_lines(file: Path) -> list[Any]:
    """The values of a file with one JSON value a line."""
    with _told(file):
        return [parse_json(file, line) for line in read_text(file, MAX_LINES).split("\n") if line.strip()]


def read_table(file: Path, columns: Sequence[str] | None = None, without: Sequence[str] = ()) -> pa.Table:
    """A Parquet file, or those of `columns` that it has, or all `without` some. Raises DataError if it is missing or
    damaged."""
    with _told(file):
        check_regular(file)
        with pq.ParquetFile(file, memory_map=False) as opened:
            names = opened.schema_arrow.names
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"the column {twice[0]!r} is there twice")
            wanted = [name for name in (names if columns is None else columns) if name in names and name not in without]
            texts = check_table(file, wanted)
        with pq.ParquetFile(file, memory_map=False, read_dictionary=texts) as opened:
            return plain_table(opened.read(columns=wanted))


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except UserError as problem:  # names the file
        missing = f"{file}: this file of the dataset is missing; {AGAIN}"
        raise DataError(f"{problem}; {AGAIN}" if file.exists() else missing) from problem
    except (OSError, ValueError, RecursionError, MemoryError, pa.ArrowException) as problem:
        raise DataError(pointer(file) or f"{file}: is damaged ({problem}); {AGAIN}") from problem


def pointer(file: Path) -> str:
    """What to do if a file is a git-lfs pointer in place of its content, "" if it is none."""
    try:
        with file.open("rb") as opened:
            is_pointer = opened.read(40).startswith(b"version https://git-lfs")
    except OSError:
        return ""
    return (
        f"{file}: is a git-lfs pointer and not the file; run `git lfs pull` in the dataset's folder"
        if is_pointer
        else ""
    )


STILL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A picture that lies in a table, as `datasets` stores one."""


def append_rows(file: Path, rows: pa.Table) -> None:
    """Put rows behind those of a Parquet file; the old file stays until all is written."""
    if file.is_file():
        rows = pa.concat_tables([read_table(file).cast(rows.schema), rows])
    with replacing(file) as new:
        pq.write_table(rows, new, compression="snappy")


def arrow_schema(features: Features) -> pa.Schema:
    """Columns of a data file for the features that are not videos, with the note by which `datasets` knows them."""
    plain = {k: f for k, f in features.items() if f["dtype"] != "video"}
    fields = [pa.field(key, _arrow_type(f["dtype"], f["shape"])) for key, f in plain.items()]
    known = {key: _hub_type(f["dtype"], f["shape"]) for key, f in plain.items()}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": known}})})


def _arrow_type(dtype: str, shape: Sequence[int]) -> pa.DataType:
    if dtype == "image":
        return STILL
    base = {"string": pa.string(), "bool": pa.bool_()}.get(dtype) or pa.from_numpy_dtype(dtype)
    return base if tuple(shape) == (1,) else pa.list_(base, int(shape[0]))


def _hub_type(dtype: str, shape: Sequence[int]) -> dict[str, object]:
    if dtype == "image":
        return {"_type": "Image"}
    value: dict[str, object] = {"dtype": dtype, "_type": "Value"}
    return value if tuple(shape) == (1,) else {"feature": value, "length": int(shape[0]), "_type": "List"}


def write_tasks(file: Path, tasks: Sequence[str]) -> None:
    """meta/tasks.parquet: task_index, and the task as the index that pandas finds."""
    note = {
        "index_columns": ["task"],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [_pandas_column("task_index", "int64", "int64"), _pandas_column("task", "unicode", "object")],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.3.3",
    }
    columns = {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())}
    table = pa.table(columns).replace_schema_metadata({"pandas": json.dumps(note)})
    with replacing(file) as new:
        pq.write_table(table, new, compression="snappy")


def _pandas_column(name: str, kind: str, numpy_type: str) -> dict[str, object]:
    return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
