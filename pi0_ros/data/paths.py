"""Where the files of a dataset are: templates of info.json filled in, never outside the dataset's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pi0_ros.data.errors import DataError
from pi0_ros.robot.quoting import quote_value

FIELDS = frozenset({"chunk_index", "file_index", "episode_chunk", "episode_index", "video_key"})
MAX_PATH = 1000
"""Characters of a template."""
_FIELD = re.compile(r"\{([^{}]*)\}")
_KNOWN = re.compile(r"(\w+)(:0?\d?d)?")


def filled(info_file: Path, key: str, template: object, values: Mapping[str, int | str]) -> Path:
    """The file that a path template of info.json names, below the dataset's folder (the parent of meta/).

    Raises: DataError with file and key for a template with other fields or formats than LeRobot's, or a path that
    leaves the folder.
    """
    folder = info_file.parent.parent
    text = str(template)
    if len(text) > MAX_PATH or "\0" in text:
        raise DataError(f"{info_file}: {key}: {quote_value(text)} is no path")
    for field in _FIELD.findall(text):
        known = _KNOWN.fullmatch(field)
        if known is None or known[1] not in FIELDS or known[1] not in values:
            raise DataError(f"{info_file}: {key}: {{{field[:40]}}} is no field of LeRobot's paths")
    if set(_FIELD.sub("", text)) & set("{}") or Path(text).is_absolute():
        raise DataError(f"{info_file}: {key}: {quote_value(text)} is no path below the dataset's folder")
    try:
        path = Path(text.format(**values))
        outside = ".." in path.parts or not is_inside(folder, folder / path)
    except (OSError, ValueError, TypeError, RuntimeError) as problem:  # no number, a name too long, links in a ring
        raise DataError(
            f"{info_file}: {key}: {quote_value(text)} makes no path of {quote_value(dict(values))}: {problem}"
        ) from None
    if outside:
        raise DataError(f"{info_file}: {key}: {quote_value(str(path))} leaves the dataset's folder")
    return folder / path


def is_inside(folder: Path, file: Path) -> bool:
    """Whether a file, links followed, lies in a dataset's folder, or in the Hub's cache that the folder is a view of.

    The cache (`snapshots/REVISION`) holds links to `blobs` beside `snapshots`. Raises OSError, RuntimeError for links in a ring.
    """
    root, found = folder.resolve(), file.resolve()
    cached = root.parent.name == "snapshots" and found.is_relative_to(root.parent.parent / "blobs")
    return found.is_relative_to(root) or cached


def refuse_outside(folder: Path, file: Path) -> Path:
    """The file. Raises DataError if it is a link that leaves the dataset's folder."""
    try:
        inside = is_inside(folder, file)
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise DataError(f"{file}: is a link that leaves the dataset's folder; copy the file itself")
    return file
