"""Publishers and subscribers of our topics that DDS does not connect with us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from rclpy.topic_endpoint_info import TopicEndpointInfo

from pi0_ros.ros.publishers import full_name

ENDLESS = 10**18  # [ns] thirty years
LOOK_EVERY = 0.1  # [s] one topic at a time


@dataclass(frozen=True)
class Port:
    """One of our topics: its message type, and the qualities that our end of it asks for or offers."""

    topic: str
    type: str
    qualities: tuple[QoSProfile, ...]
    reads: bool


def kind_of(end: Subscription | Publisher) -> type:
    """The message class of a subscription or publisher."""
    return cast(type, end.msg_type)


def type_name(kind: type) -> str:
    """`std_msgs/msg/Bool` for the message class."""
    package, *_ = kind.__module__.split(".")
    return f"{package}/msg/{kind.__name__}"


def ports(readers: Sequence[Subscription], writers: Sequence[Publisher]) -> list[Port]:
    """The topics of some subscriptions (several of one topic are one port) and publishers."""
    together: dict[str, list[Subscription]] = {}
    for reader in readers:
        together.setdefault(reader.topic_name, []).append(reader)
    reading = [
        Port(topic, type_name(kind_of(each[0])), tuple(r.qos_profile for r in each), True)
        for topic, each in together.items()
    ]
    return reading + [Port(w.topic_name, type_name(kind_of(w)), (w.qos_profile,), False) for w in writers]


def unmet(offered: QoSProfile, wanted: QoSProfile) -> str:
    """What a reader asks for that a writer does not offer, "" if it offers all (DDS 1.4, section 2.2.3).

    rclpy's `qos_check_compatible` takes endless durations of remote endpoints for finite ones.
    """
    if (wanted.reliability, offered.reliability) == (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT):
        return "reliable is asked for, best effort is offered"
    if (wanted.durability, offered.durability) == (DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE):
        return "transient_local is asked for, volatile is offered"
    if (wanted.liveliness, offered.liveliness) == (LivelinessPolicy.MANUAL_BY_TOPIC, LivelinessPolicy.AUTOMATIC):
        return "manual liveliness is asked for, automatic is offered"
    for name in ("deadline", "liveliness_lease_duration"):
        limit = getattr(wanted, name).nanoseconds
        if 0 < limit < ENDLESS and not 0 < getattr(offered, name).nanoseconds <= limit:
            return f"a {name} of {limit * 1e-9:g} s is asked for and not offered"
    return ""


def mismatch(port: Port, other: TopicEndpointInfo) -> str:
    """Why DDS does not connect `other` with the port, as a sentence; "" if it does."""
    name = full_name(other)
    who, lost = ("publisher", "it is not heard") if port.reads else ("subscriber", "it gets no commands from this node")
    if other.topic_type != port.type:
        return f"{port.topic}: the {who} {name} has type {other.topic_type}, not {port.type}; {lost}"
    pairs = [(other.qos_profile, ours) if port.reads else (ours, other.qos_profile) for ours in port.qualities]
    why = [unmet(offered, wanted) for offered, wanted in pairs]
    return f"{port.topic}: the {who} {name} has another quality of service ({why[-1]}); {lost}" if all(why) else ""


class Matching:
    """Looks at one topic after the other, says at once who is not connected, and remembers it for /diagnostics."""

    def __init__(
        self, node: Node, timer: Callable[[float, Callable[[], None]], Timer], watched: Sequence[Port]
    ) -> None:
        """`timer(period, callback)` makes a timer; the caller destroys it."""
        self._node, self._ports, self._next = node, list(watched), 0
        self._found: dict[int, tuple[str, ...]] = {}
        self.timer = timer(LOOK_EVERY, self.look)

    @property
    def sentences(self) -> list[str]:
        """Who is not connected now."""
        return [sentence for found in self._found.values() for sentence in found]

    def look(self) -> None:
        """Look at the next topic."""
        index = self._next % len(self._ports)
        self._next += 1
        port, before = self._ports[index], self._found.get(index, ())
        ask: Mapping[bool, Callable[[str], list[TopicEndpointInfo]]] = {
            True: self._node.get_publishers_info_by_topic,
            False: self._node.get_subscriptions_info_by_topic,
        }
        found = tuple(sentence for other in ask[port.reads](port.topic) if (sentence := mismatch(port, other)))
        self._found[index] = found
        for sentence in found:
            if sentence not in before:
                self._node.get_logger().error(sentence)
