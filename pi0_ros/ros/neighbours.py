"""Who listens to a robot's commands or measures its joints, in the ROS graph that the environment names.

`python -m pi0_ros.ros.neighbours ROBOT [NAMESPACE]` prints what it found as a JSON list of sentences, and moves nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from pi0_ros.robot import Robot, load_robot
from pi0_ros.ros.publishers import full_name

SETTLED = 3.5
"""Seconds without news from the network after which the others are known: Fast DDS announces itself every 3 s."""
LONGEST = 10.0


def robot_topics(robot: Robot) -> tuple[list[str], list[str]]:
    """Topics that a robot listens to, and topics that it publishes on, as the robot YAML writes them."""
    return sorted({g.command.topic for g in robot.groups}), sorted({s.topic for s in robot.state})


def neighbours(node: Node, commands: Iterable[str], states: Iterable[str]) -> list[str]:
    """Sentences about other nodes that look like the robot: subscribers of `commands`, publishers on `states`."""
    until, newest, seen = time.monotonic() + LONGEST, time.monotonic(), -1
    while time.monotonic() < min(until, newest + SETTLED):
        known = len(node.get_node_names())
        if known != seen:
            seen, newest = known, time.monotonic()
        time.sleep(0.05)
    found = []
    for topic in commands:
        full = node.resolve_topic_name(topic)
        found += [f"{full_name(info)} listens to {full}" for info in node.get_subscriptions_info_by_topic(full)]
    for topic in states:
        full = node.resolve_topic_name(topic)
        found += [f"{full_name(info)} publishes {full}" for info in node.get_publishers_info_by_topic(full)]
    return sorted(set(found))


def main(words: list[str]) -> int:
    """Look and print; 0 whether or not anybody was found."""
    commands, states = robot_topics(load_robot(words[0]))
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node(
        "neighbours", context=context, namespace="".join(words[1:2]), start_parameter_services=False
    )
    print(json.dumps(neighbours(node, commands, states)))
    node.destroy_node()
    context.try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
