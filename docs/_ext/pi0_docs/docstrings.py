"""Docstrings of this project are plain text with `code` in single backticks; autodoc wants reStructuredText."""

from __future__ import annotations

import re
from typing import Any

CODE = re.compile(r"`([^`]+)`")
MARKUP = re.compile(r"([*|_\\])")


def plain_to_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replace the lines of a docstring by the same text in reStructuredText."""
    lines[:] = [rst_line(line) for line in lines]


def rst_line(line: str) -> str:
    """One line: code becomes a literal, everything else is text."""
    parts = CODE.split(line)
    return "".join(f"``{part}``" if i % 2 else MARKUP.sub(r"\\\1", part) for i, part in enumerate(parts))
