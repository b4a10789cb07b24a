"""Names of topics, by the rules of ROS: checked when the YAML is read, not when a node is made.

Source: https://design.ros2.org/articles/topic_and_service_names.html and rcl_validate_topic_name.
"""

from __future__ import annotations

import re

from pi0_ros.robot.yaml_nodes import YamlNode

_NAME = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
_LONGEST = 200
"""The middleware takes about 250 characters with the namespace."""


def read_topic(at: YamlNode) -> str:
    """The name of a topic, relative or absolute. Raises RobotError with file, line and key.

    Names with ~ or {} are refused: they would mean another topic in every node.
    """
    topic = at.text()
    problem = topic_problem(topic)
    if problem:
        raise at.error(f"{topic!r} is not a topic name: {problem}")
    return topic


def topic_problem(topic: str) -> str:
    """What is wrong with a topic name, "" if nothing is."""
    if _NAME.fullmatch(topic):
        return "" if len(topic) <= _LONGEST else f"more than {_LONGEST} characters"
    if "~" in topic or "{" in topic:
        return "~ and {} mean another topic in every node; write a relative or absolute name"
    if topic.endswith("/"):
        return "it ends with /"
    if "//" in topic:
        return "there is nothing between two /"
    odd = sorted(set(re.findall(r"[^A-Za-z0-9_/]", topic)))
    if odd:
        return f"letters, digits, _ and / only, and it has {' '.join(map(repr, odd))}"
    return "a part of it starts with a digit"


def same_topic(name: str) -> str:
    """What two names of one topic have in common: nodes without a namespace make `/a` of `a`."""
    return name.removeprefix("/")
