"""Where a robot's pictures, states and take-over signals come from: those parts of the robot YAML."""

from __future__ import annotations

from pi0_ros.robot.pictures import PICTURE_KEYS, read_picture_options
from pi0_ros.robot.spec import Camera, Group, Kind, StateSource, Takeover
from pi0_ros.robot.yaml_nodes import YamlNode


def read_camera(name: str, at: YamlNode) -> Camera:
    """One entry of `cameras`. Raises RobotError with file, line and key."""
    keys = at.section("topic", "type", "max_age", "required", *PICTURE_KEYS)
    required = keys.get("required")
    return Camera(
        name=name,
        topic=read_topic(keys.need("topic")),
        type=keys.need("type").choice("image", "compressed_image"),
        max_age=keys.need("max_age").number(0.0),
        required=required.truth() if required else True,
        options=read_picture_options(keys),
    )


def read_state(at: YamlNode, groups: tuple[Group, ...]) -> tuple[StateSource, ...]:
    """The key `state`: every source of measurements, by topic. Raises RobotError with file, line and key."""
    sources = tuple(_state_source(entry) for entry in at.entries())
    measured = any(group.kind is not Kind.VELOCITY for group in groups)
    if measured and not any(source.type == "joint_state" for source in sources):
        raise at.error("needs at least one source of type joint_state")
    topics = [source.topic for source in sources]
    for entry, topic in zip(at.entries(), topics, strict=True):
        if topics.count(topic) > 1:
            raise entry.error(f"topic {topic} is read twice")
    return sources


def _state_source(at: YamlNode) -> StateSource:
    keys = at.section("topic", "type", "max_age", "prefix")
    prefix = keys.get("prefix")
    return StateSource(
        topic=read_topic(keys.need("topic")),
        type=keys.need("type").choice("joint_state", "odometry"),
        max_age=keys.need("max_age").number(0.0),
        prefix=prefix.text() if prefix else "",
    )


def read_takeover(at: YamlNode | None) -> Takeover:
    """The optional key `takeover`. Raises RobotError with file, line and key."""
    if at is None:
        return Takeover()
    keys = at.section("deadman", "leader_motion")
    motion, deadman = keys.get("leader_motion"), keys.get("deadman")
    amount = motion.number(0.0) if motion else 0.0
    if deadman is None:
        return Takeover(leader_motion=amount)
    button = deadman.section("topic", "button")
    return Takeover(read_topic(button.need("topic")), button.need("button").whole(-1.0), amount)


def read_topic(at: YamlNode) -> str:
    """The name of a topic. Raises RobotError with file, line and key."""
    topic = at.text()
    if any(c.isspace() for c in topic) or topic.endswith("/"):
        raise at.error(f"{topic!r} is not a topic name")
    return topic
