"""What is known of the robot: newest measured value of every channel, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.control.other_clocks import ClocksBehind
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.silence import silence
from pi0_ros.robot.agreement import SETTLE, Agreement
from pi0_ros.robot.measurement import Reading, nearest_turn, readings_of, unit_guess
from pi0_ros.robot.spec import Axis, Channel, Kind, Robot

Array = npt.NDArray[np.float64]
OTHER_UNIT = 1.0  # [rad or m] outside its limits; nearer than this, a joint rests there rather than speaks another unit
NEVER = -math.inf
AXES = tuple(Axis)
SAME = {"rad": 0.05, "m": 0.01}  # two publishers' values nearer than this are one measurement
SAME_STROKE = 0.25  # the same for grippers, whose fingers may be measured apart
LATELY = 1.0  # [s] a message of a topic that arrived within this time says why the topic is not used
OTHERS = 32  # joints that are nobody's business, of each topic, that are remembered for a sentence


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


class Measured:
    """Newest measurement per channel, in the order of the action vector, and of the joints beside them."""

    command: Array | None = None
    """The newest command [D], which says on which turn a joint without ends is; None before the first one."""

    def __init__(self, robot: Robot, settings: ExecutorSettings) -> None:
        self._robot, self._settings, self._readings = robot, settings, readings_of(robot)
        count, self._count = len(self._readings), len(robot.channels)
        self._values, self._heard, self._stamps = [math.nan] * count, [NEVER] * count, [NEVER] * count
        self._joints: dict[str, list[tuple[int, Reading]]] = {}
        for i, reading in enumerate(self._readings):
            if reading.joint:
                self._joints.setdefault(reading.joint, []).append((i, reading))
        self._axes = [(i, AXES.index(r.axis)) for i, r in enumerate(self._readings) if r.axis is not None]
        self._same = [SAME.get(c.unit, SAME_STROKE) for c in robot.channels] + [SAME["rad"]] * (count - self._count)
        self._ages = {s.topic: s.max_age for s in robot.state}
        self._limits = [self._first_age(r) for r in self._readings]
        self._topics = [self._first_source(r) for r in self._readings]
        self._needed = [i for i, r in enumerate(self._readings) if r.needed]
        self._positions = {i for i, c in enumerate(robot.channels) if c.kind is Kind.POSITION}
        self._out: dict[int, _Outside] = {}
        self._others: dict[str, dict[str, None]] = {}
        self._changed, self._began = NEVER, math.inf
        self._agreement, self._behind = Agreement(), ClocksBehind()
        self.publishers: Mapping[str, tuple[str, ...]] = {}
        """Names of the nodes that publish on each topic of state, where that is known."""

    def _first_source(self, reading: Reading) -> str:
        """The topic of the first source that could give a reading; once it was heard, its own source's counts."""
        kind = "odometry" if reading.axis is not None else "joint_state"
        return next((s.topic for s in self._robot.state if s.type == kind), "")

    def _first_age(self, reading: Reading) -> float:
        """The max_age of the first source that could give a reading; once it was heard, its own source's counts."""
        kind = "odometry" if reading.axis is not None else "joint_state"
        return next((s.max_age for s in self._robot.state if s.type == kind), self._settings.state_stale)

    @property
    def values(self) -> list[float]:
        """Per channel, in robot units; NaN while never measured."""
        return self._values[: self._count]

    def joint(self, name: str) -> float:
        """The newest value of one of the robot's `state_joints`; NaN while never measured."""
        for i, reading in self._joints.get(name, ()):
            if not reading.rate:
                return self._values[i]
        return math.nan

    def or_commanded(self, command: Array) -> Array:
        """Values [D] where they are measured, the newest `command` [D] where nobody measures or has measured yet."""
        values = np.array(self.values)
        return np.where(np.isfinite(values), values, command)

    def hear_joints(
        self,
        steady: float,
        ros: float,
        stamp: float,
        positions: Mapping[str, float],
        velocities: Mapping[str, float] | None = None,
        topic: str = "",
    ) -> str:
        """Take a joint state of `topic` in the robot's words; returns what was wrong with it, "" where nothing was.

        A stamp of zero or of the future is replaced by the receive time; a repeated or older stamp, or one far in the
        past, is not new information and changes nothing.
        """
        stamp, problem = self._believable(stamp, ros)
        if problem == "old":
            self._behind.note(topic, steady, ros - stamp)
            return f"joint states are stamped {ros - stamp:.2f} s in the past"
        moved, age = False, self._ages.get(topic)
        self._began = min(self._began, steady)
        for joint, reported in positions.items():
            known = self._joints.get(joint)
            if known is None:
                self._note_other(topic, joint)
                continue
            for i, reading in known:
                value = (velocities or {}).get(joint, math.nan) if reading.rate else reported
                if reading.rate and not math.isfinite(value):
                    continue
                if not isinstance(value, int | float) or not math.isfinite(value):
                    problem = f"{joint} is {value}"
                    continue
                if stamp <= self._stamps[i]:
                    problem = problem or "repeated or older stamp"
                    continue
                value = value if reading.rate else self._reading(i, reading, (steady, stamp), value, topic)
                moved = moved or value != self._values[i]
                self._values[i], self._heard[i], self._stamps[i] = value, steady, stamp
                self._topics[i] = topic or self._topics[i]
                if age is not None:
                    self._limits[i] = age
        if moved:
            self._changed = steady
        return problem

    def _note_other(self, topic: str, joint: str) -> None:
        others = self._others.setdefault(topic, {})
        if len(others) < OTHERS:
            others[joint] = None

    def _reading(self, i: int, reading: Reading, when: tuple[float, float], reported: float, topic: str) -> float:
        """The channel's value for a joint's, on the right turn; notes where it contradicts another or is far outside."""
        value = reading.value(reported)
        if reading.continuous:
            value = self._on_its_turn(i, reading, value)
        sure = len(self.publishers.get(topic, ())) > 1
        self._agreement.hear(reading.joint, topic, when[0], value, self._same[i], reading.speed, sure, when[1])
        far = self._settings.outside_fault if i in self._positions else 0.0
        if not reading.lower - far <= value <= reading.upper + far:
            self._out[i] = _Outside(max(reading.lower - value, value - reading.upper), reported)
        elif self._out:
            self._out.pop(i, None)
        return value

    def _on_its_turn(self, i: int, reading: Reading, value: float) -> float:
        """An angle of a joint without ends, on the turn nearest to its command; before the first, inside its limits."""
        if self.command is not None and i < self._count:
            return nearest_turn(value, float(self.command[i]))
        if math.isfinite(self._values[i]):
            return nearest_turn(value, self._values[i])
        if reading.lower <= value <= reading.upper:
            return value
        inside = nearest_turn(value, 0.5 * (reading.lower + reading.upper))
        return inside if reading.lower <= inside <= reading.upper else value

    def hear_odometry(
        self, steady: float, ros: float, stamp: float, velocities: tuple[float, float, float], topic: str = ""
    ) -> str:
        """Take base velocities (vx, vy [m/s], wz [rad/s]) in the base frame; as `hear_joints`."""
        stamp, problem = self._believable(stamp, ros)
        if problem == "old":
            self._behind.note(topic, steady, ros - stamp)
            return f"odometry is stamped {ros - stamp:.2f} s in the past"
        if not all(math.isfinite(v) for v in velocities):
            return "odometry is not finite"
        age = self._ages.get(topic)
        for i, axis in self._axes:
            if stamp > self._stamps[i]:
                self._values[i], self._heard[i], self._stamps[i] = velocities[axis], steady, stamp
                self._topics[i] = topic or self._topics[i]
                self._limits[i] = self._limits[i] if age is None else age
        return problem

    def _believable(self, stamp: float, ros: float) -> tuple[float, str]:
        if ros <= 0.0:
            return ros, ""  # there is no time yet (use_sim_time without /clock), so no stamp is early or late
        if not math.isfinite(stamp) or stamp <= 0.0:
            return ros, "state without a stamp: the receive time is used"
        if stamp > ros + self._settings.state_stamp_tolerance:
            return ros, f"state stamped {stamp - ros:.2f} s in the future: the receive time is used"
        return stamp, "old" if stamp < ros - self._settings.state_stamp_tolerance else ""

    def forget_stamps(self) -> None:
        """The clock has jumped: stamps before it say nothing about stamps after it."""
        self._stamps = [NEVER] * len(self._stamps)

    def stale(self, steady: float) -> str:
        """Why the channels cannot be said to be measured, as a reason; "" where all are fresh and nobody disagrees."""
        if (contradiction := self.contradicted(steady)) != "":
            return contradiction
        quiet = [i for i in self._needed if steady - self._heard[i] > self._limits[i]]
        if not quiet:
            return ""
        first = self._readings[quiet[0]]
        source = f" (joint {first.joint})" if first.joint not in ("", first.name) else ""
        more = f" and {len(quiet) - 1} more" if quiet[1:] else ""
        topic, heard, limit = self._topics[quiet[0]], self._heard[quiet[0]], self._limits[quiet[0]]
        told = self._behind.sentence(topic, steady, max(limit, LATELY))
        told = told or silence(topic, steady - heard if heard > NEVER else math.inf, limit)
        return f"no fresh measurement of {first.name}{source}{more}: {told}{self._never(quiet)}"

    def _never(self, quiet: list[int]) -> str:
        """What is there instead of joints that never came: other names, mostly."""
        never = [self._readings[i].joint for i in quiet if self._heard[i] == NEVER and self._readings[i].joint]
        for topic, others in self._others.items():
            if never and others:
                there = ", ".join(list(others)[:8])
                return f"; {topic or 'a joint state'} has {there} and not {', '.join(never[:8])}: see state: joints"
        return ""

    def contradicted(self, steady: float) -> str:
        """Which joint two publishers disagree on, with their names where they are known; "" where none."""
        found = self._agreement.contradiction(steady)
        if found is None:
            return ""
        return found.sentence(tuple(n for t in found.topics for n in self.publishers.get(t, ())))

    def unsettled(self, steady: float) -> str:
        """Why the measurements are not yet enough to start from: one jumped just now; "" where they are."""
        if joint := self._agreement.restless(steady):
            return f"the measurement of {joint} jumped; waiting until it agrees with itself"
        for topic, names in self.publishers.items():
            if len(names) > 1 and steady - self._began <= SETTLE:
                return f"{' and '.join(names)} publish on {topic}; waiting to see whether they agree"
        return ""

    @property
    def outside(self) -> str:
        """Which position was last measured far outside its limits, "" where none was."""
        if not self._out:
            return ""
        worst = max(self._out, key=lambda i: self._out[i].excess)
        reading, found = self._readings[worst], self._out[worst]
        grip = next((g.gripper for g in self._robot.groups if g.gripper and g.gripper.joint == reading.joint), None)
        if grip is not None:
            low, high = sorted((grip.closed, grip.open))
            guess = unit_guess(found.reported, low, high, "m") or unit_guess(found.reported, low, high, "rad")
            text = f"gripper joint {reading.joint} is {found.reported:.4g}, far outside of {low:g} .. {high:g}"
        else:
            channel = self._robot.channels[worst]
            guess = unit_guess(found.reported, reading.lower, reading.upper, channel.unit)
            guess = guess if found.excess > OTHER_UNIT else ""
            return outside_sentence(channel, found.reported, guess)
        return f"{text}; it reports {found.reported:.4g}: {guess}" if guess else text

    def frozen(self, steady: float) -> bool:
        """Whether no measured joint has changed at all for the time set (the caller knows whether it should have)."""
        return steady - self._changed > self._settings.state_frozen
