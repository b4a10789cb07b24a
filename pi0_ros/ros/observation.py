"""One observation at one time: the newest moment all cameras saw, with the joints interpolated to it.

Pure: no clock is read here, and pictures are opaque until somebody decodes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pi0_ros.robot.agreement import Contradiction
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.camera_pictures import CameraPictures
from pi0_ros.ros.clock_monitor import ClockMonitor
from pi0_ros.ros.history import Picture
from pi0_ros.ros.source_clock import usable_stamp
from pi0_ros.ros.source_clocks import SourceClocks, state_ages
from pi0_ros.ros.state_history import StateHistory

SPARE = 0.5
"""Seconds of state and pictures that are kept beyond the oldest picture that may be used."""
LATE_STATE = 0.05
"""Seconds that stamps of state may be behind before a warning: state is not on its way for long."""


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
    """Collects pictures and state of a robot and hands out snapshots. All times in seconds, passed in.

    Its parts may be asked too: the `clock`, the clocks of the `sources`, the `cameras`, and the `state`.
    """

    def __init__(self, robot: Robot) -> None:
        span = SPARE + max((c.max_age for c in robot.cameras), default=0.0)
        self._state_ages = state_ages(robot)
        self._topics = {kind: [s.topic for s in robot.state if s.type == kind] for kind in ("joint_state", "odometry")}
        self._camera_topics = {c.name: c.topic for c in robot.cameras}
        self.clock = ClockMonitor()
        self.sources = SourceClocks({c.topic: c.max_age for c in robot.cameras} | self._state_ages)
        self.cameras = CameraPictures(robot.cameras, span, self.sources)
        self.state = StateHistory(robot, span)
        self.skew = 0.0
        """How far [s] the pictures of the newest observation were apart."""

    def add_picture(
        self, camera: str, received: float, stamp: float, ros: float, message: object, size: int = 0
    ) -> None:
        """A picture of `size` bytes came at steady `received` and ROS time `ros`, taken at `stamp`.

        If the stamp is zero or ahead, `ros` is used.
        """
        at = self._usable(self._camera_topics[camera], received, stamp, ros)
        self.cameras.add(camera, Picture(at, received, message), size)

    def add_joints(
        self,
        received: float,
        stamp: float,
        ros: float,
        positions: Mapping[str, float],
        velocities: Mapping[str, float] | None = None,
        topic: str = "",
    ) -> None:
        """Joint positions and velocities by the robot's joint names (rad, m and their derivatives) at ROS time `stamp`.

        `topic`: the source; "" is the first source of that type, in `add_odometry` too.
        """
        at = self._usable(topic or self._topics["joint_state"][0], received, stamp, ros)
        self.state.add_joints(received, at, positions, velocities or {}, topic)

    def add_odometry(
        self, received: float, stamp: float, ros: float, velocity: tuple[float, float, float], topic: str = ""
    ) -> None:
        """Base velocity vx, vy, wz in the base frame [m/s, m/s, rad/s] at ROS time `stamp`."""
        at = self._usable(topic or self._topics["odometry"][0], received, stamp, ros)
        self.state.add_odometry(received, at, velocity, topic)

    def _usable(self, topic: str, received: float, stamp: float, ros: float) -> float:
        """The stamp that a message counts as; both clocks and the source's are noted."""
        self._update_clock(received, ros)
        self.sources.update(topic, received, stamp, ros)
        return usable_stamp(stamp, ros)

    def _update_clock(self, steady: float, ros: float) -> None:
        if self.clock.update(steady, ros):
            self.clear()

    def clear(self) -> None:
        """Forget everything: the clock was set, so old stamps mean nothing."""
        self.cameras.clear()
        self.state.clear()
        self.sources.clear()

    def contradiction(self, steady: float) -> Contradiction | None:
        """Which joint two publishers disagree on at steady time `steady` [s], None if none."""
        return self.state.agreement.contradiction(steady)

    def clock_problems(self, steady: float) -> dict[str, str]:
        """Sentences about topics whose stamps cannot be used as they are."""
        return self.sources.problems(steady, {t: min(age, LATE_STATE) for t, age in self._state_ages.items()})

    def reached(self, steady: float, ros: float, cameras: Iterable[str]) -> float:
        """The ROS time [s] up to which the state, and every camera that still sends pictures, have come; `ros` without
        any."""
        found = min(self.cameras.reached(tuple(cameras), steady, ros), self.state.reached)
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
        nearest to it. A camera that the robot YAML requires must be fresh; others are left out if they are not. `state`:
        the channels and joints that have to be known (default: all); others are left out if they are not. With `moment`,
        freshness is judged at that moment: it does not matter how late a picture of that time came.
        """
        self._update_clock(steady, ros)
        if self.clock.stopped:
            return Snapshot(missing=(f"{self.clock.stopped}; does /clock run?",))
        wanted = self.cameras.names if cameras is None else tuple(cameras)
        if moment is not None:
            steady, ros = steady - (ros - moment), moment
        stale = self.cameras.stale(wanted, steady, ros)
        if blocking := self.cameras.blocking(wanted, stale):
            return Snapshot(missing=tuple(blocking.values()))
        if (contradiction := self.contradiction(steady)) is not None:
            return Snapshot(missing=(contradiction.sentence(),))
        fresh = [name for name in wanted if name not in stale]
        newest = self.cameras.common(fresh) if fresh else ros
        choice = self.cameras.nearest(fresh, newest if moment is None else moment)
        self.skew = choice.skew
        if problem := self.cameras.skew_problem(choice):
            return Snapshot(missing=(problem,))
        return self._with_state(newest if moment is None else moment, choice.pictures, steady, state)

    def _with_state(
        self, stamp: float, pictures: Mapping[str, Picture], steady: float, state: Iterable[str] | None
    ) -> Snapshot:
        """The snapshot of these pictures, if the state that has to be known is known at ROS time `stamp`."""
        known = self.state.at(stamp, steady)
        missing = [n for n in (self.state.names if state is None else state) if n not in known]
        if not missing:
            return Snapshot(stamp, pictures, known)
        behind = self.sources.behind(self._state_ages, steady)
        return Snapshot(missing=behind or (self.state.missing_sentence(missing),))
