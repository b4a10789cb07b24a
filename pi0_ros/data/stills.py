"""Pictures that are in a dataset's tables (features of dtype "image") instead of in videos."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pi0_ros.data.encoded_pictures import decode_rgb
from pi0_ros.data.errors import DataError
from pi0_ros.data.paths import is_inside
from pi0_ros.data.tables import AGAIN, read_table
from pi0_ros.data.video import Picture
from pi0_ros.robot.files import is_file
from pi0_ros.robot.quoting import quote


class Stills:
    """The encoded pictures of one feature in one data file, decoded one at a time."""

    def __init__(self, folder: Path, file: Path, key: str) -> None:
        """Raises DataError if the file is missing or damaged, or lacks the column."""
        self._folder, self._file, self._key = folder, file, key
        table = read_table(file, [key])
        if key not in table.column_names:
            raise DataError(f"{file}: lacks the column {key!r} of info.json's features; {AGAIN}")
        self._rows: pa.ChunkedArray = table.column(key)

    def at(self, row: int) -> Picture:
        """The picture of a row of the file, uint8 [H, W, 3] RGB.

        Raises DataError if it is damaged, too large, or names a file that is not one of the dataset's.
        """
        try:
            return decode_rgb(encoded_picture(self._folder, self._rows[row].as_py()))
        except (OSError, KeyError, TypeError, ValueError) as problem:
            raise DataError(f"{self._file}: {self._key!r} of row {row} is no picture ({problem}); {AGAIN}") from problem


def encoded_picture(folder: Path, held: object) -> bytes:
    """The bytes of a picture as a row holds it: these themselves, or a file of the dataset in `folder`.

    Raises ValueError, KeyError, TypeError or OSError if it is none, or another file than one of the dataset's.
    """
    if isinstance(held, bytes):
        return held
    named = held if isinstance(held, dict) else {}
    inside = named.get("bytes")
    return inside if isinstance(inside, bytes) and inside else _file_of(folder, str(named["path"])).read_bytes()


def _file_of(folder: Path, path: str) -> Path:
    """A picture's file; raises ValueError if the path leaves the dataset's folder or is no regular file."""
    file = (folder / path).resolve()
    if not is_inside(folder, file):
        raise ValueError(f"{quote(path)} is outside the dataset's folder")
    if not is_file(file):
        raise ValueError(f"{quote(path)} is not there, or no regular file")
    return file
