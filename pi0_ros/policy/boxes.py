"""Boxes in a text head's answer, before the subtask: how π0.5's high level says where objects are.

A box is said as PaliGemma says it (arXiv 2407.07726, section 3): <locY0><locX0><locY1><locX1> label; several are joined by " ; ". π0.5's high
level says boxes first, then the subtask (arXiv 2504.16054, section IV).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pi0_ros.policy.resize import fitted

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


def in_padded_picture(box: Box, shape: tuple[int, int], size: tuple[int, int]) -> Box:
    """A box on a camera's picture [H, W] as fractions of the network's, which keeps its proportions between black bars."""
    height, width = fitted(shape, size) if tuple(shape) != tuple(size) else size
    above, left = (size[0] - height) // 2, (size[1] - width) // 2
    y0, y1 = ((above + y * height) / size[0] for y in (box.y0, box.y1))
    x0, x1 = ((left + x * width) / size[1] for x in (box.x0, box.x1))
    return replace(box, x0=x0, y0=y0, x1=x1, y1=y1)


def parted(answer: str) -> tuple[tuple[Box, ...], str]:
    """Whole boxes at the beginning of an answer, to half a location, and the words behind them."""
    boxes: list[Box] = []
    end = 0
    while found := _BOX.match(answer, end):
        y0, x0, y1, x1 = ((int(number) + 0.5) / LOCATIONS for number in re.findall(r"<loc(\d{4})>", found[0]))
        boxes.append(Box(x0, y0, x1, y1, found[0].rpartition(">")[2].rstrip("; ").strip()))
        end = found.end()
    return tuple(boxes), answer[end:].strip() if boxes else answer


def without_boxes(answer: str) -> str:
    """What an answer says behind its boxes; "" if it says boxes alone, or was cut within one."""
    rest = parted(answer)[1].strip()
    return "" if rest.startswith("<loc") else rest
