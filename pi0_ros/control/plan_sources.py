"""Who plans: the sources of chunks of one epoch, of which the first owns the robot."""

from __future__ import annotations

from collections.abc import Mapping

NUMBERS = 2**64


def follows(sequence: int, last: int) -> bool:
    """Whether a sequence comes after another. Serial numbers (RFC 1982): after the largest comes 0, so that no number
    locks its source out."""
    return 0 < (sequence - last) % NUMBERS < NUMBERS // 2


class Sources:
    """The sources that published in one epoch. A source is one process: a restarted one must not continue another's plans.

    Two processes may have the same name. Sequences of one process rise; sequences that go back and then on again
    come from two.
    """

    def __init__(self) -> None:
        self.sequences: dict[str, int] = {}
        """Newest accepted sequence by source; the first owns the epoch."""
        self.other = ""
        """A source that publishes beside the owner, "" while there is none."""
        self._went_back: set[str] = set()

    @property
    def owner(self) -> str | None:
        """Whoever was accepted first, None before."""
        return next(iter(self.sequences), None)

    def accept(self, source: str, sequence: int) -> None:
        """A chunk of this source is followed."""
        self.sequences[source] = sequence

    def ignore(self, source: str) -> None:
        """A chunk of this source is not followed, because another one owns the epoch."""
        self.other = source

    def namesakes(self, source: str, sequence: int) -> bool:
        """Whether two processes of this name publish, as far as this sequence tells, with those before it."""
        last = self.sequences.get(source)
        if last is None:
            return False
        if sequence == last:
            return False
        if not follows(sequence, last):
            self._went_back.add(source)
            return False
        return source in self._went_back


def order_problem(source: str, sequence: int, sequences: Mapping[str, int]) -> str:
    """Why a sequence cannot be the next one of its source, "" if it can."""
    last = sequences.get(source)
    if last is None or follows(sequence, last):
        return ""
    text = f"sequence {sequence} does not follow {last}"
    if sequence == last:
        return text
    return f"{text}; if {source or 'the policy'} was restarted, it is followed once autonomy is asked for again"
