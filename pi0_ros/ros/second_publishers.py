"""Who else publishes on the command topics of a robot."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from rclpy.node import Node
from rclpy.publisher import Publisher

from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.publishers import UNKNOWN, node_name

DISCOVERY = 1.0
"""Seconds after which a new node knows the others of its network: 0.01 to 0.7 measured, 1.3 on an overloaded machine."""
LOOK_EVERY = 0.05  # [s]; counting the publishers of seven topics takes 40 microseconds


class SecondPublishers:
    """Looks at the graph twenty times a second.

    `found(sentence)` is called at every look while somebody else publishes, and once with "" when nobody does any more.
    """

    def __init__(
        self, node: Node, clocks: Clocks, publishers: Iterable[Publisher], found: Callable[[str], None]
    ) -> None:
        self._node, self._found, self._began = node, found, time.monotonic()
        self._own = Counter(publisher.topic_name for publisher in publishers)
        self.sentence = ""
        self.timer = clocks.timer(LOOK_EVERY, self.look)

    def look_first(self) -> str:
        """What is seen before the first command: waits until somebody is there, or the others must be known."""
        while not self.sentence and time.monotonic() < self._began + DISCOVERY:
            self.look()
            time.sleep(0.05)
        return self.sentence

    def look(self) -> None:
        """Look now."""
        before = self.sentence
        others: dict[str, list[str]] = {}
        for topic, own in self._own.items():
            if self._node.count_publishers(topic) > own:
                for name in self._names(topic, own):
                    others.setdefault(name, []).append(topic)
        self.sentence = second_publishers_sentence(others)
        if self.sentence or before:
            self._found(self.sentence)

    def _names(self, topic: str, own: int) -> list[str]:
        me = self._node.get_fully_qualified_name()
        names = Counter(node_name(info) for info in self._node.get_publishers_info_by_topic(topic))
        names[me] -= own
        others = [f"another {name}" if name == me else name for name, count in names.items() if count > 0]
        return others or [UNKNOWN]


def second_publishers_sentence(others: Mapping[str, Sequence[str]]) -> str:
    """Topics by the node that publishes on them too, as one sentence; "" for none."""
    parts = []
    for name, topics in sorted(others.items()):
        more = f" and {len(topics) - 1} more command topics are" if topics[1:] else " is"
        parts.append(f"{topics[0]}{more} also published by {name}")
    return "; ".join(parts) + ("; end one of the two" if parts else "")
