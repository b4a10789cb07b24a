"""Which folder was meant, when the path given holds no weights: a run, a Hub cache, or a name on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
WEIGHTS = (SINGLE, INDEX, "adapter_model.safetensors", "params/_METADATA", "_METADATA")
DEPTH, MAX_FOLDERS = 4, 2000


def hint(folder: Path) -> str:
    """ "; did you mean ...?" with the newest checkpoint below `folder`, "" if there is none."""
    found = sorted(_with_weights(folder), key=_age)
    return f"; did you mean {found[-1]}?" if found else ""


def hub_hint(path: Path) -> str:
    """How to get a checkpoint whose Hub name (owner/name) was given in place of a folder, "" for other paths."""
    name = str(path)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        return ""
    return f"; if this is a name on the Hugging Face Hub, download it first: hf download {name} --local-dir {path.name}"


def has_weights(folder: Path) -> bool:
    """Whether a checkpoint lies directly in `folder`."""
    return any((folder / name).exists() for name in WEIGHTS)


def _with_weights(folder: Path) -> Iterator[Path]:
    """Folders below `folder` that hold weights, at most `DEPTH` levels down."""
    waiting, seen = [(folder, 0)], 0
    while waiting and seen < MAX_FOLDERS:
        place, depth = waiting.pop()
        for child in _subfolders(place):
            seen += 1
            if has_weights(child):
                yield child
            elif depth + 1 < DEPTH:
                waiting.append((child, depth + 1))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return []


def _age(folder: Path) -> tuple[int, bool, float]:
    """Sorts the newest last: by training step, if the path names one; LeRobot's `last` wins; then by time."""
    steps = [int(part) for part in folder.parts if part.isdecimal()]
    last = "last" in folder.parts and (folder.resolve() != folder.absolute())
    step = max((int(part) for part in folder.resolve().parts if part.isdecimal()), default=-1) if last else -1
    return max([*steps, step]), last, folder.stat().st_mtime
