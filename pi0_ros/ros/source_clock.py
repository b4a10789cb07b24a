"""How the stamps of a source relate to this computer's clock. Pure; times are passed in."""

from __future__ import annotations

import math
import statistics
from collections import deque
from enum import Enum

from pi0_ros.control.other_clocks import cure, duration

WINDOW = 2.0
"""Seconds over which rate and offset of a source are taken."""
FUTURE = 0.05
"""Seconds that a stamp may lie ahead of our clock before it is distrusted."""
SEVERAL = 3
"""Messages before anything is said of a clock: one alone may have been late."""
UNEVEN = 0.5
"""Share of the offset by which the usual delay lies above the shortest if it is not the clocks that differ, but the way."""
LONG_WAY = 1.0
"""Seconds that no message is on its way for: what is older is stamped by another clock."""


class StampState(Enum):
    """What is to be made of the stamps of a source."""

    SILENT = "silent"  # nothing came lately
    GOOD = "good"
    ABSENT = "absent"  # zero: the receive time is used
    AHEAD = "ahead"  # in the future: the receive time is used
    BEHIND = "behind"  # older than the source's max_age though it arrives


def usable_stamp(stamp: float, ros: float) -> float:
    """The stamp [ROS s] that a message received at `ros` counts as: its own, or `ros` if that is zero or ahead."""
    return stamp if 0.0 < stamp <= ros + FUTURE else ros


class SourceClock:
    """Rate of a source's messages, and how far its clock is from ours, over the last `WINDOW` seconds."""

    def __init__(self) -> None:
        self._delays: deque[tuple[float, float]] = deque(maxlen=4096)
        self._absent = False

    def update(self, steady: float, stamp: float, ros: float) -> None:
        """A message arrived at `steady` [s] and ROS time `ros` [s], stamped `stamp` [s]."""
        self._absent = not stamp > 0.0
        self._delays.append((steady, ros - stamp))
        while self._delays[0][0] < steady - WINDOW:
            self._delays.popleft()

    def clear(self) -> None:
        """Forget everything: our own clock was set."""
        self._delays.clear()

    @property
    def received(self) -> bool:
        """Whether a message was received since the start, or since `clear`."""
        return bool(self._delays)

    def hz(self, steady: float) -> float:
        """Messages per second."""
        times = [at for at, _ in tuple(self._delays) if at > steady - WINDOW]
        return (len(times) - 1) / (times[-1] - times[0]) if times and times[-1] > times[0] else 0.0

    def arrival_age(self, steady: float) -> float:
        """Seconds since the newest message arrived, infinity if none did."""
        return steady - self._delays[-1][0] if self._delays else math.inf

    @property
    def offset(self) -> float:
        """Seconds that the stamps are behind our clock at the least (negative: ahead); NaN if they say nothing.

        It is the other clock's offset and the shortest way of a message together.
        """
        delays = tuple(self._delays)  # another thread may be adding
        return min(d for _, d in delays) if delays and not self._absent else math.nan

    @property
    def usual_delay(self) -> float:
        """The median [s] of what `offset` is the least of; NaN if the stamps say nothing."""
        delays = tuple(self._delays)
        return statistics.median(d for _, d in delays) if delays and not self._absent else math.nan

    @property
    def slow_way(self) -> bool:
        """Whether stamps are old because messages are held up: another clock would make all of them old by the same."""
        return self.offset < LONG_WAY and self.usual_delay - self.offset > UNEVEN * self.offset

    def state(self, steady: float, max_age: float) -> StampState:
        """What is to be made of its stamps; `max_age` [s] is how old the source's values may be."""
        if self.arrival_age(steady) > WINDOW:
            return StampState.SILENT
        if self._absent:
            return StampState.ABSENT
        if len(self._delays) < SEVERAL:
            return StampState.GOOD
        if self.offset < -FUTURE:
            return StampState.AHEAD
        return StampState.BEHIND if self.offset > max_age else StampState.GOOD


def clock_sentence(topic: str, clock: SourceClock, steady: float, max_age: float) -> str:
    """One sentence about a source whose stamps cannot be used as they are, with the cure; "" if they can."""
    state, arrives = clock.state(steady, max_age), f"arrives at {clock.hz(steady):.0f} Hz"
    if state is StampState.ABSENT:
        return (
            f"{topic} {arrives} without stamps, so the time of arrival is used; "
            "let the driver stamp its messages (header.stamp)"
        )
    if state is StampState.AHEAD:
        return (
            f"{topic} {arrives}, but is stamped {duration(-clock.offset)} ahead of this computer, so the time of arrival "
            f"is used; {cure(-clock.offset)}"
        )
    if state is StampState.BEHIND and clock.slow_way:
        return (
            f"{topic} {arrives}, but is {duration(clock.offset)} old by then at best and {duration(clock.usual_delay)} usually: "
            "this computer, the network or the driver does not keep up; let it do less"
        )
    if state is StampState.BEHIND:
        return f"{topic} {arrives}, but is stamped {duration(clock.offset)} behind this computer; {cure(clock.offset)}"
    return ""
