"""Frames of a dataset on disk, made once, and made again when the dataset or the way it is read has changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.train.errors import TrainError

FILE = "made_of.json"
WAY = "cameras that gave no picture are marked"


def made_of(
    dataset: Path, adapter: Adapter, size: int, horizon: int, skip_bad: bool, facts: str = "", choice: str = ""
) -> dict[str, Any]:
    """What frames depend on, as plain values: the dataset's files (names, sizes, times of change) and how it is read.

    facts: name of what an experiment reads of each row, "" without one. choice: which frames a mixture takes, in words.
    """
    files = hashlib.sha256()
    for part in ("meta", "data", "videos"):
        for file in sorted((dataset / part).rglob("*")):
            if file.is_file():
                seen = file.stat()
                files.update(f"{file.relative_to(dataset)} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return {
        "dataset": str(dataset.resolve()),
        "files": files.hexdigest(),
        "adapter": json.loads(json.dumps(adapter_to_dict(adapter))),
        "picture_size": size,
        "horizon": horizon,
        "skip_bad": skip_bad,
        "facts": facts,
        "way": WAY,
        **({"choice": choice} if choice else {}),
    }


def cache_folder(frames: Path, dataset: Path) -> Path:
    """Where the frames of a dataset lie: its name, and enough of its path to tell two of one name apart."""
    place = dataset.resolve()
    return frames / f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two values of `made_of`, in words."""
    words = {
        "dataset": "the dataset's folder",
        "files": "the dataset's files",
        "adapter": "the policy YAML",
        "picture_size": "the picture size",
        "horizon": "the horizon",
        "skip_bad": "--skip-bad",
        "facts": "--experiment",
        "choice": "what the mixture takes of it",
        "way": "the way in which this program reads datasets",
    }
    return [what for key, what in words.items() if before.get(key) != now.get(key)]


def refreshed(folder: Path, wanted: Mapping[str, Any], say: Callable[[str], None]) -> Path:
    """A cache folder that was made of `wanted`, or an empty one; one that was made of something else is removed.

    Raises: TrainError if the folder is none of this program's.
    """
    file = folder / FILE
    if folder.is_dir() and not file.is_file() and any(folder.iterdir()):
        raise TrainError(
            f"{folder}: frames of an older version, whose data are unknown; remove it, or give a new --out"
        )
    if file.is_file():
        changed = differences(json.loads(file.read_text(encoding="utf-8")), wanted)
        if changed:
            say(f"{folder}: made anew, because {' and '.join(changed)} changed since")
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    return folder
