"""Subscriptions to pictures are made anew when a publisher has gone, which frees what it left half sent.

Fast DDS (2.14 to 3.6) keeps the pieces of a picture that its sender did not finish for as long as a best-effort reader is
there, one picture for each sender that died (StatelessReader, `fragmented_change`). Pictures are as large as a camera makes
them, so no bound on their size helps (`ros/bounded_types.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.timer import Timer

LOOK_EVERY = 0.5  # [s]; asking the graph about one topic costs about 40 µs
GAP = 0.1  # [s] without the subscriptions of a topic


class Departures:
    """Notices that a publisher of a topic has gone."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node, self._topic = node, node.resolve_topic_name(topic)
        self._there: frozenset[bytes] = frozenset()

    def look(self) -> bool:
        """Whether a publisher has gone since the last look."""
        infos = self._node.get_publishers_info_by_topic(self._topic)
        before, self._there = self._there, frozenset(bytes(info.endpoint_gid) for info in infos)
        return not before <= self._there


class RenewedSubscriptions:
    """Subscriptions of one node, made anew when one of the publishers of their topic has gone.

    All of a topic go, and the new ones come a little later: the memory is shared by all readers of a topic in a process, and
    lives as long as one of them.
    """

    def __init__(
        self,
        node: Node,
        timer: Callable[[float, Callable[[], None]], Timer],
        subscribe: Iterable[tuple[str, Callable[[], Subscription]]],
    ) -> None:
        """`subscribe`: topics with what subscribes to them. `timer(period, callback)` makes a timer; `close` destroys it."""
        self._node, self._timer = node, timer
        self._makers: dict[str, list[Callable[[], Subscription]]] = {}
        for topic, make in subscribe:
            self._makers.setdefault(topic, []).append(make)
        self._departures = {topic: Departures(node, topic) for topic in self._makers}
        self._made = {topic: [make() for make in makers] for topic, makers in self._makers.items()}
        self._looking = timer(LOOK_EVERY, self.look)
        self._renewing: Timer | None = None

    def look(self) -> None:
        """Unsubscribe from the topics of which a publisher has gone since the last look, and `renew` soon."""
        for topic, departures in self._departures.items():
            if departures.look():
                for subscription in self._made.pop(topic, ()):
                    self._node.destroy_subscription(subscription)
        if self._renewing is None and self._makers.keys() != self._made.keys():
            self._renewing = self._timer(GAP, self.renew)

    def renew(self) -> None:
        """Subscribe again to what was let go of."""
        self._end_renewing()
        for topic in self._makers.keys() - self._made.keys():
            self._made[topic] = [make() for make in self._makers[topic]]

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._looking)
        self._end_renewing()
        self._makers.clear()
        for subscription in itertools.chain.from_iterable(self._made.values()):
            self._node.destroy_subscription(subscription)
        self._made.clear()

    def _end_renewing(self) -> None:
        if self._renewing is not None:
            self._node.destroy_timer(self._renewing)
            self._renewing = None
