"""Numbers and nouns of sentences for people."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """Two names or more in a row, the last one behind "and"."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def leave_one(count: int) -> str:
    """What to do if so many, two or more, are there and one may be."""
    return "end one of the two" if count == 2 else "end all but one"


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the singular for 1; for nouns whose plural ends in s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
