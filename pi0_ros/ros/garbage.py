"""When Python's garbage collector runs: never by itself while a control loop does, for it holds the GIL."""

from __future__ import annotations

import gc


def pause_collector() -> None:
    """Collect once, leave everything there is out of later collections, and collect only on request."""
    gc.collect()
    gc.freeze()
    gc.disable()


def resume_collector() -> None:
    """Undo `pause_collector`."""
    gc.enable()
    gc.unfreeze()
