"""Which text the policy follows: an operator's override, or what the network or the task says."""

from __future__ import annotations

import threading

OVERRIDE = "subtask_override"
"""The topic of the operator's text: latched; an empty one gives the choice back."""


def one_line(text: str) -> str:
    """The text with single spaces, so that equal texts are equal."""
    return " ".join(text.split())


class PromptSource:
    """The newest text on `topic`, and the operator's, which wins while it is not empty."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._text, self._heard, self._override = "", 0.0, ""
        self.withdrawn = 0
        """How often what was followed was ended at once: a plan that was being made for it is of no use any more."""

    def hear(self, text: str, steady: float) -> None:
        """The topic says `text` at `steady` [s]."""
        with self._lock:
            before, self._text, self._heard = self._text, one_line(text), steady
            self.withdrawn += bool(before and not self._text and not self._override)

    def override(self, text: str) -> None:
        """The operator says `text`; "" takes the override back."""
        with self._lock:
            before, self._override = self._override, one_line(text)
            self.withdrawn += before != self._override

    @property
    def overridden(self) -> bool:
        """Whether the operator's text is followed."""
        return bool(self._override)

    @property
    def text(self) -> str:
        """What is followed, "" for nothing."""
        return self._override or self._text

    @property
    def topic(self) -> str:
        """Where that was said."""
        return OVERRIDE if self.overridden else self._topic

    def age(self, steady: float) -> float:
        """How old it is [s]; an override does not age: it stands until it is taken back."""
        return 0.0 if self.overridden else steady - self._heard
