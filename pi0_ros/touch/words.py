"""The words of the tasks with blocks, besides the colours."""

from __future__ import annotations

import re

TOUCH_ALL = "touch every block"
DONE = "done"


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without signs."""
    return re.findall(r"[a-z0-9]+", text.lower())


def thing_asked_for(text: str) -> str | None:
    """The word for a thing in an instruction of ours with other words, as "tomato" in "touch the tomato block with the left
    arm": the first one behind "the" that is no side. None if there is none."""
    return next((word for word in re.findall(r"\bthe (\w+)", text) if word not in ("left", "right")), None)
