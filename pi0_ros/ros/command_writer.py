"""Sends a command: builds every group's message first, then publishes them all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher

from pi0_ros.control import Command
from pi0_ros.robot.spec import Group, Robot
from pi0_ros.ros.clock import time_parts
from pi0_ros.ros.commands import COMMAND_TYPES, CommandTemplate, GroupCommand, groups_by_topic
from pi0_ros.ros.qos import command_quality


class CommandWriter:
    """The publishers of a robot's command topics, made on `node`; `own` remembers each so that it is destroyed."""

    def __init__(self, node: Node, robot: Robot, period: float, own: Callable[[object], object]) -> None:
        """`period` [s] between two commands."""
        self._period, topics = period, groups_by_topic(robot.groups)
        self.publishers = [self._publisher(node, groups[0], own) for groups in topics]
        self._all = self._table(robot, topics)
        # Nobody knows where a gripper without measurement is: until somebody drives, it is sent nothing.
        self._known = self._table(robot, [tuple(g for g in groups if not _blind(g)) for groups in topics])
        self._topics = self._known

    def _publisher(self, node: Node, group: Group, own: Callable[[object], object]) -> Publisher:
        kind, topic = COMMAND_TYPES[group.command.type].message, group.command.topic
        publisher = node.create_publisher(kind, topic, command_quality(self._period))
        own(publisher)
        return publisher

    def _table(self, robot: Robot, topics: Sequence[tuple[Group, ...]]) -> list[_Topic]:
        # Straight into rcl: what `Publisher.publish` does around it costs half as much again.
        return [
            (CommandTemplate(*groups), [_columns(robot, group) for group in groups], publisher.handle.publish_raw)
            for groups, publisher in zip(topics, self.publishers, strict=True)
            if groups
        ]

    def include_unmeasured(self, driven: bool) -> None:
        """Whether grippers that nobody measures are commanded: once a policy or a person has driven."""
        self._topics = self._all if driven else self._known

    def send(self, command: Command) -> None:
        """Publish a command. Raises ValueError, and sends nothing, if a value is not finite."""
        values, rates = command.values.tolist(), command.velocities.tolist()
        if not math.isfinite(sum(values)):
            bad = [n for n, v in zip(command.names, values, strict=True) if not math.isfinite(v)]
            raise ValueError(f"the command for {', '.join(bad)} is not finite")
        stamp = time_parts(command.stamp)
        ready = [
            (publish, template(*[GroupCommand(stamp, values[part], rates[part], self._period) for part in parts]))
            for template, parts, publish in self._topics
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


_Topic = tuple[CommandTemplate, list[slice], Callable[[bytes], None]]


def _blind(group: Group) -> bool:
    return group.gripper is not None and not group.gripper.measured


def _columns(robot: Robot, group: Group) -> slice:
    first = robot.index[group.channels[0].name]
    return slice(first, first + len(group.channels))
