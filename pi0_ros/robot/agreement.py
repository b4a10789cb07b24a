"""Whether the values of a joint can come from one joint: values that alternate faster than it can move come from two.

A joint_state_publisher beside the real driver says 0 while the driver says 1.2, on one topic; messages do not carry who sent
them. What can be seen is the measurement jumping away and back. One such return is believed if several publishers are
known to be there; two are if that is not known, since one may be an encoder's glitch.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

WINDOW = 2.0  # [s] how long a jump counts; a joint_state_publisher sends ten times a second unless told otherwise
SETTLE = 1.0  # [s] how long several publishers have to have agreed before anything starts
AWAY = 0.1  # [s] of motion between two jumps after which their ends may be apart
ROOM = 1.5  # times its greatest speed a joint may seem to move, since stamps and arrivals jitter


@dataclass(frozen=True)
class Contradiction:
    """One joint of which two values are said at once, and where."""

    joint: str
    topics: tuple[str, ...]
    values: tuple[float, float]

    def sentence(self, publishers: tuple[str, ...] = ()) -> str:
        """What is wrong, with the publishers' node names if they are known: one that contradicts itself, or several."""
        low, high = sorted(self.values)
        values, where = f"as {high:.2f} and as {low:.2f}", " and ".join(self.topics)
        if len(publishers) == 1:
            return f"{publishers[0]} publishes {self.joint} on {where}, in turn {values}; it contradicts itself"
        who = f"{' and '.join(publishers)} publish {self.joint}" if publishers else f"{self.joint} is said twice"
        return f"{who} on {where}, {values}; stop one of them"


@dataclass
class _LastValue:
    """What was last said of one joint."""

    stamp: float = math.nan
    value: float = math.nan
    topic: str = ""
    jumps: deque[tuple[float, float, float, str, str]] = field(default_factory=lambda: deque(maxlen=8))
    """Time, value before, value after, their topics."""


class Agreement:
    """Watches the measured joints of one robot. Times are steady seconds, values of any one unit per joint."""

    def __init__(self) -> None:
        self._said: dict[str, _LastValue] = {}
        self._worst: tuple[float, Contradiction] | None = None
        self._newest_jump = math.nan, ""

    def hear(
        self,
        joint: str,
        topic: str,
        time: float,
        value: float,
        tolerance: float,
        speed: float,
        sure: bool,
        stamp: float | None = None,
    ) -> None:
        """A topic said `value` of a joint that moves at most at `speed` a second.

        `tolerance`: two values nearer than this are one. `sure`: several publishers are known to speak of it. `stamp` [s]:
        when it was measured, on any clock; messages that arrive in a burst were not measured in one.
        """
        at = time if stamp is None else stamp
        reports = self._said.get(joint)
        if reports is None:
            reports = self._said[joint] = _LastValue()
        room = tolerance + ROOM * speed * max(at - reports.stamp, 0.0)
        if abs(value - reports.value) > room:  # never true of the first value
            reports.jumps.append((time, reports.value, value, reports.topic, topic))
            self._newest_jump = time, joint
            self._judge(joint, reports, tolerance, speed, 1 if sure else 2)
        reports.stamp, reports.value, reports.topic = at, value, topic

    def _judge(self, joint: str, reports: _LastValue, tolerance: float, speed: float, enough: int) -> None:
        newest = reports.jumps[-1][0]
        returns, jumps = 0, [jump for jump in reports.jumps if newest - jump[0] <= WINDOW]
        for (t0, before, there, *_), (t1, _, after, *_) in pairwise(jumps):
            close = abs(after - before) <= tolerance + ROOM * speed * min(t1 - t0, AWAY)
            returns += close and (there - before) * (after - there) < 0.0
        if returns >= enough:
            time, before, after, *topics = jumps[-1]
            self._worst = time, Contradiction(joint, tuple(dict.fromkeys(topics)), (before, after))

    def contradiction(self, time: float) -> Contradiction | None:
        """The newest contradiction that is not over."""
        if self._worst is None or time - self._worst[0] > WINDOW:
            return None
        return self._worst[1]

    def restless(self, time: float) -> str:
        """The joint whose measurement jumped lately, "" if none did: reason enough not to start yet."""
        when, joint = self._newest_jump
        return joint if time - when <= SETTLE else ""

    def forget(self) -> None:
        """What was said before says nothing of what comes now."""
        self._said.clear()
        self._worst, self._newest_jump = None, (math.nan, "")
