"""Subscriptions that match every publisher, whatever its quality of service; each message once.

DDS connects a reader with the writers that offer at least what it asks for. A reader that asks for little (best effort,
volatile) is connected with all, but gets neither a lost message again nor what was latched before it came. So there are
three: one for each of the two, and one for all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from pi0_ros.robot.quoting import escape
from pi0_ros.ros.bounded import MessageInfo, MessageRefusedError, parse_message, subscribe_raw

REMEMBERED = 64  # messages that are recognised
PAIRS = (
    (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
    (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),
    (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
)


def profiles(depth: int, latched: bool = True) -> list[QoSProfile]:
    """The readers' qualities. `latched`: with what was said before the reader came."""
    return [
        QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)
        for reliability, durability in PAIRS
        if latched or durability is not DurabilityPolicy.TRANSIENT_LOCAL
    ]


class Repeats:
    """Recognises a message that another reader of the same topic has delivered."""

    def __init__(self) -> None:
        self._known: deque[Hashable] = deque(maxlen=REMEMBERED)

    def seen(self, source_timestamp: int, content: Hashable) -> bool:
        """Whether this very message was here before. Without a timestamp of its sender nothing is recognised."""
        if not source_timestamp:
            return False
        key = (source_timestamp, hash(content))
        known = key in self._known
        if not known:
            self._known.append(key)
        return known


def subscribe_to_any(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable[[Any], None],
    depth: int = 8,
    latched: bool = True,
    group: CallbackGroup | None = None,
) -> list[Subscription]:
    """Subscribe to `topic` of any publisher; `callback(message)` is called once for each message.

    With a `group` that nobody spins, whoever reads the subscriptions has to know repeated messages himself
    (`PolledSubscriptions.keep_together`).
    """
    if group is not None:
        return [
            node.create_subscription(kind, topic, callback, qos, callback_group=group)
            for qos in profiles(depth, latched)
        ]
    repeats = Repeats()

    def once(data: bytes, info: MessageInfo) -> None:
        if repeats.seen(info["source_timestamp"], data):
            return
        try:
            message = parse_message(data, kind)
        except MessageRefusedError as error:
            node.get_logger().warning(escape(f"message on {topic} refused: {error}"), throttle_duration_sec=1.0)
            return
        callback(message)

    return [subscribe_raw(node, kind, topic, once, qos) for qos in profiles(depth, latched)]
