"""What of the environment would keep ROS from starting, found out before anything starts. Nothing here imports ROS."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from pi0_ros.ros.shared_memory import free_bytes, remove_leftovers

SHARED_MEMORY = 4_000_000
"""Bytes of shared memory that a process of nodes may ask for: segments of Fast DDS have 0.55 MB."""
LAST_DOMAIN = 232
"""Above it the ports of DDS run into those the kernel gives away (ROS 2 documentation, "The ROS_DOMAIN_ID")."""


class UnusableEnvironment(RuntimeError):
    """An environment variable with a value that ROS cannot start with; the text names it and the way out."""


def check_environment(environment: Mapping[str, str] | None = None) -> None:
    """Refuse an environment that ROS would fail in. Raises UnusableEnvironment.

    What killed processes of this user have left in shared memory is removed first.
    """
    given = os.environ if environment is None else environment
    _check_domain(given.get("ROS_DOMAIN_ID", ""))
    _check_middleware(given.get("RMW_IMPLEMENTATION", ""), middlewares(given))
    _check_log_folder(given)
    remove_leftovers()
    _check_shared_memory(free_bytes())


def leave_where_ros_cannot_start() -> None:
    """End the process with 1 and one line if the environment is refused. Imports nothing of ROS."""
    try:
        check_environment()
    except UnusableEnvironment as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _check_shared_memory(free: int | None) -> None:
    """Libraries under ROS write into mapped files there: if that is full, the kernel ends the process with SIGBUS."""
    if free is not None and free < SHARED_MEMORY:
        raise UnusableEnvironment(
            f"/dev/shm has {free / 1e6:.1f} MB free, and ROS needs {SHARED_MEMORY / 1e6:.0f}: end what fills it (what"
            " killed processes of this user left there is removed already), or give the container more"
            " (--shm-size=256m, or --ipc=host)"
        )


def middlewares(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The RMW implementations that the sourced prefixes have, as their ament index says; empty if it says nothing."""
    found = set()
    for prefix in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        folder = Path(prefix, "share", "ament_index", "resource_index", "rmw_typesupport")
        if prefix and folder.is_dir():
            found |= {file.name for file in folder.iterdir()}
    return tuple(sorted(found - {"rmw_implementation"}))


def _check_domain(text: str) -> None:
    if text and not (text.isdecimal() and int(text) <= LAST_DOMAIN):
        raise UnusableEnvironment(f"ROS_DOMAIN_ID must be a number from 0 to {LAST_DOMAIN}, and is {text[:40]!r}")


def _check_middleware(wanted: str, there: Collection[str]) -> None:
    if wanted and there and wanted not in there:
        raise UnusableEnvironment(
            f"RMW_IMPLEMENTATION={wanted} is not installed here (there is {', '.join(there)}); unset it, or use the ROS "
            "of your robot"
        )


def _check_log_folder(given: Mapping[str, str]) -> None:
    """rcl writes its log to ROS_LOG_DIR, else to $ROS_HOME/log, else to ~/.ros/log, and fails if it cannot."""
    named = next((name for name in ("ROS_LOG_DIR", "ROS_HOME", "HOME") if given.get(name)), "")
    if not named:
        raise UnusableEnvironment("HOME is not set and neither is ROS_LOG_DIR; set one, so that ROS can write its log")
    folder = Path(given[named]).expanduser() / {"ROS_LOG_DIR": ".", "ROS_HOME": "log", "HOME": ".ros/log"}[named]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise UnusableEnvironment(
            f"ROS cannot write its log into {folder} ({named}); set ROS_LOG_DIR to a folder that can be written"
        )
