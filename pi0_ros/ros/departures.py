"""Subscriptions to pictures are made anew when a publisher has gone, which frees what it left half sent.

Fast DDS (2.14 to 3.6) keeps the pieces of a picture that its sender did not finish for as long as a best-effort reader is
there, one picture for each sender that died (StatelessReader, `fragmented_change`). Pictures are as large as a camera makes
them, so no bound on their size helps (`ros/bounded_types.py`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.timer import Timer

LOOK_EVERY = 0.5  # [s]; asking the graph about one topic costs about 40 µs
GAP = 0.1  # [s] without the subscriptions of a topic
MOST_LEFT = 4
"""Publishers that may have gone before the subscriptions are made anew though something is recorded."""


@dataclass(frozen=True, eq=False)
class Subscriber:
    """Something that subscribes to a topic. `recording`: whether it may not miss anything now."""

    topic: str
    make: Callable[[], Subscription]
    recording: Callable[[], bool] = lambda: False


class Departures:
    """Notices that publishers of a topic have gone."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node, self._topic = node, node.resolve_topic_name(topic)
        self.there: frozenset[bytes] = frozenset()
        """Ids of the publishers at the last look."""

    def look(self) -> int:
        """How many publishers have gone since the last look."""
        infos = self._node.get_publishers_info_by_topic(self._topic)
        before, self.there = self.there, frozenset(bytes(info.endpoint_gid) for info in infos)
        return len(before - self.there)


class RenewedSubscriptions:
    """Subscriptions of one node, made anew when one of the publishers of their topic has gone.

    All of a topic go, and the new ones come a little later: the memory is shared by all readers of a topic in a process, and
    lives as long as one of them. While another publisher sends and somebody records that, the old ones stay, until `MOST_LEFT`
    have gone.
    """

    def __init__(
        self, node: Node, timer: Callable[[float, Callable[[], None]], Timer], subscribers: Iterable[Subscriber] = ()
    ) -> None:
        """`timer(period, callback)` makes a timer; `close` destroys it."""
        self._node, self._timer, self._lock = node, timer, threading.RLock()
        self._made: dict[Subscriber, Subscription | None] = {}
        self._departures: dict[str, Departures] = {}
        self._gone: Counter[str] = Counter()
        for subscriber in subscribers:
            self.add(subscriber)
        self._looking = timer(LOOK_EVERY, self.look)
        self._renewing: Timer | None = None

    def add(self, subscriber: Subscriber) -> None:
        """Subscribe, and renew that subscription too."""
        with self._lock:
            self._departures.setdefault(subscriber.topic, Departures(self._node, subscriber.topic))
            self._made[subscriber] = subscriber.make()

    def remove(self, subscriber: Subscriber) -> None:
        """Unsubscribe. Removing it again is no harm."""
        with self._lock:
            self._destroy(subscriber)
            self._made.pop(subscriber, None)

    def look(self) -> None:
        """Unsubscribe from the topics of which a publisher has gone, and `renew` soon."""
        with self._lock:
            for topic, departures in self._departures.items():
                self._gone[topic] += departures.look()
                if self._gone[topic] and not self._postponed(topic):
                    self._gone[topic] = 0
                    for subscriber in self._made:
                        if subscriber.topic == topic:
                            self._destroy(subscriber)
            if self._renewing is None and None in self._made.values():
                self._renewing = self._timer(GAP, self.renew)

    def renew(self) -> None:
        """Subscribe again to what was let go of."""
        with self._lock:
            self._end_renewing()
            for subscriber, subscription in self._made.items():
                if subscription is None:
                    self._made[subscriber] = subscriber.make()

    def close(self) -> None:
        """Unsubscribe."""
        with self._lock:
            self._node.destroy_timer(self._looking)
            self._end_renewing()
            for subscriber in list(self._made):
                self.remove(subscriber)

    def _postponed(self, topic: str) -> bool:
        """Whether what another publisher sends would be missing from what is recorded."""
        if not (self._departures[topic].there and any(s.recording() for s in self._made if s.topic == topic)):
            return False
        if self._gone[topic] <= MOST_LEFT:
            return True
        self._node.get_logger().warning(
            f"{topic}: {self._gone[topic]} publishers have gone while it was recorded; to free what they left half sent, "
            "it is subscribed to anew, and messages of about 0.1 s are missing from the bag"
        )
        return False

    def _destroy(self, subscriber: Subscriber) -> None:
        subscription = self._made.get(subscriber)
        if subscription is not None:
            self._node.destroy_subscription(subscription)
            self._made[subscriber] = None

    def _end_renewing(self) -> None:
        if self._renewing is not None:
            self._node.destroy_timer(self._renewing)
            self._renewing = None
