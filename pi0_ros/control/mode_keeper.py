"""The current mode. When the table changes it, everything of the previous owner is dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from pi0_ros.control.journal import Journal, Now
from pi0_ros.control.modes import Mode, ModeState, Trigger, advance

Restart = Callable[[float], None]


class ModeEvent(NamedTuple):
    """Something that may change the mode: what it is, a sentence for people, and how bad ("info", "warn", "error")."""

    trigger: Trigger
    text: str
    level: str = "error"


class ModeKeeper:
    """Owns the mode."""

    def __init__(self, epoch: int, journal: Journal) -> None:
        self.state, self._journal = ModeState(epoch=epoch), journal
        self.on_change: Sequence[Restart] = ()
        """What is called with the steady time [s] after every change of the mode."""

    @property
    def mode(self) -> Mode:
        """Who drives."""
        return self.state.mode

    @property
    def epoch(self) -> int:
        """How many times the mode has changed."""
        return self.state.epoch

    def fire(self, now: Now, event: ModeEvent) -> None:
        """Let the table decide what an event means."""
        before, self.state = self.state, advance(self.state, event.trigger, event.text)
        if self.state.epoch == before.epoch:
            return
        text = f"{before.mode.value} -> {self.state.mode.value}: {event.text}"
        self._journal.note(now, event.level, "mode", text, throttle=0.0)
        for restart in self.on_change:
            restart(now.steady)

    def explain(self, event: ModeEvent) -> None:
        """More is known of what led to the mode now: the reason says so, and nothing else changes."""
        if self.state.trigger is event.trigger:
            self.state = replace(self.state, reason=event.text)
