"""A page that would say nothing is an error: every declaration has a description."""

from __future__ import annotations

import re
from collections.abc import Mapping

EMPTY_CELL = re.compile(r"^\|(?:[^|\n]*\|)* *\|$", re.MULTILINE)


class MissingDescriptionError(ValueError):
    """A declaration without a description; the text is the row of the table."""


def check(files: Mapping[str, str]) -> None:
    """Raises MissingDescriptionError for the first table row whose last cell is empty."""
    for name, text in files.items():
        if name.endswith(".md") and (found := EMPTY_CELL.search(text)):
            raise MissingDescriptionError(f"{name}: nothing describes {found[0]}")
