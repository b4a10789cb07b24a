"""Watchdogs: something is silent, stands still or drifts away. All ages are on the steady clock [s]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

CLOCK_JITTER = 0.005
"""Seconds by which a reading of the ROS clock may be late: a clock that runs comes further than this in half a second."""
MOST_BUTTONS = 32  # emergency stops that are distinguished
SET_BACK_READINGS = 3
"""Readings behind the furthest one, one after the other, that are no jitter any more."""


def silent(last: float | None, now: float, limit: float) -> bool:
    """Whether nothing has been heard for more than `limit` [s]; never heard counts as silent."""
    return last is None or now - last > limit


class Button(NamedTuple):
    """What an emergency stop button said last, and when."""

    received: float
    pressed: bool


@dataclass(frozen=True)
class Estop:
    """Emergency stop buttons with a heartbeat, by sender: silence counts as pressed once a button has been heard.

    Each of several on one topic counts by itself: no other one says for it that it is released, or that it is there.
    """

    buttons: Mapping[bytes, Button] = field(default_factory=dict)
    names: Mapping[bytes, str] = field(default_factory=dict)

    def hear(self, now: float, pressed: bool, sender: bytes = b"") -> Estop:
        """The button of `sender` said something at `now`."""
        buttons = {**self.buttons, sender: Button(now, pressed)}
        if len(buttons) > MOST_BUTTONS:
            del buttons[min(buttons, key=lambda s: (buttons[s].pressed, buttons[s].received))]
        return replace(self, buttons=buttons)

    def with_publishers(self, names: Mapping[bytes, str]) -> Estop:
        """With the names of the nodes that publish, by sender. Buttons that have left are forgotten, if one is there."""
        there = {sender: button for sender, button in self.buttons.items() if sender in names}
        return Estop(there or self.buttons, names)

    def active(self, now: float, heartbeat: float) -> str:
        """Why the robot must be stopped, "" if it need not be."""
        pressed = [sender for sender, button in self.buttons.items() if button.pressed]
        if pressed:
            return f"e-stop{self._of(pressed[0])} pressed"
        quiet = [sender for sender, button in self.buttons.items() if silent(button.received, now, heartbeat)]
        return f"e-stop{self._of(quiet[0])} silent for more than {heartbeat:g} s" if quiet else ""

    def _of(self, sender: bytes) -> str:
        return f" of {self.names[sender]}" if len(self.buttons) > 1 and self.names.get(sender) else ""


class Since(NamedTuple):
    """How long a condition has held without a break."""

    start: float | None = None

    def update(self, now: float, holds: bool) -> Since:
        """The next value."""
        if holds == (self.start is not None):
            return self
        return Since(now) if holds else Since()

    def lasts(self, now: float, limit: float) -> bool:
        """Whether it has held for more than `limit` [s]."""
        return self.start is not None and now - self.start > limit


class ClockFault(Enum):
    """What is wrong with the ROS clock."""

    JUMPED = "jumped"
    STOPPED = "stopped"


class ClockWatch(NamedTuple):
    """The ROS clock seen from the steady clock: standing still is as bad as jumping.

    What is read of a clock jitters by as much as the reading is late, whether the clock runs or not. So a clock runs if it
    comes further than ever before by more than the jitter, not if two readings differ.
    """

    steady: float | None = None
    ros: float = 0.0
    furthest: float = 0.0  # where the ROS clock was seen when it last came further
    since: float = 0.0  # steady time at which that was
    behind: int = 0  # readings, one after the other, that were behind that

    def update(self, steady: float, ros: float) -> ClockWatch:
        """The next value after one period."""
        if self.steady is None or ros > self.furthest + CLOCK_JITTER:
            return ClockWatch(steady, ros, ros, steady)
        return ClockWatch(steady, ros, self.furthest, self.since, self.behind + 1 if self._is_behind(ros) else 0)

    def set_back(self, ros: float) -> bool:
        """Whether the clock was set back by a little: several readings are behind, of which `ros` is the last."""
        return self._is_behind(ros) and self.behind == SET_BACK_READINGS - 1

    def _is_behind(self, ros: float) -> bool:
        return ros < self.furthest - CLOCK_JITTER

    def fault(self, steady: float, ros: float, limit: float) -> tuple[ClockFault, str] | None:
        """What the ROS clock did since the last period, None if it ran: it may be slower, not jump by `limit` [s]."""
        if self.steady is None:
            return None
        step = ros - self.ros
        if step < -limit:
            return ClockFault.JUMPED, f"the ROS clock jumped back by {-step:.2f} s"
        if step - (steady - self.steady) > limit:
            return ClockFault.JUMPED, f"the ROS clock jumped ahead by {step - (steady - self.steady):.2f} s"
        if ros <= self.furthest + CLOCK_JITTER and steady - self.since > limit:
            return ClockFault.STOPPED, f"the ROS clock has stood still for {steady - self.since:.2f} s"
        return None
