"""Which topics a bag holds: all that the robot YAML names and all that the nodes say, with the quality to read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState, Joy

from pi0_ros.robot.spec import Robot
from pi0_ros.ros.any_publisher import profiles
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.interface import LATCHED as LATCHED_WORD
from pi0_ros.ros.interface import TOPICS
from pi0_ros.ros.message_definitions import message_class
from pi0_ros.ros.qos import EVENTS, MEASURED, READ, SENSOR
from pi0_ros.ros.subscribe import PICTURE_TYPES, TELEOP_TYPES

PREVIEWS = ("executor/trajectory_preview", "executor/markers")
"""Left out: the executor makes them of action_chunk only if somebody listens."""
AROUND = (
    ("/tf", "tf2_msgs/msg/TFMessage", False),
    ("/tf_static", "tf2_msgs/msg/TFMessage", True),
    ("robot_description", "std_msgs/msg/String", True),
    ("/rosout", "rcl_interfaces/msg/Log", False),
)
"""What viewers and people want beside: name, type, latched. A type whose package is not installed is left out."""
FEW = 16


@dataclass(frozen=True)
class BagSubscription:
    """A topic of a bag. profiles: one reader for each; several hear publishers of any quality."""

    topic: str
    kind: type
    profiles: tuple[QoSProfile, ...]
    latched: bool = False
    picture: bool = False


def bag_topics(robot: Robot) -> list[BagSubscription]:
    """The topics of a bag of this robot; one that has several uses is read once."""
    found: dict[str, BagSubscription] = {}
    for subscription in (*_of_robot(robot), *_of_nodes(), *_around()):
        found.setdefault(subscription.topic, subscription)
    return list(found.values())


def _of_robot(robot: Robot) -> Iterator[BagSubscription]:
    for camera in robot.cameras:
        yield BagSubscription(camera.topic, PICTURE_TYPES[camera.type], (SENSOR,), picture=True)
    for source in robot.state:
        yield BagSubscription(source.topic, Odometry if source.type == "odometry" else JointState, (MEASURED,))
    for group in robot.groups:
        yield BagSubscription(group.command.topic, COMMAND_TYPES[group.command.type].message, (MEASURED,))
        if group.teleop is not None:
            yield BagSubscription(group.teleop.topic, TELEOP_TYPES[group.teleop.type], (MEASURED,))
    if robot.takeover.deadman_topic:
        yield BagSubscription(robot.takeover.deadman_topic, Joy, (MEASURED,))


def _of_nodes() -> Iterator[BagSubscription]:
    for topic in TOPICS:
        if topic.name in PREVIEWS:
            continue
        kind, latched = message_class(topic.type), topic.quality == LATCHED_WORD
        if topic.name == "/diagnostics":
            yield BagSubscription(topic.name, kind, (EVENTS,))
        elif topic.name == "/clock":
            yield BagSubscription(topic.name, kind, (MEASURED,))
        elif topic.name == "executor_state":
            yield BagSubscription(topic.name, kind, (READ,))
        else:  # asking for latched messages of who has none would make that node warn
            yield BagSubscription(topic.name, kind, tuple(profiles(FEW, latched)), latched)


def _around() -> Iterator[BagSubscription]:
    for name, kind, latched in AROUND:
        with suppress(ImportError):
            yield BagSubscription(name, message_class(kind), tuple(profiles(FEW)) if latched else (EVENTS,), latched)
