"""Sends a command: builds every group's message first, then publishes them all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from pi0_ros.control import Command
from pi0_ros.robot.spec import Group, Robot
from pi0_ros.ros.clock import time_parts
from pi0_ros.ros.commands import COMMAND_TYPES, CommandStencil, GroupCommand
from pi0_ros.ros.qos import RELIABLE


class CommandWriter:
    """The publishers of a robot's command topics, made on `node`; `own` remembers each so that it is destroyed."""

    def __init__(self, node: Node, robot: Robot, period: float, own: Callable[[object], object]) -> None:
        """`period` [s] between two commands."""
        self._period = period
        self.publishers = [self._publisher(node, group, own) for group in robot.groups]
        # Straight into rcl: what `Publisher.publish` does around it costs half as much again.
        self._groups = [
            (CommandStencil(group), _columns(robot, group), publisher.handle.publish_raw)
            for group, publisher in zip(robot.groups, self.publishers, strict=True)
        ]

    def _publisher(self, node: Node, group: Group, own: Callable[[object], object]) -> Publisher:
        publisher = node.create_publisher(COMMAND_TYPES[group.command.type].message, group.command.topic, RELIABLE)
        own(publisher)
        return publisher

    def send(self, command: Command) -> None:
        """Publish a command. Raises ValueError, and sends nothing, if a value is not finite."""
        values, rates = command.values.tolist(), command.velocities.tolist()
        if not math.isfinite(sum(values)):
            bad = [n for n, v in zip(command.names, values, strict=True) if not math.isfinite(v)]
            raise ValueError(f"the command for {', '.join(bad)} is not finite")
        stamp = time_parts(command.stamp)
        ready = [
            (publish, stencil(GroupCommand(stamp, values[part], rates[part], self._period)))
            for stencil, part, publish in self._groups
        ]
        for publish, serialized in ready:
            publish(serialized)

    def wait_for_acknowledgement(self, timeout: float) -> None:
        """Wait until the readers have the last commands, at most `timeout` [s].

        A process that ends right after sending would take its last commands with it.
        """
        until = time.monotonic() + timeout
        for publisher in self.publishers:
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, until - time.monotonic())))


def _columns(robot: Robot, group: Group) -> slice:
    first = robot.index[group.channels[0].name]
    return slice(first, first + len(group.channels))
