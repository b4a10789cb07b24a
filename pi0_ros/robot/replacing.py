"""Files and folders that are replaced as a whole or not at all: written beside the old ones, which they then replace.

Whatever ends the writing (an error, a full disk, the process itself) leaves what was there. A full disk is a DiskFull.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pi0_ros.robot.disk import disk_full, full_place, is_disk_full, naming_full_disk

HERE, EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to; it becomes `file` at the end, and is removed if writing failed.

    It lies beside `file`, hidden, with the same ending, by which some libraries choose a format. What was written is on the
    disk itself before it gets its name: after a power failure there is the old file or the new one, none empty.
    Raises DiskFull, which is an OSError, with the name of the file if there is no room.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.stem}.new{file.suffix}")
    try:
        with naming_full_disk(file):
            yield new
            with new.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(new, file)
    finally:
        new.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Replace a text file: what was there stays until all is written. Raises OSError, DiskFull with the file's name."""
    with replacing(file) as new:
        new.write_text(text, encoding="utf-8")


def partial_of(target: Path) -> Path:
    """The folder beside `target` in which it is written."""
    whole = target.absolute()
    return whole.with_name(whole.name + ".partial")


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` to make and write into. It takes the place of `target` when all is written.

    It is removed if writing failed: what is half there would keep a disk full, and a later reader busy. Raises
    DiskFull with the name of `target` where it has no room.
    """
    partial = partial_of(target)
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        with _naming_target(partial, target):
            yield partial
            put_in_place(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def put_in_place(partial: Path, target: Path) -> None:
    """The folder `partial` becomes `target`; what `target` held is removed only after that.

    There is a whole `target` at every moment, where the file system can exchange two names at once (ext4, XFS, Btrfs, tmpfs).
    """
    old = target.with_name(target.name + ".old")  # also of a process that was killed if names cannot be exchanged
    if not target.exists():
        partial.rename(target)
    elif _exchange(partial, target):
        shutil.rmtree(partial, ignore_errors=True)
    else:
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once (renameat2); False if the system does not know how."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):  # another C library than glibc, another system than Linux
        return False
    return int(rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE)) == 0


@contextmanager
def _naming_target(partial: Path, target: Path) -> Iterator[None]:
    """A full disk below `partial`, or at a place that nobody named, is one of `target`: the user knows no other."""
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        place = full_place(error) or target
        raise disk_full(target if place.is_relative_to(partial) else place) from error
