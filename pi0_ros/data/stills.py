"""Pictures that lie in a dataset's tables (features of dtype "image") instead of in videos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa

from pi0_ros.data.errors import DataError
from pi0_ros.data.tables import AGAIN, read_table
from pi0_ros.data.video import Picture


class Stills:
    """The encoded pictures of one feature in one data file, decoded one at a time."""

    def __init__(self, folder: Path, file: Path, key: str) -> None:
        """Raises DataError where the file is missing or damaged, or lacks the column."""
        self._folder, self._file, self._key = folder, file, key
        table = read_table(file, [key])
        if key not in table.column_names:
            raise DataError(f"{file}: lacks the column {key!r} of info.json's features; {AGAIN}")
        self._rows: pa.ChunkedArray = table.column(key)

    def at(self, row: int) -> Picture:
        """The picture of a row of the file, uint8 [H, W, 3] RGB. Raises DataError where it cannot be decoded."""
        from PIL import Image

        held = self._rows[row].as_py()
        held = {"bytes": held, "path": None} if isinstance(held, bytes) else held or {}
        try:
            source = io.BytesIO(held["bytes"]) if held.get("bytes") else self._folder / held["path"]
            with Image.open(source) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, KeyError, TypeError, ValueError) as problem:
            raise DataError(f"{self._file}: {self._key!r} of row {row} is no picture ({problem}); {AGAIN}") from problem
