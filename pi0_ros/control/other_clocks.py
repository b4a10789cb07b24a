"""Sentences about a source whose clock is not this computer's, with the remedy. Pure."""

from __future__ import annotations

import math

OTHER_CLOCK = 1e5
"""Seconds from which on a stamp is not late but of another clock: simulated time, a device's uptime, a zero year."""
LEAP_SECONDS = 37.0
"""TAI minus UTC [s], since 2017: what a PTP clock that was not converted is ahead by."""
STEP = 0.25
"""Seconds by which an offset has to change to be reported again."""


def cure(seconds: float) -> str:
    """What to do about a clock that is `seconds` off."""
    if seconds > OTHER_CLOCK:
        return "it is another clock: set use_sim_time:=true for a simulation, or the driver's option for the computer's time"
    if abs(seconds - LEAP_SECONDS) < 0.5:
        return "37 s is TAI against UTC: let the PTP clock be converted (phc2sys with its UTC offset)"
    return "synchronise the clocks (chrony or PTP), or set the driver's option for the computer's time"


def duration(seconds: float) -> str:
    """An offset as text."""
    return f"{seconds:.3g} s" if seconds >= OTHER_CLOCK else f"{seconds:.2f} s"


class ClocksBehind:
    """Which topics arrive with stamps too old to be used, and how old; steady times [s] are passed in."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, float]] = {}

    def note(self, topic: str, steady: float, seconds: float) -> None:
        """A message of `topic` that arrived now was stamped `seconds` ago."""
        _, last = self._found.get(topic, (steady, math.inf))
        self._found[topic] = (steady, seconds if abs(seconds - last) > STEP else last)

    def sentence(self, topic: str, steady: float, recent: float) -> str:
        """What is wrong with a topic's stamps, "" if no such message arrived within `recent` seconds. It does not change
        with every message."""
        if topic not in self._found:
            return ""
        at, seconds = self._found[topic]
        if steady - at > recent:
            return ""
        return (
            f"{topic or 'the state'} arrives, but is stamped {duration(seconds)} in the past by this computer's clock;"
            f" {cure(seconds)}"
        )
