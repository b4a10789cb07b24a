"""What a robot sees and feels, as ROS subscriptions around a `Synchroniser`; several nodes of a process may share one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from pi0_ros.msg import ExecutorState
from pi0_ros.robot.spec import Camera, Robot, StateSource
from pi0_ros.ros.clock import Clocks, seconds
from pi0_ros.ros.diagnostics import Rate
from pi0_ros.ros.images import PictureError, decode_picture
from pi0_ros.ros.observation import Snapshot, Synchroniser
from pi0_ros.ros.subscribe import subscribe_camera, subscribe_state


@dataclass(frozen=True)
class View:
    """One observation: RGB pictures uint8 [H, W, 3] by camera and state by channel at ROS time `stamp` [s]."""

    stamp: float = 0.0
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    state: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


class Senses:
    """Subscribes to all cameras and state sources of a robot on behalf of `node`; pictures are decoded when used."""

    def __init__(self, node: Node, robot: Robot, clocks: Clocks) -> None:
        self._node, self._robot, self._clocks = node, robot, clocks
        self._memory = Synchroniser(robot)
        self._cameras = {c.name: c for c in robot.cameras}
        self._changed = threading.Condition()
        self._count = 0
        self._rates = {camera.name: Rate() for camera in robot.cameras}
        self.refused = 0
        self.last_refusal = ""
        self._subscriptions = [subscribe_camera(node, c, partial(self._on_picture, c)) for c in robot.cameras]
        self._subscriptions += [
            subscribe_state(node, s, self._on_joints, self._on_odometry, self._on_bad) for s in robot.state
        ]
        clocks.on_jump(self.clear)

    def close(self) -> None:
        """Unsubscribe."""
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

    def view(self, cameras: Iterable[str], state: Iterable[str] | None = None) -> View:
        """The newest observation of these cameras, decoded; or only `missing`, sentences that name what is not there.

        `state`: the channels and joints that have to be known; None: all that the robot has.
        """
        with self._changed:
            snapshot = self._memory.take(self._clocks.steady(), self._clocks.ros(), tuple(cameras), state)
        return self._decode(snapshot) if snapshot.complete else View(missing=snapshot.missing)

    def _decode(self, snapshot: Snapshot) -> View:
        pictures, missing = {}, []
        for name, picture in snapshot.pictures.items():
            try:
                pictures[name] = decode_picture(picture.message, self._cameras[name].options)
            except PictureError as error:
                topic = self._cameras[name].topic
                self._on_bad(topic, error)
                if self._cameras[name].required:
                    missing.append(f"camera {name} on {topic}: {error}")
        return View(missing=tuple(missing)) if missing else View(snapshot.stamp, pictures, snapshot.state)

    def stale(self, cameras: Iterable[str]) -> dict[str, str]:
        """Cameras without a picture young enough, and the sentence about each."""
        with self._changed:
            return self._memory.stale(tuple(cameras), self._clocks.steady(), self._clocks.ros())

    def values(self, cameras: Iterable[str]) -> dict[str, object]:
        """Rates of the cameras, for /diagnostics."""
        steady = self._clocks.steady()
        told: dict[str, object] = {f"camera {name} hz": self._rates[name].hz(steady) for name in cameras}
        if self.refused:
            told |= {"messages_refused": self.refused, "last_refusal": self.last_refusal}
        return told

    def _on_bad(self, topic: str, error: Exception) -> None:
        self.refused += 1
        self.last_refusal = f"{topic}: {error}"
        self._node.get_logger().warning(f"message on {topic} refused: {error}", throttle_duration_sec=1.0)

    def _on_picture(self, camera: Camera, message: object) -> None:
        steady, ros = self._clocks.steady(), self._clocks.ros()
        with self._changed:
            self._memory.add_picture(camera.name, steady, seconds(message.header.stamp), ros, message)
            self._rates[camera.name].tick(steady)
            self._count += 1
            self._changed.notify_all()

    def _on_joints(self, source: StateSource, stamp: float, positions: dict, velocities: dict) -> None:
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

    def hear_command(self, message: ExecutorState) -> None:
        """Take what the executor commands: it says on which turn an angle is, and stands for what nobody measures."""
        with self._changed:
            self._memory.add_command(dict(zip(message.channels, message.command, strict=False)))
