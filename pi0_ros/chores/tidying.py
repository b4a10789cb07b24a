"""What to do next in a room to put things away: one subtask, from where all things are now.

`next_subtask` remembers nothing. A thing that slipped is taken again, and a base that was pushed away drives there again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pi0_ros.chores.room_words import DONE, PUT_DOWN, Wish, drive_text, take_text
from pi0_ros.sim.world import SIDES


@dataclass(frozen=True)
class Whereabouts:
    """Of a thing. table: piece of furniture on or over which it is, a side or the shelf, "" for none. left: m to the left of its middle
    line.

    held: side of the hand that has it off the table or over the bin, "" for none. binned: it is in the table's bin or falls into it.
    settled: it lies at rest and no hand is on it.
    """

    table: str
    left: float = 0.0
    held: str = ""
    binned: bool = False
    settled: bool = True


def asked_for(name: str, wish: Wish) -> bool:
    """Whether a wish is about a thing."""
    return not wish.colour or name.partition("_")[0] == wish.colour


def is_away(there: Whereabouts, wish: Wish) -> bool:
    """Whether a thing lies where a wish wants it: in a bin, or on the named table, in its bin or not."""
    wanted = there.table == wish.table if wish.table else there.binned
    return wanted and there.settled and not there.held


def free_spot(spots: Sequence[tuple[float, float]], taken: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The one of some spots (x, y) that is farthest from what is there already, the first of those that are equally far."""
    there = list(taken)
    return max(spots, key=lambda spot: min((math.dist(spot, other) for other in there), default=math.inf))


def next_subtask(things: Mapping[str, Whereabouts], standing: str, wish: Wish) -> str:
    """The words of the next subtask. standing: the piece of furniture before which the base stands at rest, "" for none.

    What is held is put into the bin of the wish's table or, without one, of that before which the robot stands, else of that on the side
    of the hand. Else the next thing is taken, those of
    the table before which the robot stands first. A thing on the floor is out of reach, and left there. DONE if nothing is left.
    """
    held = [name for name, there in things.items() if there.held]
    if held:
        there = things[held[0]]
        goal = wish.table or next((side for side in (standing, there.table) if side in SIDES), there.held)
        return PUT_DOWN if standing == goal else drive_text(goal)
    if any(there.binned and not there.settled and there.table == standing for there in things.values()):
        return PUT_DOWN
    left = [n for n, there in things.items() if asked_for(n, wish) and there.table and not is_away(there, wish)]
    if not left:
        return DONE
    name = min(left, key=lambda n: things[n].table != standing)
    there = things[name]
    if there.table != standing:
        return drive_text(there.table)
    return take_text(name, SIDES[0] if there.left >= 0.0 else SIDES[1])
