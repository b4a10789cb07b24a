"""An episode while it is recorded: files that only grow, so that whatever ends the process, what was written counts.

`header.json` says what the episode is of, `rows.jsonl` has a line a frame with the number of bytes of its pictures, and
`<feature>.h264` has the pictures. A frame counts if its line is whole and its pictures' bytes are there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from pi0_ros.data.errors import DataError
from pi0_ros.data.features import columns_of, video_keys
from pi0_ros.data.stored import Features, Note, Row, Values
from pi0_ros.data.tables import read_json, write_json

HEADER, ROWS, END = "header.json", "rows.jsonl", "end.json"
ROW_BYTES = 1000


@dataclass(frozen=True)
class EncodedFrame:
    """A frame whose pictures are encoded. levels: by feature, how many pixels have which level [3, 256]."""

    row: Row
    pictures: Mapping[str, bytes]
    levels: Mapping[str, np.ndarray]

    @property
    def size(self) -> int:
        """Bytes of the pictures, and about those of the row."""
        return sum(map(len, self.pictures.values())) + ROW_BYTES


class JournalWriter:
    """The files of one running episode."""

    def __init__(self, folder: Path, features: Features, fps: int, note: Note) -> None:
        """Begin one in a new folder. `note`: what meta/pi0_episodes.json is to say of the episode. Raises OSError."""
        folder.mkdir(parents=True)
        self.folder, self.frames, self.bytes = folder, 0, 0
        write_json(folder / HEADER, {"features": features, "fps": fps, "note": dict(note)})
        self._files = {key: (folder / f"{key}.h264").open("ab", buffering=0) for key in video_keys(features)}
        self._rows = (folder / ROWS).open("ab", buffering=0)

    def add(self, frame: EncodedFrame) -> None:
        """Append a frame. Raises OSError if the disk is full: then this frame does not count."""
        for key, file in self._files.items():
            _write_all(file, frame.pictures[key])
        row = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in frame.row.items()}
        line = json.dumps({"row": row, "bytes": {key: len(data) for key, data in frame.pictures.items()}})
        _write_all(self._rows, f"{line}\n".encode())
        self.frames += 1
        self.bytes += len(line) + sum(map(len, frame.pictures.values()))

    def sync(self) -> None:
        """Have everything on the disk itself, so that a power failure loses nothing of it."""
        for file in (*self._files.values(), self._rows):
            if not file.closed:
                os.fdatasync(file.fileno())

    def close(self) -> None:
        """No more frames."""
        for file in (*self._files.values(), self._rows):
            file.close()


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@dataclass(frozen=True)
class Journal:
    """What is whole of a recorded episode, and the videos of its pictures, cut to fit.

    columns: [N, ...] by feature. tasks: the instruction of each frame [N].
    """

    folder: Path
    features: Features
    fps: int
    note: Note
    columns: Mapping[str, np.ndarray]
    tasks: Sequence[str]

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.tasks)

    def video(self, key: str) -> Path:
        """The stream of a feature's pictures."""
        return self.folder / f"{key}.h264"


def read_journal(folder: Path) -> Journal:
    """The whole frames of an episode; what is behind them is cut off. Raises DataError for a folder that holds none."""
    header = read_json(folder / HEADER)
    features, left = header["features"], {}
    for key in video_keys(features):
        file = folder / f"{key}.h264"
        left[key] = file.stat().st_size if file.is_file() else 0
    sizes, columns = dict.fromkeys(left, 0), _Columns(features)
    for line in _lines(folder / ROWS):
        if any(sizes[key] + line["bytes"][key] > left[key] for key in left):
            break
        sizes = {key: sizes[key] + line["bytes"][key] for key in sizes}
        columns.add(line["row"])
    for key, size in sizes.items():
        if left[key] > size:
            os.truncate(folder / f"{key}.h264", size)
    note = dict(header.get("note") or {})
    if (folder / END).is_file():
        note |= read_json(folder / END)
    else:
        note["recovered"] = True
    return Journal(folder, features, int(header["fps"]), note, columns.arrays(), columns.tasks)


class _Columns:
    """Rows put together as arrays, a block of them at a time: as Python's objects an hour of them is a gigabyte."""

    BLOCK = 500

    def __init__(self, features: Features) -> None:
        self._features = features
        self._rows: list[Row] = []
        self._blocks: list[dict[str, Values]] = []
        self._words: dict[str, str] = {}
        self.tasks: list[str] = []

    def add(self, row: Row) -> None:
        """The next row, with "task". The same words are kept once."""
        task = row["task"]
        self.tasks.append(self._words.setdefault(task, task))
        self._rows.append(row)
        if len(self._rows) == self.BLOCK:
            self._pack()

    def _pack(self) -> None:
        block = columns_of(self._rows, self._features)
        for values in block.values():
            if values.dtype == object:
                values[:] = [[self._words.setdefault(text, text) for text in row] for row in values]
        self._blocks.append(block)
        self._rows = []

    def arrays(self) -> dict[str, np.ndarray]:
        """All rows by feature."""
        if self._rows or not self._blocks:
            self._pack()
        return {key: np.concatenate([block[key] for block in self._blocks]) for key in self._blocks[0]}


def _lines(file: Path) -> Iterator[Row]:
    """The whole lines of a file of JSON objects, one by one."""
    if not file.is_file():
        return
    with file.open("rb") as opened:
        for line in opened:
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError:
                return


def end_journal(folder: Path, note: Note) -> None:
    """Note how the episode ended. Raises OSError."""
    write_json(folder / END, dict(note))


def drop_journal(folder: Path) -> None:
    """Remove an episode's files."""
    shutil.rmtree(folder, ignore_errors=True)


def checked_journal(folder: Path, features: Features, fps: int) -> Journal:
    """A journal that fits a dataset. Raises DataError if it was of other features."""
    journal = read_journal(folder)
    if journal.fps != fps or journal.features != features:
        raise DataError(f"{folder}: was recorded with other features or another rate than this dataset's")
    return journal
