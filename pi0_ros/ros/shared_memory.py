"""What Fast DDS keeps in /dev/shm: how much room is left, and the segments of processes that are dead.

A process that is killed leaves its segment of half a megabyte behind, and nobody removes it: a container with 64 MB is full
after a hundred kills. A segment is a file `fastrtps_` and 16 hex digits, beside it is a file `…_el` that its process locks
for as long as it lives (eProsima/Fast-DDS, RobustExclusiveLock). The kernel releases the lock however a process ends, and
a lock is seen from other containers too. Nothing here imports ROS.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

SHM = Path("/dev/shm")
NEW = 10.0
"""Seconds for which a segment that nobody has locked may be one that is just being made."""
_LOCK = re.compile(r"(fastrtps_[0-9a-f]{16})_el")


def free_bytes(folder: Path = SHM) -> int | None:
    """Bytes that are free for shared memory; None if there is no such folder."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def remove_leftovers(folder: Path = SHM, now: float | None = None) -> int:
    """Remove this user's segments of processes that have ended; the bytes that this freed. `now` [s since the epoch]."""
    at, freed = time.time() if now is None else now, 0
    try:
        locks = [entry for entry in os.scandir(folder) if _LOCK.fullmatch(entry.name)]
    except OSError:
        return 0
    for lock in locks:
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to open
            freed += _remove_if_dead(Path(lock.path), at)
    return freed


def _remove_if_dead(lock: Path, now: float) -> int:
    found = lock.stat(follow_symlinks=False)
    if found.st_uid != os.geteuid() or now - found.st_mtime < NEW:
        return 0
    handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its process is alive
        segment, size = lock.with_name(lock.name.removesuffix("_el")), 0
        with contextlib.suppress(FileNotFoundError):
            size = segment.stat(follow_symlinks=False).st_size
            segment.unlink()
        lock.unlink()
        return size
    finally:
        os.close(handle)
