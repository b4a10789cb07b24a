"""All rows of a dataset's tables in the order of its episodes, compared with what meta/ says of them.

Rows are found by their own `episode_index` and `frame_index`, as LeRobot finds them: numbers of files and first rows in
meta/ are stale in what several merge tools write.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import STANDARD, VERSION, Episode, Layout
from pi0_ros.data.paths import refuse_outside
from pi0_ros.data.stored import Values
from pi0_ros.data.tables import AGAIN, read_table
from pi0_ros.robot.quoting import quote_value
from pi0_ros.robot.wording import counted

HOLE = 0.5  # of a frame: a step of time that is further off than this is no step to the next frame


@dataclass(frozen=True)
class Rows:
    """The rows of the episodes behind one another.

    columns: [N, ...] each. file, place: which of `files` a row lies in, and where in it [N]. broken: [N] True if the
    next frame of the episode does not follow one period later. problems: sentences by position of the episode.
    """

    columns: Mapping[str, Values]
    files: tuple[Path, ...]
    file: NDArray[np.int64]
    place: NDArray[np.int64]
    broken: NDArray[np.bool_]
    problems: Mapping[int, str]


def read_rows(layout: Layout) -> Rows:
    """Read all tables. Raises DataError for files that are missing, damaged, or of another shape than info.json says."""
    files = _files(layout)
    tables = [_columns_of(layout, file) for file in files]
    names = [n for n in tables[0] if all(n in t for t in tables)]
    _check_frames(layout, sum(len(next(iter(t.values()), ())) for t in tables))
    joined = {n: np.concatenate([t[n] for t in tables]) for n in names}
    counts = [len(next(iter(t.values()))) for t in tables]
    file, place = np.repeat(np.arange(len(files)), counts), np.concatenate([np.arange(n) for n in counts])
    owner = _owners(layout, files, file, joined.get("episode_index"))
    frame = joined.setdefault("frame_index", _counted(owner))
    joined.setdefault("episode_index", owner)
    order, problems = _order(layout, owner, frame, files, file)
    columns = {n: values[order] for n, values in joined.items()}
    lengths = [e.length for e in layout.episodes]
    columns["index"] = np.arange(len(order), dtype=np.int64)
    broken = _broken(columns, lengths, float(layout.fps))
    return Rows(columns, files, file[order], place[order], broken, problems)


def _check_frames(layout: Layout, found: int) -> None:
    """Raises DataError if meta/ says so many more frames than there are rows that they cannot be used."""
    if layout.frames > 2 * found + 10_000:
        raise DataError(f"{layout.folder / 'meta'}: says {layout.frames} frames, the tables have {found}; {AGAIN}")


def _files(layout: Layout) -> tuple[Path, ...]:
    """Every data file of version 3, or those of the episodes of version 2, one each."""
    named = tuple(dict.fromkeys(e.data for e in layout.episodes))
    if layout.version != VERSION:
        return named
    found = tuple(refuse_outside(layout.folder, f) for f in sorted((layout.folder / "data").glob("*/*.parquet")))
    return found or named


def _columns_of(layout: Layout, file: Path) -> dict[str, Values]:
    """The known columns of one data file that hold no pictures."""
    features = layout.features
    wanted = [k for k, f in features.items() if f["dtype"] not in ("video", "image")]
    table = read_table(file, list(dict.fromkeys([*wanted, *STANDARD])))
    lost = sorted(set(wanted) - set(table.column_names))
    if lost:
        raise DataError(f"{file}: lacks the column {lost[0]!r} of info.json's features; {AGAIN}")
    for name in table.column_names:
        declared, kind = features.get(name, STANDARD.get(name, {})).get("dtype"), table.schema.field(name).type
        if declared != "string" and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{file}: {name} holds text, info.json says {quote_value(declared)}; {AGAIN}")
    return {n: as_array(file, n, table.column(n), features.get(n, {}).get("shape")) for n in table.column_names}


def _owners(layout: Layout, files: Sequence[Path], file: NDArray[np.int64], column: Values | None) -> NDArray[np.int64]:
    """The episode number of each row: the column's, or, in version 2, that of the file, whatever the column says.

    Raises: DataError if there is no such column and the rows are not as many as meta/ says.
    """
    if layout.version != VERSION:
        numbers = {e.data: e.index for e in layout.episodes}
        return np.array([numbers[f] for f in files], np.int64)[file]
    if column is not None:
        return column.astype(np.int64)
    if len(file) != layout.frames:
        raise DataError(f"{layout.folder / 'data'}: not the {layout.frames} frames that meta/ says; {AGAIN}")
    return np.repeat([e.index for e in layout.episodes], [e.length for e in layout.episodes])


def _counted(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frame numbers of rows that have none: counted from 0 in each episode."""
    frame = np.zeros(len(owner), np.int64)
    for index in np.unique(owner):
        rows = np.flatnonzero(owner == index)
        frame[rows] = np.arange(len(rows))
    return frame


