"""Writes a derived dataset so that it is there completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pi0_ros.data.errors import DataError
from pi0_ros.robot.replacing import replacing_folder


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A folder beside `target` to write into. It takes the place of `target` when all is written, and is removed otherwise.

    Half a copy would load as a sound dataset of fewer episodes. Raises DataError if `target` holds something already,
    DiskFull with its name if there is no room.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: is there already; give a new folder, nothing is changed in place")
    with replacing_folder(target) as partial:
        yield partial
