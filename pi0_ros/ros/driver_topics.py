"""The topics of a robot's driver, from the driver's side: commands come in, measurements and pictures go out."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState

from pi0_ros.robot.measurement import SourceMap
from pi0_ros.robot.quoting import escape
from pi0_ros.robot.spec import Group, Kind, Robot, StateSource
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import ConversionError, channel_values
from pi0_ros.ros.images import compressed_message, image_message
from pi0_ros.ros.polled_subscriptions import PolledSubscriptions
from pi0_ros.ros.qos import READ, RELIABLE, SENSOR
from pi0_ros.ros.rotations import orientation_of_yaw
from pi0_ros.ros.subscribe import PICTURE_TYPES


class DriverOutputs:
    """Publishes the state and the pictures of a robot as its YAML says, and `/clock` if the driver has its own."""

    def __init__(self, node: Node, robot: Robot, own_clock: bool) -> None:
        by_type = {
            kind: [s for s in robot.state if s.type == name]
            for name, kind in (("joint_state", JointState), ("odometry", Odometry))
        }
        self._joints = [(s, node.create_publisher(JointState, s.topic, SENSOR)) for s in by_type[JointState]]
        self._odometry = [node.create_publisher(Odometry, s.topic, SENSOR) for s in by_type[Odometry]]
        self._cameras = [(c, node.create_publisher(PICTURE_TYPES[c.type], c.topic, SENSOR)) for c in robot.cameras]
        self._clock = node.create_publisher(ClockMessage, "/clock", RELIABLE) if own_clock else None

    def clock(self, stamp: object) -> None:
        """Publish `/clock`, if the driver has one."""
        if self._clock is not None:
            self._clock.publish(ClockMessage(clock=stamp))

    def joints(
        self, stamp: object, names: Sequence[str], positions: Iterable[float], velocities: Iterable[float]
    ) -> None:
        """Publish the joints [rad, m, per second], each source its own."""
        positions, velocities = list(positions), list(velocities)
        for source, publisher in self._joints:
            publisher.publish(joint_message(source, stamp, names, positions, velocities))

    def odometry(self, stamp: object, *pose_and_twist: float) -> None:
        """Publish x, y, yaw in `odom` and vx, vy, wz in `base_link` [m, rad, per second]."""
        for publisher in self._odometry:
            publisher.publish(odometry_message(stamp, *pose_and_twist))

    def pictures(self, stamp: object, draw: Callable[[str], NDArray[np.uint8]]) -> None:
        """Publish `draw(camera)`, RGB [H, W, 3], of every camera."""
        for camera, publisher in self._cameras:
            encode = compressed_message if camera.type == "compressed_image" else image_message
            publisher.publish(encode(draw(camera.name), stamp, f"{camera.name}_camera_optical_frame"))


class DriverInputs:
    """The commands of a robot's groups. They are read by whoever uses them: no thread has to wake up for each."""

    def __init__(self, node: Node, robot: Robot, clocks: Clocks, watchdog: float) -> None:
        """`watchdog` [s]: after so long without a command a group is silent."""
        self._node, self._robot, self._clocks, self._watchdog = node, robot, clocks, watchdog
        self._newest: dict[str, tuple[float, list[float]]] = {}
        self.silent: set[str] = set()
        """Groups that had commands, and have none any more."""
        self._polled = PolledSubscriptions(node, self._refuse)
        for group in robot.groups:
            kind = COMMAND_TYPES[group.command.type].message
            self._polled.add(kind, group.command.topic, partial(self._on_command, group), READ)

    def read(self) -> None:
        """Take what has come since the last call."""
        self._polled.take(self._watchdog)

    def forget(self) -> None:
        """No command has come yet."""
        self._newest.clear()

    def targets(self) -> Iterator[tuple[Group, list[float]]]:
        """The groups that are commanded, and their values [rad, m, per second]."""
        now = self._clocks.steady()
        for group in self._robot.groups:
            command = self._newest.get(group.name)
            if command is None:
                continue
            received, values = command
            if now - received <= self._watchdog:
                self.silent.discard(group.name)
                yield group, values
                continue
            self.silent.add(group.name)
            # A position controller holds the last target by itself; a velocity has to be ended.
            if group.kind is Kind.VELOCITY:
                yield group, [0.0] * len(group.channels)

    def _refuse(self, topic: str, error: Exception) -> None:
        self._node.get_logger().warning(escape(f"command on {topic} refused: {error}"), throttle_duration_sec=1.0)

    def _on_command(self, group: Group, message: object) -> None:
        try:
            values = channel_values(group, message, group.command)
            if not all(map(math.isfinite, values)):
                raise ConversionError("a value is not finite")
        except ConversionError as error:
            self._refuse(group.command.topic, error)
            return
        self._newest[group.name] = (self._clocks.steady() - self._polled.age, values)


def joint_message(
    source: StateSource, stamp: object, names: Sequence[str], positions: Iterable[float], velocities: Iterable[float]
) -> JointState:
    """The JointState of one source: its joints, without the prefix that the robot YAML puts before them."""
    mapped, renamed = SourceMap(source), {ours for _, ours in source.joints}
    picked = [
        (mapped.reported(n), *mapped.reported_value(n, p, v))
        for n, p, v in zip(names, positions, velocities, strict=True)
        if n.startswith(source.prefix) or n in renamed
    ]
    message = JointState(name=[n for n, _, _ in picked])
    message.header.stamp = stamp
    message.position = array("d", [p for _, p, _ in picked])
    message.velocity = array("d", [v for _, _, v in picked])
    return message


def odometry_message(stamp: object, x: float, y: float, yaw: float, vx: float, vy: float, wz: float) -> Odometry:
    """Pose in `odom` and velocity in `base_link` (m, rad, m/s, rad/s)."""
    message = Odometry(child_frame_id="base_link")
    message.header.stamp, message.header.frame_id = stamp, "odom"
    message.pose.pose.position.x, message.pose.pose.position.y = float(x), float(y)
    message.pose.pose.orientation = orientation_of_yaw(float(yaw))
    twist = message.twist.twist
    twist.linear.x, twist.linear.y, twist.angular.z = float(vx), float(vy), float(wz)
    return message
