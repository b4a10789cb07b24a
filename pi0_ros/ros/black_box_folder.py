"""Where the black boxes of a robot lie, and whether any can be written there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pi0_ros.data.blackbox_file import private_folder


def black_box_folder(place: str, namespace: str, robot: str) -> Path:
    """A folder for each robot below `place`: the files of one do not push out another's."""
    return Path(place).expanduser() / namespace.strip("/") / robot


def black_box_problem(folder: Path) -> str:
    """Why no black box can be written, "" if one can: better known before the fault than after it."""
    try:
        private_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"parameter black_box: {folder} cannot be written ({error.strerror}): there will be no black box"
