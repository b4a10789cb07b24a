"""The words of the tasks with blocks, besides the colours."""

from __future__ import annotations

TOUCH_ALL = "touch every block"
DONE = "done"
