"""One observation at one time: the newest moment all cameras saw, with the joints interpolated to it.

Pure: no clock is read here, and pictures are opaque until somebody decodes them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pi0_ros.robot.spec import Camera, Robot

PICTURES_KEPT = 8
SAMPLES_KEPT = 100
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
    """One measured number over time; stamps rise."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self._values: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self.received = -math.inf

    def add(self, received: float, stamp: float, value: float) -> bool:
        """Append a sample; one that is not newer than the last, or not finite, is dropped and False is returned."""
        if not math.isfinite(value) or (self._times and stamp <= self._times[-1]):
            return False
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
        self._channels = self._state_channels(robot)
        self._tracks = {name: Track() for name in self._channels}
        self._state_age = max((s.max_age for s in robot.state), default=0.1)

    @staticmethod
    def _state_channels(robot: Robot) -> dict[str, tuple[str, float, float]]:
        """Channel: the joint that measures it and the line (offset, scale) from joint value to channel value."""
        lines: dict[str, tuple[str, float, float]] = {}
        for group in robot.groups:
            for channel in group.channels:
                joint = robot.joint_of_channel.get(channel.name, "")
                if group.gripper is not None:
                    scale = 1.0 / (group.gripper.open - group.gripper.closed)
                    lines[channel.name] = (joint, -group.gripper.closed * scale, scale)
                else:
                    lines[channel.name] = (joint, 0.0, 1.0)
        return lines

    def add_picture(self, camera: str, received: float, stamp: float, ros: float, message: object) -> None:
        """A picture came at steady `received` and ROS time `ros`, taken at `stamp` (zero or future: `ros` is used)."""
        kept = self._pictures[camera]
        at = stamp if 0.0 < stamp <= ros + FUTURE else ros
        if kept and at <= kept[-1].stamp:
            return
        kept.append(Picture(at, received, message))

    def add_joints(self, received: float, stamp: float, ros: float, positions: Mapping[str, float]) -> None:
        """Joint positions by joint name (rad, m) at ROS time `stamp`."""
        at = stamp if 0.0 < stamp <= ros + FUTURE else ros
        for name, (joint, offset, scale) in self._channels.items():
            if joint in positions:
                self._tracks[name].add(received, at, offset + scale * positions[joint])

    def add_odometry(self, received: float, stamp: float, ros: float, velocity: tuple[float, float, float]) -> None:
        """Base velocity vx, vy, wz in the base frame [m/s, m/s, rad/s] at ROS time `stamp`."""
        at = stamp if 0.0 < stamp <= ros + FUTURE else ros
        for name, value in self._base_values(velocity):
            self._tracks[name].add(received, at, value)

    def _base_values(self, velocity: tuple[float, float, float]) -> list[tuple[str, float]]:
        axis = dict(zip(("vx", "vy", "wz"), velocity, strict=True))
        free = [name for name, (joint, _, _) in self._channels.items() if not joint]
        return [(name, axis[name.rsplit("_", 1)[-1]]) for name in free if name.rsplit("_", 1)[-1] in axis]

    def clear(self) -> None:
        """Forget everything: the clock jumped, so old stamps mean nothing."""
        for kept in self._pictures.values():
            kept.clear()
        self._tracks = {name: Track() for name in self._channels}

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

    def _state_missing(self, state: Mapping[str, float | None], steady: float) -> list[str]:
        missing = []
        for name, value in state.items():
            if value is not None and steady - self._tracks[name].received <= self._state_age:
                continue
            source = self._channels[name][0] or "odometry"
            missing.append(f"{name} (from {source})")
        if not missing:
            return []
        topics = ", ".join(s.topic for s in self._robot.state)
        return [f"no fresh state on {topics} for {', '.join(missing)}"]

    def take(self, steady: float, ros: float, cameras: Iterable[str] | None = None) -> Snapshot:
        """The newest synchronised snapshot of the cameras (default: all) at steady time `steady` and ROS time `ros`.

        Its time is the newest at which every fresh camera has a picture; each camera gives the picture nearest to it.
        A camera that the robot YAML requires must be fresh; others are left out when they are not.
        """
        wanted = tuple(self._cameras if cameras is None else cameras)
        stale = self.stale(wanted, steady, ros)
        missing = [why for name, why in stale.items() if self._cameras[name].required]
        fresh = [name for name in wanted if name not in stale]
        if missing or (wanted and not fresh):
            return Snapshot(missing=tuple(missing or stale.values()))
        stamp = min((self._pictures[n][-1].stamp for n in fresh), default=ros)
        pictures = {n: min(self._pictures[n], key=lambda p: abs(p.stamp - stamp)) for n in fresh}
        state = {n: t.at(stamp, self._state_age) for n, t in self._tracks.items()}
        missing = self._state_missing(state, steady)
        if missing:
            return Snapshot(missing=tuple(missing))
        return Snapshot(stamp, pictures, {n: v for n, v in state.items() if v is not None})
