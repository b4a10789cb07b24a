"""Boxes in a text head's answer, before the words that count: what π0.5's high level says of where things are.

A box is said as PaliGemma says it (arXiv 2407.07726, section 3): <locY0><locX0><locY1><locX1> label; several are joined by " ; ". π0.5's high
level says boxes first, then the subtask (arXiv 2504.16054, section IV).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LOCATIONS = 1024
BETWEEN = " ; "
_BOX = re.compile(r"\s*(?:<loc\d{4}>\s*){4}[^;<]*(?:;|$)")


@dataclass(frozen=True)
class Box:
    """A thing in a picture: left, upper, right and lower edge as fractions of the picture [0, 1], and what it is."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: str


def location(fraction: float) -> int:
    """The number of a location token for a fraction of the picture."""
    return min(int(fraction * LOCATIONS), LOCATIONS - 1)


def boxes_text(boxes: Sequence[Box]) -> str:
    """Boxes as a text head says them."""
    return BETWEEN.join(
        "".join(f"<loc{location(v):04d}>" for v in (b.y0, b.x0, b.y1, b.x1)) + f" {b.label}" for b in boxes
    )


def boxes_first(boxes: str, words: str) -> str:
    """An answer that says boxes, as `boxes_text` has them, and then words; either may be ""."""
    return BETWEEN.join(part for part in (boxes, words) if part)


def without_boxes(answer: str) -> str:
    """What an answer says behind its boxes; "" where it says boxes alone, or was cut within one."""
    end = 0
    while found := _BOX.match(answer, end):
        end = found.end()
    rest = answer[end:].strip()
    return "" if rest.startswith("<loc") else rest
