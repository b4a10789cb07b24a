"""Which of the texts that a network decodes becomes the subtask. Pure."""

from __future__ import annotations

import math
import re

LONGEST_SUBTASK = 120
"""Characters."""


class Decision:
    """Which subtask stands: a new text has to be decoded `agree` times running before it replaces the old one."""

    def __init__(self, agree: int) -> None:
        self._agree = agree
        self.subtask, self._candidate, self._count = "", "", 0

    def restart(self) -> None:
        """A new task: whatever is decoded next stands at once."""
        self.subtask = ""

    def decoded(self, text: str) -> bool:
        """Take a decoded text in; True if it now stands."""
        self._count = self._count + 1 if text == self._candidate else 1
        self._candidate = text
        if text == self.subtask or not self.subtask or self._count >= self._agree:
            self.subtask = text
        return text == self.subtask


def refusal(text: str, pattern: str = ".+", log_probability: float = 0.0, least: float = -math.inf) -> str:
    """Why a decoded text is no subtask, "" if it is one.

    It has to match `pattern` as a whole, and its tokens' mean log-probability has to be `least` or more.
    """
    if not text.strip():
        return "empty text"
    if len(text) > LONGEST_SUBTASK:
        return f"text of {len(text)} characters, at most {LONGEST_SUBTASK}"
    if not text.isprintable():
        return "text with unprintable characters"
    if not re.fullmatch(pattern, text):
        return f"text that does not match {pattern}"
    if not log_probability >= least:
        return f"the network is not sure (mean log-probability {log_probability:.2g}, {least:g} is asked for)"
    return ""
