"""A dataset that is made of others is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pi0_ros.data.errors import DataError
from pi0_ros.robot.disk import naming_full_disk


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A folder beside `target` to write into. It takes the place of `target` when all is written, and is removed otherwise.

    Half a copy would load as a sound dataset of fewer episodes. Raises DataError where `target` holds something already,
    DiskFull with its name where there is no room.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: is there already; give a new folder, nothing is changed in place")
    whole = target.absolute()
    partial = whole.with_name(whole.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        with naming_full_disk(target):
            yield partial
        partial.rename(whole)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
