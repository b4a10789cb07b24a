"""What is said of driving in a room, and what it means. Some ways to say it are kept for evaluation: no training data has them."""

from __future__ import annotations

from pi0_ros.sim.world import SIDES
from pi0_ros.touch.words import words_of

DRIVE = "drive to the {table} table"
SEEN_DRIVES = (
    DRIVE,
    "go to the {table} table",
    "move to the {table} table",
    "drive over to the {table} table",
    "go over to the {table} table",
    "drive up to the {table} table",
    "go and stand before the {table} table",
    "to the {table} table, drive",
)
UNSEEN_DRIVES = (
    "please come to the {table} table",
    "travel to the {table} table",
    "head for the {table} table",
    "roll across to the {table} desk",
    "it is the {table} table that you should drive to",
)
OTHER = "other"
"""A table's name for whoever stands before one of two."""
_VERBS = frozenset({"drive", "go", "move", "come", "travel", "head", "roll"})
_TABLES = frozenset({"table", "desk"})


def drive_text(table: str, phrase: str = DRIVE) -> str:
    """The instruction to drive to the table of that name."""
    return phrase.format(table=table)


def parse_drive(text: str, looks: dict[str, str], before: str = "") -> str | None:
    """The side of the table to which an instruction sends the base; None for a text that does not send it to one table.

    looks: side to the word for what that table looks like. before: side of the table before which the base stood when it was said.
    """
    words = set(words_of(text))
    if _VERBS.isdisjoint(words) or _TABLES.isdisjoint(words):
        return None
    named = {side for side in SIDES if side in words or looks[side] in words}
    if OTHER in words and before:
        named.add(SIDES[1 - SIDES.index(before)])
    return named.pop() if len(named) == 1 else None
