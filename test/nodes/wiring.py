"""What a node has on the graph, and messages handed to it as the network layer does, without anybody who sends them."""

import itertools

import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message

_TIMES = itertools.count(10**9)


class Alone:
    """A node of its own graph, with nobody else on it."""

    def __init__(self, name="alone", **kwargs):
        self.context = rclpy.context.Context()
        rclpy.init(context=self.context)
        self.node = Node(name, context=self.context, **kwargs)

    def close(self):
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def deliver(node, topic, message):
    """Call what a node subscribed to a topic with; how many subscriptions there are."""
    found = [s for s in node.subscriptions if s.topic_name == node.resolve_topic_name(topic)]
    info = {"source_timestamp": next(_TIMES), "received_timestamp": 10**9}
    for subscription in found:
        if subscription.raw:
            subscription.callback(serialize_message(message), info)
        else:
            subscription.callback(message)
    return len(found)


def read(node):
    """The topics that a node reads, with their message classes."""
    return {(s.topic_name, s.msg_type) for s in node.subscriptions}


def written(node):
    """The topics that a node writes, with their message classes; without those of every node."""
    return {(p.topic_name, p.msg_type) for p in node.publishers if p.topic_name not in ("/rosout", "/parameter_events")}


def entities(node):
    """How many of each kind a node has on the graph."""
    kinds = ("publishers", "subscriptions", "services", "timers")
    return {kind: len(list(getattr(node, kind))) for kind in kinds}
