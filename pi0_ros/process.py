"""System calls of a process for itself; needs only the standard library."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PARENT = os.getppid()
"""Number of the process that started this one, as it was when this module was loaded: later it may have ended."""
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: after a fork there is no time for it


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent ends, however that ends (prctl(2); Linux only).

    A fork of the process does not inherit it; a program that it executes does.
    """
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, int(number))
