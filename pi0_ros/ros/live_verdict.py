"""What was seen of a robot on the running graph, and what of it would keep the executor or a policy from working.

Values only: `pi0_ros.ros.live_check` fills them in, `problems_of` judges them, and both are printed by `pi0 check --live`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum

from pi0_ros.control.lag_watch import lag_sentences
from pi0_ros.robot.measurement import unit_guess
from pi0_ros.robot.spec import Robot
from pi0_ros.robot.twist_frame import TwistFrame

CLOCKS_APART = 0.05
"""[s] by which stamps may be off before a person should know."""


class Role(StrEnum):
    """What a topic is for."""

    CAMERA = "camera"
    STATE = "state"
    COMMAND = "command"
    TELEOP = "teleop"
    PLANS = "plans"


class Level(StrEnum):
    """How much a finding matters: an error keeps something from working."""

    ERROR = "no"
    WARNING = "warning"


@dataclass(frozen=True)
class Endpoint:
    """A publisher or subscription of the graph: its node, the type it uses, and its quality of service."""

    node: str
    type: str
    reliability: str = ""
    durability: str = ""


@dataclass(frozen=True)
class TopicObservation:
    """One topic of the robot YAML, as it is on the graph. Times in seconds; NaN if no message came.

    `offset`: this computer's ROS time less the stamp, median; `gap`: the longest time between two messages; `age`: since
    the newest one. `ranges`: what each joint said, in the robot's names, rad and m. `stamped`: whether stamps are set.
    """

    role: Role
    name: str
    topic: str
    type: str
    max_age: float = math.inf
    required: bool = True
    publishers: tuple[Endpoint, ...] = ()
    subscribers: tuple[Endpoint, ...] = ()
    count: int = 0
    rate: float = math.nan
    gap: float = math.nan
    age: float = math.nan
    offset: float = math.nan
    stamped: bool = True
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    detail: str = ""
    twist: TwistFrame = TwistFrame.UNKNOWN
    as_world: bool = False
    """Whether an odometry's twist is taken as one in the frame of its pose."""
    lag: float = math.nan
    """[s] by which a commanded group follows, as a running executor says."""
    contradiction: str = ""
    """What is said twice of the same joint or velocity, with different values, as a sentence."""
    alike: tuple[str, ...] = ()
    """Other topics of the graph that carry this type."""


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know, as a sentence that names the topic and the way out."""

    level: Level
    topic: str
    sentence: str


@dataclass(frozen=True)
class Joint:
    """A joint that has to be measured, and where it may be (rad or m)."""

    name: str
    lower: float
    upper: float
    unit: str


def needed_joints(robot: Robot) -> tuple[Joint, ...]:
    """The joints that have to be measured before anything moves."""
    found = []
    for group in robot.groups:
        for channel in group.channels:
            joint = robot.joint_of_channel.get(channel.name, channel.joint)
            if group.gripper is not None and group.gripper.measured:
                low, high = sorted((group.gripper.closed, group.gripper.open))
                stroke = high - low
                found.append(Joint(joint, low - stroke, high + stroke, "m"))
            elif joint and group.gripper is None and group.measured:
                lower, upper = channel.reach if channel.joint else (channel.limits.lower, channel.limits.upper)
                found.append(Joint(joint, lower, upper, "m" if channel.unit.startswith("m") else "rad"))
    return tuple(found)


def problems_of(robot: Robot, seen: tuple[TopicObservation, ...], own_node: str = "executor") -> tuple[Finding, ...]:
    """Everything wrong, errors first. `own_node`: the node that may publish commands."""
    found = [finding for topic in seen for finding in _topic(topic, own_node)]
    found += _joints(robot, seen)
    found += _lags(robot, seen)
    return tuple(sorted(found, key=lambda finding: finding.level is not Level.ERROR))


def _topic(seen: TopicObservation, own_node: str) -> Iterator[Finding]:
    if seen.role is Role.COMMAND:
        yield from _command(seen, own_node)
        return
    if seen.role is Role.PLANS:
        yield from _competing(seen, list(seen.publishers))
        return
    level = Level.ERROR if seen.required else Level.WARNING
    right = [p for p in seen.publishers if p.type == seen.type]
    wrong = [p for p in seen.publishers if p.type != seen.type]
    for publisher in wrong:
        yield Finding(level, seen.topic, _wrong_type(seen, publisher))
    if not right:
        if not wrong and seen.role is not Role.TELEOP:
            yield Finding(level, seen.topic, f"nobody publishes {seen.topic} ({_short(seen.type)}){_alike(seen)}")
        return
    if seen.role is not Role.STATE:
        yield from _competing(seen, right)
    if seen.contradiction:
        yield Finding(Level.ERROR, seen.topic, seen.contradiction)
    if not seen.count:
        yield Finding(level, seen.topic, f"{seen.topic}: {_nodes(right)} is there, and no message came")
        return
    yield from _timing(seen, level)
    yield from _twist(seen)


def _competing(seen: TopicObservation, publishers: list[Endpoint]) -> Iterator[Finding]:
    """Several publishers if there is room for one; of one name they may be one that was restarted."""
    if len({p.node for p in publishers}) > 1:
        yield Finding(Level.ERROR, seen.topic, f"{_nodes(publishers)} both publish {seen.topic}; stop one of them")
    elif len(publishers) > 1:
        text = f"{len(publishers)} publishers called {_nodes(publishers)} are on {seen.topic}; stop one of them, if it was not restarted just now"
        yield Finding(Level.ERROR if seen.role is Role.CAMERA else Level.WARNING, seen.topic, text)


def _twist(seen: TopicObservation) -> Iterator[Finding]:
    """An odometry whose velocity is in another frame than it is taken for, by the way that its pose went."""
    right = {TwistFrame.BASE: "base", TwistFrame.WORLD: "world"}.get(seen.twist)
    if seen.twist is TwistFrame.NOTHING:
        text = (
            f"{seen.topic}: the twist stays at 0 while the pose moves; use a source that measures the base's velocity"
        )
        yield Finding(Level.WARNING, seen.topic, text)
    elif right is not None and (right == "world") is not seen.as_world:
        text = f"{seen.topic}: the twist is in the {right}'s frame, by the way that the pose went, and is not taken so"
        yield Finding(Level.ERROR, seen.topic, f"{text}: say twist: {right} in the robot YAML")


def _timing(seen: TopicObservation, level: Level) -> Iterator[Finding]:
    if max(seen.gap, seen.age) > seen.max_age:
        worst = max(seen.gap, seen.age)
        yield Finding(
            level,
            seen.topic,
            f"{seen.topic}: {worst:.2f} s passed without a message, more than max_age {seen.max_age:g}; find out what "
            f"holds it up, or give max_age above {worst:.2f}",
        )
    if not seen.stamped:
        yield Finding(Level.WARNING, seen.topic, f"{seen.topic}: messages carry no stamp; the time of arrival is used")
    elif abs(seen.offset) > min(seen.max_age, 1.0):
        yield Finding(level, seen.topic, f"{_clocks(seen)}: synchronise the clocks (chrony, PTP), or set use_sim_time")
    elif abs(seen.offset) > CLOCKS_APART and seen.offset < 0:
        yield Finding(Level.WARNING, seen.topic, f"{_clocks(seen)}; synchronise the clocks (chrony, PTP)")


def _clocks(seen: TopicObservation) -> str:
    side = "behind" if seen.offset > 0 else "ahead of"
    return f"{seen.topic}: stamps are {abs(seen.offset):.2f} s {side} this computer"


def _command(seen: TopicObservation, own_node: str) -> Iterator[Finding]:
    others = [p for p in seen.publishers if p.node.rpartition("/")[2] != own_node]
    if others:
        yield Finding(Level.ERROR, seen.topic, f"{_nodes(others)} also commands {seen.topic}; one owner only")
    right = [s for s in seen.subscribers if s.type == seen.type]
    for subscriber in (s for s in seen.subscribers if s.type != seen.type):
        yield Finding(
            Level.ERROR,
            seen.topic,
            f"{subscriber.node} listens to {_short(subscriber.type)} on {seen.topic}, and the robot YAML sends "
            f"{_short(seen.type)}",
        )
    if not seen.subscribers:
        yield Finding(
            Level.ERROR,
            seen.topic,
            f"nobody listens to {seen.topic}: load and activate the controller{_alike(seen)}",
        )
    for subscriber in right:
        if subscriber.durability == "transient_local":
            yield Finding(
                Level.ERROR,
                seen.topic,
                f"{subscriber.node} asks for transient local on {seen.topic}; commands are volatile",
            )


def _joints(robot: Robot, seen: tuple[TopicObservation, ...]) -> Iterator[Finding]:
    """Joints that nobody reports, and those that are outside of where they may be."""
    ranges = {joint: ends for topic in seen if topic.role is Role.STATE for joint, ends in topic.ranges.items()}
    states = [t for t in seen if t.role is Role.STATE and t.type.endswith("JointState")]
    if not any(t.count for t in states):
        return
    topics = ", ".join(t.topic for t in states)
    for joint in needed_joints(robot):
        if joint.name not in ranges:
            near = get_close_matches(joint.name, list(ranges), n=3, cutoff=0.4) or sorted(ranges)[:6]
            yield Finding(
                Level.ERROR,
                topics,
                f"nobody reports joint {joint.name} on {topics}; reported are {', '.join(near) or 'none'}: "
                "give state: joints or prefix if the driver calls it otherwise",
            )
            continue
        low, high = ranges[joint.name]
        if not (math.isfinite(low) and math.isfinite(high)):
            yield Finding(Level.ERROR, topics, f"joint {joint.name} is reported as {low} .. {high}")
        elif low < joint.lower or high > joint.upper:
            worst = low if joint.lower - low > high - joint.upper else high
            guess = unit_guess(worst, joint.lower, joint.upper, joint.unit)
            far = max(joint.lower - low, high - joint.upper) > 1.0
            yield Finding(
                Level.ERROR,
                topics,
                f"joint {joint.name} is reported at {worst:.3f}, outside of {joint.lower:.3f} .. {joint.upper:.3f} {joint.unit}"
                + (f": {guess}" if guess and far else ""),
            )


def _lags(robot: Robot, seen: tuple[TopicObservation, ...]) -> Iterator[Finding]:
    """Groups that follow their commands later than the robot YAML says."""
    for topic in seen:
        if math.isfinite(topic.lag):
            for sentence in lag_sentences(robot, {topic.name: topic.lag}):
                yield Finding(Level.WARNING, topic.topic, sentence)


def _wrong_type(seen: TopicObservation, publisher: Endpoint) -> str:
    return f"{seen.topic} carries {_short(publisher.type)} (from {publisher.node}), and the robot YAML says {_short(seen.type)}"


def _alike(seen: TopicObservation) -> str:
    near = get_close_matches(seen.topic, seen.alike, n=3, cutoff=0.3) or list(seen.alike[:3])
    return f"; {_short(seen.type)} is on {', '.join(near)}" if near else ""


def _nodes(endpoints: list[Endpoint]) -> str:
    return " and ".join(sorted({endpoint.node for endpoint in endpoints}))


def _short(type_name: str) -> str:
    return type_name.replace("/msg/", "/")


def table_rows(seen: tuple[TopicObservation, ...]) -> list[tuple[str, ...]]:
    """Rows of text for a person: what, topic, who, how often, how old, how far the stamps are off, what is in it."""
    head = ("", "topic", "published by", "read by", "rate", "longest gap", "offset", "contents")
    return [head, *(_cells(topic) for topic in seen)]


def _cells(seen: TopicObservation) -> tuple[str, ...]:
    def number(value: float, unit: str, digits: int) -> str:
        return f"{value:.{digits}f} {unit}" if math.isfinite(value) else "-"

    return (
        f"{seen.role} {seen.name}",
        seen.topic,
        _qos(seen.publishers),
        _qos(seen.subscribers),
        number(seen.rate, "Hz", 1),
        number(seen.gap, "s", 3),
        number(seen.offset, "s", 3) if seen.stamped else "no stamp",
        seen.detail or "-",
    )


def _qos(endpoints: tuple[Endpoint, ...]) -> str:
    named = sorted({(e.node, e.reliability) for e in endpoints})
    return ", ".join(f"{node} ({reliability})" if reliability else node for node, reliability in named) or "nobody"
