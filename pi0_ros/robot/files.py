"""Reading files that others wrote: regular files only, and never more than expected.

Everything that opens such a file asks here, and gives the error of its own that a refusal is to be.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

from pi0_ros.robot.errors import RobotError, UserError

MAX_JSON = 16 << 20
"""Bytes of a JSON file that is read at once; as Python values it takes up to 30 times as much."""
MAX_DIGITS = 300
"""Digits of a whole number in JSON; one of more is no float64."""
LFS_POINTER = b"version https://git-lfs.github.com/spec"


def read_bytes(file: Path, limit: int, error: type[UserError] = RobotError) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises `error` for anything else: a folder, a pipe, a device, a Git LFS pointer, a larger file, no permission.
    """
    size = check_regular(file, error)
    if size > limit:
        raise error(f"{file}: has {size} bytes; more than {limit} are not read")
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as problem:
        raise error(f"{file}: cannot be read: {problem.strerror or problem}") from problem
    if len(data) > limit:
        raise error(f"{file}: more than {limit} bytes are not read")
    if data.startswith(LFS_POINTER):
        raise error(f"{file}: is a Git LFS pointer, not the file itself; run: git lfs pull")
    return data


def check_regular(file: Path, error: type[UserError] = RobotError) -> int:
    """The size [bytes] of a regular file. Raises `error` if it is none, before anything opens it: a pipe would block."""
    try:
        state = file.stat()
    except OSError as problem:
        raise error(f"{file}: cannot be read: {problem.strerror or problem}") from problem
    except ValueError as problem:  # a NUL in the name
        raise error(f"{str(file)!r}: is no file name: {problem}") from problem
    if not stat.S_ISREG(state.st_mode):
        raise error(f"{file}: is {_what(state.st_mode)}; a regular file is needed")
    return state.st_size


def read_text(file: Path, limit: int, error: type[UserError] = RobotError) -> str:
    """The text of a UTF-8 file of at most `limit` bytes. Raises `error` as `read_bytes` does, and for what is no text."""
    try:
        return read_bytes(file, limit, error).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{file}: is not text in UTF-8 (byte {problem.start}); is it another kind of file?") from None


def read_json(file: Path, error: type[UserError] = RobotError, limit: int = MAX_JSON) -> Any:
    """The value of a JSON file. Raises `error` as `read_text` does, and for what is no JSON or too much of it."""
    return parse_json(file, read_text(file, limit, error), error)


def parse_json(file: Path, text: str, error: type[UserError] = RobotError) -> Any:
    """A JSON text of that file as a value. Numbers beyond a float64, and what is nested without end, are no JSON here."""
    try:
        return json.loads(text, parse_int=_whole_number)
    except (ValueError, RecursionError, MemoryError) as problem:
        raise error(f"{file}: not valid JSON: {problem}; if it was cut off, copy or write it anew") from None


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def is_file(file: Path) -> bool:
    """Whether there is such a file of whatever kind; names that no file can have are no error."""
    try:
        return file.exists() and not file.is_dir()
    except (OSError, ValueError):
        return False


def is_folder(place: Path) -> bool:
    """Whether there is such a folder; names that none can have are no error."""
    try:
        return place.is_dir()
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
