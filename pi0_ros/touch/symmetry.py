"""More scenes out of few: mirrored left to right, and with the colours of the objects exchanged.

A bimanual robot that is its own mirror image sees and does in the mirrored scene what it would do in this one with the
other arm; and any object could have had any colour. Both change pictures, words, vectors and labels together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.boxes import Box, boxes_first, boxes_text, parted
from pi0_ros.touch.grounding import LIT, NONE, PLACES, UNLIT, Grounding, grounding_of, object_at_target
from pi0_ros.touch.words import DONE, TOUCH_ALL
from pi0_ros.train.errors import TrainError
from pi0_ros.train.hooks import Purpose, Row

COLOURS = {
    "red": (0.85, 0.06, 0.06),
    "green": (0.05, 0.60, 0.12),
    "blue": (0.08, 0.18, 0.90),
    "yellow": (0.98, 0.82, 0.05),
}
Number = TypeVar("Number", bound=np.generic)
_TURNED = ("joint1", "joint4", "joint6", "base_vy", "base_wz")  # axes in the mirror plane: their angle changes sign
_BASE = np.array(list(COLOURS.values()), np.float32)


@dataclass(frozen=True)
class Change:
    """What is done to one row: `mirrored`, and colour k becomes colour `colours[k]` (None: they stay)."""

    mirrored: bool = False
    colours: tuple[int, ...] | None = None


def draw_change(rng: np.random.Generator) -> Change:
    """Mirrored half of the time, the colours in a random order."""
    colours = tuple(int(k) for k in rng.permutation(len(COLOURS)))
    return Change(bool(rng.random() < 0.5), colours)


def changed_pictures(pictures: NDArray[np.uint8], cameras: Sequence[str], change: Change) -> NDArray[np.uint8]:
    """Pictures [C, S, S, 3] of one row."""
    if change.colours is not None:
        pictures = recoloured(pictures, change.colours)
    return pictures[_other(cameras)][:, :, ::-1] if change.mirrored else pictures


def recoloured(pictures: NDArray[np.uint8], colours: Sequence[int]) -> NDArray[np.uint8]:
    """Strongly coloured pixels [..., 3] of each colour in the shade they have, but of the other colour."""
    flat = pictures.reshape(-1, 3)
    high, low = flat.max(-1).astype(np.float32), flat.min(-1).astype(np.float32)
    strong = np.flatnonzero(high - low > 0.5 * np.maximum(high, 12.0))
    pixels, high, low = flat[strong].astype(np.float32), high[strong], low[strong]
    red, green, blue = pixels.T
    kind = np.select(
        [(red >= green) & (red >= blue) & (green < 0.5 * red), green > np.maximum(red, blue), blue > green],
        [0, 1, 2],
        3,
    )
    weight = np.clip(((high - low) / high - 0.5) / 0.25, 0.0, 1.0)
    weight[(kind == 2) & (red > 0.5 * blue)] = 0.0  # violet is no block
    target = _BASE[np.asarray(colours)[kind]]
    shade = high / (255.0 * _BASE.max(-1)[kind])
    new = np.clip(255.0 * shade[:, None] * target, 0, 255)
    result = flat.copy()
    result[strong] = (weight[:, None] * new + (1 - weight[:, None]) * pixels).astype(np.uint8)
    return result.reshape(pictures.shape)


def changed_text(text: str, change: Change) -> str:
    """The instruction for the changed scene."""
    names = list(COLOURS)
    swaps = (
        {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"} if change.mirrored else {}
    )
    if change.colours is not None:
        swaps |= {names[k]: names[j] for k, j in enumerate(change.colours)}
    return re.sub(r"[A-Za-z]+", lambda word: _cased(word[0], swaps.get(word[0].lower())), text)


def keeps_its_sense(text: str) -> bool:
    """Whether words still ask for what is done once colours are exchanged: they name one of them, or no thing at all."""
    return text in (DONE, TOUCH_ALL) or any(word.lower() in COLOURS for word in re.findall(r"[A-Za-z]+", text))


def keeping(change: Change, kept: int | None) -> Change:
    """The change in which object `kept` has the colour it had; none of the colours changes if it is not known."""
    if kept is None or change.colours is None:
        return replace(change, colours=None)
    colours = list(change.colours)
    colours[colours.index(kept)], colours[kept] = colours[kept], kept
    return replace(change, colours=tuple(colours))


def _cased(word: str, other: str | None) -> str:
    """`other` with the capital letters of the word whose place it takes; the word itself if there is none."""
    if other is None:
        return word
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


def check_two_sided(channels: Sequence[str], cameras: Sequence[str]) -> None:
    """Raises TrainError if mirroring is not known for a robot: every arm needs a partner on the other side, and
    joints have to be called joint1 to joint6, of which 1, 4 and 6 turn about axes in the mirror plane."""
    sided = [c for c in channels if c.partition("_")[0] in ("left", "right")]
    unknown = [c for c in sided if not re.fullmatch(r"(left|right)_(joint[1-6]|gripper)", c)]
    alone = [c for c, partner in zip(channels, _other(channels), strict=True) if c in sided and channels[partner] == c]
    if not sided or unknown or alone:
        what = ", ".join((unknown or alone)[:4]) or "no channel begins with left_ or right_"
        raise TrainError(
            f"--symmetry: how this robot looks in a mirror is not known ({what}); it is for two arms whose joints are "
            f"called left_joint1 .. right_joint6. Train without it (cameras: {', '.join(cameras)})"
        )


def changed_vector(values: NDArray[Number], channels: Sequence[str], change: Change) -> NDArray[Number]:
    """State [D] or chunk [H, D] of the changed scene."""
    if not change.mirrored:
        return values
    signs = np.array([-1.0 if c.endswith(_TURNED) else 1.0 for c in channels], values.dtype)
    turned: NDArray[Number] = values[..., _other(channels)] * signs
    return turned


def changed_grounding(known: Grounding, cameras: Sequence[str], change: Change) -> Grounding:
    """Where things are in the changed scene. Columns and the way to the left change sides, colours their places."""
    if change.colours is not None:
        source = np.argsort(change.colours)
        known = replace(known, blocks=known.blocks[source], lamps=known.lamps[source], others=known.others[:, source])
    if not change.mirrored:
        return known
    others = known.others
    if len(others) == len(cameras) - 1:
        others = others[[k - 1 for k in _other(cameras)[1:]]]
    left = known.way[1:2]
    return replace(
        known,
        target=_across(known.target),
        wrist=_across(known.wrist),
        way=np.concatenate([known.way[:1], np.where(left < 0, left, PLACES - left), known.way[2:]]),
        blocks=_across(known.blocks),
        others=_across(others),
    )


def _across(places: NDArray[np.int16]) -> NDArray[np.int16]:
    """Places [..., 2] in the mirrored picture: the column from the other side."""
    rows, columns = places[..., :1], places[..., 1:]
    return np.concatenate([rows, np.where(columns < 0, columns, PLACES - columns)], axis=-1)


def changed_row(row: Row, change: Change, purpose: Purpose) -> Row:
    """The row in the changed scene. Lamps that only the words gave are written down first: the words change.

    Colours are not exchanged in what is told next, where the rule does not say what would be told then. Where the words
    ask for a thing without naming a colour of ours, that thing keeps its colour, as what they mean by it would change.
    """
    known = grounding_of(row.facts)
    boxes, words = parted(row.high_target)
    if purpose is Purpose.ACT and not keeps_its_sense(row.task):
        change = keeping(change, None if known is None else object_at_target(known))
    if purpose is Purpose.TELL and (known is None or not exchangeable(known, words, change)):
        change = replace(change, colours=None)
    target = changed_text(words, change)
    facts = row.facts
    if known is not None:
        if purpose is Purpose.TELL and change.colours is not None:
            target = changed_text(ordered_target(known, change.colours) or "", Change(change.mirrored))
        facts = changed_grounding(with_lamps(known, words), row.cameras, change).numbers()
    return replace(
        row,
        pictures=changed_pictures(row.pictures, row.cameras, change),
        state=changed_vector(row.state, row.channels, change),
        chunk=changed_vector(row.chunk, row.channels, change),
        task=changed_text(row.task, change),
        high_target=boxes_first(boxes_text(changed_boxes(boxes, row.cameras, change)), target),
        facts=facts,
        present=row.present[_other(row.cameras)] if change.mirrored and row.present is not None else row.present,
    )


def changed_boxes(boxes: Sequence[Box], cameras: Sequence[str], change: Change) -> list[Box]:
    """Boxes on the first camera's picture in the changed scene; none if the picture there becomes another camera's."""
    if change.mirrored and _other(cameras)[0] != 0:
        return []
    across = [replace(b, x0=1.0 - b.x1, x1=1.0 - b.x0) if change.mirrored else b for b in boxes]
    return [replace(box, label=changed_text(box.label, change)) for box in across]


def exchangeable(known: Grounding, target: str, change: Change) -> bool:
    """Whether what is told next is known after exchanging colours: if the rule gives what was recorded."""
    return ordered_target(known) == target and ordered_target(known, change.colours) is not None


@dataclass(frozen=True)
class Symmetry:
    """The augmentation: a change drawn for every row."""

    def check(self, channels: Sequence[str], cameras: Sequence[str]) -> None:
        """Raises TrainError if mirroring is not known for a robot."""
        check_two_sided(channels, cameras)

    def __call__(self, row: Row, purpose: Purpose, rng: np.random.Generator) -> Row:
        return changed_row(row, draw_change(rng), purpose)


def _other(names: Sequence[str]) -> list[int]:
    """For each name the index of its partner on the other side; itself if there is none."""
    at = {name: i for i, name in enumerate(names)}
    partners = []
    for name in names:
        side, _, rest = name.partition("_")
        other = {"left": "right", "right": "left"}.get(side)
        partners.append(at.get(f"{other}_{rest}", at[name]) if other else at[name])
    return partners


NEAR_MIDDLE = 40  # 1024ths of the base picture in which it is not clear on whose side an object lies


def ordered_target(known: Grounding, colours: Sequence[int] | None = None) -> str | None:
    """What "touch every block" asks for next: the first colour whose lamp is off, with the arm on whose side it lies.

    None if a lamp is hidden or the side is not clear. `colours`: exchanged before.
    """
    kinds = len(COLOURS)
    if (known.lamps < 0).any():
        return None
    for colour, k in enumerate(np.argsort(range(kinds) if colours is None else colours)):
        if known.lamps[k] < 512:
            column = int(known.blocks[k, 1])
            side = "left" if column < 512 else "right"
            return (
                None
                if abs(column - 512) < NEAR_MIDDLE
                else f"touch the {list(COLOURS)[colour]} block with the {side} arm"
            )
    return "done"


def with_lamps(known: Grounding, target: str) -> Grounding:
    """With the lamps that what is asked for next tells, if none is told: those before it are lit, it is not."""
    if (known.lamps >= 0).any() or not target:
        return known
    names = list(COLOURS)
    following = next((k for k, name in enumerate(names) if name in target.split()), len(names))
    lamps = np.full(len(names), NONE, np.int16)
    lamps[:following] = LIT
    lamps[following : following + 1] = UNLIT
    return replace(known, lamps=lamps)