def _order(
    layout: Layout, owner: Values, frame: Values, files: Sequence[Path], file: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Row numbers in the order of the episodes, the length that meta/ says each, and what is wrong with an episode.

    Rows that stand there twice are taken once. An episode with too few or too many rows is a problem; its last row is
    repeated, or it is cut, so that positions stay what they are.
    """
    starts = np.searchsorted(sorted_owner := np.sort(owner, kind="stable"), [e.index for e in layout.episodes])
    stops = np.searchsorted(sorted_owner, [e.index for e in layout.episodes], side="right")
    by_owner = np.argsort(owner, kind="stable")
    order, problems = [], {}
    for position, (episode, start, stop) in enumerate(zip(layout.episodes, starts, stops, strict=True)):
        rows = by_owner[start:stop]
        rows = rows[np.argsort(frame[rows], kind="stable")]
        _, once = np.unique(frame[rows], return_index=True)
        rows = rows[once]
        if len(rows) != episode.length:
            problems[position] = _wrong_length(layout, episode, len(rows), files[file[rows[0]]] if len(rows) else None)
        if not len(rows):
            rows = np.zeros(1, np.int64)
        order.append(rows[np.minimum(np.arange(episode.length), len(rows) - 1)])
    return np.concatenate(order) if order else np.zeros(0, np.int64), problems


def _wrong_length(layout: Layout, episode: Episode, found: int, file: Path | None) -> str:
    meta = "meta/episodes" if layout.version == VERSION else "meta/episodes.jsonl"
    where = f"{file.relative_to(layout.folder)} has" if file else "the tables have"
    return f"episode {episode.index}: {where} {counted(found, 'row')} of it, {meta} says {episode.length}"


def _broken(columns: Mapping[str, Values], lengths: Sequence[int], fps: float) -> NDArray[np.bool_]:
    """[N] True if the next row is not the next frame: a number is left out, or time does not step by 1 / fps."""
    count = int(sum(lengths))
    broken = np.zeros(count, bool)
    if count < 2:
        return broken
    broken[:-1] = np.diff(columns["frame_index"].astype(np.int64)) != 1
    time = columns.get("timestamp")
    if time is not None:
        steps = np.diff(time.astype(np.float64)) * fps
        broken[:-1] |= np.abs(steps - 1.0) > HOLE
    broken[np.cumsum(lengths) - 1] = False  # the last frame of an episode has no next one
    return broken


def as_array(file: Path, name: str, column: pa.ChunkedArray, shape: Sequence[int] | None) -> Values:
    """[N] of plain values, [N, *shape] of lists; text as str.

    An empty row or entry of floats is NaN, which everything else finds and names; of whole numbers there is none.

    Raises: DataError with file and key where a row of whole numbers is empty or a row is not of `shape`, or the column
    holds no numbers.
    """
    values, count = nan_where_empty(column.combine_chunks()), len(column)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.array([text or "" for text in values.to_pylist()], str)
    if values.null_count:
        row = next(i for i, valid in enumerate(values.is_valid().to_pylist()) if not valid)
        raise DataError(f"{file}: {name} of row {row} is empty; write a value, or leave the episode out")
    try:
        if not pa.types.is_nested(values.type):
            return _numbers(values)
        flat = _flat(values, count)
    except (ValueError, TypeError, pa.ArrowException) as problem:
        raise DataError(f"{file}: {name} is no table of numbers of one width a row ({problem})") from problem
    if shape is None:
        return flat
    if flat.shape[1] != int(np.prod(shape)):
        raise DataError(f"{file}: {name} has {flat.shape[1]} numbers per row, info.json says the shape {list(shape)}")
    return flat.reshape(count) if tuple(shape) == (1,) else flat.reshape(count, *shape)


def nan_where_empty(values: pa.Array) -> pa.Array:
    """Floats, or lists of floats, with NaN in place of what is empty; anything else as it is."""
    nested = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    nested = nested or pa.types.is_fixed_size_list(values.type)
    if not pa.types.is_floating(values.type.value_type if nested else values.type):
        return values
    if not nested:
        return values.fill_null(math.nan) if values.null_count else values
    if not (values.null_count or values.flatten().null_count):
        return values
    rows = values.to_pylist()
    width = next((len(row) for row in rows if row is not None), 0)
    filled = [[math.nan] * width if row is None else [math.nan if v is None else v for v in row] for row in rows]
    return pa.array(filled, values.type)


def _flat(values: pa.Array, count: int) -> Values:
    """[N, width] of (nested) lists. Raises ValueError if rows differ in width."""
    while pa.types.is_nested(values.type):
        if pa.types.is_struct(values.type):
            raise ValueError("its rows are structures")
        if not pa.types.is_fixed_size_list(values.type):
            widths = np.unique(np.diff(values.offsets.to_numpy()))
            if len(widths) > 1:
                raise ValueError(f"rows have from {widths.min()} to {widths.max()} entries")
        values = values.flatten()
    if values.null_count:
        raise ValueError("an entry is empty")
    return _numbers(values).reshape(count, -1)


def _numbers(values: pa.Array) -> Values:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise ValueError(f"it holds {kind}")
    numbers: Values = values.to_numpy(zero_copy_only=False)
    return numbers
