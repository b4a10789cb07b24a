"""One observation at one time: the newest moment all cameras saw, with the joints interpolated to it.

Pure: no clock is read here, and pictures are opaque until somebody decodes them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pi0_ros.robot.agreement import Agreement
from pi0_ros.robot.measurement import nearest_turn, observable, readings_of
from pi0_ros.robot.spec import Axis, Camera, Robot

PICTURES_KEPT = 8
SAMPLES_KEPT = 100
SAME = 0.1  # [rad, m, strokes] two publishers' values nearer than this are one measurement
FUTURE = 0.05
"""Seconds that a stamp may lie ahead of our clock before it is distrusted."""


@dataclass(frozen=True)
class Picture:
    """A picture message as it came: its stamp in ROS seconds and the steady time of its arrival."""

    stamp: float
    received: float
    message: object


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


class Track:
    """One measured number over time; stamps rise. `continuous`: an angle, kept without jumps by whole turns."""

    def __init__(self, continuous: bool = False) -> None:
        self._continuous, self.max_age = continuous, math.nan
        self._times: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self._values: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self.received = -math.inf

    def add(self, received: float, stamp: float, value: float) -> bool:
        """Append a sample; one that is not newer than the last, or not finite, is dropped and False is returned."""
        if not math.isfinite(value) or (self._times and stamp <= self._times[-1]):
            return False
        if self._continuous and self._values:
            value = nearest_turn(value, self._values[-1])
        self._times.append(stamp)
        self._values.append(value)
        self.received = received
        return True

    def at(self, stamp: float, reach: float) -> float | None:
        """Value at `stamp`, linear between samples, held up to `reach` seconds beyond the ends."""
        times, values = self._times, self._values
        if not times or stamp < times[0] - reach or stamp > times[-1] + reach:
            return None
        k = bisect_left(times, stamp)
        if k == 0 or k == len(times):
            return values[min(k, len(times) - 1)]
        share = (stamp - times[k - 1]) / (times[k] - times[k - 1])
        return values[k - 1] + share * (values[k] - values[k - 1])


class Synchroniser:
    """Collects pictures and state of a robot and hands out snapshots. All times in seconds, passed in."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._cameras: dict[str, Camera] = {c.name: c for c in robot.cameras}
        self._pictures: dict[str, deque[Picture]] = {n: deque(maxlen=PICTURES_KEPT) for n in self._cameras}
        self._readings = {r.name: r for r in observable(robot)}
        self._all = tuple(r.name for r in readings_of(robot))
        self._tracks = self._new_tracks()
        ages = {kind: [s.max_age for s in robot.state if s.type == kind] for kind in ("joint_state", "odometry")}
        self._first_age = {kind: (found or [0.1])[0] for kind, found in ages.items()}
        self._ages = {s.topic: s.max_age for s in robot.state}
        self.command: Mapping[str, float] = {}
        """The newest command by channel, as `add_command` was given it."""
        self.agreement = Agreement()

    def _new_tracks(self) -> dict[str, Track]:
        return {name: Track(reading.continuous) for name, reading in self._readings.items() if reading.measured}

    def add_picture(self, camera: str, received: float, stamp: float, ros: float, message: object) -> None:
        """A picture came at steady `received` and ROS time `ros`, taken at `stamp` (zero or future: `ros` is used)."""
        kept = self._pictures[camera]
        at = stamp if 0.0 < stamp <= ros + FUTURE else ros
        if kept and at <= kept[-1].stamp:
            return
        kept.append(Picture(at, received, message))

    def add_joints(
        self,
        received: float,
        stamp: float,
        ros: float,
        positions: Mapping[str, float],
        velocities: Mapping[str, float] | None = None,
        topic: str = "",
    ) -> None:
        """Joint positions and velocities by the robot's joint names (rad, m and their rates) at ROS time `stamp`."""
        at = stamp if 0.0 < stamp <= ros + FUTURE else ros
        for name, reading in self._readings.items():
            reported = (velocities or {} if reading.rate else positions).get(reading.joint)
            if reported is None or not reading.joint or not math.isfinite(reported):
                continue
            value = reported if reading.rate else reading.value(reported)
            self._tracks[name].add(received, at, value)
            self._tracks[name].max_age = self._ages.get(topic, math.nan)
            if not reading.rate and not reading.continuous:
                self.agreement.hear(name, topic, received, value, SAME, reading.speed, False)

    def add_odometry(
        self, received: float, stamp: float, ros: float, velocity: tuple[float, float, float], topic: str = ""
    ) -> None:
        """Base velocity vx, vy, wz in the base frame [m/s, m/s, rad/s] at ROS time `stamp`."""
        at = stamp if 0.0 < stamp <= ros + FUTURE else ros
        for name, reading in self._readings.items():
            if reading.axis is not None:
                self._tracks[name].add(received, at, velocity[tuple(Axis).index(reading.axis)])
                self._tracks[name].max_age = self._ages.get(topic, math.nan)

    def add_command(self, command: Mapping[str, float]) -> None:
        """What the executor commands by channel: it says on which turn an angle is, and stands for what nobody measures."""
        self.command = {name: value for name, value in command.items() if math.isfinite(value)}

    def clear(self) -> None:
        """Forget everything: the clock jumped, so old stamps mean nothing."""
        for kept in self._pictures.values():
            kept.clear()
        self._tracks = self._new_tracks()
        self.agreement.forget()

    def newest(self, camera: str) -> Picture | None:
        """The newest picture of a camera."""
        kept = self._pictures[camera]
        return kept[-1] if kept else None

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
                since = "no picture yet" if math.isinf(age) else f"last picture {age:.2f} s ago"
                stale[camera.name] = f"camera {camera.name}: {since} on {camera.topic} (at most {camera.max_age:g} s)"
        return stale

    def _age_of(self, name: str) -> float:
        """The max_age of the source that a reading came from; before it came, of the first that could give it."""
        known = self._tracks[name].max_age
        kind = "odometry" if self._readings[name].axis is not None else "joint_state"
        return known if math.isfinite(known) else self._first_age[kind]

    def _state(self, stamp: float, steady: float) -> dict[str, float]:
        """What is known at ROS time `stamp`, by name: measured lately, or commanded where nobody measures."""
        state = {}
        for name, reading in self._readings.items():
            track, command = self._tracks.get(name), self.command.get(name)
            value = track.at(stamp, self._age_of(name)) if track is not None else None
            if value is not None and track is not None and steady - track.received <= self._age_of(name):
                turned = reading.continuous and command is not None
                state[name] = nearest_turn(value, command or 0.0) if turned else value
            elif not reading.needed and command is not None:
                state[name] = command
        return state

    def _state_missing(self, missing: Iterable[str]) -> list[str]:
        sources = []
        for name in missing:
            reading = self._readings[name]
            odometry = "odometry" if reading.axis is not None else "the executor's command, which there is none of yet"
            sources.append(f"{name} (from {reading.joint or odometry})")
        topics = ", ".join(s.topic for s in self._robot.state)
        return [f"no fresh state on {topics} for {', '.join(sources)}"] if sources else []

    def take(
        self, steady: float, ros: float, cameras: Iterable[str] | None = None, state: Iterable[str] | None = None
    ) -> Snapshot:
        """The newest synchronised snapshot of the cameras (default: all) at steady time `steady` and ROS time `ros`.

        Its time is the newest at which every fresh camera has a picture; each camera gives the picture nearest to it.
        A camera that the robot YAML requires must be fresh; others are left out when they are not. `state`: the channels
        and joints that have to be known (default: all); others are left out where they are not.
        """
        wanted = tuple(self._cameras if cameras is None else cameras)
        stale = self.stale(wanted, steady, ros)
        missing = [why for name, why in stale.items() if self._cameras[name].required]
        fresh = [name for name in wanted if name not in stale]
        if missing or (wanted and not fresh):
            return Snapshot(missing=tuple(missing or stale.values()))
        if (contradiction := self.agreement.contradiction(steady)) is not None:
            return Snapshot(missing=(contradiction.sentence(),))
        stamp = min((self._pictures[n][-1].stamp for n in fresh), default=ros)
        pictures = {n: min(self._pictures[n], key=lambda p: abs(p.stamp - stamp)) for n in fresh}
        known = self._state(stamp, steady)
        missing = self._state_missing(n for n in (self._all if state is None else state) if n not in known)
        return Snapshot(missing=tuple(missing)) if missing else Snapshot(stamp, pictures, known)
