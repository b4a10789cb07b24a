"""Rates and clock offsets of the topics that a node reads."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pi0_ros.robot import Robot
from pi0_ros.ros.source_clock import SourceClock, StampState, clock_sentence

SAID = (StampState.AHEAD, StampState.BEHIND)


def state_ages(robot: Robot) -> dict[str, float]:
    """Seconds that the values of each state topic may be old."""
    return {source.topic: source.max_age for source in robot.state}


class SourceClocks:
    """One `SourceClock` per topic. One thread updates, another may ask."""

    def __init__(self, ages: Mapping[str, float]) -> None:
        """`ages`: the topics, and how many seconds old their values may be."""
        self._ages = dict(ages)
        self._clocks = {topic: SourceClock() for topic in ages}

    def update(self, topic: str, steady: float, stamp: float, ros: float) -> None:
        """A message of `topic` stamped `stamp` was received at `steady` and ROS time `ros`, all in s."""
        self._clocks[topic].update(steady, stamp, ros)

    def clear(self) -> None:
        """Forget everything: our own clock was set."""
        for clock in self._clocks.values():
            clock.clear()

    def arrival_age(self, topic: str, steady: float) -> float:
        """Seconds since the newest message of a topic arrived, infinity if none did."""
        return self._clocks[topic].arrival_age(steady)

    @property
    def silent(self) -> tuple[str, ...]:
        """Topics of which nothing was received."""
        return tuple(topic for topic, clock in self._clocks.items() if not clock.received)

    def values(self, steady: float) -> Mapping[str, float]:
        """`<topic> hz` and `<topic> offset_ms` of the topics of which something was received, for /diagnostics."""
        received = {topic: clock for topic, clock in self._clocks.items() if clock.received}
        rates = {f"{topic} hz": clock.hz(steady) for topic, clock in received.items()}
        return rates | {f"{topic} offset_ms": clock.offset * 1e3 for topic, clock in received.items()}

    def offsets(self) -> dict[str, float]:
        """Seconds by which the stamps of each topic are behind this computer's clock, negative if ahead."""
        return {topic: clock.offset for topic, clock in self._clocks.items() if math.isfinite(clock.offset)}

    def sentences(self, steady: float) -> tuple[str, ...]:
        """About stamps that lie ahead, or so far behind that nothing is fresh, with the cure."""
        return self._sentences(steady, self._ages, SAID)

    def behind(self, ages: Mapping[str, float], steady: float) -> tuple[str, ...]:
        """About topics whose stamps are more than `ages` [s] behind, so that nothing is fresh, with the cure."""
        return self._sentences(steady, ages, (StampState.BEHIND,))

    def problems(self, steady: float, ages: Mapping[str, float]) -> dict[str, str]:
        """By topic, a sentence about stamps that cannot be used as they are, `ages` in place of the topics' own."""
        limits = {**self._ages, **ages}
        found = {t: clock_sentence(t, clock, steady, limits[t]) for t, clock in self._clocks.items()}
        return {topic: sentence for topic, sentence in found.items() if sentence}

    def _sentences(self, steady: float, ages: Mapping[str, float], states: tuple[StampState, ...]) -> tuple[str, ...]:
        clocks = [(topic, self._clocks[topic], age) for topic, age in ages.items()]
        return tuple(clock_sentence(t, c, steady, age) for t, c, age in clocks if c.state(steady, age) in states)
