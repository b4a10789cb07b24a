"""The folder of a run: one run at a time writes there, and what is continued is what was begun."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pi0_ros.train.errors import TrainError

LOCK, SETTINGS = "lock", "settings.json"
# What may change from one part of a run to the next; everything else makes it another run.
FREE = frozenset(
    {
        *("steps", "minutes", "workers", "validate_every", "save_every", "out", "keep", "patience", "shard"),
        *("compile", "loaders", "tensorboard", "wandb", "versions"),
    }
)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises TrainError if another run holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read(40).strip() or "unknown"
            raise TrainError(
                f"{folder}: another run writes there (process {owner}); wait for it, or give another --out"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def changed_settings(folder: Path, now: Mapping[str, Any]) -> list[str]:
    """Settings that differ from those the run in this folder was begun with, as `name: before -> now`."""
    file = folder / SETTINGS
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    plain = json.loads(json.dumps(now))
    names = sorted((set(before) & set(plain)) - FREE)
    return [found for name in names for found in _differences(name, before[name], plain[name])]


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """Where two values differ, as deep as both are maps or lists of the same length."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(f"{name}.{key}", before.get(key), now.get(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{name}[{number}]", old, new)
    elif before != now:
        yield f"{name}: {_short(before)} -> {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_continues(folder: Path, now: Mapping[str, Any], has_state: bool, allowed: bool) -> list[str]:
    """What a continued run changes, [] for none or a new run.

    Raises: TrainError for changes that were not allowed.
    """
    changes = changed_settings(folder, now) if has_state else []
    if changes and not allowed:
        raise TrainError(
            f"{folder}: holds a run with other settings ({'; '.join(changes)}); give a new --out, or continue it all the "
            "same with --accept-changes"
        )
    return changes


def write_settings(folder: Path, values: Mapping[str, Any]) -> None:
    """Everything that the run was asked for, as JSON."""
    (folder / SETTINGS).write_text(json.dumps(values, indent=2, default=str) + "\n", encoding="utf-8")


def check_room(folder: Path, needed: int) -> None:
    """Raises TrainError if the disk has not `needed` bytes left for checkpoint and state."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainError(
            f"{folder}: {free >> 20} MB are free and state and checkpoint take {needed >> 20} MB; make room, or give "
            "another --out"
        )
