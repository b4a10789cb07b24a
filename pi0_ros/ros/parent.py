"""A node does not outlive what started it: if a launcher is killed, its nodes make safe and end.

`ros2 launch` that gets SIGTERM, or any launcher that gets SIGKILL, leaves its nodes running with nobody to stop them.
A robot must not go on unattended. Polled rather than asked of the kernel (prctl's PR_SET_PDEATHSIG), which would also
tell when only the thread ended that started the node. Nothing here imports ROS.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pi0_ros.process import PARENT
from pi0_ros.ros.guarded_thread import GuardedThread

POLL = 0.2
"""Seconds between two looks."""
OUTLIVE = "PI0_OUTLIVE_PARENT"
"""Set to 1 in the environment of a node that is started in the background on purpose, and left alone."""
INIT = 1


def watch_parent(gone: Callable[[str], None], environment: dict[str, str] | None = None, parent: int = PARENT) -> bool:
    """Call `gone` with a sentence, from a thread of its own, once the process `parent` is no longer this one's parent.

    It is the one that the process had before it loaded its libraries: it may have ended meanwhile.
    False if there is nothing to watch: the parent is init (systemd, a container), or `OUTLIVE` is set.
    """
    given = os.environ if environment is None else environment
    if parent == INIT or given.get(OUTLIVE) == "1":
        return False

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        gone(f"the process that started it (number {parent}) is gone; {OUTLIVE}=1 lets a node go on alone")

    GuardedThread("parent watch", watch, gone, died=gone).start()
    return True
