"""What is said of chores, and what it means."""

from __future__ import annotations

import re

from pi0_ros.sim.world import COLOURS, SIDES

_PUT = re.compile(rf"put the ({'|'.join(COLOURS)}) block into the ({'|'.join(SIDES)}) bin")


def put_text(colour: str, side: str) -> str:
    """The instruction for one block and bin."""
    return f"put the {colour} block into the {side} bin"


def parse_put(text: str) -> tuple[str, str] | None:
    """(colour, side of the bin) of an instruction, or None for any other text."""
    found = _PUT.search(text.strip().lower())
    return (found[1], found[2]) if found else None
