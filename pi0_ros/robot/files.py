"""Reading files that others wrote: regular files only, and never more than expected."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from pi0_ros.robot.errors import RobotError

LFS_POINTER = b"version https://git-lfs.github.com/spec"


def read_bytes(file: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises RobotError for anything else: a folder, a pipe, a device, a Git LFS pointer, a larger file, no permission.
    """
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            raise RobotError(f"{file}: is {_what(state.st_mode)}; a regular file is needed")
        if state.st_size > limit:
            raise RobotError(f"{file}: has {state.st_size} bytes; more than {limit} are not read")
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as problem:
        raise RobotError(f"{short(file)}: cannot be read: {problem.strerror or problem}") from problem
    except ValueError as problem:  # a NUL in the name
        raise RobotError(f"{short(file)!r}: is no file name: {problem}") from problem
    if len(data) > limit:
        raise RobotError(f"{file}: more than {limit} bytes are not read")
    if data.startswith(LFS_POINTER):
        raise RobotError(f"{file}: is a Git LFS pointer, not the file itself; run: git lfs pull")
    return data


def is_file(file: Path) -> bool:
    """Whether there is such a file of whatever kind; names that no file can have are no error."""
    try:
        return file.exists() and not file.is_dir()
    except (OSError, ValueError):
        return False


def decode(file: Path, data: bytes, encoding: str) -> str:
    """Bytes as text. Raises RobotError with the file and the line of the first byte that is no text."""
    try:
        return data.decode(encoding)
    except LookupError as problem:
        raise RobotError(f"{file}: its encoding {encoding!r} is not known; save it as UTF-8") from problem
    except UnicodeError as problem:
        at = getattr(problem, "start", 0)
        byte = data[at : at + 1].hex()
        line = data.count(b"\n", 0, at) + 1
        raise RobotError(
            f"{file}:{line}: is not text in {encoding.upper()} (byte 0x{byte} at {at}); save it as UTF-8"
        ) from problem


def encoding_of(data: bytes) -> str:
    """The encoding that the first bytes say: a byte order mark, an XML declaration, else UTF-8."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return encoding
    for start, encoding in ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")):
        if data.startswith(start):
            return encoding
    declared = re.match(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""", data[:512])
    return declared.group(1).decode("ascii") if declared else "utf-8"


def short(text: object, length: int = 80) -> str:
    """A text for a message: one line, and not longer than `length` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _what(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")
