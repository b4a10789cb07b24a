"""A disk that is full: one sentence with the file and the way out, whichever library noticed it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pi0_ros.robot.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""No room on the device; no room within this user's quota."""
_SAID = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")


class DiskFull(UserError, OSError):
    """Something could not be written for want of room. The text names the file or folder, `place`, and the way out."""

    place: Path | None = None


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, of whatever library, says that there is no room left.

    Those of other languages (safetensors, Arrow) have the system's words and no number, NumPy counts what was written.
    """
    if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in FULL):
        return True
    return _SAID.search(str(error)) is not None


def disk_full(place: Path) -> DiskFull:
    """The error for a `place` that was being written."""
    error = DiskFull(f"{place}: the disk is full ({_free(place)}); make room, or give a place on another disk")
    error.place = place
    return error


def full_place(error: BaseException) -> Path | None:
    """What was being written, if an error for which `is_disk_full` holds names it."""
    if isinstance(error, DiskFull):
        return error.place
    return Path(named) if (named := _named(error)) else None


@contextmanager
def naming_full_disk(place: Path) -> Iterator[None]:
    """Within this block a full disk is a DiskFull that names `place`, or the file if the system named one."""
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFull) or not is_disk_full(error):
            raise
        raise disk_full(full_place(error) or place) from error


def full_disk_line(error: BaseException) -> str:
    """A sentence for an error for which `is_disk_full` holds, also if nobody knows what was being written."""
    if place := full_place(error):
        return str(disk_full(place))
    between = tempfile.gettempdir()
    return f"the disk is full: make room where this command writes, or in {between} (TMPDIR), where it puts files in between"


def check_writable(file: Path) -> None:
    """Make the folder of a file that is to be written later. Raises OSError if it could not be; leaves no file behind."""
    file.parent.mkdir(parents=True, exist_ok=True)
    was_there = file.exists()
    with file.open("ab"):
        pass
    if not was_there:
        file.unlink()


def _named(error: BaseException) -> str:
    """The file that the system names in an error, "" if it names none."""
    if not isinstance(error, OSError):
        return ""
    named = error.filename2 or error.filename  # of a copy or a new name: the second is what is written
    return os.fsdecode(named) if isinstance(named, (str, bytes, os.PathLike)) else ""


def _free(place: Path) -> str:
    there = next((folder for folder in (place, *place.absolute().parents) if folder.exists()), Path("/"))
    return f"{shutil.disk_usage(there).free / 1e6:.1f} MB free"
