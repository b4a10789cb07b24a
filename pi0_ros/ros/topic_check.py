"""What the ROS graph says of the topics a node reads: their publishers, and the types they really have."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from pi0_ros.robot.quoting import quote, quote_names
from pi0_ros.ros.publishers import full_name

FRESH = 0.5
"""Seconds for which an answer of the graph is used again."""


class TopicFault(Enum):
    """What can be wrong with the publishers of a topic."""

    WRONG_TYPE = "wrong type"
    TWO_PUBLISHERS = "two publishers"
    NO_PUBLISHER = "no publisher"


@dataclass(frozen=True)
class TopicProblem:
    """What is wrong with a topic, with a sentence that names it, its type and its nodes."""

    topic: str
    fault: TopicFault
    sentence: str


@dataclass(frozen=True)
class WantedTopic:
    """A topic that is read: `types` by the word that a robot YAML has for each; `type`: the word in use.

    `single`: one publisher only, because the messages of several cannot be distinguished.
    """

    topic: str
    type: str
    types: tuple[tuple[str, str], ...]
    single: bool = False

    @property
    def ros_type(self) -> str:
        """The message type that is subscribed, as `sensor_msgs/msg/Image`."""
        return dict(self.types)[self.type]


def ros_type_name(kind: type) -> str:
    """The name of a message class in the graph, as `sensor_msgs/msg/Image`."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def judge_topic(wanted: WantedTopic, publishers: Iterable[TopicEndpointInfo]) -> TopicProblem | None:
    """What is wrong with the publishers of a topic, None if nothing is."""
    found = list(publishers)
    right = [p for p in found if p.topic_type == wanted.ros_type]
    wrong = [p for p in found if p.topic_type != wanted.ros_type]
    if wrong and not right:
        return TopicProblem(wanted.topic, TopicFault.WRONG_TYPE, _wrong_type(wanted, wrong[0]))
    if wanted.single and len(right) > 1:
        names = sorted(full_name(p) for p in right)
        sentence = (
            f"{len(right)} publishers on {wanted.topic} ({quote_names(names)}): their messages cannot be told apart; "
            "give each camera a topic of its own"
        )
        return TopicProblem(wanted.topic, TopicFault.TWO_PUBLISHERS, sentence)
    if not found:
        return TopicProblem(
            wanted.topic, TopicFault.NO_PUBLISHER, f"nobody publishes {wanted.topic}; is the driver running?"
        )
    return None


def _wrong_type(wanted: WantedTopic, publisher: TopicEndpointInfo) -> str:
    word = next((word for word, name in wanted.types if name == publisher.topic_type), None)
    way_out = f"say type: {word}" if word else f"only {', '.join(name for _, name in wanted.types)} can be read there"
    carried = publisher.topic_type.replace("/msg/", "/")
    return f"{wanted.topic} carries {quote(carried)[1:-1]} (from {quote(full_name(publisher))}); {way_out}"


def publishers_of(node: Node, topics: Iterable[str]) -> tuple[str, ...]:
    """The full names of the nodes that publish on these topics, sorted."""
    names = [node.resolve_topic_name(topic) for topic in topics]
    return tuple(sorted(full_name(info) for name in names for info in node.get_publishers_info_by_topic(name)))


class TopicCheck:
    """Asks the graph about topics, at most twice a second."""

    def __init__(self, node: Node, wanted: Iterable[WantedTopic], steady: Callable[[], float] = time.monotonic) -> None:
        self._node, self._wanted, self._steady = node, tuple(wanted), steady
        self._asked, self._problems = -FRESH, {}

    _problems: dict[str, TopicProblem]

    def problems(self) -> dict[str, TopicProblem]:
        """Problems by topic, as the robot YAML writes it."""
        if self._steady() - self._asked >= FRESH:
            judged = (judge_topic(w, self._node.get_publishers_info_by_topic(w.topic)) for w in self._wanted)
            self._problems = {problem.topic: problem for problem in judged if problem is not None}
            self._asked = self._steady()
        return self._problems


class SequenceWatch:
    """Whether the messages of a topic come from one live publisher: each of them numbers its messages upwards.

    A driver that was killed stays in the graph for 20 s; this tells it from one that sends.
    """

    WINDOW, ENOUGH = 1.0, 5

    def __init__(self) -> None:
        self._last, self._fallen, self._times = -1, -math.inf, deque(maxlen=self.ENOUGH)  # type: ignore[var-annotated]

    def update(self, steady: float, number: int) -> None:
        """A message with this publication sequence number came at `steady` [s]."""
        if number <= self._last:
            self._fallen = steady
        self._last = number
        self._times.append(steady)

    def one_publisher(self, steady: float) -> bool:
        """Whether enough messages came lately, with rising numbers alone."""
        enough = len(self._times) == self.ENOUGH and steady - self._times[-1] <= self.WINDOW
        return enough and steady - self._fallen > self.WINDOW
