"""What a robot sees and feels, as ROS subscriptions around a `Synchroniser`; several nodes of a process may share one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
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
from pi0_ros.ros.bounded import MessageInfo, MessageRefusedError, check_bytes, header_stamp, parse_message
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.departures import RenewedSubscriptions
from pi0_ros.ros.diagnostics import Rate
from pi0_ros.ros.images import decode_picture
from pi0_ros.ros.observation import Snapshot, Synchroniser
from pi0_ros.ros.parameters import Parameter
from pi0_ros.ros.picture_watch import PictureWatch, blank_sentence, exchanged_sentence
from pi0_ros.ros.subscribe import PICTURE_TYPES, subscribe_camera, subscribe_state, wanted_topics
from pi0_ros.ros.topic_check import SequenceWatch, TopicCheck, TopicFault

STAMP_END = 12
"""Bytes of a serialized picture up to the end of its stamp: what follows is the same where the picture is."""

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


class CameraWatch:
    """What is watched of one camera: rate, sequence of its messages, sameness and blankness of its pictures."""

    def __init__(self) -> None:
        self.rate, self.sequence, self.pictures = Rate(), SequenceWatch(), PictureWatch()
        self.blank = ""
        """What is wrong with the picture that was decoded last, "" where it shows something."""


class ObservationSource:
    """Subscribes to all cameras and state sources of a robot on behalf of `node`; pictures are decoded when used."""

    def __init__(self, node: Node, robot: Robot, clocks: Clocks, frozen: float = float(PICTURE_FROZEN.default)) -> None:
        """`frozen` [s]: see the parameter picture_frozen."""
        self._node, self._robot, self._clocks, self._frozen = node, robot, clocks, frozen
        self._memory = Synchroniser(robot)
        self._cameras = {c.name: c for c in robot.cameras}
        self._watches = {c.name: CameraWatch() for c in robot.cameras}
        self._topics = TopicCheck(node, wanted_topics(robot), clocks.steady)
        self._changed = threading.Condition()
        self._count = 0
        self._logged: set[str] = set()
        self.refused = 0
        self.last_refusal = ""
        pictures = [(c.topic, partial(subscribe_camera, node, c, partial(self._on_picture, c))) for c in robot.cameras]
        self._pictures = RenewedSubscriptions(node, clocks.timer, pictures)
        self._subscriptions = [
            subscribe_state(node, s, self._on_joints, self._on_odometry, self._on_bad) for s in robot.state
        ]
        clocks.on_jump(self.clear)

    def close(self) -> None:
        """Unsubscribe."""
        self._pictures.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def clear(self) -> None:
        """Forget everything seen so far."""
        with self._changed:
            self._memory.clear()

    def wait(self, timeout: float) -> bool:
        """Wait until another picture came or somebody called `wake`; False after `timeout` seconds."""
        with self._changed:
            count = self._count
            return self._changed.wait_for(lambda: self._count != count, timeout)

    def wake(self) -> None:
        """Let those who `wait` look again."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    # --- what is seen ---

    @property
    def restarts(self) -> int:
        """How often the ROS clock was set, and everything forgotten."""
        return self._memory.restarts

    def reached(self, cameras: Iterable[str]) -> float:
        """The ROS time [s] as far as which the pictures of the cameras that send some, and the state, have come."""
        with self._changed:
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
        fresh = tuple(name for name in wanted if name not in unusable)
        required = {name: why for name, why in unusable.items() if self._cameras[name].required}
        if required or (wanted and not fresh):
            missing = required or unusable
            return SensorSnapshot(missing=tuple(missing.values()), about=tuple(missing))
        with self._changed:
            contradiction = self._memory.contradiction(self._clocks.steady())
            snapshot = self._memory.take(self._clocks.steady(), self._clocks.ros(), fresh, state, moment)
            events = self._memory.clock_events()
        for event in events:
            self._node.get_logger().warning(event)
        if contradiction is not None:
            return SensorSnapshot(missing=(contradiction.sentence(self._publishers(contradiction.topics)),))
        if snapshot.complete:
            return self._decode(snapshot)
        problems = self._topics.problems()
        return SensorSnapshot(
            missing=snapshot.missing
            + tuple(problems[s.topic].sentence for s in self._robot.state if s.topic in problems)
        )

    def stale(self, cameras: Iterable[str], moment: float | None = None) -> dict[str, str]:
        """Cameras that cannot be used now, or for ROS time `moment` [s], and the sentence about each: silent, of another type
        or clock, or frozen."""
        names, steady, problems = tuple(cameras), self._clocks.steady(), self._topics.problems()
        with self._changed:
            ros = self._clocks.ros()
            ago = 0.0 if moment is None else ros - moment
            said = self._memory.stale(names, steady - ago, ros - ago)
            state = self._memory.newest_state()
        for name in names:
            watch, problem = self._watches[name], problems.get(self._cameras[name].topic)
            if problem is not None and problem.fault is TopicFault.TWO_PUBLISHERS:
                if not watch.sequence.one_publisher(steady):
                    said[name] = f"camera {name}: {problem.sentence}"
            elif problem is not None and name in said:
                said[name] = f"camera {name}: {problem.sentence}"
            elif name not in said and 0.0 < self._frozen < watch.pictures.unchanged and watch.pictures.moved(state):
                said[name] = (
                    f"camera {name}: frozen, the same picture on {self._cameras[name].topic} for "
                    f"{watch.pictures.unchanged:.1f} s while the robot moved; restart its driver (a simulation without "
                    "noise: picture_frozen:=0)"
                )
        return said

    def _publishers(self, topics: Sequence[str]) -> tuple[str, ...]:
        """Names of the nodes that publish on these topics."""
        found = [
            i for topic in topics for i in self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))
        ]
        return tuple(sorted(f"{i.node_namespace.rstrip('/')}/{i.node_name}" for i in found))

    def _decode(self, snapshot: Snapshot) -> SensorSnapshot:
        pictures, missing = {}, {}
        for name, picture in snapshot.pictures.items():
            camera = self._cameras[name]
            try:
                message = parse_message(cast(bytes, picture.message), PICTURE_TYPES[camera.type])
                pictures[name] = decode_picture(message, camera.options)
                encoding = camera.options.encoding or getattr(message, "encoding", "")
                suspicion = blank_sentence(pictures[name]) or exchanged_sentence(pictures[name], encoding)
                self._watches[name].blank = suspicion
            except (PictureError, MessageRefusedError) as error:
                self._on_bad(camera.topic, error)
                if camera.required:
                    missing[name] = f"camera {name} on {camera.topic}: {escape(error)}"
        if missing:
            return SensorSnapshot(missing=tuple(missing.values()), about=tuple(missing))
        stamps = {name: snapshot.pictures[name].stamp for name in pictures}
        return SensorSnapshot(snapshot.stamp, pictures, snapshot.state, stamps=stamps)

    # --- what is said about it ---

    def values(self, cameras: Iterable[str]) -> dict[str, object]:
        """Rates of the cameras, offsets of all sources against this computer, and refusals, for /diagnostics."""
        steady = self._clocks.steady()
        with self._changed:
            offsets, skew = self._memory.offsets(), self._memory.skew
        told: dict[str, object] = {f"camera {name} hz": self._watches[name].rate.hz(steady) for name in cameras}
        told |= {f"{topic} offset_ms": offset * 1e3 for topic, offset in offsets.items()}
        told["camera_skew_ms"] = skew * 1e3
        if self.refused:
            told |= {"messages_refused": self.refused, "last_refusal": self.last_refusal}
        return told

    def warnings(self, cameras: Iterable[str]) -> list[str]:
        """What is odd about the sources though they can be used: other clocks, blank or unchanging pictures."""
        steady = self._clocks.steady()
        with self._changed:
            said = list(self._memory.clock_problems(steady).values())
        self._log_once(said)
        for name in cameras:
            watch = self._watches[name]
            if watch.blank:
                said.append(f"camera {name}: {watch.blank}")
            if 0.0 < self._frozen < watch.pictures.unchanged and watch.rate.hz(steady) > 0.0:
                said.append(f"camera {name}: the same picture for {watch.pictures.unchanged:.0f} s: frozen?")
        return said

    def _log_once(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            about = sentence.split(" arrives")[0]
            if about not in self._logged:
                self._logged.add(about)
                self._node.get_logger().warning(sentence)

    def _on_bad(self, topic: str, error: Exception) -> None:
        self.refused += 1
        self.last_refusal = escape(f"{topic}: {error}")
        self._node.get_logger().warning(escape(f"message on {topic} refused: {error}"), throttle_duration_sec=1.0)

    # --- what comes in ---

    def _on_picture(self, camera: Camera, data: bytes, info: MessageInfo) -> None:
        steady, ros = self._clocks.steady(), self._clocks.ros()
        try:
            check_bytes(data, PICTURE_TYPES[camera.type])
            stamp = header_stamp(data)
        except MessageRefusedError as error:
            self._on_bad(camera.topic, error)
            return
        watch = self._watches[camera.name]
        with self._changed:
            watch.rate.tick(steady)
            watch.sequence.update(steady, info["publication_sequence_number"])
            watch.pictures.update(steady, memoryview(data)[STAMP_END:], self._memory.newest_state())
            self._memory.add_picture(camera.name, steady, stamp, ros, data, len(data))
            self._count += 1
            self._changed.notify_all()

    def _on_joints(
        self, source: StateSource, stamp: float, positions: Mapping[str, float], velocities: Mapping[str, float]
    ) -> None:
        with self._changed:
            now = self._clocks.steady(), stamp, self._clocks.ros()
            self._memory.add_joints(*now, positions, velocities, source.topic)

    def _on_odometry(self, source: StateSource, stamp: float, velocity: tuple[float, float, float]) -> None:
        with self._changed:
            self._memory.add_odometry(self._clocks.steady(), stamp, self._clocks.ros(), velocity, source.topic)

    def command(self) -> Mapping[str, float]:
        """What the executor commanded last by channel; empty before the first command."""
        with self._changed:
            return self._memory.command

    def update_command(self, message: ExecutorState) -> None:
        """Take what the executor commands: it says on which turn an angle is, and stands for what nobody measures."""
        with self._changed:
            self._memory.add_command(dict(zip(message.channels, message.command, strict=False)))
