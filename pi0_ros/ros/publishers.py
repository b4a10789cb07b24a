"""Who publishes on a topic, as the graph says it: names of nodes by the ids of their publishers."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

LOOK_EVERY = 0.5  # [s] between two looks at the same topic
UNNAMED = "_NODE_NAME_UNKNOWN_"
UNKNOWN = "a node that is not known yet"

Publishers = Mapping[bytes, str]
"""Full node names by the id of their publisher (`endpoint_gid`, which every message carries)."""


def full_name(info: TopicEndpointInfo) -> str:
    """The full name of a publisher's or subscription's node, as the graph has it."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def node_name(info: TopicEndpointInfo) -> str:
    """The full name of a publisher's or subscription's node; UNKNOWN for the moment until the graph has it."""
    return UNKNOWN if info.node_name == UNNAMED else full_name(info)


class GraphNames:
    """Looks at the publishers of topics, at most twice a second each. Of one thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: dict[str, tuple[float, Publishers]] = {}

    def publishers(self, topic: str, steady: float, now: bool = False, least: int = 1) -> Publishers:
        """The publishers of `topic` at `steady` [s], as they were up to half a second ago unless `now`.

        Fewer than `least` are not looked at: nobody is said to be there.
        """
        looked, known = self._known.get(topic, (float("-inf"), {}))
        if now or steady - looked >= LOOK_EVERY:
            full = self._node.resolve_topic_name(topic)
            found = self._node.get_publishers_info_by_topic(full) if self._node.count_publishers(full) >= least else ()
            known = {bytes(info.endpoint_gid): node_name(info) for info in found}
            self._known[topic] = steady, known
        return known
