"""What is known of the robot: newest measured value of every channel, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pi0_ros.control.other_clocks import ClocksBehind
from pi0_ros.control.outside import OutsideWatch
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.silence import silence
from pi0_ros.robot.agreement import SETTLE, Agreement
from pi0_ros.robot.measurement import Reading, nearest_turn, readings_of
from pi0_ros.robot.spec import Axis, Robot

Array = npt.NDArray[np.float64]
NEVER = -math.inf
AXES = tuple(Axis)
# Two publishers' values nearer than this are one measurement; wheels and a filter of theirs differ by some velocity.
SAME = {"rad": 0.05, "m": 0.01, "m/s": 0.1, "rad/s": 0.2}
SAME_STROKE = 0.25  # the same for grippers, whose fingers may be measured apart
LATELY = 1.0  # [s] a message of a topic that arrived within this time says why the topic is not used
OTHERS = 8  # joints of each topic that the robot YAML does not name; the first ones are named in an error sentence


@dataclass
class Latest:
    """When a reading was received last: its source's topic and `limit` [s] of age, steady and stamp time [s]."""

    topic: str
    limit: float
    received: float = NEVER
    stamp: float = NEVER

    def update(self, steady: float, stamp: float, topic: str, limit: float | None) -> None:
        """A measurement of `stamp` came at `steady` [s], from `topic` if that is known."""
        self.received, self.stamp = steady, stamp
        self.topic, self.limit = topic or self.topic, self.limit if limit is None else limit


@dataclass(frozen=True)
class ReadingTable:
    """All readings of a robot: those of its `channels` first, in the order of the action vector, then those beside them.

    `joints` and `axes` say which readings a joint or an axis of the base gives, `same` how near two publishers' values are
    one measurement, `ages` the max_age [s] of each source, `needed` what has to be fresh.
    """

    readings: tuple[Reading, ...]
    channels: int
    joints: Mapping[str, tuple[tuple[int, Reading], ...]]
    axes: tuple[tuple[int, int], ...]
    same: tuple[float, ...]
    ages: Mapping[str, float]
    needed: tuple[int, ...]


def table_of(robot: Robot) -> ReadingTable:
    """The readings of a robot."""
    readings = tuple(readings_of(robot))
    joints: dict[str, tuple[tuple[int, Reading], ...]] = {}
    for i, reading in enumerate(readings):
        if reading.joint:
            joints[reading.joint] = (*joints.get(reading.joint, ()), (i, reading))
    beside = len(readings) - len(robot.channels)
    return ReadingTable(
        readings=readings,
        channels=len(robot.channels),
        joints=joints,
        axes=tuple((i, AXES.index(r.axis)) for i, r in enumerate(readings) if r.axis is not None),
        same=(*(SAME.get(c.unit, SAME_STROKE) for c in robot.channels), *[SAME["rad"]] * beside),
        ages={s.topic: s.max_age for s in robot.state},
        needed=tuple(i for i, r in enumerate(readings) if r.needed),
    )


def first_source(robot: Robot, reading: Reading, settings: ExecutorSettings) -> tuple[str, float]:
    """Topic and max_age [s] of the first source that could give a reading; once it was heard, its own source's count."""
    kind = "odometry" if reading.axis is not None else "joint_state"
    found = ((s.topic, s.max_age) for s in robot.state if s.type == kind)
    return next(found, ("", settings.state_stale))


def believable(stamp: float, ros: float, tolerance: float) -> tuple[float, str]:
    """The `stamp` [ROS s] to go by at `ros`, and what was wrong with it: a sentence, or "old" for one that is refused.

    A stamp of zero, or further than `tolerance` [s] in the future, is replaced by the receive time.
    """
    if ros <= 0.0:
        return ros, ""  # there is no time yet (use_sim_time without /clock), so no stamp is early or late
    if not math.isfinite(stamp) or stamp <= 0.0:
        return ros, "state without a stamp: the receive time is used"
    if stamp > ros + tolerance:
        return ros, f"state stamped {stamp - ros:.2f} s in the future: the receive time is used"
    return stamp, "old" if stamp < ros - tolerance else ""


