"""What can go wrong with a policy server, and the one line that says it."""

from __future__ import annotations

import re

from pi0_ros.policy.errors import PolicyError

MAX_QUOTE = 300
"""Characters that are quoted of what a server says."""
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning|Fault|Timeout)\b.*")
_NAMED = re.compile(r"[A-Za-z_][\w.]*: .*")


class ServerError(PolicyError):
    """The server cannot be used, does not answer in time, or answers with an error. `details`: all that it said."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class ServerNotReadyError(ServerError):
    """Nothing answers yet, or the connection broke: worth another try a little later."""


class LateAnswerError(ServerError):
    """No answer within the time in which it could have been used."""


def quote(text: str) -> str:
    """At most `MAX_QUOTE` characters of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_QUOTE else line[: MAX_QUOTE - 3] + "..."


def error_line(text: str) -> str:
    """The line of a server's text that names the error.

    Tracebacks end with advice in some libraries (JAX's note on hidden frames, PyTorch's on CUDA), so it is the last
    line that begins with an exception's name, else the last line.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern in (_EXCEPTION, _NAMED):
        # Frames are indented in a traceback; the exception's own line is not.
        found = [line for line in text.splitlines() if pattern.match(line)]
        if found:
            return quote(found[-1])
    return quote(lines[-1]) if lines else "no word"
