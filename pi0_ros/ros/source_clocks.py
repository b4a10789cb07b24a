"""Rates and clocks of the topics that a node measures by, for /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from pi0_ros.robot import Robot
from pi0_ros.ros.source_clock import SourceClock, StampState, clock_sentence

SAID = (StampState.AHEAD, StampState.BEHIND)


class SourceClocks:
    """One `SourceClock` for each state topic of a robot that was heard. One thread updates, another may ask."""

    def __init__(self, robot: Robot) -> None:
        self._ages = {source.topic: source.max_age for source in robot.state}
        self._clocks: dict[str, SourceClock] = {}

    def update(self, topic: str, steady: float, stamp: float, ros: float) -> None:
        """A message of `topic` stamped `stamp` was received at `steady` and ROS time `ros`, all in s."""
        self._clocks.setdefault(topic, SourceClock()).update(steady, stamp, ros)

    @property
    def silent(self) -> tuple[str, ...]:
        """Topics that never said anything."""
        return tuple(topic for topic in self._ages if topic not in self._clocks)

    def values(self, steady: float) -> Mapping[str, float]:
        """`<topic> hz` and `<topic> offset_ms` of what was heard."""
        heard = tuple(self._clocks.items())
        rates = {f"{topic} hz": clock.hz(steady) for topic, clock in heard}
        return rates | {f"{topic} offset_ms": clock.offset * 1e3 for topic, clock in heard}

    def sentences(self, steady: float) -> tuple[str, ...]:
        """About stamps that lie ahead, or so far behind that nothing is fresh, with the cure."""
        heard = tuple((t, c, self._ages[t]) for t, c in tuple(self._clocks.items()) if t in self._ages)
        return tuple(clock_sentence(t, c, steady, age) for t, c, age in heard if c.state(steady, age) in SAID)