class OtherJoints:
    """Joints that the robot YAML does not name, by topic: kept for an error sentence."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def note(self, topic: str, joint: str) -> None:
        """`topic` has a joint that the robot does not name."""
        others = self._names.setdefault(topic, {})
        if len(others) < OTHERS:
            others[joint] = None

    def instead_of(self, never: list[str]) -> str:
        """What is there instead of joints that `never` came: other names, mostly; "" if nothing is to be said."""
        if not never or not self._names:
            return ""
        topic, others = next(iter(self._names.items()))
        return f"; {topic or 'a joint state'} has {', '.join(others)} and not {', '.join(never[:OTHERS])}: see state: joints"


class Measurements:
    """Newest measurement per channel, in the order of the action vector, and of the joints beside them."""

    def __init__(self, robot: Robot, settings: ExecutorSettings) -> None:
        self._settings, self._table = settings, table_of(robot)
        self._values = [math.nan] * len(self._table.readings)
        self._latest = [Latest(*first_source(robot, r, settings)) for r in self._table.readings]
        self._outside, self._others = OutsideWatch(robot, settings.outside_fault), OtherJoints()
        self._changed, self._began = NEVER, math.inf
        self._agreement, self._behind = Agreement(), ClocksBehind()
        self.publishers: Mapping[str, tuple[str, ...]] = {}
        """Names of the nodes that publish on each topic of state, if that is known."""
        self.command: Array | None = None
        """The newest command [D], which says on which turn a joint without ends is; None before the first one."""

    @property
    def values(self) -> list[float]:
        """Per channel, in robot units; NaN while never measured."""
        return self._values[: self._table.channels]

    def joint(self, name: str) -> float:
        """The newest value of one of the robot's `state_joints`; NaN while never measured."""
        for i, reading in self._table.joints.get(name, ()):
            if not reading.rate:
                return self._values[i]
        return math.nan

    def or_commanded(self, command: Array) -> Array:
        """Values [D] if they are measured, the newest `command` [D] if nobody measures or has measured yet."""
        values = np.array(self.values)
        return np.where(np.isfinite(values), values, command)

    def update_joints(
        self,
        steady: float,
        ros: float,
        stamp: float,
        positions: Mapping[str, float],
        velocities: Mapping[str, float] | None = None,
        topic: str = "",
    ) -> str:
        """Take a joint state of `topic` in the robot's words; returns what was wrong with it, "" if nothing was.

        A stamp of zero or of the future is replaced by the receive time; a repeated or older stamp, or one far in the
        past, is not new information and changes nothing.
        """
        stamp, problem = believable(stamp, ros, self._settings.state_stamp_tolerance)
        if problem == "old":
            self._behind.note(topic, steady, ros - stamp)
            return f"joint states are stamped {ros - stamp:.2f} s in the past"
        moved, table = False, self._table
        age, self._began = table.ages.get(topic), min(self._began, steady)
        for joint, reported in positions.items():
            known = table.joints.get(joint)
            if known is None:
                self._others.note(topic, joint)
                continue
            for i, reading in known:
                value = (velocities or {}).get(joint, math.nan) if reading.rate else reported
                if reading.rate and math.isnan(value):  # not reported
                    continue
                if not isinstance(value, int | float) or not math.isfinite(value):
                    problem = f"{joint} is {value}"
                    continue
                latest = self._latest[i]
                if stamp <= latest.stamp:
                    problem = problem or "repeated or older stamp"
                    continue
                value = value if reading.rate else self._reading(i, reading, (steady, stamp), value, topic)
                moved = moved or value != self._values[i]
                self._values[i] = value
                latest.update(steady, stamp, topic, age)
        if moved:
            self._changed = steady
        return problem

    def _reading(self, i: int, reading: Reading, when: tuple[float, float], reported: float, topic: str) -> float:
        """The channel's value for a joint's, on the right turn; notes if it contradicts another or is far outside."""
        value = reading.value(reported)
        if reading.continuous:
            value = self._on_its_turn(i, reading, value)
        sure = len(self.publishers.get(topic, ())) > 1
        self._agreement.hear(reading.joint, topic, when[0], value, self._table.same[i], reading.speed, sure, when[1])
        self._outside.note(i, reading, value, reported)
        return value

    def _on_its_turn(self, i: int, reading: Reading, value: float) -> float:
        """An angle of a joint without ends, on the turn nearest to its command; before the first, inside its limits."""
        if self.command is not None and i < self._table.channels:
            return nearest_turn(value, float(self.command[i]))
        if math.isfinite(self._values[i]):
            return nearest_turn(value, self._values[i])
        if reading.lower <= value <= reading.upper:
            return value
        inside = nearest_turn(value, 0.5 * (reading.lower + reading.upper))
        return inside if reading.lower <= inside <= reading.upper else value

    def update_odometry(
        self, steady: float, ros: float, stamp: float, velocities: tuple[float, float, float], topic: str = ""
    ) -> str:
        """Take base velocities (vx, vy [m/s], wz [rad/s]) in the base frame; as `update_joints`."""
        stamp, problem = believable(stamp, ros, self._settings.state_stamp_tolerance)
        if problem == "old":
            self._behind.note(topic, steady, ros - stamp)
            return f"odometry is stamped {ros - stamp:.2f} s in the past"
        if not all(math.isfinite(v) for v in velocities):
            return "odometry is not finite"
        age = self._table.ages.get(topic)
        for i, axis in self._table.axes:
            if stamp > self._latest[i].stamp:
                self._values[i] = velocities[axis]
                if len(self.publishers.get(topic, ())) > 1:  # one base alone may jolt as it likes
                    reading, same = self._table.readings[i], self._table.same[i]
                    self._agreement.hear(
                        reading.name, topic, steady, velocities[axis], same, reading.speed, True, stamp
                    )
                self._latest[i].update(steady, stamp, topic, age)
        return problem

    def forget_stamps(self) -> None:
        """The clock has jumped: stamps before it say nothing about stamps after it."""
        for latest in self._latest:
            latest.stamp = NEVER

    def stale(self, steady: float) -> str:
        """Why the channels cannot be said to be measured, as a reason; "" if all are fresh and nobody disagrees."""
        if (contradiction := self.contradicted(steady)) != "":
            return contradiction
        quiet = [i for i in self._table.needed if steady - self._latest[i].received > self._latest[i].limit]
        if not quiet:
            return ""
        first, latest = self._table.readings[quiet[0]], self._latest[quiet[0]]
        source = f" (joint {first.joint})" if first.joint not in ("", first.name) else ""
        more = f" and {len(quiet) - 1} more" if quiet[1:] else ""
        why = self._behind.sentence(latest.topic, steady, max(latest.limit, LATELY))
        why = why or silence(
            latest.topic, steady - latest.received if latest.received > NEVER else math.inf, latest.limit
        )
        never = [r.joint for i in quiet if self._latest[i].received == NEVER and (r := self._table.readings[i]).joint]
        return f"no fresh measurement of {first.name}{source}{more}: {why}{self._others.instead_of(never)}"

    def contradicted(self, steady: float) -> str:
        """Which joint two publishers disagree on, with their names if they are known; "" if none."""
        found = self._agreement.contradiction(steady)
        if found is None:
            return ""
        return found.sentence(tuple(n for t in found.topics for n in self.publishers.get(t, ())))

    def unsettled(self, steady: float) -> str:
        """Why the measurements are not yet enough to start from: one jumped just now; "" if they are."""
        if joint := self._agreement.restless(steady):
            return f"the measurement of {joint} jumped; waiting until it agrees with itself"
        for topic, names in self.publishers.items():
            if len(names) > 1 and steady - self._began <= SETTLE:
                return f"{' and '.join(names)} publish on {topic}; waiting to see whether they agree"
        return ""

    @property
    def outside(self) -> str:
        """Which position was last measured far outside its limits, "" if none was."""
        return self._outside.sentence()

    def frozen(self, steady: float) -> bool:
        """Whether no measured joint has changed at all for the time set (the caller knows whether it should have)."""
        return steady - self._changed > self._settings.state_frozen
