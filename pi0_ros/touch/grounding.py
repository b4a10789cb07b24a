"""Where things are in a frame's pictures, as the text head says it and as losses read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pi0_ros.touch.words import words_of

PLACES = 1024  # location tokens (PaliGemma)
REACH = 0.8  # m: displacements of -REACH..REACH fill the location tokens
LIT, UNLIT = 1020, 4  # of a lamp, as the grounding keeps it
STEP = 8  # places are taught in 128 steps
NONE = -1
KINDS = 4  # colours of blocks
HEAD = 7  # numbers about the target alone


def place_number(fraction: float) -> int:
    """A fraction in 0..1 as the location number in the middle of its step; what is outside goes to the nearest step."""
    steps = PLACES // STEP
    return int(np.clip(fraction * steps, 0, steps - 1)) * STEP + STEP // 2


def way_numbers(away: Sequence[float] | NDArray[np.floating]) -> list[int]:
    """A displacement [3] in m as location numbers."""
    return [place_number(v / (2 * REACH) + 0.5) for v in away]


@dataclass(frozen=True)
class Grounding:
    """Numbers in 0..1023, NONE if one cannot be said.

    target: [2] row and column of the instruction's object in the base picture. wrist: [2] in the working wrist's.
    way: [3] from fingertip to target (forward, left, up; 512 is none). blocks: [K, 2] every object in the base picture.
    lamps: [K] above 512 if lit. others: [C - 1, K, 2] every object in the other cameras; [0, K, 2] if unknown.
    """

    target: NDArray[np.int16]
    wrist: NDArray[np.int16]
    way: NDArray[np.int16]
    blocks: NDArray[np.int16]
    lamps: NDArray[np.int16]
    others: NDArray[np.int16]

    def numbers(self) -> NDArray[np.int16]:
        """All as one row, as `Frames.facts` keeps it: 7 + 3 K + 2 K (C - 1) numbers."""
        parts = (self.target, self.wrist, self.way, self.blocks, self.lamps, self.others)
        return np.concatenate([np.ravel(p) for p in parts]).astype(np.int16)

    def said(self) -> NDArray[np.int16]:
        """What the text head is taught to say: target, its place in the wrist's picture, the way to it."""
        return np.concatenate([self.target, self.wrist, self.way])


def object_at_target(known: Grounding) -> int | None:
    """The one object at the target's place in the base picture; None if there is none, or more than one."""
    there = np.flatnonzero((known.blocks == known.target).all(-1) & (known.blocks >= 0).all(-1))
    return int(there[0]) if len(there) == 1 else None


def grounding_of(numbers: NDArray[np.integer], kinds: int = KINDS) -> Grounding | None:
    """A row of `Frames.facts`; None if it holds no grounding. Lamps that are not known are NONE."""
    row = np.asarray(numbers, np.int16)
    if len(row) < HEAD + 2 * kinds:
        return None
    rest = row[HEAD + 2 * kinds :]
    lamps = rest[:kinds] if len(rest) >= kinds else np.full(kinds, NONE, np.int16)
    others = rest[kinds:]
    whole = len(others) // (2 * kinds) * 2 * kinds
    return Grounding(
        target=row[0:2],
        wrist=row[2:4],
        way=row[4:HEAD],
        blocks=row[HEAD : HEAD + 2 * kinds].reshape(kinds, 2),
        lamps=lamps,
        others=others[:whole].reshape(-1, kinds, 2),
    )


def nowhere(kinds: int = KINDS) -> NDArray[np.int16]:
    """Places [K, 2] of which none is known."""
    return np.full((kinds, 2), NONE, np.int16)


def fractions(places: NDArray[np.integer]) -> NDArray[np.float32]:
    """Places as fractions of the picture, NaN for NONE."""
    return np.where(places < 0, np.nan, places / float(PLACES)).astype(np.float32)


def goal_of(text: str, objects: Sequence[str], cameras: Sequence[str]) -> tuple[int, int] | None:
    """Object and wrist camera that an instruction names, as indices; None if it names none."""
    words = words_of(text)
    named = [k for k, name in enumerate(objects) if name in words]
    wrists = [c for c, name in enumerate(cameras) if name.endswith("_wrist") and name.split("_")[0] in words]
    return (named[0], wrists[0]) if named and wrists else None
