"""What is said of coloured blocks beside the colours themselves."""

from __future__ import annotations

TOUCH_ALL = "touch every block"
DONE = "done"
