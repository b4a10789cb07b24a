"""The program `pi0`, also as `python -m pi0_ros`: Ctrl-C ends it without a traceback, also while it loads and at its end."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main() -> int:
    """Run the command line; its exit code."""
    # A job in the background of a script ignores SIGINT, and goes on ignoring it.
    answered = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if answered:
        signal.signal(signal.SIGINT, _leave)
    from pi0_ros import cli

    try:
        if answered:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return cli.main()
    except KeyboardInterrupt:  # in the moment before it is caught in there
        return INTERRUPTED
    finally:
        if answered:
            signal.signal(signal.SIGINT, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):  # nobody reads it, or it was being flushed
            continue
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
