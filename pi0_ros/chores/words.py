"""What is said of chores, and what it means. Some ways to say it are kept for evaluation: no training data has them."""

from __future__ import annotations

from pi0_ros.sim.world import COLOURS, SIDES
from pi0_ros.touch.words import words_of

PUT = "put the {colour} block into the {side} bin"
SEEN_PHRASES = (
    PUT,
    "put the {colour} block in the {side} bin",
    "place the {colour} block into the {side} bin",
    "move the {colour} block to the {side} bin",
    "drop the {colour} block into the {side} bin",
    "pick up the {colour} block and put it into the {side} bin",
    "take the {colour} block and place it in the {side} bin",
    "the {colour} block goes into the {side} bin",
    "put the {colour} cube into the {side} box",
    "place the {colour} piece in the {side} container",
    "into the {side} bin with the {colour} block",
    "fill the {side} bin with the {colour} block",
)
UNSEEN_PHRASES = (
    "{colour} cube to the {side} box, please",
    "carry the {colour} block over to the {side} container",
    "get the {colour} piece and drop it in the {side} box",
    "the {side} bin is for the {colour} cube",
    "transfer the {colour} object into the {side} tray",
)
_BINS = {"bin", "box", "container", "tray"}


def put_text(colour: str, side: str, phrase: str = PUT) -> str:
    """The instruction for one block and bin."""
    return phrase.format(colour=colour, side=side)


def parse_put(text: str) -> tuple[str, str] | None:
    """(colour, side of the bin) of an instruction; None for a text that does not name one of each and a bin."""
    words = words_of(text)
    colours, sides = ({word for word in words if word in known} for known in (COLOURS, SIDES))
    if len(colours) != 1 or len(sides) != 1 or _BINS.isdisjoint(words):
        return None
    return colours.pop(), sides.pop()
