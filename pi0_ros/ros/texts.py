"""Texts that people and nodes publish: read from any publisher, as one line each, and published when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import String

from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.prompt_source import one_line
from pi0_ros.ros.qos import LATCHED

LONGEST_PROMPT = 400
"""Characters of a task or subtask; the network would cut a longer one."""


def subscribe_to_texts(
    node: Node, callbacks: Mapping[str, Callable[[str], None]], longest: int | None = None
) -> list[Subscription]:
    """Subscribe to each topic; its callback gets the text with single spaces. Of more than `longest` characters it is refused."""
    return [
        subscription
        for topic, callback in callbacks.items()
        for subscription in subscribe_to_any(node, String, topic, _reader(node, topic, callback, longest))
    ]


def _reader(node: Node, topic: str, callback: Callable[[str], None], longest: int | None) -> Callable[[String], None]:
    def read(message: String) -> None:
        text = one_line(message.data)
        if longest is not None and len(text) > longest:
            node.get_logger().warning(f"{topic} of {len(text)} characters refused: at most {longest}")
        else:
            callback(text)

    return read


class StateText:
    """A latched text about a node's state, published when it changes: why it does nothing, "" while it works."""

    def __init__(self, node: Node, topic: str) -> None:
        self.publisher = node.create_publisher(String, topic, LATCHED)
        self._text = ""

    def update(self, text: str) -> None:
        """Publish `text` if it is another one."""
        if text != self._text:
            self._text = text
            self.publisher.publish(String(data=text))
