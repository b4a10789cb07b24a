"""What is said of driving and tidying in a room, and what it means. Some ways to say it are kept for evaluation: no training data has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pi0_ros.chores.room import KINDS, SHELF
from pi0_ros.sim.world import COLOURS, SIDES
from pi0_ros.touch.words import words_of

DRIVE, DRIVE_TO_SHELF = "drive to the {table} table", "drive to the shelf"
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
    """The instruction to drive to the table of that name, or to the shelf in the usual words."""
    return DRIVE_TO_SHELF if table == SHELF else phrase.format(table=table)


def parse_drive(text: str, looks: dict[str, str], before: str = "") -> str | None:
    """The side of the table to which an instruction sends the base, or SHELF; None for a text that does not send it to one place.

    looks: side to the word for what that table looks like. before: side of the table before which the base stood when it was said.
    """
    words = set(words_of(text))
    if _VERBS.isdisjoint(words) or (_TABLES.isdisjoint(words) and SHELF not in words):
        return None
    named = {side for side in SIDES if side in words or looks[side] in words}
    if OTHER in words and before:
        named.add(SIDES[1 - SIDES.index(before)])
    if SHELF in words:
        named.add(SHELF)
    return named.pop() if len(named) == 1 else None


TIDY, AWAY, BRING = "tidy up", "put the {colour} things away", "bring everything to the {table} table"
SEEN_WISHES: Mapping[str, tuple[str, ...]] = {
    TIDY: (TIDY, "tidy up the room", "tidy the room", "clean up", "put everything away"),
    AWAY: (AWAY, "put away the {colour} things", "tidy up the {colour} things", "put all {colour} things away"),
    BRING: (BRING, "bring all things to the {table} table", "carry everything to the {table} table"),
}
"""The usual words of each kind of wish, and other ways to say it."""
UNSEEN_WISHES: Mapping[str, tuple[str, ...]] = {
    TIDY: ("please make the room tidy", "everything should be put away"),
    AWAY: ("all that is {colour} has to be put away", "clean up whatever is {colour}"),
    BRING: ("everything belongs on the {table} table", "get all things over to the {table} table"),
}
DONE = "done"
TAKE, PUT_DOWN = "pick up the {colour} {kind} with the {side} arm", "put it into the bin"
_TIDYING = frozenset({"tidy", "clean", "away", "everything", "all"})


@dataclass(frozen=True)
class Wish:
    """What is to be put away: things of one colour, or all ("" for colour); into the bin of one table, or any ("" for table)."""

    colour: str = ""
    table: str = ""


def wish_text(wish: Wish, phrases: Mapping[str, tuple[str, ...]] = SEEN_WISHES, number: int = 0) -> str:
    """Phrase `number`, counted round, of those for a wish."""
    kind = phrases[AWAY if wish.colour else BRING if wish.table else TIDY]
    return kind[number % len(kind)].format(colour=wish.colour, table=wish.table)


def parse_wish(text: str) -> Wish | None:
    """The wish of an instruction; None for a text that wants nothing put away."""
    words = words_of(text)
    colours, tables = ([name for name in names if name in words] for names in (COLOURS, SIDES))
    if _TIDYING.isdisjoint(words) or len(colours) + len(tables) > 1 or bool(tables) is _TABLES.isdisjoint(words):
        return None
    return Wish(*colours or [""], *tables or [""])


def take_text(name: str, side: str) -> str:
    """The subtask of taking a thing, as "red_can", with the arm of that side."""
    colour, _, kind = name.partition("_")
    return TAKE.format(colour=colour, kind=kind, side=side)


def parse_take(text: str) -> tuple[str, str] | None:
    """(thing, side of the arm) of a subtask; None for any other text."""
    words = words_of(text)
    found = [[name for name in names if name in words] for names in (COLOURS, KINDS, SIDES)]
    if "pick" not in words or any(len(names) != 1 for names in found):
        return None
    (colour,), (kind,), (side,) = found
    return f"{colour}_{kind}", side
