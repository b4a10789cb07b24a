"""A robot's cameras and state, as ROS subscriptions around a `Synchroniser`; several nodes of a process may share one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from pi0_ros.data.encoded_pictures import PictureError
from pi0_ros.msg import ExecutorState
from pi0_ros.robot.quoting import escape
from pi0_ros.robot.spec import Camera, Robot, StateSource
from pi0_ros.ros.arrivals import Arrivals
from pi0_ros.ros.bounded import MessageInfo, MessageRefusedError, check_bytes, header_stamp, parse_message
from pi0_ros.ros.camera_watch import CameraWatch
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.departures import RenewedSubscriptions, Subscriber
from pi0_ros.ros.images import decode_picture
from pi0_ros.ros.observation import Snapshot, Synchroniser
from pi0_ros.ros.parameters import Parameter
from pi0_ros.ros.picture_watch import blank_sentence, exchanged_sentence
from pi0_ros.ros.refusals import Refusals
from pi0_ros.ros.subscribe import PICTURE_TYPES, subscribe_camera, subscribe_state, wanted_topics
from pi0_ros.ros.topic_check import TopicCheck, publishers_of

PICTURE_FROZEN = Parameter(
    "picture_frozen",
    1.0,
    "a camera that repeats its bytes for this long [s] while the robot moves is not looked at; 0: never, for cameras "
    "of a simulation without noise",
    low=0.0,
    high=3600.0,
)


@dataclass(frozen=True)
class SensorSnapshot:
    """One observation: RGB pictures uint8 [H, W, 3] by camera and state by channel at ROS time `stamp` [s].

    stamps: when each picture was taken [ROS s]. missing: why there is nothing; about: the cameras that this is about.
    """

    stamp: float = 0.0
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    state: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    stamps: Mapping[str, float] = field(default_factory=dict)
    about: tuple[str, ...] = ()


class ObservationSource:
    """Subscribes to all cameras and state sources of a robot on behalf of `node`; pictures are decoded when used.

    `arrivals`: to wait for the next picture. `refusals`: messages that could not be used. `renewed`: the subscriptions to
    cameras, which other readers of this process join.
    """

    def __init__(self, node: Node, robot: Robot, clocks: Clocks, frozen: float = float(PICTURE_FROZEN.default)) -> None:
        """`frozen` [s]: see the parameter picture_frozen."""
        self._node, self._robot, self._clocks = node, robot, clocks
        self.arrivals, self.refusals = Arrivals(), Refusals(node.get_logger())
        self._memory = Synchroniser(robot)
        self._cameras = {c.name: c for c in robot.cameras}
        self._watches = {c.name: CameraWatch(c, frozen) for c in robot.cameras}
        self._topics = TopicCheck(node, wanted_topics(robot), clocks.steady)
        self._logged: set[str] = set()
        cameras = [
            Subscriber(c.topic, partial(subscribe_camera, node, c, partial(self._on_picture, c))) for c in robot.cameras
        ]
        self.renewed = RenewedSubscriptions(node, clocks.timer, cameras)
        self._subscriptions = [
            subscribe_state(node, s, self._on_joints, self._on_odometry, self.refusals.add) for s in robot.state
        ]
        clocks.on_jump(self.clear)

    def close(self) -> None:
        """Unsubscribe."""
        self.renewed.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def clear(self) -> None:
        """Forget everything seen so far."""
        with self.arrivals.lock:
            self._memory.clear()

    # --- what is seen ---

    @property
    def restarts(self) -> int:
        """How often the ROS clock was set, and everything forgotten."""
        return self._memory.clock.restarts

    def reached(self, cameras: Iterable[str]) -> float:
        """The ROS time [s] up to which the pictures of the cameras that send some, and the state, have come."""
        with self.arrivals.lock:
            return self._memory.reached(self._clocks.steady(), self._clocks.ros(), cameras)

    def view(
        self, cameras: Iterable[str], state: Iterable[str] | None = None, moment: float | None = None
    ) -> SensorSnapshot:
        """The newest observation of these cameras, or that at ROS time `moment` [s], decoded; or only `missing`, sentences
        that name what is not there.

        `state`: the channels and joints that have to be known; None: all that the robot has.
        """
        wanted = tuple(cameras)
        unusable = self.stale(wanted, moment)
        if blocking := self._memory.cameras.blocking(wanted, unusable):
            return SensorSnapshot(missing=tuple(blocking.values()), about=tuple(blocking))
        fresh = tuple(name for name in wanted if name not in unusable)
        with self.arrivals.lock:
            contradiction = self._memory.contradiction(self._clocks.steady())
            snapshot = self._memory.take(self._clocks.steady(), self._clocks.ros(), fresh, state, moment)
            events = self._memory.clock.events()
        for event in events:
            self._node.get_logger().warning(event)
        if contradiction is not None:
            return SensorSnapshot(missing=(contradiction.sentence(publishers_of(self._node, contradiction.topics)),))
        if snapshot.complete:
            return decoded(snapshot, self._cameras, self._watches, self.refusals)
        problems = self._topics.problems()
        return SensorSnapshot(
            missing=snapshot.missing
            + tuple(problems[s.topic].sentence for s in self._robot.state if s.topic in problems)
        )

    def stale(self, cameras: Iterable[str], moment: float | None = None) -> dict[str, str]:
        """Cameras that cannot be used now, or for ROS time `moment` [s], and the sentence about each: silent, of another type
        or clock, or frozen."""
        names, steady, problems = tuple(cameras), self._clocks.steady(), self._topics.problems()
        with self.arrivals.lock:
            ros = self._clocks.ros()
            ago = 0.0 if moment is None else ros - moment
            unusable = self._memory.cameras.stale(names, steady - ago, ros - ago)
            state = self._memory.state.newest()
        for name in names:
            topic = problems.get(self._cameras[name].topic)
            if why := self._watches[name].problem(steady, unusable.get(name, ""), topic, state):
                unusable[name] = why
        return unusable

    # --- for /diagnostics ---

    def values(self, cameras: Iterable[str]) -> dict[str, object]:
        """Rates of the cameras, offsets of all sources against this computer, and refusals, for /diagnostics."""
        steady = self._clocks.steady()
        with self.arrivals.lock:
            offsets, skew = self._memory.sources.offsets(), self._memory.skew
        values: dict[str, object] = {f"camera {name} hz": self._watches[name].rate.hz(steady) for name in cameras}
        values |= {f"{topic} offset_ms": offset * 1e3 for topic, offset in offsets.items()}
        return {**values, "camera_skew_ms": skew * 1e3, **self.refusals.values()}

    def warnings(self, cameras: Iterable[str]) -> list[str]:
        """What is odd about the sources though they can be used: other clocks, blank or unchanging pictures."""
        steady = self._clocks.steady()
        with self.arrivals.lock:
            clocks = list(self._memory.clock_problems(steady).values())
        self._log_once(clocks)
        return clocks + [odd for name in cameras for odd in self._watches[name].warnings(steady)]

    def _log_once(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            about = sentence.split(" arrives")[0]
            if about not in self._logged:
                self._logged.add(about)
                self._node.get_logger().warning(sentence)

    # --- what comes in ---

    def _on_picture(self, camera: Camera, data: bytes, info: MessageInfo) -> None:
        steady, ros = self._clocks.steady(), self._clocks.ros()
        try:
            check_bytes(data, PICTURE_TYPES[camera.type])
            stamp = header_stamp(data)
        except MessageRefusedError as error:
            self.refusals.add(camera.topic, error)
            return
        with self.arrivals.lock:
            number, state = info["publication_sequence_number"], self._memory.state.newest()
            self._watches[camera.name].update(steady, number, data, state)
            self._memory.add_picture(camera.name, steady, stamp, ros, data, len(data))
            self.arrivals.announce()

    def _on_joints(
        self, source: StateSource, stamp: float, positions: Mapping[str, float], velocities: Mapping[str, float]
    ) -> None:
        with self.arrivals.lock:
            now = self._clocks.steady(), stamp, self._clocks.ros()
            self._memory.add_joints(*now, positions, velocities, source.topic)

    def _on_odometry(self, source: StateSource, stamp: float, velocity: tuple[float, float, float]) -> None:
        with self.arrivals.lock:
            self._memory.add_odometry(self._clocks.steady(), stamp, self._clocks.ros(), velocity, source.topic)

    def command(self) -> Mapping[str, float]:
        """What the executor commanded last by channel; empty before the first command."""
        with self.arrivals.lock:
            return self._memory.state.command

    def update_command(self, message: ExecutorState) -> None:
        """Take what the executor commands: it says on which turn an angle is, and stands for what nobody measures."""
        with self.arrivals.lock:
            self._memory.state.add_command(dict(zip(message.channels, message.command, strict=False)))


def decoded(
    snapshot: Snapshot, cameras: Mapping[str, Camera], watches: Mapping[str, CameraWatch], refusals: Refusals
) -> SensorSnapshot:
    """A snapshot with its pictures decoded; or only `missing`, if that of a required camera cannot be.

    What cannot be decoded goes to `refusals`, what looks odd to the camera's watch.
    """
    pictures, missing = {}, {}
    for name, picture in snapshot.pictures.items():
        camera = cameras[name]
        try:
            message = parse_message(cast(bytes, picture.message), PICTURE_TYPES[camera.type])
            pictures[name] = decode_picture(message, camera.options)
            encoding = camera.options.encoding or getattr(message, "encoding", "")
            watches[name].blank = blank_sentence(pictures[name]) or exchanged_sentence(pictures[name], encoding)
        except (PictureError, MessageRefusedError) as error:
            refusals.add(camera.topic, error)
            if camera.required:
                missing[name] = f"camera {name} on {camera.topic}: {escape(error)}"
    if missing:
        return SensorSnapshot(missing=tuple(missing.values()), about=tuple(missing))
    stamps = {name: snapshot.pictures[name].stamp for name in pictures}
    return SensorSnapshot(snapshot.stamp, pictures, snapshot.state, stamps=stamps)
