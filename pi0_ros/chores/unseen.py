"""What is kept for evaluation: kinds of words, objects and places that no training data of the chores has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from pi0_ros.sim.errors import SimError


class Unseen(StrEnum):
    """words: other phrasings. objects: longer bricks and slimmer, taller cylinders, in darker or paler shades; in a room, tables of
    other colours too. places: the named block lies in a strip of the table beyond those trained on; in a room, the tables stand
    farther apart."""

    WORDS = "words"
    OBJECTS = "objects"
    PLACES = "places"


def unseen_kinds(names: Iterable[str]) -> frozenset[Unseen]:
    """The kinds with these names. Raises SimError for an unknown one."""
    kinds = set()
    for name in names:
        if name not in tuple(Unseen):
            raise SimError(f"nothing unseen is called {name!r}; there are {', '.join(Unseen)}")
        kinds.add(Unseen(name))
    return frozenset(kinds)


class DrawsUnseen:
    """What a task draws from what is kept for evaluation; nothing at first."""

    unseen: frozenset[Unseen] = frozenset()

    def choose_unseen(self, kinds: Collection[str]) -> None:
        """Draw these kinds from the next reset on. Raises SimError for an unknown kind."""
        self.unseen = unseen_kinds(kinds)
