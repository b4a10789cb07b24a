"""What was measured of a robot lately, by the names of its channels and joints. Pure: all times in seconds, passed in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pi0_ros.robot.agreement import Agreement
from pi0_ros.robot.measurement import nearest_turn, observable, readings_of
from pi0_ros.robot.spec import Axis, Robot
from pi0_ros.ros.history import Track

SAME = 0.1  # [rad, m, strokes] two publishers' values nearer than this are one measurement


class StateHistory:
    """Measurements over the last `span` [s], and the newest command for what nobody measures."""

    def __init__(self, robot: Robot, span: float) -> None:
        self._robot, self._span = robot, span
        self._readings = {r.name: r for r in observable(robot)}
        self.names = tuple(r.name for r in readings_of(robot))
        """Channels and joints whose values belong to an observation."""
        self._tracks = self._new_tracks()
        ages = {kind: [s.max_age for s in robot.state if s.type == kind] for kind in ("joint_state", "odometry")}
        self._first_age = {kind: (found or [0.1])[0] for kind, found in ages.items()}
        self._ages = {s.topic: s.max_age for s in robot.state}
        self.command: Mapping[str, float] = {}
        """The newest command by channel, as `add_command` was given it."""
        self.agreement = Agreement()

    def _new_tracks(self) -> dict[str, Track]:
        return {
            name: Track(self._span, reading.continuous) for name, reading in self._readings.items() if reading.measured
        }

    def add_joints(
        self, received: float, at: float, positions: Mapping[str, float], velocities: Mapping[str, float], topic: str
    ) -> None:
        """Joint positions and velocities by the robot's joint names (rad, m and their rates) at ROS time `at`."""
        for name, reading in self._readings.items():
            reported = (velocities if reading.rate else positions).get(reading.joint)
            if reported is None or not reading.joint or not math.isfinite(reported):
                continue
            value = reported if reading.rate else reading.value(reported)
            self._tracks[name].add(received, at, value)
            self._tracks[name].max_age = self._ages.get(topic, math.nan)
            if not reading.rate and not reading.continuous:
                self.agreement.hear(name, topic, received, value, SAME, reading.speed, False, at)

    def add_odometry(self, received: float, at: float, velocity: tuple[float, float, float], topic: str) -> None:
        """Base velocity vx, vy, wz in the base frame [m/s, m/s, rad/s] at ROS time `at`."""
        for name, reading in self._readings.items():
            if reading.axis is not None:
                self._tracks[name].add(received, at, velocity[tuple(Axis).index(reading.axis)])
                self._tracks[name].max_age = self._ages.get(topic, math.nan)

    def add_command(self, command: Mapping[str, float]) -> None:
        """What the executor commands by channel: it says on which turn an angle is, and stands for what nobody measures."""
        self.command = {name: value for name, value in command.items() if math.isfinite(value)}

    def clear(self) -> None:
        """Forget what was measured."""
        self._tracks = self._new_tracks()
        self.agreement.forget()

    def newest(self) -> dict[str, float]:
        """The newest value of everything that was measured, by name."""
        return {name: track.newest for name, track in self._tracks.items() if math.isfinite(track.newest)}

    @property
    def reached(self) -> float:
        """The ROS time [s] up to which everything that is measured is known, of what came at all; infinity without any."""
        return min((t.reached for t in self._tracks.values() if math.isfinite(t.reached)), default=math.inf)

    def at(self, stamp: float, steady: float) -> dict[str, float]:
        """What is known at ROS time `stamp`, by name: measured lately, or commanded if nobody measures."""
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

    def _age_of(self, name: str) -> float:
        """The max_age of the source that a reading came from; before it came, of the first that could give it."""
        known = self._tracks[name].max_age
        kind = "odometry" if self._readings[name].axis is not None else "joint_state"
        return known if math.isfinite(known) else self._first_age[kind]

    def missing_sentence(self, missing: Iterable[str]) -> str:
        """A sentence about names that are not known now, with the joints and topics they come from."""
        sources = []
        for name in missing:
            reading = self._readings[name]
            odometry = "odometry" if reading.axis is not None else "the executor's command, which there is none of yet"
            sources.append(f"{name} (from {reading.joint or odometry})")
        return f"no fresh state on {', '.join(s.topic for s in self._robot.state)} for {', '.join(sources)}"
