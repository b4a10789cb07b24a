"""Where the files of a dataset are: templates of info.json filled in, never outside the dataset's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pi0_ros.data.errors import DataError

FIELDS = frozenset({"chunk_index", "file_index", "episode_chunk", "episode_index", "video_key"})
_FIELD = re.compile(r"\{([^{}]*)\}")
_KNOWN = re.compile(r"(\w+)(:0?\d?d)?")


def filled(info_file: Path, key: str, template: object, values: Mapping[str, int | str]) -> Path:
    """The file that a path template of info.json names, below the dataset's folder (the parent of meta/).

    Raises: DataError with file and key for a template with other fields or formats than LeRobot's, or a path that
    leaves the folder.
    """
    folder = info_file.parent.parent
    text = str(template)
    for field in _FIELD.findall(text):
        known = _KNOWN.fullmatch(field)
        if known is None or known[1] not in FIELDS or known[1] not in values:
            raise DataError(f"{info_file}: {key}: {{{field[:40]}}} is no field of LeRobot's paths")
    if _FIELD.sub("", text).strip("{}") != _FIELD.sub("", text) or Path(text).is_absolute():
        raise DataError(f"{info_file}: {key}: {text[:80]!r} is no path below the dataset's folder")
    path = Path(text.format(**values))
    if ".." in path.parts or not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{info_file}: {key}: {str(path)[:80]!r} leaves the dataset's folder")
    return folder / path
