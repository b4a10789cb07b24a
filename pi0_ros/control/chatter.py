"""Grippers that a policy opens and closes many times a second: what they follow instead, and what is said about it.

A policy that cannot decide, or whose rows are noisy, asks a gripper for another opening in every row. A gripper that follows wears
out and loses its grip. One that is moved on purpose turns back less often, and is followed exactly.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]

MEMORY = 1.0  # [s] that reversals are remembered
LATELY = 0.4  # [s] of goals whose median is the middle of what is asked for
LEAST = 0.03  # of the stroke; to turn back by less is no reversal
BEGINS, ENDS = 4, 2  # reversals within `MEMORY` from which it is chatter, and below which it is none any more
WIDER = 1.25  # times the largest swing: a goal that is further away is meant
CENTRE = 0.4  # of that, by which a gripper may be off the middle of what is asked for


class Reversals:
    """The newest turning points of a signal."""

    def __init__(self, first: float) -> None:
        self._turn, self._extreme, self._reached, self._way = first, first, 0.0, 0.0
        self._swings: deque[tuple[float, float]] = deque()  # when each ended, and its size

    def add(self, time: float, value: float) -> None:
        """The signal's `value` at `time` [s]. A turn counts from the moment in which it was, and not in which it is noticed."""
        further = value - self._extreme
        if further * self._way > 0.0:
            self._extreme, self._reached = value, time
        elif abs(further) >= LEAST:
            if self._way:
                self._swings.append((self._reached, abs(self._extreme - self._turn)))
                self._turn = self._extreme
            self._extreme, self._reached, self._way = value, time, further
        while self._swings and self._swings[0][0] < time - MEMORY:
            self._swings.popleft()

    @property
    def count(self) -> int:
        """How often it has turned back within the last `MEMORY`."""
        return len(self._swings)

    @property
    def largest(self) -> float:
        """The longest way between two turns of that time."""
        return max((size for _, size in self._swings), default=0.0)


class SteadyGrip:
    """What one gripper follows in place of what it is asked for. Openings are shares 0 .. 1 of the stroke."""

    def __init__(self, period: float, first: float) -> None:
        """`period` [s] between two goals, of which `first` is the first."""
        self._period, self._time = period, 0.0
        self._reversals, self._goals = Reversals(first), deque([first], maxlen=round(LATELY / period))
        self._held, self.chatters = first, False

    def follow(self, goal: float) -> float:
        """The same goal; while it chatters, the middle of what is asked for."""
        self._time += self._period
        self._goals.append(goal)
        self._reversals.add(self._time, goal)
        before, self.chatters = self.chatters, self._reversals.count >= (ENDS if self.chatters else BEGINS)
        band = WIDER * self._reversals.largest
        if not self.chatters or abs(goal - self._held) > band:
            self._held = goal
            return goal
        middle = sorted(self._goals)[len(self._goals) // 2]
        if not before or abs(middle - self._held) > CENTRE * band:
            self._held = middle
        return self._held


class SteadyGrips:
    """All grippers of a robot, while one policy drives."""

    def __init__(self, robot: Robot, period: float) -> None:
        """`period` [s] between two commands."""
        self._period, self._names = period, robot.channel_names
        self._columns = [i for i, c in enumerate(robot.channels) if c.kind is Kind.GRIPPER]
        self._grips: dict[int, SteadyGrip] = {}

    def forget(self) -> None:
        """Somebody else drives."""
        self._grips = {}

    def steady(self, states: Array) -> Array:
        """The goals [3, D] of a period, those of grippers that chatter replaced."""
        after = states
        for i in self._columns:
            goal = float(states[0, i])
            if i not in self._grips:
                self._grips[i] = SteadyGrip(self._period, goal)
            held = self._grips[i].follow(goal)
            if held != goal:
                after = states.copy() if after is states else after
                after[0, i] = held
        return after

    @property
    def sentence(self) -> str:
        """Which gripper is asked to open and close many times a second, "" if none is."""
        name = next((self._names[i] for i, grip in self._grips.items() if grip.chatters), "")
        if not name:
            return ""
        return (
            f"the policy has {name} turn back {BEGINS} times a second or more; it is held at the middle of what is asked for. "
            f"If it is to be open or closed, set threshold in the policy's adapter"
        )
