"""One observation at one time: the newest moment all cameras saw, with the joints interpolated to it.

Pure: no clock is read here, and pictures are opaque until somebody decodes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pi0_ros.control.watchdogs import ClockFault, ClockWatch
from pi0_ros.robot.agreement import Contradiction
from pi0_ros.robot.spec import Camera, Robot
from pi0_ros.ros.history import Picture, PictureHistory
from pi0_ros.ros.source_clock import SourceClock, StampState, clock_sentence, usable_stamp
from pi0_ros.ros.state_history import StateHistory

SPARE = 0.5
"""Seconds of state and pictures that are kept beyond the oldest picture that may be used."""
MAX_SKEW = 0.1
"""Seconds that a picture may be away from its observation's time, where half of its camera's period is less."""
HALF_A_FRAME = 0.6
"""Share of a camera's period that its nearest picture is away at most: a half, and some jitter."""
LATE_STATE = 0.05
"""Seconds by which the stamps of a state source are behind from which on it is said: state is not on its way for long."""
GONE = 0.5
"""Seconds without a picture after which none is expected of a camera any more."""
CLOCK_JUMP = 0.5
"""Seconds that the ROS clock moves by itself to count as set."""


@dataclass(frozen=True)
class Snapshot:
    """Pictures by camera and state by channel, all at ROS time `stamp`; or nothing, with the reasons in `missing`."""

    stamp: float = 0.0
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    state: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether it can be used."""
        return not self.missing


class Synchroniser:
    """Collects pictures and state of a robot and hands out snapshots. All times in seconds, passed in."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._cameras: dict[str, Camera] = {c.name: c for c in robot.cameras}
        self._span = SPARE + max((c.max_age for c in robot.cameras), default=0.0)
        self._pictures = {name: PictureHistory(self._span) for name in self._cameras}
        self._state = StateHistory(robot, self._span)
        self._ages = {c.topic: c.max_age for c in robot.cameras} | {s.topic: s.max_age for s in robot.state}
        self._clocks = {topic: SourceClock() for topic in self._ages}
        self._watch = ClockWatch()
        self._clock_events: list[str] = []
        self._clock_stands = ""
        self._topics = {kind: [s.topic for s in robot.state if s.type == kind] for kind in ("joint_state", "odometry")}
        self.skew = 0.0
        """How far [s] the pictures of the newest observation were apart."""
        self.restarts = 0
        """How often the ROS clock was set, and everything forgotten."""

    def watch_clock(self, steady: float, ros: float) -> None:
        """Note both clocks; where the ROS clock was set meanwhile, forget everything and keep a sentence about it."""
        if self._watch.steady is not None and steady < self._watch.steady:
            return  # read later than one that came after it
        fault, set_back = self._watch.fault(steady, ros, CLOCK_JUMP), self._watch.set_back(ros)
        self._watch = self._watch.update(steady, ros)
        self._clock_stands = fault[1] if fault is not None and fault[0] is ClockFault.STOPPED else ""
        if fault is not None and fault[0] is ClockFault.JUMPED:
            self._start_anew(steady, ros, fault[1])
        elif set_back:
            self._start_anew(steady, ros, "the ROS clock was set back a little")

    def _start_anew(self, steady: float, ros: float, reason: str) -> None:
        self.clear()
        self.restarts += 1
        self._watch = ClockWatch().update(steady, ros)
        self._clock_events.append(f"{reason}; observations start anew")

    def clock_events(self) -> list[str]:
        """Sentences about the ROS clock being set, since the last call."""
        events, self._clock_events = self._clock_events, []
        return events

    def add_picture(
        self, camera: str, received: float, stamp: float, ros: float, message: object, size: int = 0
    ) -> None:
        """A picture of `size` bytes came at steady `received` and ROS time `ros`, taken at `stamp`.

        Where the stamp is zero or ahead, `ros` is used.
        """
        self.watch_clock(received, ros)
        self._clocks[self._cameras[camera].topic].update(received, stamp, ros)
        self._pictures[camera].add(Picture(usable_stamp(stamp, ros), received, message), size)

    def add_joints(
        self,
        received: float,
        stamp: float,
        ros: float,
        positions: Mapping[str, float],
        velocities: Mapping[str, float] | None = None,
        topic: str = "",
    ) -> None:
        """Joint positions and velocities by the robot's joint names (rad, m and their rates) at ROS time `stamp`.

        `topic`: where they came from; "" is the first source of that type, in `add_odometry` too.
        """
        at = self._state_stamp(received, stamp, ros, topic or self._topics["joint_state"][0])
        self._state.add_joints(received, at, positions, velocities or {}, topic)

    def add_odometry(
        self, received: float, stamp: float, ros: float, velocity: tuple[float, float, float], topic: str = ""
    ) -> None:
        """Base velocity vx, vy, wz in the base frame [m/s, m/s, rad/s] at ROS time `stamp`."""
        at = self._state_stamp(received, stamp, ros, topic or self._topics["odometry"][0])
        self._state.add_odometry(received, at, velocity, topic)

    def add_command(self, command: Mapping[str, float]) -> None:
        """What the executor commands by channel: it says on which turn an angle is, and stands for what nobody measures."""
        self._state.add_command(command)

    @property
    def command(self) -> Mapping[str, float]:
        """The newest command by channel, as `add_command` was given it."""
        return self._state.command

    def contradiction(self, steady: float) -> Contradiction | None:
        """Which joint two publishers disagree on at steady time `steady` [s], None where none."""
        return self._state.agreement.contradiction(steady)

    def _state_stamp(self, received: float, stamp: float, ros: float, topic: str) -> float:
        self.watch_clock(received, ros)
        self._clocks[topic].update(received, stamp, ros)
        return usable_stamp(stamp, ros)

    def clear(self) -> None:
        """Forget everything: the clock was set, so old stamps mean nothing."""
        for history in self._pictures.values():
            history.clear()
        self._state.clear()
        for clock in self._clocks.values():
            clock.clear()

    def newest(self, camera: str) -> Picture | None:
        """The newest picture of a camera."""
        return self._pictures[camera].newest

    def newest_state(self) -> dict[str, float]:
        """The newest value of every channel that was measured."""
        return self._state.newest()

    def offsets(self) -> dict[str, float]:
        """Seconds by which the stamps of each topic are behind this computer's clock, negative where ahead."""
        return {topic: clock.offset for topic, clock in self._clocks.items() if math.isfinite(clock.offset)}

    def clock_problems(self, steady: float) -> dict[str, str]:
        """Sentences about topics whose stamps cannot be used as they are."""
        limits = self._ages | {s.topic: min(s.max_age, LATE_STATE) for s in self._robot.state}
        said = {t: clock_sentence(t, clock, steady, limits[t]) for t, clock in self._clocks.items()}
        return {topic: sentence for topic, sentence in said.items() if sentence}

    def age(self, camera: str, steady: float, ros: float) -> float:
        """Age [s] of a camera's newest picture: since it was taken or since it arrived, whichever is more."""
        newest = self.newest(camera)
        return math.inf if newest is None else max(steady - newest.received, ros - newest.stamp)

    def stale(self, cameras: Iterable[str], steady: float, ros: float) -> dict[str, str]:
        """Which of the cameras have no picture young enough, with the sentence that says so."""
        stale = {}
        for camera in (self._cameras[name] for name in cameras):
            age = self.age(camera.name, steady, ros)
            if age > camera.max_age:
                stale[camera.name] = f"camera {camera.name}: {self._why_stale(camera, age, steady)}"
        return stale

    def _why_stale(self, camera: Camera, age: float, steady: float) -> str:
        clock = self._clocks[camera.topic]
        arrived = clock.arrival_age(steady)
        if arrived <= camera.max_age and clock.state(steady, camera.max_age) is StampState.BEHIND:
            return clock_sentence(camera.topic, clock, steady, camera.max_age)
        if math.isinf(min(age, arrived)):
            return f"no picture yet on {camera.topic} (at most {camera.max_age:g} s)"
        if arrived <= camera.max_age:
            return f"the picture that has just come on {camera.topic} is {age:.2f} s old (at most {camera.max_age:g} s)"
        return f"last picture {min(age, arrived):.2f} s ago on {camera.topic} (at most {camera.max_age:g} s)"

    def _state_missing(self, missing: list[str], steady: float) -> tuple[str, ...]:
        if not missing:
            return ()
        clocks = {s.topic: self._clocks[s.topic] for s in self._robot.state}
        behind = {t: c for t, c in clocks.items() if c.state(steady, self._ages[t]) is StampState.BEHIND}
        said = tuple(clock_sentence(t, clock, steady, self._ages[t]) for t, clock in behind.items())
        return said or (self._state.missing_sentence(missing),)

    def reached(self, steady: float, ros: float, cameras: Iterable[str]) -> float:
        """The ROS time [s] as far as which the state, and every camera that still sends pictures, have come; `ros` without
        any."""
        names = tuple(cameras)
        stale = self.stale(names, steady, ros)
        newest = [(self._pictures[name].newest, name in stale) for name in names]
        stamps = [p.stamp for p, old in newest if p is not None and not (old and steady - p.received > GONE)]
        found = min([*stamps, self._state.reached])
        return found if math.isfinite(found) else ros

    def take(
        self,
        steady: float,
        ros: float,
        cameras: Iterable[str] | None = None,
        state: Iterable[str] | None = None,
        moment: float | None = None,
    ) -> Snapshot:
        """The newest synchronised snapshot of the cameras (default: all) at steady time `steady` and ROS time `ros`.

        Its time is the newest at which every fresh camera has a picture, or `moment` [ROS s]; each camera gives the picture
        nearest to it. A camera that the robot YAML requires must be fresh; others are left out when they are not. `state`:
        the channels and joints that have to be known (default: all); others are left out where they are not. What is fresh
        is said for the time of `moment`: it does not matter how late a picture of that time came.
        """
        self.watch_clock(steady, ros)
        if self._clock_stands:
            return Snapshot(missing=(f"{self._clock_stands}; does /clock run?",))
        wanted = tuple(self._cameras if cameras is None else cameras)
        if moment is not None:
            steady, ros = steady - (ros - moment), moment
        stale = self.stale(wanted, steady, ros)
        missing = [why for name, why in stale.items() if self._cameras[name].required]
        fresh = [name for name in wanted if name not in stale]
        if missing or (wanted and not fresh):
            return Snapshot(missing=tuple(missing or stale.values()))
        if (contradiction := self.contradiction(steady)) is not None:
            return Snapshot(missing=(contradiction.sentence(),))
        common = min((self._pictures[n].newest.stamp for n in fresh), default=ros)  # type: ignore[union-attr]
        stamp = common if moment is None else moment
        pictures = {n: self._pictures[n].nearest(stamp) for n in fresh}
        apart = {n: abs(p.stamp - stamp) for n, p in pictures.items() if abs(p.stamp - stamp) > self._skew_limit(n)}
        self.skew = max((abs(p.stamp - stamp) for p in pictures.values()), default=0.0)
        if any(self._cameras[n].required for n in apart):
            return Snapshot(missing=(self._skew_sentence(apart),))
        pictures = {n: p for n, p in pictures.items() if n not in apart}
        known = self._state.at(stamp, steady)
        needed = self._state.names if state is None else state
        absent = self._state_missing([n for n in needed if n not in known], steady)
        return Snapshot(missing=absent) if absent else Snapshot(stamp, pictures, known)

    def _skew_limit(self, camera: str) -> float:
        return max(MAX_SKEW, HALF_A_FRAME * self._pictures[camera].period)

    def _skew_sentence(self, apart: Mapping[str, float]) -> str:
        name = max(apart, key=apart.__getitem__)
        return (
            f"camera {name}: its nearest picture on {self._cameras[name].topic} is {apart[name]:.2f} s away from the other "
            f"cameras' (at most {self._skew_limit(name):.2f} s); are all cameras of one clock, and none far behind?"
        )
