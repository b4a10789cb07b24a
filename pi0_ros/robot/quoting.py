"""Text from outside (messages, files, peers) as it goes into logs, diagnostics and file names: escaped and short."""

from __future__ import annotations

from collections.abc import Iterable

MAX_QUOTED = 80
"""Characters of a quoted text."""
MAX_NAMES = 8
"""Names of a quoted list."""
MAX_SENTENCE = 400
MAX_ERROR = 1200
"""Characters of an error's sentence, which may hold a path or two."""
"""Characters of a sentence that may contain text from outside."""


def quote(text: object) -> str:
    """`repr` of the text, at most `MAX_QUOTED` characters: no control character and no line break survives."""
    whole = str(text)
    # Cut before it is escaped: a text of 10 MB is not worth 40 MB of escapes.
    shown = repr(whole[:MAX_QUOTED])
    if len(whole) <= MAX_QUOTED and len(shown) <= MAX_QUOTED:
        return shown
    return f"{shown[: MAX_QUOTED - 2]}…{shown[0]}"


def quote_value(value: object) -> str:
    """`repr` of a value out of a file, at most `MAX_QUOTED` characters: 0, '0', [1, 2]."""
    return quote(value) if isinstance(value, str) else escape(_repr(value), MAX_QUOTED)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a whole number of 5,000 digits has none
        return f"a {type(value).__name__}"


def escape(text: object, limit: int = MAX_SENTENCE) -> str:
    """A sentence that contains text from outside: printable characters as they are, all others escaped, cut at `limit`."""
    whole = str(text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in whole[:limit])
    return shown if len(shown) <= limit and len(whole) <= limit else f"{shown[: limit - 1]}…"


def shorten(text: object, limit: int = MAX_ERROR) -> str:
    """A sentence as `escape` has it, but the middle is what a long one loses: file and key come first, the way out last."""
    whole = str(text)
    if len(whole) > limit:
        whole = f"{whole[: limit - limit // 3 - 1]}…{whole[-(limit // 3) :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in whole)


def quote_names(names: Iterable[object]) -> str:
    """Names from outside as a short list: the first `MAX_NAMES` quoted, and how many more there are."""
    listed = list(names)
    shown = ", ".join(map(quote, listed[:MAX_NAMES]))
    rest = len(listed) - MAX_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown
