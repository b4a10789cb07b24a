"""Every channel's number arrives on its own topic, in its own place; all of a command or nothing."""

import math

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.executors import SingleThreadedExecutor

from pi0_ros.control import Command
from pi0_ros.robot import load_robot
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.command_writer import CommandWriter
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import channel_values
from pi0_ros.ros.qos import OBSERVED

HANDS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04, measured: false}
  command: {topic: hand/commands, type: float64_multi_array}
"""


@pytest.fixture
def wire():
    """What makes a writer for a robot, and lets what it sends arrive: topic -> messages."""
    rclpy.init()
    spinner, nodes = SingleThreadedExecutor(), []

    def made(robot):
        node, heard = rclpy.create_node("wire"), {}
        nodes.append(node)
        spinner.add_node(node)
        writer = CommandWriter(node, robot, 0.02, lambda publisher: publisher)
        for group in robot.groups:
            topic, kind = group.command.topic, COMMAND_TYPES[group.command.type].message
            heard[topic] = []
            node.create_subscription(kind, topic, heard[topic].append, OBSERVED)
        while any(p.get_subscription_count() < 1 for p in writer.publishers):
            spinner.spin_once(0.05)

        def arrived(**counts):
            while any(len(heard[topic]) < count for topic, count in counts.items()):
                spinner.spin_once(0.05)
            return heard

        return writer, arrived

    yield made
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def test_each_group_gets_its_own_channels_on_its_own_topic(wire):
    robot = load_robot("mobile_bimanual")
    writer, arrived = wire(robot)
    writer.include_unmeasured(True)
    values = np.array([0.1 + 0.01 * k for k in range(len(robot.channels))])
    writer.send(Command(1234.5, robot.channel_names, values, -values))
    heard = arrived(**{g.command.topic: 1 for g in robot.groups})
    for group in robot.groups:
        (message,) = heard[group.command.topic]
        wanted = [values[robot.index[c.name]] for c in group.channels]
        assert channel_values(group, message, group.command) == pytest.approx(wanted)
        if hasattr(message, "header"):
            assert seconds(message.header.stamp) == 1234.5


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_of_a_command_that_is_not_finite_nothing_goes_out_and_its_channels_are_named(small_robot, wire, wrong):
    robot = small_robot(HANDS)
    writer, arrived = wire(robot)
    names, rates = robot.channel_names, np.zeros(3)
    with pytest.raises(ValueError, match="the command for j2 is not finite"):
        writer.send(Command(1.0, names, np.array([0.1, wrong, 0.5]), rates))
    writer.send(Command(2.0, names, np.array([0.2, 0.3, 0.5]), rates))
    heard = arrived(**{"arm/commands": 1})
    assert [list(m.data) for m in heard["arm/commands"]] == [[0.2, 0.3]]


def test_a_gripper_that_nobody_measures_hears_of_commands_once_somebody_drives_and_no_more_afterwards(
    small_robot, wire
):
    robot = small_robot(HANDS)
    writer, arrived = wire(robot)
    for k, driven in enumerate([None, True, False]):
        if driven is not None:
            writer.include_unmeasured(driven)
        writer.send(Command(1.0 + k, robot.channel_names, np.array([0.1 * k, 0.3, 0.25 + 0.25 * k]), np.zeros(3)))
    heard = arrived(**{"arm/commands": 3, "hand/commands": 1})
    assert [m.data[0] for m in heard["arm/commands"]] == pytest.approx([0.0, 0.1, 0.2])
    assert [list(m.data) for m in heard["hand/commands"]] == [pytest.approx([0.02])]
