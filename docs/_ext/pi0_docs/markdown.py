"""Small pieces of MyST Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NAMES = ("torch", "local", "checkpoint:")
"""Words that stand for themselves at the beginning of a description."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def code(text: object) -> str:
    """Text in a code font, an en dash for none."""
    return f"`{text}`" if str(text) else "–"


def words(text: str) -> str:
    """Plain text of a declaration as Markdown: angle brackets and stars mean themselves, `code` stays code."""
    parts = text.split("`")
    return "`".join(
        part if i % 2 else part.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
        for i, part in enumerate(parts)
    )


def sentence(text: str) -> str:
    """The text with a capital letter at its beginning, unless it begins with the name of a file, a library or a value."""
    first = text.partition(" ")[0].strip(",;:")
    return text[:1].upper() + text[1:] if first.isalpha() and first not in NAMES else text


def anchor(name: str) -> str:
    """A target that other pages link to."""
    return f"({name})=\n"


def page(title: str, *parts: str) -> str:
    """A page; parts are separated by blank lines."""
    note = "% Written by docs/_ext/pi0_docs from the code; change the declaration, not this file."
    return "\n\n".join([f"# {title}", note, *(part.strip("\n") for part in parts if part)]) + "\n"
