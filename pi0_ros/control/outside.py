"""Positions that are measured far outside their limits, and what may be the reason."""

from __future__ import annotations

from typing import NamedTuple

from pi0_ros.robot.measurement import Reading, unit_guess
from pi0_ros.robot.spec import Channel, Kind, Robot

OTHER_UNIT = 1.0  # [rad or m] outside its limits; a joint that is nearer rests there, beyond it another unit is guessed


class _Outside(NamedTuple):
    """A measurement far outside the limits: by how much, and what was reported."""

    excess: float
    reported: float


def outside_sentence(channel: Channel, value: float, guess: str) -> str:
    """Where a joint is, how far it may go, who says so, and the way out; `guess` is another unit it may be in."""
    limits, origin = channel.limits, channel.origin
    margin = f", margin {origin.margin:g}" if origin.margin else ""
    source = f" ({origin.position}{margin})" if origin.position else ""
    where = f" in {origin.where}" if origin.where else ""
    says = f"{channel.name} is measured at {value:.3f}, its limits are {limits.lower:.3f} .. {limits.upper:.3f}{source}"
    return f"{says}: {guess or f'move it by hand, or give limits.position with override: true{where}'}"


class OutsideWatch:
    """The newest measurements that are far outside of where they may be."""

    def __init__(self, robot: Robot, tolerance: float) -> None:
        """`tolerance` [rad or m]: how far outside a position may be measured."""
        self._robot, self._tolerance = robot, tolerance
        self._positions = {i for i, c in enumerate(robot.channels) if c.kind is Kind.POSITION}
        self._out: dict[int, tuple[Reading, _Outside]] = {}

    def note(self, i: int, reading: Reading, value: float, reported: float) -> None:
        """Reading `i` is `value` in robot units, of `reported` in the driver's."""
        far = self._tolerance if i in self._positions else 0.0
        if not reading.lower - far <= value <= reading.upper + far:
            self._out[i] = reading, _Outside(max(reading.lower - value, value - reading.upper), reported)
        elif self._out:
            self._out.pop(i, None)

    def sentence(self) -> str:
        """Which position was last measured far outside its limits, "" if none was."""
        if not self._out:
            return ""
        worst = max(self._out, key=lambda i: self._out[i][1].excess)
        reading, found = self._out[worst]
        grip = next((g.gripper for g in self._robot.groups if g.gripper and g.gripper.joint == reading.joint), None)
        if grip is not None:
            low, high = sorted((grip.closed, grip.open))
            guess = unit_guess(found.reported, low, high, "m") or unit_guess(found.reported, low, high, "rad")
            text = f"gripper joint {reading.joint} is {found.reported:.4g}, far outside of {low:g} .. {high:g}"
            return f"{text}; it reports {found.reported:.4g}: {guess}" if guess else text
        channel = self._robot.channels[worst]
        guess = unit_guess(found.reported, reading.lower, reading.upper, channel.unit)
        return outside_sentence(channel, found.reported, guess if found.excess > OTHER_UNIT else "")
