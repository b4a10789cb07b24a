"""Where a robot's pictures, states and take-over signals come from: those parts of the robot YAML."""

from __future__ import annotations

from pi0_ros.robot.pictures import PICTURE_KEYS, read_picture_options
from pi0_ros.robot.spec import Camera, Group, Kind, StateSource, Takeover
from pi0_ros.robot.topics import read_topic, same_topic
from pi0_ros.robot.yaml_keys import CAMERA, DEADMAN, STATE, TAKEOVER, key_names
from pi0_ros.robot.yaml_nodes import YamlNode


def read_camera(name: str, at: YamlNode) -> Camera:
    """One entry of `cameras`. Raises RobotError with file, line and key."""
    keys = at.section(*key_names(CAMERA), *PICTURE_KEYS)
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
    measured = any(_measures_joints(group) for group in groups)
    if measured and not any(source.type == "joint_state" for source in sources):
        raise at.error("needs at least one source of type joint_state")
    topics = [same_topic(source.topic) for source in sources]
    for entry, topic in zip(at.entries(), topics, strict=True):
        if topics.count(topic) > 1:
            raise entry.error(f"topic {topic} is read twice")
    return sources


def _measures_joints(group: Group) -> bool:
    """Whether anything of a group comes from a joint state."""
    if group.gripper is not None:
        return group.gripper.measured
    return group.kind is Kind.POSITION or any(channel.joint for channel in group.channels)


def _state_source(at: YamlNode) -> StateSource:
    keys = at.section(*key_names(STATE))
    kind, prefix, twist = keys.need("type").choice("joint_state", "odometry"), keys.get("prefix"), keys.get("twist")
    for key in ("prefix", "joints", "scale", "offset", "measures") if kind == "odometry" else ("twist",):
        if key in keys:
            raise keys.need(key).error(f"a source of type {kind} has no {key}")
    measures = keys.get("measures")
    return StateSource(
        topic=read_topic(keys.need("topic")),
        type=kind,
        max_age=keys.need("max_age").number(0.0),
        prefix=prefix.text() if prefix else "",
        joints=_joint_names(keys.get("joints")),
        scale=_per_joint(keys.get("scale")),
        offset=_per_joint(keys.get("offset")),
        measures=measures.texts() if measures else (),
        twist=twist.choice("base", "world") if twist else "",
    )


def _joint_names(at: YamlNode | None) -> tuple[tuple[str, str], ...]:
    """(driver's name, robot's name) of joints whose names differ."""
    if at is None:
        return ()
    if not at.is_mapping:
        raise at.error("must map the driver's names to the robot's, for example {fr3_joint1: joint1}")
    names = tuple((theirs, entry.text()) for theirs, entry in at.items())
    for theirs, entry in at.items():
        if [ours for _, ours in names].count(entry.text()) > 1:
            raise entry.error(f"{entry.text()} is named twice; {theirs} cannot be the same joint")
    return names


def _per_joint(at: YamlNode | None) -> tuple[tuple[str, float], ...]:
    """One number for all joints, under "", or one for each that is named."""
    if at is None:
        return ()
    if at.is_mapping:
        return tuple((name, _nonzero(entry)) for name, entry in at.items())
    return (("", _nonzero(at)),)


def _nonzero(at: YamlNode) -> float:
    value = at.number()
    if value == 0.0 and "scale" in at.key.split("."):
        raise at.error("a scale of 0 makes every measurement the same")
    return value


def read_takeover(at: YamlNode | None) -> Takeover:
    """The optional key `takeover`. Raises RobotError with file, line and key."""
    if at is None:
        return Takeover()
    keys = at.section(*key_names(TAKEOVER))
    motion, deadman = keys.get("leader_motion"), keys.get("deadman")
    amount = motion.number(0.0) if motion else 0.0
    if deadman is None:
        return Takeover(leader_motion=amount)
    button = deadman.section(*key_names(DEADMAN))
    return Takeover(read_topic(button.need("topic")), button.need("button").whole(-1.0), amount)
