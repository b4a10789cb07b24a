"""What a run was made of, as short texts that change when it does: files, folders, values, versions."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

WHOLE = 64 << 20  # bytes; of larger files the size and both ends count
END = 1 << 20


def of_path(path: str | Path) -> str:
    """Of a file, or of all files below a folder: names and contents, of large files size, first and last megabyte.

    Times do not count, so that a copy is the same. "" if there is nothing. Raises OSError.
    """
    root = Path(path)
    if not root.exists():
        return ""
    seen = hashlib.sha256()
    for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if file.is_file():
            name = file.relative_to(root).as_posix() if root.is_dir() else ""
            seen.update(f"{name} {file.stat().st_size} {_content(file)}\n".encode())
    return seen.hexdigest()[:16]


def _content(file: Path) -> str:
    size = file.stat().st_size
    with file.open("rb") as data:
        if size <= WHOLE:
            return hashlib.file_digest(data, "sha256").hexdigest()
        ends = hashlib.sha256(data.read(END))
        data.seek(size - END)
        ends.update(data.read(END))
        return ends.hexdigest()


def of_value(value: Any) -> str:
    """Of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def versions(packages: tuple[str, ...] = ("pi0_ros", "torch", "numpy", "safetensors")) -> dict[str, str]:
    """Of this package, of what trains with it, and of Python; "" for one that is not installed as a package."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found
